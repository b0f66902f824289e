"""What passes of a model cost, as measured, and what a job therefore takes; used by all processes,
knows neither torch nor Redis.

A worker learns `Cost`s while it works and keeps them in the model's record. All that speaks of how
long something takes reads them here. What was not measured yet follows from what was, or from
`stated_s`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from darkroom.curves import Cost, Sides, curve
from darkroom.families import entry
from darkroom.hires import second_part
from darkroom.networks import main_names

if TYPE_CHECKING:
    from darkroom.model_record import ModelRecord

Enlarging = tuple[Mapping[str, Any], "ModelRecord | None"]
"""What another model does between the parts of a picture, as a request of its own, and the record
of that model."""

ENCODE: Literal["encode"] = "encode"
DECODE: Literal["decode"] = "decode"
"""What a job does before its first step and after its last one, as modules of their own; their rows
are pictures."""

MOST_COSTS = 96
"""Measurements kept of a model."""

AGEING = 3
"""1 would end nearly as first come first served, and more lets short jobs pass more long ones;
`benchmarks/scheduling.py` tried 1 to 4."""

_USUAL_STEPS = 25
_USUAL_SIDE = 512
_CALLS_A_STEP = {
    "HeunDiscreteScheduler": 2,
    "FlowMatchHeunDiscreteScheduler": 2,
    "KDPM2DiscreteScheduler": 2,
    "KDPM2AncestralDiscreteScheduler": 2,
    "DPMSolverSDEScheduler": 2,
}
"""Schedulers that call the network more than once a step."""
_GUIDED = (2, 1)
"""Rows of a picture in each call, and calls of a step, where guidance is classifier-free; of a
pipeline of which the table says no other."""


@dataclass(frozen=True)
class Work:
    """What a request asks of a model, in passes."""

    size: Sides
    images: int
    """Pictures that are made at a time."""
    rounds: int
    """How often: pictures of a deterministic job are made one by one."""
    rows: int
    """Of the job in each of its passes."""
    steps: int
    """In each round."""
    calls: int = 1
    """Of the network, for each step."""
    controls: int = 0
    """ControlNets that each of them waits for."""
    model: str | None = None
    """Who does it, where it is not the job's own model."""
    edited: int = 0
    """Pictures that it works from. How large each is when the network sees it follows from the size
    of the one that is made, but for small ones of models that leave them small."""
    layers: int = 0
    """Transparent ones that each picture is taken apart into."""

    def beside(self, module: str) -> int:
        """How many pictures a pass of `module` works on, beside the one that is made."""
        return max(self.layers - 1, 0) if module == DECODE else self.edited + self.layers

    @property
    def passes(self) -> int:
        """Of the network, in each round."""
        return self.steps * self.calls

    @classmethod
    def parts_of(
        cls,
        request: Mapping[str, Any],
        record: ModelRecord | None,
        enlarging: Enlarging | None = None,
    ) -> tuple[Work, ...]:
        """One, or two where the picture is made larger and gone on with, and between them what
        another model does."""
        first, second = cls.of(request, record), second_part(request)
        if second is None:
            return (first,)
        between = [replace(cls.of(*enlarging), model=enlarging[0]["model"])] if enlarging else []
        return (first, *between, cls.of(second, record))

    @classmethod
    def of(cls, request: Mapping[str, Any], record: ModelRecord | None) -> Work:
        """Of a request as its job keeps it; what it lacks is taken as usual for the model."""
        known, count = entry(record.pipeline if record else None), request.get("num_images") or 1
        layers = request.get("layers") or known.get("layers", 0)
        one_by_one = request.get("deterministic") or layers
        images, rounds = (1, count) if one_by_one else (count, 1)
        is_guided = (request.get("guidance_scale") or 0) > 1
        guided = known.get("guided", _GUIDED)
        rows, calls = guided if is_guided else (1, 1)
        strength = request.get("strength")
        steps = request.get("num_inference_steps") or _USUAL_STEPS
        steps = int(steps * (1.0 if strength is None else strength))
        return cls(
            size=(
                request.get("width") or (record and record.width) or _USUAL_SIDE,
                request.get("height") or (record and record.height) or _USUAL_SIDE,
            ),
            images=images,
            rounds=rounds,
            rows=images * rows,
            steps=steps,
            calls=calls * _CALLS_A_STEP.get(str(request.get("scheduler")), 1),
            controls=len(request.get("controls") or ()),
            edited=len(request.get("images") or ()),
            layers=layers,
        )


@dataclass(frozen=True)
class Takes:
    """Seconds that a job takes if nobody shares the model with it."""

    encode_s: float
    """Before its first step."""
    pass_s: float
    """For each pass, ControlNets included."""
    decode_s: float
    """After its last step."""

    @classmethod
    def of(cls, work: Work, network: str, took: Callable[[str, int], float]) -> Takes:
        """By what passes of a module take with so many rows."""
        controls = work.controls * took("controlnet", work.rows) if work.controls else 0.0
        return cls(
            encode_s=took(ENCODE, work.images),
            pass_s=took(network, work.rows) + controls,
            decode_s=took(DECODE, work.images),
        )

    def solo_s(self, work: Work) -> float:
        """All of it."""
        return work.rounds * (self.encode_s + work.passes * self.pass_s + self.decode_s)


def solo_s(
    request: Mapping[str, Any], record: ModelRecord | None, enlarging: Enlarging | None = None
) -> float:
    """Seconds that a job takes if nobody shares the model with it, from its first call to its last:
    encoding, every step, decoding. Neither loading the model nor writing the pictures counts.

    `request` is what the job keeps of it, `record` that of its model."""
    return sum(
        _part_s(part, enlarging[1] if enlarging and part.model else record)
        for part in Work.parts_of(request, record, enlarging)
    )


def is_measured(
    request: Mapping[str, Any], record: ModelRecord | None, enlarging: Enlarging | None = None
) -> bool:
    """Whether `solo_s` goes by steps of these models that were measured, at whatever size."""
    return all(
        _is_known(part, enlarging[1] if enlarging and part.model else record)
        for part in Work.parts_of(request, record, enlarging)
    )


def _is_known(work: Work, record: ModelRecord | None) -> bool:
    costs = record.costs if record else ()
    network, dtype = network_in(costs), record.dtype if record else None
    return bool(curve(costs, network, work.size, dtype, beside=work.beside(network)).points)


def _part_s(work: Work, record: ModelRecord | None) -> float:
    costs = record.costs if record else ()
    dtype = record.dtype if record else None

    def took(module: str, rows: int) -> float:
        beside = work.beside(module)
        return curve(costs, module, work.size, dtype, beside=beside).seconds(rows)

    return Takes.of(work, network_in(costs), took).solo_s(work)


def score(work_s: float, waited_s: float) -> float:
    """By what jobs are ordered, the least first: short ones before long ones, with some regard for
    how long they have waited. `lua/claim.lua` has it too."""
    return work_s**AGEING / (max(waited_s, 0.0) + work_s)


def network_in(costs: Iterable[Cost]) -> str:
    """The network that makes the prediction, by the name under which it was measured."""
    measured = {cost.module for cost in costs}
    return next((name for name in main_names() if name in measured), main_names()[0])


def most_used(costs: Iterable[Cost]) -> tuple[Cost, ...]:
    """The measurements to keep: as many as a record may hold, those of the most passes."""
    kept = sorted(costs, key=lambda cost: cost.passes, reverse=True)[:MOST_COSTS]
    return tuple(
        sorted(kept, key=lambda c: (c.module, c.width, c.height, c.beside, c.dtype, c.rows))
    )
