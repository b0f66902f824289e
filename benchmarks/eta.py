"""How far estimates of when a job will be done are off, as told when it was accepted.

    python -m benchmarks.eta [--jobs N] [--seed N] [--workers N] [--paced] [--json]

Runs a real API, Valkey and workers with the demo model; `--paced`: with a tiny one whose passes
take 30 ms and 12 more for each row, in which the CPU is free, as on a device of its own. Jobs of 4
to 50 steps and 1 to 4 pictures are sent one at a time, all at once, and at random times at shares
of what the workers get through. Prints the median and 90th percentile of |estimate - actual| /
actual, and the median of estimate / actual; actual is the time from acceptance to end.
"""

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests import tiny
from tests.deployment import ROOT, Deployment

STEPS = (4, 8, 8, 20, 20, 50)
PICTURES = (1, 1, 1, 2, 4)
LOADS = (0.5, 0.9, 1.5)
TINY = """
[[models]]
name = "emoji"
source = "tiny"
scheduler = "EulerDiscreteScheduler"
limits = { min_size = 8, max_size = 64, size_multiple = 4 }
"""
PACE = """
import sys, time
if "worker.engine" in sys.orig_argv:
    from diffusers import UNet2DConditionModel
    inner = UNet2DConditionModel.get_time_embed
    def get_time_embed(self, sample, timestep):
        time.sleep(0.03 + 0.012 * len(sample))
        return inner(self, sample, timestep)
    UNet2DConditionModel.get_time_embed = get_time_embed
    time.thread_time = time.perf_counter
"""
"""Python runs it as each process starts. The engine's own measure of a pass is the CPU's time."""
WARM_UP = 24
"""Jobs before anything is measured, so that costs and speed are known."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=60, help="of each kind of load")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--paced", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "darkroom"
        models = paced(Path(folder)) if arguments.paced else ROOT / "models.toml"
        with Deployment(place, models, serves="emoji", torch_threads=1) as darkroom:
            darkroom.start_api()
            for number in range(arguments.workers):
                darkroom.start_worker(f"worker-{number}")
            result = measure(darkroom, arguments.jobs, random.Random(arguments.seed))
    if arguments.json:
        print(json.dumps(result, indent=1))
    else:
        show(result)


def paced(folder: Path) -> Path:
    """A models.toml with a tiny model, to which engines that are started from now on give time."""
    tiny.write("sd15", folder / "tiny")
    (folder / "models.toml").write_text(TINY)
    (folder / "sitecustomize.py").write_text(PACE)
    os.environ["PYTHONPATH"] = f"{folder}:{os.environ.get('PYTHONPATH', '')}"
    return folder / "models.toml"


def measure(darkroom: Deployment, jobs: int, chance: random.Random) -> dict[str, Any]:
    """By kind of load, what was told and what came."""
    send(darkroom, wishes(WARM_UP, chance))
    time.sleep(6)  # what was learned is written every five seconds
    found = {"one at a time": send(darkroom, wishes(jobs // 3, chance), alone=True)}
    found["all at once, alike"] = send(darkroom, [wish(20, 1)] * jobs)
    began = time.monotonic()
    found["all at once, mixed"] = send(darkroom, wishes(jobs, chance))
    per_s = jobs / (time.monotonic() - began)
    for load in LOADS:
        name = f"at random times, {load:g} of what they get through"
        found[name] = send(darkroom, wishes(jobs, chance), gaps(load * per_s, chance))
    return {
        name: {"jobs": len(pairs), **errors(pairs), "pairs": pairs} for name, pairs in found.items()
    }


def wish(steps: int, pictures: int) -> dict[str, Any]:
    return {
        "model": "emoji",
        "prompt": "a red apple",
        "num_inference_steps": steps,
        "num_images": pictures,
    }


def wishes(count: int, chance: random.Random) -> list[dict[str, Any]]:
    return [wish(chance.choice(STEPS), chance.choice(PICTURES)) for _ in range(count)]


def gaps(per_s: float, chance: random.Random) -> Iterator[float]:
    """Seconds between jobs that come so often and know nothing of one another."""
    while True:
        yield chance.expovariate(per_s)


def send(
    darkroom: Deployment,
    bodies: list[dict[str, Any]],
    pauses: Iterator[float] | None = None,
    *,
    alone: bool = False,
) -> list[tuple[float, float]]:
    """Send jobs, and wait for their ends: of each the estimate and what came, in seconds."""
    told = []
    for body in bodies:
        job = darkroom.submit(**body)
        told.append(job)
        if alone:
            darkroom.finished(job["id"])
        time.sleep(next(pauses) if pauses else 0)
    return [(job["queue"]["eta_s"], took_s(darkroom, job)) for job in told if job["queue"]]


def took_s(darkroom: Deployment, job: dict[str, Any]) -> float:
    """Seconds from its acceptance to its end."""
    ended = darkroom.finished(job["id"], timeout_s=600)
    assert ended["status"] == "succeeded", ended
    began, end = (datetime.fromisoformat(ended[name]) for name in ("created_at", "finished_at"))
    return (end - began).total_seconds()


def errors(pairs: list[tuple[float, float]]) -> dict[str, float]:
    off = sorted(abs(told - came) / came for told, came in pairs)
    return {
        "actual_p50_s": round(statistics.median(came for _, came in pairs), 2),
        "error_p50": round(statistics.median(off), 2),
        "error_p90": round(off[min(int(len(off) * 0.9), len(off) - 1)], 2),
        "ratio_p50": round(statistics.median(told / came for told, came in pairs), 2),
    }


def show(result: dict[str, Any]) -> None:
    table = Table(
        "jobs sent", "how many", "took, p50", "error, p50", "error, p90", "told / took, p50"
    )
    for name, row in result.items():
        table.add_row(name, *(str(value) for key, value in row.items() if key != "pairs"))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
