"""Jobs gathered into shared passes against one job at a time, on a CPU, without Redis and HTTP.

    python -m benchmarks.gathered [--jobs 32] [--rounds 3] [--threads 1] [--json]

The network is tiny and the latents are 8x8, so that a pass costs what it costs to launch it: the
shape in which gathering matters most, as on a GPU too fast for its host. Two questions: how many
times faster do mixed jobs get through, and how long does a short job take that is sent while long
ones run, against a server that finishes its batch first. Both sides run in turn in one process;
the ratio of each round is taken, then the median of the rounds.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path

import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from darkroom.input_images import IMAGE
from darkroom.networks import stage_of
from darkroom.request import ImageToImage, TextToImage
from tests import tiny
from worker import batcher
from worker.gathering.gather import Gather
from worker.loading.pipelines import LoadedModel
from worker.loading.schedulers import Look
from worker.making import tasks

CAPS = (4, 8, 16)
SLOW = ("KDPM2", "LMS")
"""Schedulers that integrate numerically on the host, longer than this network's pass takes; no pass
can be shared for that."""
LONG, SHORT = 50, 4
"""Steps of the jobs of the second question."""
NEIGHBOURS = 7

Clock = Callable[[], float]
CLOCKS: Mapping[str, Clock] = {"cpu": time.process_time, "wall": time.perf_counter}

Jobs = Mapping[Hashable, Callable[[], object]]


class Loop:
    """The engine's loop without its queue: start what fits, run what the batcher chooses."""

    def __init__(self, gather: Gather, max_jobs: int) -> None:
        self.gather, self.max_jobs = gather, max_jobs
        self.ended: set[Hashable] = set()

    def tick(self) -> None:
        parked = dict(self.gather.parked)
        waiting = [
            batcher.Candidate(
                owner=owner,
                key=call.key,
                rows=call.rows,
                joinable=call.joinable,
                prepares=stage_of(call.module_name) is None,
            )
            for owner, call in parked.items()
        ]
        chosen = batcher.choose(waiting, max_jobs=self.max_jobs)
        self.gather.run([parked[owner] for owner in chosen])
        for ended in self.gather.take_ended():
            if ended.error is not None:
                raise ended.error
            self.ended.add(ended.owner)

    def all(self, jobs: Jobs) -> None:
        waiting = deque(jobs.items())
        while waiting or self.gather.parked:
            while waiting and self.gather.running < self.max_jobs:
                self.gather.start(*waiting.popleft())
            self.tick()


def mixed_jobs(model: LoadedModel, count: int) -> Jobs:
    """Steps 8 to 36, all schedulers but slow ones, every third without guidance, every fourth from
    an image."""
    image = Image.new("RGB", (tiny.IMAGE_SIZE, tiny.IMAGE_SIZE), "teal")
    names = [name for name in model.schedulers.names if not name.startswith(SLOW)]

    def job(index: int) -> Callable[[], object]:
        request = text_to_image(
            steps=8 + 7 * index % 29,
            scheduler=names[index % len(names)],
            guidance=1.0 if index % 3 == 0 else 7.5,
            seed=index,
        )
        if index % 4 == 0:
            fields = request.model_dump() | {"task": "image-to-image", "strength": 0.7}
            request = ImageToImage(**fields, image="file_" + "0" * 64)
        return lambda: tasks.run(request, model, {IMAGE: image})

    return {index: job(index) for index in range(count)}


def text_to_image(*, steps: int, scheduler: str, guidance: float, seed: int) -> TextToImage:
    return TextToImage(
        task="text-to-image",
        model="tiny",
        prompt="a cat",
        negative_prompt="",
        width=tiny.IMAGE_SIZE,
        height=tiny.IMAGE_SIZE,
        num_inference_steps=steps,
        guidance_scale=guidance,
        scheduler=scheduler,
        seed=seed,
        num_images=1,
    )


