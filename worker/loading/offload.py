"""Keeps a model's parts in the host's memory and puts one on the device while it works.

Engine thread of the worker only, for models whose card says `offload = "model"`. accelerate's hooks
would replace the wrapped calls, and move the parts of other jobs.
"""

import functools
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import torch

from darkroom.networks import take_turns
from worker.gathering.gather import entries


class Offload:
    """The parts of one model that wait in the host's memory. Whoever calls a part gives it tensors
    of the host and gets such back; in between it runs on the device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._on_device: dict[torch.nn.Module, _Resident] = {}

    @property
    def resident(self) -> tuple[str, ...]:
        """Names of the parts that are on the device now."""
        return tuple(each.name for each in self._on_device.values())

    def wrap(self, part: torch.nn.Module, name: str) -> None:
        """Let calls of `part` run on the device. To be called before calls are made to park."""
        for method in entries(part):
            setattr(part, method, self._wrap(part, name, getattr(part, method)))

    def rest(self) -> None:
        """Take everything off the device; nothing is copied, as weights do not change."""
        for part in tuple(self._on_device):
            self._on_device.pop(part).leave()

    def _wrap(
        self, part: torch.nn.Module, name: str, inner: Callable[..., Any]
    ) -> Callable[..., Any]:
        @functools.wraps(inner)
        def moving(*args: Any, **kwargs: Any) -> Any:
            self._enter(part, name)
            args, kwargs = _move(args, self._device), _move(kwargs, self._device)
            return _move(inner(*args, **kwargs), torch.device("cpu"))

        return moving

    def _enter(self, part: torch.nn.Module, name: str) -> None:
        for other, there in tuple(self._on_device.items()):
            if other is not part and not take_turns(there.name, name):
                self._on_device.pop(other).leave()
        if part in self._on_device:
            return
        shared = {id(tensor) for there in self._on_device.values() for tensor in there.waiting}
        entering = _Resident(name)
        with ExitStack() as undo:  # when memory ends: all of it or nothing
            undo.callback(entering.leave)
            for tensor in (*part.parameters(), *part.buffers()):
                if id(tensor) not in shared:
                    entering.move(tensor, self._device)
            undo.pop_all()
        self._on_device[part] = entering


class _Resident:
    """A part that is on the device, and what its tensors hold in the host's memory."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting: dict[torch.Tensor, torch.Tensor] = {}

    def move(self, tensor: torch.Tensor, device: torch.device) -> None:
        moved = tensor.data.to(device, copy=True)
        self.waiting[tensor] = tensor.data
        tensor.data = moved

    def leave(self) -> None:
        for tensor, data in self.waiting.items():
            tensor.data = data


def _move(value: Any, device: torch.device) -> Any:
    """`value` with every tensor in it on `device`."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, Mapping):  # diffusers' outputs are dicts and dataclasses at once
        return type(value)(**{name: _move(each, device) for name, each in value.items()})
    if isinstance(value, (list, tuple)):
        items = [_move(each, device) for each in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if hasattr(value, "parameters") and isinstance(value.parameters, torch.Tensor):
        return type(value)(value.parameters.to(device))  # the distribution that VAEs encode to
    return value
