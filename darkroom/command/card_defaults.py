"""The settings that a card is written with: those of a family, and of what its name says was
distilled to need few steps; of the command line only.

Names are all that tells the latter: the weights look like any others. Settings are those of
docs/schedulers.md, of merges without a number of steps those in common use.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from darkroom.command.finds import Find
from darkroom.command.presets import FAMILIES
from darkroom.few_steps import may_need_few, steps_said
from darkroom.file_families import fits

_TRAILING = {"timestep_spacing": "trailing"}


@dataclass(frozen=True)
class Kind:
    """A way to distil a model of diffusion."""

    title: str
    pattern: str
    """How it stands in names."""
    scheduler: str
    steps: int
    """Where the name does not say it."""
    options: Mapping[str, Any] = field(default_factory=dict)
    guidance: float = 0.0
    """With the steps that the name says."""
    merged: float = 1.5
    """Guidance where it says none, as merges with other models have it."""


_KINDS = (
    Kind("LCM", r"LCM|(?<![a-zA-Z])lcm(?![a-z])", "LCM", 6, guidance=1.5),
    Kind("TCD", r"TCD|(?<![a-zA-Z])tcd(?![a-z])", "TCD", 8, merged=0.0),
    Kind(
        "DMD2",
        r"DMD|(?<![a-zA-Z])dmd2?(?![a-z])",
        "LCM",
        4,
        {"original_inference_steps": 4},
        merged=0.0,
    ),
    Kind("Lightning", r"(?i:lightning)", "Euler", 6, _TRAILING),
    Kind("Hyper-SD", r"(?i:hyper)(?![a-z])(?!(?i:[-_ ]?real))", "DDIM", 6, _TRAILING),
    Kind("Turbo", r"(?i:turbo)", "Euler a", 6, _TRAILING),
)
"""Those first whose scheduler no other can stand in for."""
_SD_TURBO = re.compile(r"sd[-_]?(xl?)?[-_]?turbo", re.IGNORECASE)
"""Turbo as its authors made it, for one step of 512 x 512."""
_FAST_FLOW = re.compile(r"turbo|lightning|hyper|lcm|dmd|schnell|flash", re.IGNORECASE)
_OF_FLOWS = {"flux-dev": 3.5, "z-image": 0.0}
"""Guidance of distilled rectified flows: what it is told, or none."""
_UNETS = ("sd1", "sd2", "sdxl")


def of_model(find: Find) -> tuple[dict[str, Any], list[str]]:
    """Fields of a card for a new model, and what a comment says of them."""
    name, family = _names(find), find.families[0] if find.families else ""
    known = FAMILIES[family].card if family in FAMILIES else {}
    if few := _distilled(name, family):
        if find.size is None:  # a folder has its own noise scheduler
            few = {each: few[each] for each in few if not each.startswith("scheduler")}
        return {**known, **few}, [
            "By its name it was distilled to need few steps, which these settings are for. Where",
            "its page says others, those are right.",
        ]
    if may_need_few(name) and family != "flux-schnell":
        return dict(known), [
            "Its name sounds as if it needed few steps: try 4 to 8 and a guidance_scale of 1 to 2."
        ]
    return dict(known), []


def of_lora(find: Find) -> dict[str, Any]:
    """The `defaults` of a LoRA that was distilled. Words that styles have in their names, such as
    lightning, count only where it says the steps as well. Empty: it is none, or what it needs
    cannot be asked for."""
    name, family = _names(find), find.families[0] if find.families else ""
    steps = steps_said(name)
    if not fits(_UNETS, family):
        few: dict[str, Any] = _of_flow(name, family).get("defaults", {})
        return few if steps else {}
    kind = _kind(name)
    if kind is None or steps == 1 or not (steps or kind.title in ("LCM", "TCD", "DMD2")):
        return {}
    few = {"num_inference_steps": steps or kind.steps, "guidance_scale": kind.guidance}
    return {**_scheduled(kind), **few}


def _names(find: Find) -> str:
    """What a file is called, from without and within."""
    return f"{find.stem} {find.titles}"


def _distilled(name: str, family: str) -> dict[str, Any]:
    if not fits(_UNETS, family):
        return _of_flow(name, family)
    kind, steps = _kind(name), steps_said(name)
    if kind is None or steps == 1:
        return {}
    if kind.title == "Turbo" and _SD_TURBO.match(name):
        size = {"width": 512, "height": 512}
        few = {"num_inference_steps": 1, "guidance_scale": 0.0, **size}
        limits = {"min_size": 256, "max_size": 1024, "max_steps": 8}
        return {**_scheduled(kind), "defaults": few, "limits": limits}
    guidance = kind.merged if steps is None else kind.guidance
    few = {"num_inference_steps": steps or kind.steps, "guidance_scale": guidance}
    return {**_scheduled(kind), "defaults": few}


def _kind(name: str) -> Kind | None:
    if "cfg" in name.lower():  # distilled with guidance, of which names do not say how much
        return None
    return next((kind for kind in _KINDS if re.search(kind.pattern, name)), None)


def _scheduled(kind: Kind) -> dict[str, Any]:
    options = {"scheduler_options": dict(kind.options)} if kind.options else {}
    return {"scheduler": kind.scheduler, **options}


def _of_flow(name: str, family: str) -> dict[str, Any]:
    """Of rectified flows, which keep their own scheduler."""
    steps = steps_said(name)
    is_known = family not in ("", "flux-schnell")
    is_klein = family == "flux2-klein" and "base" not in name.lower()
    if not is_known or not (steps or is_klein or _FAST_FLOW.search(name)):
        return {}
    usual = {"z-image": 9, "flux2-klein": 4, "sd35-large": 4}.get(family, 8)
    guidance = _OF_FLOWS.get(family, 1.0)
    return {"defaults": {"num_inference_steps": steps or usual, "guidance_scale": guidance}}
