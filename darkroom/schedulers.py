"""The names that people give to schedulers, what each of them means in diffusers, and how a request
sets one up; used by all processes, knows no torch and no model."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Literal

from pydantic import Field

from darkroom.fields import Fields, Fraction

Sigmas = Literal["karras", "exponential", "beta"]
Spacing = Literal["linspace", "leading", "trailing"]

# The first of each is A1111's where it has one, after the table in diffusers' scheduler overview.
NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "DDIMScheduler": ("DDIM",),
        "DDPMScheduler": ("DDPM",),
        "DEISMultistepScheduler": ("DEIS",),
        "DPMSolverMultistepScheduler": ("DPM++ 2M", "DPMSolver++"),
        "DPMSolverSDEScheduler": ("DPM++ SDE",),
        "DPMSolverSinglestepScheduler": ("DPM++ 2S",),
        "EulerAncestralDiscreteScheduler": ("Euler a", "Euler ancestral"),
        "EulerDiscreteScheduler": ("Euler",),
        "FlowMatchEulerDiscreteScheduler": ("Flow match Euler",),
        "FlowMatchHeunDiscreteScheduler": ("Flow match Heun",),
        "FlowMatchLCMScheduler": ("Flow match LCM",),
        "HeunDiscreteScheduler": ("Heun",),
        "KDPM2AncestralDiscreteScheduler": ("DPM2 a", "DPM2 ancestral"),
        "KDPM2DiscreteScheduler": ("DPM2",),
        "LCMScheduler": ("LCM",),
        "LMSDiscreteScheduler": ("LMS",),
        "PNDMScheduler": ("PLMS", "PNDM"),
        "SASolverScheduler": ("SA Solver",),
        "TCDScheduler": ("TCD",),
        "UniPCMultistepScheduler": ("UniPC",),
    }
)
"""Short names by diffusers class name."""

SCHEDULE_TYPES: Mapping[str, str] = MappingProxyType(
    {"karras": "Karras", "exponential": "Exponential", "beta": "Beta"}
)
"""What A1111 writes as `Schedule type`, by `sigmas`."""

_LAYOUTS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        **{each: {} for each in ("", "automatic", "usesamescheduler", "uniform", "normal")},
        **{sigmas: {"sigmas": sigmas} for sigmas in SCHEDULE_TYPES},
        "sgmuniform": {"timestep_spacing": "trailing"},
    }
)
"""Options of a scheduler by the schedule types of A1111 and ComfyUI, without capitals and blanks;
none where the model has its own way."""

_SIGMAS = {"": None, "k": "karras", **{sigmas: sigmas for sigmas in SCHEDULE_TYPES}}


LONGEST_NAME = 100
"""Characters that a name can have."""


class SchedulerOptions(Fields):
    """How a noise scheduler lays out its steps; null is as the model has it."""

    sigmas: Sigmas | None = None
    """Noise levels by Karras et al. (arXiv 2206.00364), exponential, or by a beta distribution."""
    timestep_spacing: Spacing | None = None
    """Where the steps lie on the scale of training, as in Lin et al. (arXiv 2305.08891)."""
    eta: Fraction | None = None
    """How much noise each step of DDIM (none if null) or TCD (0.3 if null; its gamma, arXiv
    2402.19159) draws, as a share of what it could."""
    original_inference_steps: int | None = Field(None, ge=1, le=1000)
    """Of LCM and TCD: the steps that the model was distilled from, of which they make a few."""


def resolve(name: str) -> tuple[str, str | None] | None:
    """The diffusers class and the `sigmas` that `name` stands for: `DPM++ 2M Karras`,
    `dpmpp_2m_karras`, `k_euler_ancestral`, `DPMSolverMultistep`. Case does not matter, nor do
    spaces, hyphens and underscores. None: no such name."""
    return _meanings().get(_plain(name)) if len(name) <= LONGEST_NAME else None


def layout(schedule_type: str) -> Mapping[str, str] | None:
    """The options of a scheduler that a schedule type of A1111 or ComfyUI stands for: `Karras`,
    `sgm_uniform`. Empty for one that leaves it to the model; None: there is no such here."""
    return _LAYOUTS.get(_plain(schedule_type[:LONGEST_NAME]))


def short(class_name: str, sigmas: str | None = None) -> str:
    """A name that `resolve` understands and people know; the class name where there is none."""
    base = NAMES.get(class_name, (class_name,))[0]
    return f"{base} {SCHEDULE_TYPES[sigmas]}" if sigmas else base


def near(name: str, classes: Collection[str]) -> str | None:
    """The short name, of one of these classes, that was most likely meant by `name`."""
    if len(name) > LONGEST_NAME:
        return None
    known = {
        _plain(short(each, sigmas)): short(each, sigmas)
        for each in classes
        for sigmas in (None, *SCHEDULE_TYPES)
    }
    close = difflib.get_close_matches(_plain(name), known, 1, 0.6)
    return known[close[0]] if close else None


@functools.cache
def _meanings() -> Mapping[str, tuple[str, str | None]]:
    names = {
        form: class_name
        for class_name, given in NAMES.items()
        for form in (*map(_plain, given), *_class_forms(class_name))
    }
    names |= {f"k{name}": cls for name, cls in names.items() if f"k{name}" not in names}
    return {
        name + ending: (class_name, sigmas)
        for name, class_name in names.items()
        for ending, sigmas in _SIGMAS.items()
    }


def _class_forms(class_name: str) -> list[str]:
    """`heundiscretescheduler` and `heundiscrete`."""
    return [_plain(class_name), _plain(class_name.removesuffix("Scheduler"))]


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name.lower().replace("++", "pp"))
