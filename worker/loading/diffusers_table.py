"""Asks diffusers what its classes can do, for processes that have no torch.

`python -m worker.loading.diffusers_table --write` renews darkroom/diffusers_table.json; a test
compares the two.
"""

from __future__ import annotations

import argparse
import inspect
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import diffusers

from darkroom.request import Argument, needs
from darkroom.tasks import EVERY_CALL, TASKS
from worker.loading.schedulers import UNSUITABLE, compatible, options_of

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

TABLE = Path(__file__).parents[2] / "darkroom" / "diffusers_table.json"

CONTROL = {"controlnet_conditioning_scale", "control_guidance_start", "control_guidance_end"}
# These need more than a task can give, a second scheduler, which jobs would share, or change the
# network's attention while they run, and so that of every other job.
BEYOND = {"control_image", "controlnet_conditioning_scale", "prior_scheduler", "pag_scale"}
# What models of a task's own class can do besides, with the class that does it.
BESIDES = {
    "StableDiffusionGLIGENPipeline": {
        "text-to-image": "StableDiffusionPipeline",
        "image-to-image": "StableDiffusionImg2ImgPipeline",
        "inpaint": "StableDiffusionInpaintPipeline",
    },
}
# The first forgets the noise's own scale, the second scales the picture along with the noise:
# right only with schedulers that scale nothing (where the noise's scale is no computed property).
UNSCALED = {"DiTPipeline", "LDMSuperResolutionPipeline"}
# They ask their scheduler for what it takes each answer to be, which no other one tells.
CONSISTENT = {"LatentConsistencyModelPipeline", "LatentConsistencyModelImg2ImgPipeline"}
# What the table says of a call: the arguments that fields of requests need.
FIELDS = {"ip_adapter_image"} | {
    need.name
    for task in TASKS.values()
    for need in needs(task.request).values()
    if isinstance(need, Argument)
}


def table() -> dict[str, Any]:
    """Pipeline class name -> tasks, the class that does each, with and without ControlNet, the
    fields it takes; scheduler class name -> those that can take its place, its options, and how
    it spaces timesteps unless told otherwise."""
    schedulers = dict(sorted(_scheduler_classes().items()))
    return {
        "diffusers": diffusers.__version__,
        "pipelines": dict(sorted(_pipelines())),
        "schedulers": {name: compatible(cls) for name, cls in schedulers.items()},
        "scheduler_options": {name: list(options_of(cls)) for name, cls in schedulers.items()},
        "timestep_spacing": {
            name: inspect.signature(cls.__init__).parameters["timestep_spacing"].default
            for name, cls in schedulers.items()
            if "timestep_spacing" in options_of(cls)
        },
    }


def text(content: Mapping[str, Any]) -> str:
    """The table as it is committed: an entry a line, so that differences can be read."""
    lines = [f'{{\n"diffusers": {json.dumps(content["diffusers"])}']
    for part in ("pipelines", "schedulers", "scheduler_options", "timestep_spacing"):
        entries = (f"{json.dumps(k)}: {json.dumps(v)}" for k, v in content[part].items())
        lines.append(f'"{part}": {{\n' + ",\n".join(entries) + "\n}")
    return ",\n".join(lines) + "\n}\n"


def _pipelines() -> Iterator[tuple[str, dict[str, Any]]]:
    from diffusers.pipelines import auto_pipeline

    mappings = {
        "text-to-image": auto_pipeline.AUTO_TEXT2IMAGE_PIPELINES_MAPPING,
        "image-to-image": auto_pipeline.AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
        "inpaint": auto_pipeline.AUTO_INPAINT_PIPELINES_MAPPING,
    }
    for task in TASKS.values():
        for name in task.pipelines:
            classes = {task.name: name} | BESIDES.get(name, {})
            found = {each: getattr(diffusers, cls) for each, cls in classes.items()}
            yield name, _entry(name, found, {})
    families = {cls.__name__: key for each in mappings.values() for key, cls in each.items()}
    for name, key in families.items():
        offered = mappings
        if name == getattr(mappings["inpaint"].get(key), "__name__", None):
            # Such models have a network that takes the masked picture, too: good for nothing else.
            offered = {"inpaint": mappings["inpaint"]}
        plain, controlled = (
            {
                task: cls
                for task, mapping in offered.items()
                if (cls := mapping.get(each)) and does(task, cls)
            }
            for each, does in ((key, _does), (f"{key}-controlnet", _does_controlled))
        )
        if plain:
            yield name, _entry(name, plain, controlled)


def _entry(
    name: str,
    classes: Mapping[str, type[DiffusionPipeline]],
    controlled: Mapping[str, type[DiffusionPipeline]],
) -> dict[str, Any]:
    entry = {
        "tasks": list(classes),
        "classes": {task: cls.__name__ for task, cls in classes.items()},
        "controlled": {task: cls.__name__ for task, cls in controlled.items() if task in classes},
        "fields": {task: _fields(cls) for task, cls in classes.items()},
    }
    if name in UNSCALED:
        entry["schedulers"] = [
            each
            for each in compatible(diffusers.DDIMScheduler)
            if not isinstance(getattr(getattr(diffusers, each), "init_noise_sigma", None), property)
        ]
    if name in CONSISTENT:
        entry["schedulers"] = ["LCMScheduler"]
    return entry


def _does(task: str, cls: type[DiffusionPipeline]) -> bool:
    asked = _call(cls)
    built_from = inspect.signature(cls.__init__).parameters.keys()
    return (
        _needed_arguments(task) <= asked
        and "scheduler" in built_from
        and not BEYOND & (asked | built_from)
    )


def _does_controlled(task: str, cls: type[DiffusionPipeline]) -> bool:
    return _needed_arguments(task) | CONTROL <= _call(cls) and not _call(cls) & {"pag_scale"}


def _needed_arguments(task: str) -> frozenset[str]:
    return EVERY_CALL | TASKS[task].call


def _fields(cls: type[DiffusionPipeline]) -> list[str]:
    """The arguments that do something: a negative prompt does not where a second guidance, off
    unless asked for, has to bring it in."""
    second = inspect.signature(cls.__call__).parameters.get("true_cfg_scale")
    without = {"negative_prompt"} if second and second.default <= 1 else set()
    return sorted(FIELDS & _call(cls) - without)


def _call(cls: type[DiffusionPipeline]) -> set[str]:
    return set(inspect.signature(cls.__call__).parameters)


def _scheduler_classes() -> dict[str, Any]:
    """Those that a model can come with and that need no package beyond ours."""
    names = (name for name in dir(diffusers) if name.endswith("Scheduler"))
    classes = {name: getattr(diffusers, name) for name in names}
    return {
        name: cls
        for name, cls in classes.items()
        if inspect.isclass(cls)
        and issubclass(cls, diffusers.SchedulerMixin)
        and name not in UNSUITABLE
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {TABLE.name} anew")
    if parser.parse_args().write:
        TABLE.write_text(text(table()))
    else:
        print(text(table()), end="")


if __name__ == "__main__":
    main()
