"""What was measured of each noise scheduler, and what a request is told of it; used by service and
worker, knows neither torch nor models.

`python -m benchmarks.schedulers --write` measures with the demo model. What it found of a
scheduler, its sigmas, the spacing of its timesteps and few steps is taken to hold for all models of
diffusion; schedulers that the demo model does not offer are not judged.
"""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any, get_args

from darkroom.errors import FieldError
from darkroom.families import diffusers_table
from darkroom.offers import Offer
from darkroom.schedulers import Sigmas, Spacing, short

TABLE = Path(__file__).with_name("scheduler_table.json")
STILL_TABLE = Path(__file__).with_name("scheduler_still.json")
STEPS = (1, 2, 3, 4, 5, 7, 10, 15, 20, 25, 50, 150)
STRENGTHS = (None, 0.02, 0.05, 0.1, 0.3, 0.5, 0.8, 1.0)
"""None: from noise."""

FAR = 26
"""Levels of 255 from the reference, in the mean of all pixels and channels: as far as reference
pictures of other seeds are from one another (15 to 37). Euler is below 15 from five steps on."""
NOISE = 60
"""From here on one step has left nearly all noise: that alone is 91 to 93 levels away."""
ALMOST_NONE = 0.05
"""Noise, as a share of the picture's own spread, that shows a picture nearly as it is: its pixels
change by 2 to 5 levels of 255, of which the autoencoder alone makes 2."""
FEW_STEPS = 8
"""Models whose card asks for no more are made for them."""
_WHOLE = 0.8
"""The share of training's timesteps that steps must reach up to."""


@dataclass(frozen=True)
class Layout:
    """A noise scheduler, by diffusers class name, and how it lays out its steps; None: it has no
    such option, or sigmas as they are."""

    scheduler: str
    sigmas: str | None
    spacing: str | None

    @property
    def name(self) -> str:
        return " ".join(filter(None, (self.scheduler, self.sigmas, self.spacing)))

    @property
    def title(self) -> str:
        """For people: `DPM++ 2M Karras with leading timesteps`."""
        spacing = f" with {self.spacing} timesteps" if self.spacing else ""
        return short(self.scheduler, self.sigmas) + spacing


def refusals(values: Mapping[str, Any], offer: Offer) -> Iterator[FieldError]:
    """Of a single step that would leave nearly all noise."""
    layout, steps = layout_of(values, offer), values.get("num_inference_steps")
    if layout is None or steps != 1 or not _is_noise(layout):
        return
    trailing = replace(layout, spacing="trailing")
    ways = [f"ask for at least {_enough(layout, 1, None)} steps"]
    if layout.spacing and trailing.name in table() and not _is_noise(trailing):
        ways.append("for timestep_spacing trailing")
    else:
        ways.append("for DPM++ 2M")
    detail = f"One step of {layout.title} leaves nearly all noise: {', or '.join(ways)}."
    yield FieldError("/num_inference_steps", detail, "out_of_range")


def warnings(values: Mapping[str, Any], offer: Offer) -> Iterator[str]:
    """Of steps that do not come near a finished picture."""
    layout, steps = layout_of(values, offer), values.get("num_inference_steps")
    strength = values.get("strength")
    if layout is None or steps is None:
        return
    if layout.spacing == "leading" and (begin := _leading(steps)) < _WHOLE:
        yield (
            f"{layout.title} in {steps} steps begins as if {1 - begin:.0%} of the noise were gone: "
            "use timestep_spacing trailing."
        )
    elif strength and _is_still(layout, steps, strength):
        yield (
            f"{layout.title} in {steps} step{'s' * (steps > 1)} at strength {strength:g} begins "
            "with almost no noise and leaves the picture nearly as it is"
            f"{_use(_livelier(layout, steps, strength))}."
        )
    elif _is_far(layout, steps, strength):
        other = _nearer(layout, steps, strength)
        if other is None and offer.steps and offer.steps <= FEW_STEPS:
            return
        enough = _enough(layout, steps, strength)
        ways = [f"at least {enough} steps"] if enough else []
        ways += [short(other.scheduler)] if other else []
        of = "" if strength is None else f" at strength {strength:g}"
        yield (
            f"{layout.title} in {steps} step{'s' * (steps > 1)}{of} is far from a finished picture"
            f"{_use(ways)}."
        )


