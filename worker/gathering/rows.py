"""What of a network's arguments carries rows, and how they are joined and split; used by the
worker's gather, knows no greenlets and no jobs."""

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

import torch

from worker.gathering import texts
from worker.gathering.joinable import JOINABLE, Rows


class NotJoinableError(Exception):
    """A tensor in a shared argument, or one with another number of rows."""


def layout_of(module: torch.nn.Module) -> Rows | None:
    """How calls of `module` are joined; None: not at all. Most kinds of attention that a card can
    choose take no mask: with them texts are not filled up, and meet where they are equally long."""
    rows = JOINABLE.get(type(module).__name__)
    if rows is None or rows.text is None:
        return rows
    processors = (getattr(each, "processor", None) for each in module.modules())
    chosen = {getattr(each, "_attention_backend", None) for each in processors}
    return rows if chosen <= {None, "native"} else replace(rows, text=None)


def normalize(rows: Rows, arguments: dict[str, Any]) -> tuple[int, Hashable]:
    """Bring `arguments` into the form in which they can be joined; return the rows and what has to
    be equal for two calls to share a forward. Raises NotJoinableError."""
    if any(arguments.get(name) is not None for name in rows.alone):
        raise NotJoinableError
    lead = arguments[rows.arguments[0]]
    count = len(lead)
    if rows.returns_either:
        arguments["return_dict"] = True
    if rows.timestep is not None:
        arguments[rows.timestep] = _timesteps(arguments[rows.timestep], lead)
    if rows.text is not None:
        states, mask = rows.text
        arguments[states], arguments[mask] = texts.pad(arguments[states], arguments[mask])
    key = tuple(
        (name, _signature_of(rows, name, value, count)) for name, value in arguments.items()
    )
    for name in rows.alike:
        arguments[name] = _first(arguments[name])
    try:
        hash(key)
    except TypeError as error:
        raise NotJoinableError from error
    return count, key


def _signature_of(rows: Rows, name: str, value: Any, count: int) -> Hashable:
    """What has to be equal of the argument `name`, in a call of `count` rows."""
    if name in rows.alike:
        return _value(value)
    if name in rows.lists:
        if len(value) != count or not all(isinstance(each, torch.Tensor) for each in value):
            raise NotJoinableError
        return texts.composition(value, rows.lists[name])
    if name in rows.entries and isinstance(value, Mapping):
        carried = rows.entries[name]
        return tuple((k, _signature(v, count if k in carried else None)) for k, v in value.items())
    signature = _signature(value, count if name in rows.carriers else None)
    if name in rows.counted and isinstance(value, torch.Tensor):
        return signature, _remembered(value, texts.longest)
    return signature


def join(rows: Rows, calls: Sequence[Mapping[str, Any]], padding: int) -> dict[str, Any]:
    """The arguments of one forward for all `calls`, whose keys are equal, and for `padding` rows
    more: real ones again, which can neither overflow nor be slow."""
    joined = dict(calls[0])
    for name in rows.carriers:
        if name in rows.lists:
            joined[name] = [each for call in calls for each in call[name]]
            joined[name] += texts.spread(calls[0][name], padding)
        elif name in joined:
            joined[name] = _join([call[name] for call in calls], padding)
    return joined


def _join(values: Sequence[Any], padding: int) -> Any:
    """Row after row of every tensor in `values`, which are built alike."""
    first = values[0]
    if isinstance(first, torch.Tensor):
        rows = list(values)
        if padding:
            rows.append(first[:1].expand(padding, *first.shape[1:]))
        return torch.cat(rows) if len(rows) > 1 else first
    if isinstance(first, Mapping):
        return {name: _join([value[name] for value in values], padding) for name in first}
    if isinstance(first, (list, tuple)):
        return type(first)(_join(each, padding) for each in zip(*values, strict=True))
    return first


