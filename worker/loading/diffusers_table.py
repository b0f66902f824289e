"""Asks diffusers what its classes can do, for processes that have no torch.

`python -m worker.loading.diffusers_table --write` renews darkroom/diffusers_table.json; a test
compares the two.
"""

from __future__ import annotations

import argparse
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import diffusers
from diffusers.pipelines.flux2.image_processor import Flux2ImageProcessor

from darkroom.request import Argument, needs
from darkroom.tasks import TASKS
from worker.loading.calls import defaults, guidance_argument, guided, latents, multiple, network
from worker.loading.editors import EDITORS, IMAGE_GUIDANCE
from worker.loading.families import Family, call_of, families
from worker.loading.schedulers import UNSUITABLE, compatible, options_of

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

TABLE = Path(__file__).parents[2] / "darkroom" / "diffusers_table.json"

# The first forgets the noise's own scale, the second scales the picture along with the noise:
# right only with schedulers that scale nothing (where the noise's scale is no computed property).
UNSCALED = {"DiTPipeline", "LDMSuperResolutionPipeline"}
# They ask their scheduler for what it takes each answer to be, which no other one tells.
CONSISTENT = {"LatentConsistencyModelPipeline", "LatentConsistencyModelImg2ImgPipeline"}
# Where packages are installed that are not among ours.
BEYOND_OURS = {"CosineDPMSolverMultistepScheduler"}
# What the table says of a call: the arguments that fields of requests need.
FIELDS = {"ip_adapter_image"} | {
    need.name
    for task in TASKS.values()
    for need in needs(task.request).values()
    if isinstance(need, Argument)
}


def table() -> dict[str, Any]:
    """Pipeline class name -> tasks, the class that does each, with and without ControlNet, the
    fields it takes, what it takes for those left out, of how many latents sizes are multiples,
    how many channels latents have from which image-to-image goes on, how many pictures it edits at
    once, of which shapes, into how many layers it takes one apart, its rows and calls where it is
    guided, the class of its network, whether it takes LoRAs;
    scheduler class name -> those that can take its place, its options, and how it spaces timesteps
    unless told otherwise."""
    schedulers = dict(sorted(_scheduler_classes().items()))
    known = sorted(families(), key=lambda family: family.name)
    return {
        "diffusers": diffusers.__version__,
        "pipelines": {family.name: _entry(family) for family in known},
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


def _entry(family: Family) -> dict[str, Any]:
    first = next(iter(family.plain.values()))
    entry: dict[str, Any] = {
        "tasks": list(family.plain),
        "classes": {task: cls.__name__ for task, cls in family.plain.items()},
        "controlled": {task: cls.__name__ for task, cls in family.controlled.items()},
        "fields": {task: _fields(cls) for task, cls in family.plain.items()},
        "defaults": defaults(first),
        "multiple": multiple(first),
        "guided": guided(first),
        "latents": latents(begin) if (begin := family.plain.get("image-to-image")) else None,
        "network": network(first),
        "loras": hasattr(family.plain.get("text-to-image", first), "load_lora_weights"),
    }
    if family.name in EDITORS:
        # Nobody has tried an IP-Adapter beside the pictures.
        fields = {*entry["fields"]["edit"]} - {"ip_adapter_image"}
        if call_of(family.plain["edit"]) & IMAGE_GUIDANCE:
            fields |= {"image_guidance_scale"}
        entry["fields"]["edit"] = sorted(fields)
        entry["edited"] = EDITORS[family.name].most
        if rules := _edit_rules(family.plain["edit"]):
            entry["edit_rules"] = rules
        if EDITORS[family.name].inpaints:
            entry["edits_within_mask"] = True
        if layers := inspect.signature(family.plain["edit"].__call__).parameters.get("layers"):
            entry["layers"] = layers.default
    if family.name in UNSCALED:
        entry["schedulers"] = [
            each
            for each in compatible(diffusers.DDIMScheduler)
            if not isinstance(getattr(getattr(diffusers, each), "init_noise_sigma", None), property)
        ]
    if family.name in CONSISTENT:
        entry["schedulers"] = ["LCMScheduler"]
    return entry


def _fields(cls: type[DiffusionPipeline]) -> list[str]:
    """The arguments that do something: a negative prompt does not where a second guidance, off
    unless asked for, has to bring it in."""
    call, guidance = call_of(cls), guidance_argument(cls)
    without = set() if guidance else {"guidance_scale"}
    is_asked_for = guidance != "true_cfg_scale" and "true_cfg_scale" in call
    if is_asked_for and not hasattr(cls, "do_classifier_free_guidance"):
        without |= {"negative_prompt"}
    return sorted(FIELDS & (call | {"guidance_scale"}) - without)


def _edit_rules(cls: type[DiffusionPipeline]) -> dict[str, int]:
    """The bounds of the check that a pipeline makes of each picture; none of those without one."""
    if ".check_image_input(" not in inspect.getsource(cls.__call__):
        return {}
    check = Flux2ImageProcessor.check_image_input
    bounds = inspect.signature(check).parameters
    return {
        "min_side": bounds["min_side_length"].default,
        "longest": bounds["max_aspect_ratio"].default,
    }


def _scheduler_classes() -> dict[str, Any]:
    """Those that a model can come with and that need no package beyond ours."""
    names = (name for name in dir(diffusers) if name.endswith("Scheduler"))
    classes = {name: getattr(diffusers, name) for name in names}
    return {
        name: cls
        for name, cls in classes.items()
        if inspect.isclass(cls)
        and issubclass(cls, diffusers.SchedulerMixin)
        and name not in UNSUITABLE | BEYOND_OURS
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