def layout_of(values: Mapping[str, Any], offer: Offer) -> Layout | None:
    """How a request's steps are laid out; None where nobody measured it, or it is not known."""
    scheduler, options = values.get("scheduler"), values.get("scheduler_options") or {}
    known = diffusers_table()
    able = known["scheduler_options"].get(scheduler)
    if able is None or not offer.is_diffusion:
        return None
    sigmas = options.get("sigmas") or offer.sigmas
    spacing = options.get("timestep_spacing") or offer.timestep_spacing
    layout = Layout(
        scheduler=str(scheduler),
        sigmas=sigmas if sigmas in able else None,
        spacing=(spacing or known["timestep_spacing"].get(scheduler))
        if "timestep_spacing" in able
        else None,
    )
    return layout if layout.name in table() else None


@cache
def table() -> dict[str, list[list[int | None]]]:
    """By name of a layout a row for each of `STEPS`: for each of `STRENGTHS` how many levels of 255
    the picture is from the reference; None where no step is made."""
    content: dict[str, list[list[int | None]]] = json.loads(TABLE.read_text())
    return content


@cache
def still() -> dict[str, list[int]]:
    """By name of a layout, for each of `STEPS`: of so many steps, or fewer, that a strength leaves
    the first begins at less noise than `ALMOST_NONE`."""
    content: dict[str, list[int]] = json.loads(STILL_TABLE.read_text())
    return content


def layouts() -> Iterator[Layout]:
    """All that were measured."""
    for name in table():
        scheduler, *options = name.split()
        spacing = next((each for each in options if each in get_args(Spacing)), None)
        sigmas = next((each for each in options if each in get_args(Sigmas)), None)
        yield Layout(scheduler, sigmas, spacing)


def distance(layout: Layout, steps: int, strength: float | None) -> int:
    """That of the most steps measured that are no more than those asked for, and of the two
    strengths around the one asked for the worse, or of the least that makes a step; 0 if none
    does."""
    row = table()[layout.name][bisect_right(STEPS, steps) - 1]
    if strength is None:
        return row[0] or 0
    below = max(bisect_right(STRENGTHS[1:], strength), 1)
    above = bisect_left(STRENGTHS[1:], strength) + 1
    around = [each for each in row[below : above + 1] if each is not None]
    return max(around, default=next((each for each in row[above:] if each is not None), 0))


def _is_far(layout: Layout, steps: int, strength: float | None) -> bool:
    if strength is not None and int(steps * strength) == 0:
        return False
    return distance(layout, steps, strength) > FAR


def _is_still(layout: Layout, steps: int, strength: float | None) -> bool:
    """Whether a picture is given and no step changes it to speak of."""
    made, at = 0 if strength is None else int(steps * strength), bisect_right(STEPS, steps) - 1
    if not 0 < made <= still()[layout.name][at]:
        return False
    least = next((each for each in table()[layout.name][at][1:] if each is not None), 0)
    return least <= FAR  # some make a mess even of a single step at almost no noise


def _is_bad(layout: Layout, steps: int, strength: float | None) -> bool:
    return _is_still(layout, steps, strength) or _is_far(layout, steps, strength)


def _livelier(layout: Layout, steps: int, strength: float) -> Iterator[str]:
    """What would change a picture that is left nearly as it is."""
    if enough := _enough(layout, steps, strength):
        yield f"at least {enough} steps"
    if layout.spacing and not _is_bad(replace(layout, spacing="trailing"), steps, strength):
        yield "timestep_spacing trailing"
    elif other := _nearer(layout, steps, strength):
        yield short(other.scheduler)
    more = still()[layout.name][bisect_right(STEPS, steps) - 1] + 1
    if more <= steps:
        yield f"strength {ceil(100 * more / steps) / 100:g}"


def _use(ways: Iterable[str]) -> str:
    listed = " or ".join(ways)
    return f": use {listed}" if listed else ""


def _is_noise(layout: Layout) -> bool:
    return distance(layout, 1, None) > NOISE


def _enough(layout: Layout, steps: int, strength: float | None) -> int | None:
    """The least number of steps above `steps` from which on none that was measured is bad."""
    enough = None
    for more in reversed([each for each in STEPS if each > steps]):
        if _is_bad(layout, more, strength):
            break
        enough = more
    return enough


def _nearer(layout: Layout, steps: int, strength: float | None) -> Layout | None:
    """Another scheduler that does better in as many steps."""
    others = (
        Layout(name, None, layout.spacing or "trailing")
        for name in ("EulerDiscreteScheduler", "DPMSolverMultistepScheduler")
    )
    return next((each for each in others if not _is_bad(each, steps, strength)), None)


def _leading(steps: int) -> float:
    """How far up the timesteps begin that leave out what does not divide."""
    return steps * (1000 // steps) / 1000 if steps > STEPS[-1] else 1.0