def split(
    rows: Rows, result: Any, counts: Sequence[int], count: int, *, clone: bool = False
) -> list[Any]:
    """The part of each call, of so many rows, in the result of a forward of `count` rows; views
    unless `clone`."""
    if isinstance(result, torch.Tensor):
        _check(result.shape[0], count)
        parts = torch.split(result[: sum(counts)], list(counts))
        return [part.clone() for part in parts] if clone else list(parts)
    if isinstance(result, list) and rows.gives_list:
        _check(len(result), count)
        whole = [each.clone() for each in result] if clone else result
        ends = accumulate(counts)
        return [whole[end - own : end] for own, end in zip(counts, ends, strict=True)]
    if isinstance(result, Mapping):  # diffusers' outputs are dicts and dataclasses at once
        fields = {
            name: split(rows, each, counts, count, clone=clone) for name, each in result.items()
        }
        return [
            type(result)(**{name: parts[index] for name, parts in fields.items()})
            for index in range(len(counts))
        ]
    if isinstance(result, (list, tuple)):
        items = [split(rows, each, counts, count, clone=clone) for each in result]
        return [type(result)(parts[index] for parts in items) for index in range(len(counts))]
    return [result] * len(counts)


def _check(found: int, count: int) -> None:
    if found != count:
        raise ValueError(f"a result of {found} rows from a forward of {count}")


def _timesteps(timestep: Any, lead: torch.Tensor) -> torch.Tensor:
    """One per row, in one dtype for all schedulers (int64 from DDIM, float32 from Euler). Exact:
    diffusers' own sinusoidal embedding begins with `.float()`."""
    dtype = torch.float64 if lead.dtype == torch.float64 else torch.float32
    timesteps = torch.as_tensor(timestep).to(device=lead.device, dtype=dtype)
    return timesteps.reshape(-1).expand(lead.shape[0])


def _first(value: Any) -> Any:
    """An argument that all rows share, without the other rows."""
    has_rows = isinstance(value, list) or (isinstance(value, torch.Tensor) and value.ndim == 3)
    return value[:1] if has_rows else value


def _value(value: Any) -> Hashable:
    """Equal for equal values of an argument that all rows share."""
    if isinstance(value, torch.Tensor):
        return _remembered(value, _digest)
    if isinstance(value, list) and any(each != value[0] for each in value):
        raise NotJoinableError
    return _signature(_first(value), None)


def _digest(tensor: torch.Tensor) -> Hashable:
    one = _first(tensor).detach()
    content = one.to("cpu", torch.float64).contiguous().numpy().tobytes()
    digest = hashlib.blake2b(content, digest_size=16).digest()
    return tuple(one.shape), tensor.dtype, tensor.device, digest


def _remembered(tensor: torch.Tensor, read: Callable[[torch.Tensor], Hashable]) -> Hashable:
    """What `read` makes of the values of `tensor`. A pipeline hands in the same object at every
    step, so that it is read from the device once per job: what was read is written onto the tensor,
    which is somebody else's, because there it lives just as long as the tensor does, where a table
    by `id` would mistake the next one for it. `_version` counts changes in place, after which it is
    read anew."""
    known = getattr(tensor, "_read", None)
    if known is None or known[0] != tensor._version:
        known = tensor._version, read(tensor)
        tensor._read = known  # type: ignore[attr-defined]  # kept where it lives as long
    return known[1]


def _signature(value: Any, rows: int | None) -> Hashable:
    """What has to be equal. `rows` is None where the argument carries none."""
    if isinstance(value, torch.Tensor):
        if rows is None or value.ndim == 0 or value.shape[0] != rows:
            raise NotJoinableError
        return (tuple(value.shape[1:]), value.dtype, value.device)
    if isinstance(value, Mapping):
        return tuple((name, _signature(each, rows)) for name, each in value.items())
    if isinstance(value, (list, tuple)):
        return (type(value), tuple(_signature(each, rows) for each in value))
    return (type(value), value)
