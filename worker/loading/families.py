"""Which pipelines of diffusers are made for the same weights, and which of them does which task;
what the table of its classes is made from, knows no model."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import diffusers

from darkroom.tasks import EVERY_CALL, TASKS
from worker.loading.editors import EDITORS

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

CONTROL = {"controlnet_conditioning_scale", "control_guidance_start", "control_guidance_end"}
# These need more than a task can give, a second scheduler, which jobs would share, or change the
# network's attention while they run, and so that of every other job.
BEYOND = {"control_image", "controlnet_conditioning_scale", "prior_scheduler", "pag_scale"}
# They make videos; or fail at each call: the inpainting of IF asks its unet for what a VAE has.
UNFIT = {"HeliosPipeline", "HeliosPyramidPipeline", "IFInpaintingPipeline"}

# Families that AutoPipeline does not know, knows in part, or knows only where some package is
# installed.
MORE: tuple[Mapping[str, str], ...] = (
    {"text-to-image": "KolorsPipeline", "image-to-image": "KolorsImg2ImgPipeline"},
    {
        "text-to-image": "ChromaPipeline",
        "image-to-image": "ChromaImg2ImgPipeline",
        "inpaint": "ChromaInpaintPipeline",
    },
    {"text-to-image": "Flux2KleinPipeline", "inpaint": "Flux2KleinInpaintPipeline"},
    {"text-to-image": "FluxKontextPipeline", "inpaint": "FluxKontextInpaintPipeline"},
    {"inpaint": "FluxFillPipeline"},
    {"image-to-image": "StableDiffusionDepth2ImgPipeline"},
    {"text-to-image": "BriaPipeline"},
    {"text-to-image": "BriaFiboPipeline"},
    {"text-to-image": "ErnieImagePipeline"},
    {"text-to-image": "HiDreamImagePipeline"},
    {"text-to-image": "HunyuanImagePipeline"},
    {"text-to-image": "Kandinsky5T2IPipeline"},
    {"text-to-image": "LongCatImagePipeline"},
    {"text-to-image": "OmniGenPipeline"},
    {"text-to-image": "SanaSprintPipeline", "image-to-image": "SanaSprintImg2ImgPipeline"},
)
# Its ControlNet is told the picture and the mask, for models that paint anew without one as well.
INPAINTING_CONTROLNETS = {
    "StableDiffusion3InpaintPipeline": "StableDiffusion3ControlNetInpaintingPipeline",
}
# What models of a task's own class can do besides, with the class that does it.
BESIDES = {
    "StableDiffusionGLIGENPipeline": {
        "text-to-image": "StableDiffusionPipeline",
        "image-to-image": "StableDiffusionImg2ImgPipeline",
        "inpaint": "StableDiffusionInpaintPipeline",
    },
}

Classes = dict[str, type["DiffusionPipeline"]]
"""The pipeline for each task."""


@dataclass(frozen=True)
class Family:
    """What models of one class can do."""

    name: str
    """The class, as their model_index.json names it."""
    plain: Classes
    controlled: Classes
    """With ControlNets."""


def families() -> Iterator[Family]:
    """One for each class that some model can be of."""
    found = {family.name: family for family in _apart_from_edits()}
    for name in EDITORS:
        found.setdefault(name, Family(name, {}, {}))
    for name, family in found.items():
        if name not in EDITORS:
            yield family
            continue
        edit = _classes({"edit": name})
        # The class of the first task is the one that a model is read with.
        drawn = "text-to-image" in family.plain
        yield replace(family, plain=family.plain | edit if drawn else edit | family.plain)


def _apart_from_edits() -> Iterator[Family]:
    for task in TASKS.values():
        for name in task.pipelines:
            yield Family(name, _classes({task.name: name} | BESIDES.get(name, {})), {})
    for names in MORE:
        for name in names.values():
            yield Family(name, _only_its_own(name, _classes(names)), {})
    yield from _auto_families()


def _auto_families() -> Iterator[Family]:
    """Those that AutoPipeline knows."""
    from diffusers.pipelines import auto_pipeline

    mappings: dict[str, Mapping[str, type[DiffusionPipeline]]] = {
        "text-to-image": auto_pipeline.AUTO_TEXT2IMAGE_PIPELINES_MAPPING,
        "image-to-image": auto_pipeline.AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
        "inpaint": auto_pipeline.AUTO_INPAINT_PIPELINES_MAPPING,
    }
    known = {name for names in MORE for name in names.values()}
    keys = {cls.__name__: key for each in mappings.values() for key, cls in each.items()}
    for name in keys.keys() - known - UNFIT:
        found: tuple[Classes, ...] = tuple(
            {
                task: cls
                for task, each in mappings.items()
                if (cls := each.get(key)) and does(task, cls)
            }
            for key, does in (
                (keys[name], _does),
                (f"{keys[name]}-controlnet", _does_controlled),
            )
        )
        plain, controlled = (_only_its_own(name, each, found[0]) for each in found)
        by_mask = INPAINTING_CONTROLNETS.get(getattr(plain.get("inpaint"), "__name__", ""))
        if by_mask and "text-to-image" in plain:
            controlled |= _classes({"inpaint": by_mask})
        if plain:
            yield Family(name, plain, {t: cls for t, cls in controlled.items() if t in plain})


def _only_its_own(name: str, classes: Classes, plain: Classes | None = None) -> Classes:
    """Models of a class for inpainting have a network that takes the masked picture, too: they are
    good for nothing else."""
    inpaints = (plain or classes).get("inpaint")
    if name != getattr(inpaints, "__name__", None):
        return classes
    return {task: cls for task, cls in classes.items() if task == "inpaint"}


def _classes(names: Mapping[str, str]) -> Classes:
    """Raises RuntimeError if one of them needs a package that is not installed: diffusers then has
    an empty class of that name."""
    found = {task: getattr(diffusers, name) for task, name in names.items()}
    for cls in found.values():
        if hasattr(cls, "_backends"):
            raise RuntimeError(f"{cls.__name__} needs {', '.join(cls._backends)}: install them")
    return found


def _does(task: str, cls: type[DiffusionPipeline]) -> bool:
    asked = call_of(cls)
    built_from = inspect.signature(cls.__init__).parameters.keys()
    return (
        _needed_arguments(task) <= asked
        and "scheduler" in built_from
        and cls.__name__ not in UNFIT
        and not BEYOND & (asked | built_from)
    )


def _does_controlled(task: str, cls: type[DiffusionPipeline]) -> bool:
    return _needed_arguments(task) | CONTROL <= call_of(cls) and not call_of(cls) & {"pag_scale"}


def _needed_arguments(task: str) -> frozenset[str]:
    return EVERY_CALL | TASKS[task].call


def call_of(cls: type[DiffusionPipeline]) -> set[str]:
    """The names of the arguments of a pipeline's call."""
    return set(inspect.signature(cls.__call__).parameters)
