"""What models can do by the class of their pipeline in diffusers; used by all processes, knows
neither diffusers nor torch."""

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any


def tasks_of(pipeline: str | None, options: Mapping[str, Any]) -> tuple[str, ...]:
    """What models of a pipeline class do; `options` are those of their index."""
    tasks = tuple(entry(pipeline).get("tasks", ()))
    if options.get("requires_aesthetics_score") is True:
        # SDXL's refiner: its network knows one size less and a score, and nothing of a beginning.
        return tuple(task for task in tasks if task == "image-to-image")
    return tasks


def refusal(pipeline: str | None) -> str | None:
    """Why models of a pipeline class cannot be run; None if they can, or nobody knows the class."""
    known = diffusers_table()["pipelines"]
    if pipeline is None or pipeline in known:
        return None
    return (
        f"the pipeline {pipeline[:80]!r} is not one of those that Darkroom can run: "
        f"{', '.join(known)}"
    )


def entry(pipeline: str | None) -> dict[str, Any]:
    """What the table says of a pipeline class; nothing of one that it does not know."""
    known: dict[str, Any] = diffusers_table()["pipelines"].get(pipeline, {})
    return known


@cache
def diffusers_table() -> dict[str, Any]:
    """What diffusers' classes can do, made by `python -m worker.loading.diffusers_table --write`:
    `pipelines` (class name -> tasks), `schedulers` (class name -> compatible class names), and of
    each what `scheduler_options` it takes and its `timestep_spacing`."""
    table = resources.files("darkroom").joinpath("diffusers_table.json")
    content: dict[str, Any] = json.loads(table.read_text())
    return content
