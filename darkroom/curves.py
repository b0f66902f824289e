"""What passes of a network take by how many rows share them, as measured; used by all processes,
knows neither torch nor requests."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

Sides = tuple[int, int]
"""Width and height in pixels."""

UNSURE = 3
"""Passes that a measurement must have seen: the first ones may have warmed something up."""
WEIGHT = 0.1
"""How much the newest pass counts in the running mean, once there are many."""
OUTLIER = 2.0
"""A pass counts as no more than so many times the mean: somebody else had the machine."""

_SQUARE = 512 * 512


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
    beside: int = 0
    """How many pictures of about that size it works on at once, beside the one that is made: those
    that are edited, layers."""
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


def curve(
    costs: Iterable[Cost], module: str, size: Sides, dtype: str | None = None, *, beside: int = 0
) -> Curve:
    """What passes of `module` cost at `size` with so many pictures `beside`: as measured there or,
    where nothing was, as follows from what had most nearly as many pixels in all. `dtype` None:
    any."""
    pixels = size[0] * size[1] * (1 + beside)
    fitting = [cost for cost in costs if cost.module == module and dtype in (None, cost.dtype)]
    if not fitting:
        return Curve(pixels)

    def extent(cost: Cost) -> tuple[int, int, int]:
        return cost.width, cost.height, cost.beside

    def distance(cost: Cost) -> tuple[float, bool]:
        """In pixels; of the same number, first the same sides."""
        far = abs(math.log(math.prod(extent(cost)[:2]) * (1 + cost.beside) / pixels))
        return far, extent(cost) != (*size, beside)

    nearest = min(fitting, key=distance)
    same = [cost for cost in fitting if extent(cost) == extent(nearest)]
    found = Curve.through(same, nearest.width * nearest.height * (1 + nearest.beside))
    return found if found.pixels == pixels else found.at(pixels)
