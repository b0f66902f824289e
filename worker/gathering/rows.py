"""Which arguments of a network carry rows, and how such arguments are joined and split; used by
the worker's gather, knows no greenlets and no jobs."""

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch


@dataclass(frozen=True)
class Rows:
    """The arguments of a module's forward that carry rows; the first one tells how many. All
    others are shared: calls are joined only where they are equal."""

    arguments: tuple[str, ...]
    timestep: str = "timestep"
    entries: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Of an argument that is a mapping, those that carry rows; all, if it is not named here."""
    alike: frozenset[str] = frozenset()
    """Shared arguments that are tensors: calls are joined where their values are equal."""

    @property
    def carriers(self) -> tuple[str, ...]:
        """The names of the arguments to join, the timestep among them."""
        return (*self.arguments, self.timestep)


# Joining is opt-in: a class is listed only when the equality test has proved it. Everything else
# still parks, and runs as a group of one.
JOINABLE: Mapping[str, Rows] = MappingProxyType(
    {
        "UNet2DConditionModel": Rows(
            (
                "sample",
                "encoder_hidden_states",
                "class_labels",
                "timestep_cond",
                "attention_mask",
                "encoder_attention_mask",
                "added_cond_kwargs",
                "cross_attention_kwargs",
                "down_block_additional_residuals",
                "mid_block_additional_residual",
            ),
            entries={"cross_attention_kwargs": frozenset({"gligen"})},
        ),
        "UNet2DModel": Rows(("sample", "class_labels")),
        "ControlNetModel": Rows(
            (
                "sample",
                "encoder_hidden_states",
                "controlnet_cond",
                "class_labels",
                "timestep_cond",
                "attention_mask",
                "added_cond_kwargs",
            )
        ),
        "SD3Transformer2DModel": Rows(
            (
                "hidden_states",
                "encoder_hidden_states",
                "pooled_projections",
                "block_controlnet_hidden_states",
            )
        ),
        "SD3ControlNetModel": Rows(
            ("hidden_states", "controlnet_cond", "encoder_hidden_states", "pooled_projections")
        ),
        "FluxTransformer2DModel": Rows(
            (
                "hidden_states",
                "encoder_hidden_states",
                "pooled_projections",
                "guidance",
                "controlnet_block_samples",
                "controlnet_single_block_samples",
            ),
            alike=frozenset({"img_ids", "txt_ids"}),
        ),
        "DiTTransformer2DModel": Rows(("hidden_states", "class_labels")),
    }
)


class NotJoinableError(Exception):
    """A tensor in a shared argument, or one with another number of rows."""


def normalize(rows: Rows, arguments: dict[str, Any]) -> tuple[int, Hashable]:
    """Give `arguments` one timestep per row; return the rows and what has to be equal for two
    calls to share a forward. Raises NotJoinableError."""
    lead = arguments[rows.arguments[0]]
    count = lead.shape[0]
    arguments[rows.timestep] = _timesteps(arguments[rows.timestep], lead)
    carriers = rows.carriers

    def signature(name: str, value: Any) -> Hashable:
        if name in rows.alike and isinstance(value, torch.Tensor):
            return _digest(value)
        if name in rows.entries and isinstance(value, Mapping):
            carried = rows.entries[name]
            return tuple(
                (k, _signature(v, count if k in carried else None)) for k, v in value.items()
            )
        return _signature(value, count if name in carriers else None)

    key = tuple((name, signature(name, value)) for name, value in arguments.items())
    try:
        hash(key)
    except TypeError as error:
        raise NotJoinableError from error
    return count, key


def join(values: Sequence[Any], padding: int) -> Any:
    """Row after row of every tensor in `values`, which are built alike."""
    first = values[0]
    if isinstance(first, torch.Tensor):
        rows = list(values)
        if padding:  # a real row again, which can neither overflow nor be slow
            rows.append(first[:1].expand(padding, *first.shape[1:]))
        return torch.cat(rows) if len(rows) > 1 else first
    if isinstance(first, Mapping):
        return {name: join([value[name] for value in values], padding) for name in first}
    if isinstance(first, (list, tuple)):
        return type(first)(join(each, padding) for each in zip(*values, strict=True))
    return first


def split(result: Any, rows: Sequence[int], count: int, *, clone: bool = False) -> list[Any]:
    """The part of each call in the result of a forward of `count` rows; views unless `clone`."""
    if isinstance(result, torch.Tensor):
        if result.shape[0] != count:
            raise ValueError(f"a result of {result.shape[0]} rows from a forward of {count}")
        parts = torch.split(result[: sum(rows)], list(rows))
        return [part.clone() for part in parts] if clone else list(parts)
    if isinstance(result, Mapping):  # diffusers' outputs are dicts and dataclasses at once
        fields = {name: split(each, rows, count, clone=clone) for name, each in result.items()}
        return [
            type(result)(**{name: parts[index] for name, parts in fields.items()})
            for index in range(len(rows))
        ]
    if isinstance(result, (list, tuple)):
        items = [split(each, rows, count, clone=clone) for each in result]
        return [type(result)(parts[index] for parts in items) for index in range(len(rows))]
    return [result] * len(rows)


def _timesteps(timestep: Any, lead: torch.Tensor) -> torch.Tensor:
    """One per row, in one dtype for all schedulers (int64 from DDIM, float32 from Euler). Exact:
    diffusers' own sinusoidal embedding begins with `.float()`."""
    dtype = torch.float64 if lead.dtype == torch.float64 else torch.float32
    timesteps = torch.as_tensor(timestep).to(device=lead.device, dtype=dtype)
    return timesteps.reshape(-1).expand(lead.shape[0])


def _digest(tensor: torch.Tensor) -> Hashable:
    """Equal for equal tensors. A pipeline hands in the same object at every step, so that it is
    read from the device once per job: the digest is written onto the tensor, which is somebody
    else's, because there it lives just as long as the tensor does, where a table by `id` would
    mistake the next one for it. `_version` counts changes in place, after which it is read anew."""
    known = getattr(tensor, "_digest", None)
    if known is None or known[0] != tensor._version:
        content = tensor.detach().to("cpu", torch.float64).numpy().tobytes()
        digest = hashlib.blake2b(content, digest_size=16).digest()
        known = tensor._version, (tuple(tensor.shape), tensor.dtype, tensor.device, digest)
        tensor._digest = known  # type: ignore[attr-defined]  # kept where it lives as long
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
