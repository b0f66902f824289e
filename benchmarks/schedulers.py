"""How near each noise scheduler comes to a solver of many steps, with the demo model on a CPU.

    python -m benchmarks.schedulers [--pictures FOLDER] [--only CLASS ...] [--write]

Every scheduler that the demo model offers but LCM and TCD, for which it was not made, with each
kind of sigmas and each spacing of timesteps that it takes, makes the same picture in 1 to 150
steps, from noise and from a picture at strengths of 0.02 to 1. What is measured is the mean
absolute difference, in levels of 255, to a reference: DPM++ 2M in 150 steps from the same noise
and, from a picture on, from the step whose noise is nearest. Schedulers that draw noise of their
own end elsewhere by design: theirs is the difference to the nearest of the references of four
seeds, made by DPM++ 2M and by Euler a.

The jobs run as an engine runs them: the same pipelines, joined calls. `--write` writes
darkroom/scheduler_table.json, by which requests are judged, and from how many steps on a picture
that is given changes, darkroom/scheduler_still.json; the page docs/schedulers.md is made of the
first by `make docs`. About forty minutes of a core; `--pictures` keeps the pictures in a folder
and goes on from those that are there.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product, takewhile
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from PIL import Image

from darkroom.catalog import Catalog
from darkroom.input_images import IMAGE
from darkroom.request import ImageToImage, Request, TextToImage
from darkroom.scheduler_table import ALMOST_NONE, STEPS, STILL_TABLE, STRENGTHS, TABLE, Layout
from darkroom.schedulers import SchedulerOptions
from tests.gathering import run_all, values
from worker.gathering.gather import Gather
from worker.loading.pipelines import LoadedModel, load
from worker.loading.schedulers import DISTILLED, options_of
from worker.making import tasks

ROOT = Path(__file__).parents[1]
PROMPT, SEED = "large red apple on a white background", 3
INPUT_PROMPT, INPUT_SEED = "large lemon on a blue background", 11
SIGMAS = (None, "karras", "exponential", "beta")
SPACINGS = ("linspace", "leading", "trailing")
NOISY = ("DDPMScheduler", "EulerAncestralDiscreteScheduler", "KDPM2AncestralDiscreteScheduler")
"""They draw noise of their own."""
MANY = STEPS[-1]
SOLVER = Layout("DPMSolverMultistepScheduler", None, "trailing")
NOISY_SOLVER = Layout("EulerAncestralDiscreteScheduler", None, "trailing")
OTHER_SEEDS = (4, 5, 6)
TOGETHER, AT_ONCE = 16, 64


@dataclass(frozen=True)
class Case:
    """One picture. `strength` is None for text-to-image."""

    layout: Layout
    steps: int
    strength: float | None
    seed: int = SEED

    @property
    def made(self) -> int:
        """How many of the steps are made."""
        return self.steps if self.strength is None else int(self.steps * self.strength)

    @property
    def name(self) -> str:
        strength = "text" if self.strength is None else f"{self.strength:.4f}"
        parts = (self.layout.name.replace(" ", "-"), self.steps, strength, self.seed)
        return "-".join(map(str, parts))


class Bench:
    """The demo model, and the pictures that were made with it."""

    def __init__(self, kept: Path | None = None) -> None:
        catalog = Catalog.read(ROOT / "models.toml")
        self._gather, self._kept = Gather(), kept
        self.model: LoadedModel = load(
            catalog.find("emoji"), catalog, self._gather, torch.device("cpu")
        )
        self._input: Image.Image | None = None
        begin = request(Case(SOLVER, 25, None, INPUT_SEED), INPUT_PROMPT)
        self._input = Image.fromarray(self._run({"input": begin})["input"])

    def layouts(self) -> Iterator[Layout]:
        """All that can be asked for."""
        for name in (each for each in self.model.schedulers.names if each not in DISTILLED):
            able = options_of(getattr(diffusers, name))
            for sigmas in (each for each in SIGMAS if each is None or each in able):
                for spacing in SPACINGS if "timestep_spacing" in able else (None,):
                    yield Layout(name, sigmas, spacing)

    def pictures(self, cases: Iterable[Case]) -> dict[Case, np.ndarray]:
        """float64, height x width x 3. Layouts that come to the same steps are run once."""
        alike: dict[Any, list[Case]] = {}
        for case in sorted(cases, key=lambda each: each.steps):
            alike.setdefault(self._steps(case), []).append(case)
        made = {same[0]: self._kept_picture(same) for same in alike.values()}
        todo = [case for case, picture in made.items() if picture is None]
        for i in range(0, len(todo), AT_ONCE):
            some = {case: request(case) for case in todo[i : i + AT_ONCE]}
            for case, picture in self._run(some).items():
                made[case] = picture
                if self._kept:
                    Image.fromarray(picture).save(self._file(case))
            print(f"{min(i + AT_ONCE, len(todo))} of {len(todo)}", file=sys.stderr, flush=True)
        return {case: made[same[0]].astype(float) for same in alike.values() for case in same}

    def changes(self, cases: Iterable[Case]) -> dict[Case, float]:
        """By how many levels of 255 pictures are from the one that was given."""
        given = np.asarray(self._input).astype(float)
        return {
            case: float(np.abs(made - given).mean()) for case, made in self.pictures(cases).items()
        }

    @cache  # noqa: B019  # lives as long as the program
    def noise_at_begin(self, case: Case) -> float:
        """Against the picture."""
        scheduler, skipped = self._laid_out(case), case.steps - case.made
        kept = scheduler.alphas_cumprod
        if len(sigmas := getattr(scheduler, "sigmas", ())):
            return float(sigmas[skipped * scheduler.order])
        timestep = scheduler.timesteps.unique().flip(0)[skipped]
        return float(((1 - kept[timestep]) / kept[timestep]) ** 0.5)

    def _run(self, requests: dict[Any, Request]) -> dict[Any, np.ndarray]:
        inputs = {IMAGE: self._input} if self._input else {}
        jobs = {
            key: lambda each=each: tasks.run(each, self.model, inputs).pictures[0]
            for key, each in requests.items()
        }
        with torch.no_grad():
            return values(run_all(self._gather, jobs, max_jobs=TOGETHER))

    def _laid_out(self, case: Case) -> Any:
        layout = case.layout
        scheduler = self.model.schedulers.new(layout.scheduler, _options(layout))
        scheduler.set_timesteps(case.steps)
        return scheduler

    def _steps(self, case: Case) -> tuple[Any, ...]:
        """What the picture depends on."""
        scheduler = self._laid_out(case)
        laid_out = (scheduler.timesteps, torch.as_tensor(getattr(scheduler, "sigmas", ())))
        numbers = (tuple(each.tolist()) for each in laid_out)
        return case.layout.scheduler, case.seed, case.strength is None, case.made, *numbers

    def _kept_picture(self, alike: Iterable[Case]) -> np.ndarray | None:
        files = (self._file(case) for case in alike) if self._kept else ()
        return next((np.asarray(Image.open(file)) for file in files if file.exists()), None)

    def _file(self, case: Case) -> Path:
        return (self._kept or Path()) / f"{case.name}.png"


def references(bench: Bench, case: Case) -> list[Case]:
    """What the picture of `case` may be like."""
    if case.layout.scheduler not in NOISY:
        return [_nearest(bench, case, SOLVER, SEED)]
    kinds = [(layout, seed) for layout in (SOLVER, NOISY_SOLVER) for seed in (SEED, *OTHER_SEEDS)]
    return [_nearest(bench, case, *kind) for kind in kinds]


def _nearest(bench: Bench, case: Case, layout: Layout, seed: int) -> Case:
    """With the same noise at the beginning, as nearly as there is one."""
    if case.strength is None:
        return Case(layout, MANY, None, seed)
    every = 1 if (layout, seed) == (SOLVER, SEED) else 10
    strengths = (min((made + 0.5) / MANY, 1.0) for made in range(every, MANY + 1, every))
    noise = bench.noise_at_begin(case)
    return min(
        (Case(layout, MANY, strength, seed) for strength in strengths),
        key=lambda each: abs(np.log(bench.noise_at_begin(each) / noise)),
    )


def request(case: Case, prompt: str = PROMPT) -> Request:
    """As a client's body that names no more than this becomes it."""
    fields: dict[str, Any] = {
        "model": "emoji",
        "prompt": prompt,
        "width": 64,
        "height": 64,
        "num_inference_steps": case.steps,
        "guidance_scale": 3.0,
        "scheduler": case.layout.scheduler,
        "scheduler_options": _options(case.layout),
        "seed": case.seed,
        "num_images": 1,
    }
    if case.strength is None:
        return TextToImage(task="text-to-image", **fields)
    image = "file_" + "0" * 64
    return ImageToImage(task="image-to-image", image=image, strength=case.strength, **fields)


