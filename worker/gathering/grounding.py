"""GLIGEN's switch, which its pipeline turns on the network's own modules while a job runs, as a
state of that job; engine thread of the worker only, knows no requests."""

import weakref
from typing import Any

import torch

from worker.gathering.gather import ModuleState


def switch_of(module: torch.nn.Module) -> ModuleState | None:
    """Whether the layers that bring phrases and boxes into `module` are on; None if it has none."""
    layers: list[Any] = [
        each for each in module.modules() if type(each).__name__ == "GatedSelfAttentionDense"
    ]
    if not layers:
        return None
    living = weakref.WeakSet(layers)  # a gather keeps states for longer than models

    def restore(enabled: bool) -> None:
        for each in living:
            each.enabled = enabled

    return ModuleState(lambda: all(each.enabled for each in living), restore)
