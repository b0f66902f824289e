"""The table of families of docs/models.md, from the table of diffusers' classes."""

from collections.abc import Iterator
from typing import Any

SHORT = {"text-to-image": "text", "image-to-image": "image"}
ALONE = ("`ZImageOmni`",)
"""Calls a network that can be joined with lists of lists, which cannot."""


def of_families() -> dict[str, str]:
    """What each pipeline class does, whether its jobs share passes, what it takes by default."""
    from darkroom.families import diffusers_table
    from worker.gathering.joinable import JOINABLE

    head = ["class of the pipeline", "tasks", "joined", "steps", "guidance", "size"]
    rows = [f"| {' | '.join(head)} |", "| --- | --- | --- | --- | --- | --- |"]
    for names, can in _families(diffusers_table()["pipelines"]):
        own = can["defaults"]
        tasks = ", ".join(
            f"{SHORT.get(task, task)}{' (ControlNet)' * (task in can['controlled'])}"
            for task in can["tasks"]
        )
        size = f"{own['width']} x {own['height']}" if "width" in own else "its network's"
        joined = "yes" if can["network"] in JOINABLE and names not in ALONE else "no"
        numbers = (own.get(each, "") for each in ("num_inference_steps", "guidance_scale"))
        cells = (names, tasks, joined, *map(_plain, numbers), size)
        rows.append(f"| {' | '.join(cells)} |")
    return {"families": "\n".join(rows) + "\n"}


def _families(pipelines: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Classes that differ in nothing share a row."""
    same: dict[str, list[str]] = {}
    for name, can in pipelines.items():
        same.setdefault(repr(can), []).append(name)
    for names in same.values():
        yield ", ".join(f"`{name.removesuffix('Pipeline')}`" for name in names), pipelines[names[0]]


def _plain(number: float | str) -> str:
    return f"{number:g}" if isinstance(number, float) else str(number)
