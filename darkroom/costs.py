"""What passes of a model cost, as measured, and what a job therefore takes; used by all processes,
knows neither torch nor Redis.

A worker learns `Cost`s while it works and keeps them in the model's record. All that speaks of how
long something takes reads them here. What was not measured yet follows from what was, or from
`stated_s`.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from darkroom.families import entry
from darkroom.hires import second_part
from darkroom.networks import main_names

if TYPE_CHECKING:
    from darkroom.offers import ModelRecord

Sides = tuple[int, int]
"""Width and height in pixels."""
Enlarging = tuple[Mapping[str, Any], "ModelRecord | None"]
"""What another model does between the parts of a picture, as a request of its own, and the record
of that model."""

ENCODE: Literal["encode"] = "encode"
DECODE: Literal["decode"] = "decode"
"""What a job does before its first step and after its last one, as modules of their own; their rows
are pictures."""

UNSURE = 3
"""Passes that a measurement must have seen: the first ones may have warmed something up."""
WEIGHT = 0.1
"""How much the newest pass counts in the running mean, once there are many."""
OUTLIER = 2.0
"""A pass counts as no more than so many times the mean: somebody else had the machine."""
MOST_COSTS = 96
"""Measurements kept of a model."""

AGEING = 3
"""1 would end nearly as first come first served, and more lets short jobs pass more long ones;
`benchmarks/scheduling.py` tried 1 to 4."""

_SQUARE = 512 * 512
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


class Cost(BaseModel):
    """What passes of one kind took."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    module: str
    """The network, such as `unet`; `encode` and `decode` are all that a job does before its first
    step and after its last one."""
    width: int
    """Of the pictures, in pixels."""
    height: int
    """Of the pictures, in pixels."""
    dtype: str
    """The numbers that the model's weights are kept in."""
    rows: int
    """Rows that shared the pass: one for each picture, and one more for each that is guided. Of
    `encode` and `decode`, pictures of the job."""
    seconds: float
    """A running mean."""
    passes: int
    """How many it saw."""

    def seen(self, seconds: float) -> Cost:
        """With one pass more. The first ones can only be too slow, so that the fastest counts."""
        passes = self.passes + 1
        if passes <= UNSURE:
            mean = min(self.seconds, seconds)
        else:
            weight = max(1 / passes, WEIGHT)
            mean = self.seconds + weight * (min(seconds, OUTLIER * self.seconds) - self.seconds)
        return self.model_copy(update={"seconds": mean, "passes": passes})

    def doubted(self) -> Cost:
        """As if it had not been seen often enough to be sure: it is tried again, and what that
        takes counts if it is less. If it is more, more passes will show."""
        return self.model_copy(update={"passes": min(self.passes, UNSURE - 1)})


def stated_s(pixels: int, rows: int) -> float:
    """Seconds of a pass of which nothing is known: a tenth for one row of 512 x 512, half of which
    more rows share."""
    return 0.05 + 0.05 * rows * pixels / _SQUARE


@dataclass(frozen=True)
class Curve:
    """Seconds of a pass by its rows, for one module at one size. More rows never cost less."""

    pixels: int
    points: tuple[tuple[int, float, bool], ...] = ()
    """Rows, seconds, whether that is sure; rows ascending, seconds never falling."""

    @classmethod
    def through(cls, costs: Iterable[Cost], pixels: int) -> Curve:
        """The curve of measurements that differ in rows alone. What takes longer than more rows do
        was measured badly: nothing makes a pass too fast."""
        least, points = math.inf, []
        for cost in sorted(costs, key=lambda cost: cost.rows, reverse=True):
            least = min(least, cost.seconds)
            points.append((cost.rows, least, cost.passes >= UNSURE))
        return cls(pixels, tuple(reversed(points)))

    def seconds(self, rows: int) -> float:
        """As measured; in between on a line, beyond in the proportions of `stated_s`."""
        at = bisect.bisect_left(self.points, rows, key=lambda point: point[0])
        if at < len(self.points) and self.points[at][0] == rows:
            return self.points[at][1]
        if 0 < at < len(self.points):
            (fewer, low, _), (more, high, _) = self.points[at - 1], self.points[at]
            return low + (high - low) * (rows - fewer) / (more - fewer)
        if not self.points:
            return stated_s(self.pixels, rows)
        known, took, _ = self.points[min(at, len(self.points) - 1)]
        return took * stated_s(self.pixels, rows) / stated_s(self.pixels, known)

    def hoped_s(self, rows: int) -> float:
        """As `seconds`, but a number of rows that is not known well is taken to cost no more than
        the next smaller one that is, so that it is tried."""
        sure = [took for count, took, is_sure in self.points if is_sure and count <= rows]
        return sure[-1] if sure else self.seconds(rows)

    def at(self, pixels: int) -> Curve:
        """What it is likely to be at another size."""
        most, points = 0.0, []
        for rows, took, _ in self.points:
            most = max(most, took * stated_s(pixels, rows) / stated_s(self.pixels, rows))
            points.append((rows, most, False))
        return Curve(pixels, tuple(points))


def curve(costs: Iterable[Cost], module: str, size: Sides, dtype: str | None = None) -> Curve:
    """What passes of `module` cost at `size`: as measured there or, where nothing was, as follows
    from the nearest size. `dtype` None: any."""
    pixels = size[0] * size[1]
    fitting = [cost for cost in costs if cost.module == module and dtype in (None, cost.dtype)]
    if not fitting:
        return Curve(pixels)

    def distance(cost: Cost) -> tuple[float, bool]:
        """In pixels; of the same number, first the same sides."""
        far = abs(math.log(cost.width * cost.height / pixels))
        return far, (cost.width, cost.height) != size

    nearest = min(fitting, key=distance)
    same = [c for c in fitting if (c.width, c.height) == (nearest.width, nearest.height)]
    found = Curve.through(same, nearest.width * nearest.height)
    return found if found.pixels == pixels else found.at(pixels)


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
        count = request.get("num_images") or 1
        images, rounds = (1, count) if request.get("deterministic") else (count, 1)
        is_guided = (request.get("guidance_scale") or 0) > 1
        guided = entry(record.pipeline if record else None).get("guided", _GUIDED)
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


def _part_s(work: Work, record: ModelRecord | None) -> float:
    costs = record.costs if record else ()
    dtype = record.dtype if record else None

    def took(module: str, rows: int) -> float:
        return curve(costs, module, work.size, dtype).seconds(rows)

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
    return tuple(sorted(kept, key=lambda c: (c.module, c.width, c.height, c.dtype, c.rows)))
