"""What early pictures cost a job: jobs that show them and jobs that do not, in turns.

    python -m benchmarks.previews [--pairs 20] [--steps 25] [--every 1] [--device cpu]

The demo model, without Redis and HTTP. Both jobs of a pair have the same seed. What is compared is
CPU time of the whole process, with that of the thread that encodes, and beside another device than
the CPU also the time until the job has ended; the ratio of each pair is taken, then the median of
the pairs. As a share this is the worst case: the model is tiny, and a preview costs the same beside
a large one.
"""

import argparse
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from darkroom.catalog import Catalog
from darkroom.request import TextToImage
from worker.gathering.gather import Gather
from worker.loading import pipelines
from worker.loading.pipelines import LoadedModel
from worker.loading.preview_colours import colours
from worker.loading.schedulers import NOBODY, Look
from worker.making import tasks
from worker.news import EVERY_S
from worker.previews import Previews

PROMPT = "a large red apple on a blue background"


class Listener:
    """A job that shows early pictures."""

    def __init__(self, previews: Previews) -> None:
        self.previews, self.taken, self.bytes = previews, 0, 0
        self.over = threading.Event()

    def step(self, i: int, n: int, look: Look, /) -> None:
        self.previews.see(i, n, look)

    def begins(self, part: int, /) -> None:
        """It has no parts."""

    def take(self) -> None:
        """What the thread does that tells of jobs, as often as it does."""
        while not self.over.wait(EVERY_S):
            if early := self.previews.take():
                self.taken, self.bytes = self.taken + 1, self.bytes + len(early.data)


@contextmanager
def listening(previews: Previews) -> Iterator[Listener]:
    listener = Listener(previews)
    thread = threading.Thread(target=listener.take)
    thread.start()
    try:
        yield listener
    finally:
        listener.over.set()
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    catalog = Catalog.read(Path("models.toml"))
    card = catalog.find("emoji")
    model = pipelines.load(card, catalog, Gather(), torch.device(asked.device))
    began = time.process_time()
    found = colours(model.components["vae"], asked.device)
    print(f"the colours of the model: {time.process_time() - began:.3f} s, once")
    ratios: dict[str, list[float]] = {"CPU time": []}
    if asked.device != "cpu":
        ratios["time"] = []
    taken, sizes = 0, 0
    with torch.no_grad():
        _seconds(model, asked.steps, 0, None)  # the first is slower
        for seed in range(asked.pairs):
            plain = _seconds(model, asked.steps, seed, None)
            with listening(Previews(found, (64, 64), every=asked.every)) as listener:
                shown = _seconds(model, asked.steps, seed, listener)
            for name, each in ratios.items():
                each.append(shown[name] / plain[name])
            taken, sizes = taken + listener.taken, sizes + listener.bytes
    print(
        f"{taken / asked.pairs:.1f} early pictures a job of {asked.steps} steps, "
        f"{sizes / max(taken, 1):.0f} bytes each"
    )
    for name, each in ratios.items():
        low, median, high = statistics.quantiles(each, n=4)
        print(
            f"{name} {100 * (median - 1):+.1f} % "
            f"(quartiles {100 * (low - 1):+.1f}, {100 * (high - 1):+.1f})"
        )
    print(f"the part of an early picture: {1000 * _alone(found):.2f} ms of CPU time")


def _seconds(
    model: LoadedModel, steps: int, seed: int, listener: Listener | None
) -> dict[str, float]:
    """What one job takes. Its picture is on the host when it has ended, whatever the device."""
    request = TextToImage(
        task="text-to-image",
        model="emoji",
        prompt=PROMPT,
        width=64,
        height=64,
        num_inference_steps=steps,
        guidance_scale=3.0,
        scheduler="DPMSolverMultistepScheduler",
        seed=seed,
        num_images=1,
    )
    began, cpu_began = time.perf_counter(), time.process_time()
    tasks.run(request, model, {}, listener or NOBODY)
    return {"CPU time": time.process_time() - cpu_began, "time": time.perf_counter() - began}


def _alone(found: tuple[tuple[float, ...], ...], size: tuple[int, int] = (1024, 1024)) -> float:
    """CPU seconds of one early picture of a job of this size, from latents an eighth of it."""
    previews = Previews(found, size, every=1)
    latents = torch.randn(1, len(found[0]) - 1, size[1] // 8, size[0] // 8)
    seconds = []
    for _ in range(30):
        began = time.process_time()
        previews.see(1, 2, lambda: latents)
        previews.take()
        seconds.append(time.process_time() - began)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