def distances(bench: Bench, cases: Sequence[Case]) -> dict[Case, float]:
    """Levels of 255 to the reference, or the nearest of them."""
    wanted = {case: references(bench, case) for case in cases}
    made = bench.pictures({case for some in wanted.values() for case in some} | {*cases})
    return {
        case: min(float(np.abs(made[case] - made[each]).mean()) for each in some)
        for case, some in wanted.items()
    }


def measure(bench: Bench, layouts: Sequence[Layout]) -> dict[str, Any]:
    """By layout a row for each of `STEPS`: whole levels for each of `STRENGTHS`, null where no step
    is made."""
    cases = [
        case
        for steps in STEPS
        for layout in layouts
        for strength in STRENGTHS
        if (case := Case(layout, steps, strength)).made
    ]
    far = distances(bench, cases)
    table: dict[str, list[list[int | None]]] = {layout.name: [] for layout in layouts}
    for layout, steps in product(layouts, STEPS):
        row = [far.get(Case(layout, steps, strength)) for strength in STRENGTHS]
        table[layout.name].append([None if each is None else round(each) for each in row])
    return table


def measure_still(bench: Bench, layouts: Sequence[Layout]) -> dict[str, list[int]]:
    """What `scheduler_table.still` tells; no picture is made for it."""
    return {layout.name: [_still(bench, layout, steps) for steps in STEPS] for layout in layouts}


