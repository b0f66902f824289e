"""Asks diffusers what its classes can do, for processes that have no torch.

`python -m worker.table --write` renews darkroom/diffusers_table.json; a test compares the two.
"""

from __future__ import annotations

import argparse
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import diffusers

from worker.schedulers import NEEDS_MORE, UNSUITABLE, compatible

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

TABLE = Path(__file__).parent.parent / "darkroom" / "diffusers_table.json"

# What a pipeline's call must take to do a task.
NEEDED = {
    "text-to-image": {"prompt", "num_inference_steps", "generator", "output_type"},
    "image-to-image": {
        "prompt",
        "image",
        "strength",
        "num_inference_steps",
        "generator",
        "output_type",
    },
}
# These need more than a task can give yet, or a second scheduler, which jobs would share.
BEYOND = {"control_image", "controlnet_conditioning_scale", "prior_scheduler"}
FIELDS = {
    "prompt",
    "negative_prompt",
    "width",
    "height",
    "num_inference_steps",
    "guidance_scale",
    "strength",
    "num_images_per_prompt",
    "image",
}


def table() -> dict[str, Any]:
    """Pipeline class name -> tasks, the class that does each, the fields it takes; scheduler
    class name -> those that can take its place."""
    from diffusers.pipelines import auto_pipeline

    mappings = {
        "text-to-image": auto_pipeline.AUTO_TEXT2IMAGE_PIPELINES_MAPPING,
        "image-to-image": auto_pipeline.AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
    }
    pipelines = {}
    for name in sorted({cls.__name__ for each in mappings.values() for cls in each.values()}):
        classes = {
            task: cls
            for task, mapping in mappings.items()
            if (cls := auto_pipeline._get_task_class(mapping, name, False)) and _does(task, cls)
        }
        if classes:
            pipelines[name] = {
                "tasks": list(classes),
                "classes": {task: cls.__name__ for task, cls in classes.items()},
                "fields": {task: _fields(cls) for task, cls in classes.items()},
            }
    schedulers = {
        name: [each for each in compatible(cls) if each not in NEEDS_MORE]
        for name, cls in sorted(_scheduler_classes().items())
    }
    return {"diffusers": diffusers.__version__, "pipelines": pipelines, "schedulers": schedulers}


def text(content: Mapping[str, Any]) -> str:
    """The table as it is committed: an entry a line, so that differences can be read."""
    lines = [f'{{\n"diffusers": {json.dumps(content["diffusers"])}']
    for part in ("pipelines", "schedulers"):
        entries = (f"{json.dumps(k)}: {json.dumps(v)}" for k, v in content[part].items())
        lines.append(f'"{part}": {{\n' + ",\n".join(entries) + "\n}")
    return ",\n".join(lines) + "\n}\n"


def _does(task: str, cls: type[DiffusionPipeline]) -> bool:
    asked = inspect.signature(cls.__call__).parameters.keys()
    built_from = inspect.signature(cls.__init__).parameters.keys()
    return NEEDED[task] <= asked and "scheduler" in built_from and not BEYOND & (asked | built_from)


def _fields(cls: type[DiffusionPipeline]) -> list[str]:
    return sorted(FIELDS & inspect.signature(cls.__call__).parameters.keys())


def _scheduler_classes() -> dict[str, Any]:
    """Those that a model can come with and that need no package beyond ours."""
    names = (name for name in dir(diffusers) if name.endswith("Scheduler"))
    classes = {name: getattr(diffusers, name) for name in names}
    return {
        name: cls
        for name, cls in classes.items()
        if inspect.isclass(cls)
        and issubclass(cls, diffusers.SchedulerMixin)
        and name not in NEEDS_MORE | UNSUITABLE
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
