"""`darkroom generate --grid`: a picture for each combination of values, with progress over all; a
client, no more."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from darkroom.batch import Batch, BatchJob
from darkroom.client.client import Client
from darkroom.command.generate import GenerateError, check_target, ctrl_c, display, write
from darkroom.command.wish import named, unused_path, value_of
from darkroom.images import SUFFIXES
from darkroom.job import ImageRecord
from darkroom.text import plain

_NO_WORD = re.compile(r"[^\w.]+")
LONGEST_VALUE = 40
"""Characters of a value in the name of a file."""


def read_grid(options: Sequence[str]) -> dict[str, list[Any]]:
    """`seed=1,2,3` or, for values with commas, a JSON list: `prompt=["a, b", "c"]`.

    Raises ValueError."""
    grid: dict[str, list[Any]] = {}
    for each in options:
        field, given, values = each.partition("=")
        if not given or not field:
            raise ValueError(f"--grid is FIELD=VALUE,VALUE,..., such as seed=1,2,3, not {each!r}")
        if field in grid:
            raise ValueError(f"--grid {field} is given twice")
        listed = value_of(values) if values.startswith("[") else None
        parts = values.split(",")
        grid[field] = listed if isinstance(listed, list) else [value_of(part) for part in parts]
    return grid


def make_sweep(
    client: Client,
    body: Mapping[str, Any],
    grid: Mapping[str, Any],
    output: str | None,
    console: Console,
) -> tuple[Batch, list[str]]:
    """Submit, follow, fetch and write into a folder; returns the names of the files. Interrupted by
    Ctrl-C it cancels all that has not ended and goes on with KeyboardInterrupt.

    Raises DarkroomError, once all pictures that there are were written, if some job has none."""
    folder = _folder(output)
    batch = client.submit_batch({**body, "grid": grid})
    try:
        batch = _follow(client, batch, console)
    except KeyboardInterrupt:
        batch = client.cancel_batch(batch.id)
        console.print(f"{batch.id} canceled")
        raise
    for warning in dict.fromkeys(warning for job in batch.jobs for warning in job.warnings):
        console.print(f"Warning: {plain(warning)}")
    made = [job for job in batch.jobs if job.images]
    files = [file for job in made for file in _fetch(client, batch, job, folder)]
    if failed := [job for job in batch.jobs if not job.images]:
        raise GenerateError(_told(failed, len(batch.jobs), files))
    return batch, files


def foreseen(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a dry run says of all jobs together, in rows."""
    jobs = told["jobs"]
    etas = [each["eta_s"] for each in jobs]
    warnings = dict.fromkeys(warning for each in jobs for warning in each["warnings"])
    rows = [
        ("jobs", str(len(jobs))),
        ("seconds of work", f"{told['work_s']:.1f}"),
        ("done in seconds", "" if None in etas else f"{max(etas):.1f}"),
        ("jobs before them", str(jobs[0]["position"])),
        *((f"warning {n}", each) for n, each in enumerate(warnings, 1)),
    ]
    return [row for row in rows if row[1]]


def _folder(output: str | None) -> Path:
    """Where the files go. Raises GenerateError unless they can be written there."""
    if output == "-" or (output and not output.endswith("/") and not Path(output).is_dir()):
        raise GenerateError(
            f"--output {output}: a grid makes several pictures; name a folder, with / at its end"
        )
    check_target(output)
    return Path(output or ".")


def _follow(client: Client, batch: Batch, console: Console) -> Batch:
    with ctrl_c() as stop_if_pressed, display(console) as show:
        for state in client.follow_batch(batch.id):
            stop_if_pressed()
            batch, counts = state, state.counts
            waits = counts.queued + counts.running
            ended = len(batch.jobs) - waits
            stage = f"{ended} of {len(batch.jobs)} done, {counts.running} running"
            show.update(stage, ended / len(batch.jobs), at_once=not waits)
    return batch


def _fetch(client: Client, batch: Batch, job: BatchJob, folder: Path) -> Iterator[str]:
    """Write the pictures of a job; goes on with the name of each file."""
    whole = client.job(job.id)
    for image in whole.kept:
        name = "_".join(_parts(batch, job, whole.request, image))
        file = unused_path(folder / f"{name}{SUFFIXES[image.format]}")
        yield write(client.image(image.id), file, whole.id)


def _parts(
    batch: Batch, job: BatchJob, request: Mapping[str, Any], image: ImageRecord
) -> Iterator[str]:
    """What the name of a file is put together from: prompt, coordinates and seed."""
    grid, at = batch.grid or {}, job.at or {}
    if "prompt" not in grid:
        yield named(request.get("prompt", ""))
    for field, values in grid.items():
        if field != "seed":
            value = values[at[field]]
            text = value if isinstance(value, str) else json.dumps(value)
            plain_text = _NO_WORD.sub("-", text).strip("-.")
            yield f"{field}-{plain_text[:LONGEST_VALUE]}"
    yield f"seed-{image.seed}"


def _told(failed: Sequence[BatchJob], size: int, files: Sequence[str]) -> str:
    lines = [f"{len(failed)} of {size} jobs have no picture; {len(files)} files were written."]
    for job in failed:
        why = f": {job.error.message} ({job.error.code})" if job.error else ""
        lines.append(plain(f"{job.id} {job.status or 'was deleted'}{why}"))
    return "\n".join(lines)