def _still(bench: Bench, layout: Layout, steps: int) -> int:
    some = (Case(layout, steps, (made + 0.5) / steps) for made in range(1, steps + 1))
    return sum(1 for _ in takewhile(lambda each: bench.noise_at_begin(each) < ALMOST_NONE, some))


def text(table: dict[str, Any]) -> str:
    """As it is committed: a layout a line, so that differences can be read."""
    return "{\n" + ",\n".join(f'"{k}": {json.dumps(v)}' for k, v in table.items()) + "\n}\n"


def _options(layout: Layout) -> SchedulerOptions:
    return SchedulerOptions(sigmas=layout.sigmas, timestep_spacing=layout.spacing)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=Path, metavar="FOLDER")
    parser.add_argument("--only", nargs="*", metavar="CLASS", default=[])
    parser.add_argument("--write", action="store_true", help=f"write {TABLE.name} anew")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    began = time.process_time()
    bench = Bench(arguments.pictures)
    layouts = [x for x in bench.layouts() if not arguments.only or x.scheduler in arguments.only]
    table = text(measure(bench, layouts))
    if arguments.write:
        TABLE.write_text(table)
        STILL_TABLE.write_text(text(measure_still(bench, layouts)))
    print(table, end="")
    print(f"{time.process_time() - began:.0f} s of CPU")


if __name__ == "__main__":
    main()