def throughput(model: LoadedModel, gather: Gather, jobs: int, clock: Clock) -> dict[str, float]:
    """Seconds for all the jobs, one at a time and at each max_jobs."""
    work = mixed_jobs(model, jobs)
    seconds = {"one at a time": _timed(clock, lambda: [job() for job in work.values()])}
    for max_jobs in CAPS:
        seconds[f"gathered, {max_jobs} in a pass"] = _timed(
            clock, lambda max_jobs=max_jobs: Loop(gather, max_jobs).all(work)
        )
    return seconds


class Counter:
    """Knows how far the job is that made the last step."""

    def __init__(self) -> None:
        self.step_of_last = 0

    def step(self, i: int, _n: int, _look: Look, /) -> None:
        self.step_of_last = i


def short_among_long(
    model: LoadedModel, gather: Gather, clock: Clock, *, continuous: bool
) -> float:
    """Seconds from sending a job of 4 steps, a fifth of the way through jobs of 50, to its end."""
    loop, counter = Loop(gather, NEIGHBOURS + 1), Counter()

    def job(count: int, seed: int) -> Callable[[], object]:
        request = text_to_image(
            steps=count, scheduler="DPMSolverMultistepScheduler", guidance=7.5, seed=seed
        )
        return lambda: tasks.run(request, model, {}, counter)

    for seed in range(NEIGHBOURS):
        gather.start(seed, job(LONG, seed))
    while counter.step_of_last < LONG // 5:
        loop.tick()
    sent = clock()
    while not continuous and gather.parked:
        loop.tick()
    gather.start("short", job(SHORT, NEIGHBOURS))
    while "short" not in loop.ended:
        loop.tick()
    took = clock() - sent
    while gather.parked:
        loop.tick()
    return took


def measure(jobs: int, rounds: int, clock: Clock) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        gather = Gather()
        model = tiny.load("sd15", Path(folder), gather)
        Loop(gather, 8).all(mixed_jobs(model, 8))
        runs = [throughput(model, gather, jobs, clock) for _ in range(rounds)]
        waits = [
            {
                "behind a static batch": short_among_long(model, gather, clock, continuous=False),
                "joining between steps": short_among_long(model, gather, clock, continuous=True),
            }
            for _ in range(rounds)
        ]
    return {
        "jobs": jobs,
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "throughput": _summary(runs, "one at a time", faster=True),
        "short job": _summary(waits, "behind a static batch", faster=False),
    }


def _summary(
    runs: list[dict[str, float]], baseline: str, *, faster: bool
) -> dict[str, dict[str, float]]:
    """Median seconds, and median, least and greatest ratio to the baseline of the same round:
    how many times faster, or else what part of its time."""
    summary = {}
    for name in runs[0]:
        ratios = [
            run[baseline] / run[name] if faster else run[name] / run[baseline] for run in runs
        ]
        summary[name] = {
            "seconds": statistics.median(run[name] for run in runs),
            "ratio": statistics.median(ratios),
            "least": min(ratios),
            "greatest": max(ratios),
        }
    return summary


def _timed(clock: Clock, work: Callable[[], object]) -> float:
    began = clock()
    work()
    return clock() - began


def _show(result: dict[str, object]) -> None:
    console = Console()
    titles = {
        "throughput": f"{result['jobs']} mixed jobs: seconds, and times faster",
        "short job": f"{SHORT} steps, sent while {NEIGHBOURS} jobs of {LONG} run: seconds, ratio",
    }
    for part, title in titles.items():
        table = Table("", "seconds", "ratio", "least", "greatest", title=title)
        for name, row in result[part].items():
            table.add_row(name, f"{row['seconds']:.2f}", *(f"{row[k]:.2f}" for k in _RATIOS))
        console.print(table)


_RATIOS = ("ratio", "least", "greatest")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=CLOCKS, default="cpu")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    result = measure(arguments.jobs, arguments.rounds, CLOCKS[arguments.clock])
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        _show(result)


if __name__ == "__main__":
    main()
