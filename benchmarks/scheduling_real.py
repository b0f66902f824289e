"""What the choice of who runs next does to real jobs: a real engine with the demo model on a CPU,
against the one of an earlier commit, with the same jobs, in turns.

    python -m benchmarks.scheduling_real [--before d2739ee] [--rounds 3] [--jobs 60] [--loads 1.5]
        [--paced sd15-h200]

Each engine runs in a process of its own with a Valkey of its own, one thread for torch. Load 1 is
what the engine of now did in a first burst of jobs on this machine. Ratios are now / before.

The clock is the CPU time of the engine's process, and the wall's only while the engine is idle:
jobs come by it and are timed by it, so that whoever else uses the machine changes little.

`--paced`: with a tiny model whose passes take as long as those of a model in
`scheduling_costs.json`, in which the CPU is free, and whose rows are padded as on CUDA. The clock
is then the wall's: run it on a quiet machine.
"""

import argparse
import bisect
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
COSTS = Path(__file__).with_name("scheduling_costs.json")
TINY = """
[[models]]
name = "emoji"
source = "tiny"
scheduler = "EulerDiscreteScheduler"
limits = { min_size = 8, max_size = 64, size_multiple = 4 }
"""
BURST = [(0.0, 20)] * 24
WARM_UP = [(0.0, 8)] * 12

Arrivals = Sequence[tuple[float, int]]
"""Seconds and steps of each job."""
Run = list[tuple[int, float]]
"""Steps of each job, and the seconds it took from its submission to its end."""


class Clock(threading.Thread):
    """Seconds of work of this process, its idle ones included."""

    def __init__(self, engine: Any, *, is_wall: bool) -> None:
        super().__init__(daemon=True)
        self._engine, self._is_wall = engine, is_wall
        self._walls, self._nows = [time.time()], [0.0]
        self.start()

    @property
    def now(self) -> float:
        return self._nows[-1]

    def at(self, wall: float) -> float:
        return self._nows[min(bisect.bisect_left(self._walls, wall), len(self._nows) - 1)]

    def run(self) -> None:
        spent = time.process_time()
        while True:
            time.sleep(0.003)
            wall, before, spent = time.time(), spent, time.process_time()
            follows_wall = self._is_wall or self._engine.pulse.state == "idle"
            worked = max(spent - before, wall - self._walls[-1] if follows_wall else 0.0)
            self._nows.append(self.now + worked)
            self._walls.append(wall)


def pace(folder: Path, name: str) -> Path:
    """A models.toml with a tiny model, whose passes take as long as those of `name` from now on, in
    this process."""
    import numpy as np
    import torch
    from diffusers import UNet2DConditionModel

    from tests import tiny
    from worker import device

    told = json.loads(COSTS.read_text())[name]
    ms = {told["rows_per_job"] * int(jobs): ms for jobs, ms in told["step_ms"].items()}
    embed, padded = UNet2DConditionModel.get_time_embed, device.row_counts(torch.device("cuda"))

    def get_time_embed(self: Any, sample: Any, timestep: Any) -> Any:
        time.sleep(np.interp(len(sample), list(ms), list(ms.values())) / 1000)
        return embed(self, sample, timestep)

    UNet2DConditionModel.get_time_embed = get_time_embed
    device.row_counts = lambda _: padded
    time.thread_time = time.perf_counter  # by which engines tell how long a pass took
    tiny.write("sd15", folder / "tiny")
    (folder / "models.toml").write_text(TINY)
    return folder / "models.toml"


def serve(arrivals: Arrivals, paced: str | None) -> Run:
    """Run these jobs through the engine that is imported here."""
    import torch

    from darkroom.command.valkey import RedisServer
    from darkroom.queue.connection import connect
    from darkroom.queue.model_records import ModelRecords
    from darkroom.queue.queue import Queue
    from darkroom.settings import Settings
    from worker.engine import assemble

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name, RedisServer(Path(name)) as server:
        models = pace(Path(name), paced) if paced else ROOT / "models.toml"
        settings = Settings(_env_file=None, state_dir=Path(name), models=models, max_jobs=8)
        redis = connect(server.url)
        queue, records = Queue.of(redis, settings), ModelRecords(redis)
        engine = assemble(settings, queue, records, worker="w", engine=uuid.uuid4().hex)
        thread = threading.Thread(target=engine.run, daemon=True)
        thread.start()
        clock = Clock(engine, is_wall=paced is not None)
        _submit(queue, records, engine.catalog, WARM_UP, clock)
        _ends(queue, thread)
        ids = _submit(queue, records, engine.catalog, arrivals, clock)
        _ends(queue, thread)
        jobs = {job.id: job for job in _all(queue)}
        engine.drain()
        thread.join(60)
    told = ((jobs[job_id], steps) for job_id, (_, steps) in zip(ids, arrivals, strict=True))
    return [
        (steps, clock.at(job.finished_at.timestamp()) - clock.at(job.created_at.timestamp()))
        for job, steps in told
    ]


def _submit(queue: Any, records: Any, catalog: Any, arrivals: Arrivals, clock: Clock) -> list[str]:
    from darkroom.draft import stored
    from darkroom.offers import offer
    from darkroom.validation import completed, parse

    card = catalog.find("emoji")
    terms = offer(catalog, card, records.all().get("emoji"))
    began, ids = clock.now, []
    for seed, (at, steps) in enumerate(arrivals):
        body = {"prompt": "a red apple", "num_inference_steps": steps, "seed": seed}
        request = stored(completed(parse(body, terms), terms, None), terms)
        work = _work(request, records.all().get("emoji"))
        while clock.now < began + at:
            time.sleep(0.002)
        ids.append(queue.submit(request, model="emoji", **work).job.id)
    return ids


def _work(request: Any, record: Any) -> dict[str, float]:
    """What the service tells of a job's work; the engine of before knows nothing of it."""
    try:
        from darkroom.costs import solo_s
    except ImportError:
        return {}
    return {"work_s": solo_s(request, record)}


def _ends(queue: Any, thread: threading.Thread) -> None:
    while not all(job.status.terminal for job in _all(queue)):
        assert thread.is_alive(), "the engine ended"
        time.sleep(0.1)


def _all(queue: Any) -> Iterable[Any]:
    cursor = None
    while True:
        page = queue.page(limit=100, cursor=cursor)
        yield from page.jobs
        if (cursor := page.next_cursor) is None:
            return


def in_a_process(tree: Path, arrivals: Arrivals, paced: str | None) -> Run:
    """Run these jobs through the engine of the sources in `tree`."""
    done = subprocess.run(
        [sys.executable, __file__, "--serve", *(("--paced", paced) if paced else ())],
        input=json.dumps(arrivals),
        env={**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        cwd=tree,
        capture_output=True,
        text=True,
        timeout=900,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return [tuple(each) for each in json.loads(done.stdout.splitlines()[-1])]


def numbers(run: Run, arrivals: Arrivals) -> dict[str, float]:
    took = sorted(seconds for _, seconds in run)
    ends = [at + seconds for (at, _), (_, seconds) in zip(arrivals, run, strict=True)]
    return {
        "mean s": statistics.fmean(took),
        "p95 s": took[int(0.95 * len(took))],
        "4 steps s": statistics.fmean([s for steps, s in run if steps == 4] or [0.0]),
        "makespan s": max(ends),
        "mean / makespan": statistics.fmean(took) / max(ends),
    }


def compare(
    name: str, trees: dict[str, Path], plans: Sequence[Arrivals], paced: str | None
) -> None:
    """Print what became of each plan of arrivals with each engine, and the ratios."""
    found: dict[str, list[dict[str, float]]] = {side: [] for side in trees}
    for index, plan in enumerate(plans):
        sides = list(trees)[:: 1 if index % 2 else -1]
        for side in sides:
            found[side].append(numbers(in_a_process(trees[side], plan, paced), plan))
    print(f"\n{name}, {len(plans)} rounds: medians")
    for what in found["now"][0]:
        before, now = ([each[what] for each in found[side]] for side in ("before", "now"))
        ratios = sorted(n / b for n, b in zip(now, before, strict=True) if b)
        if ratios:
            print(
                f"  {what:16} before {statistics.median(before):6.2f}  now "
                f"{statistics.median(now):6.2f}  now / before {statistics.median(ratios):.2f} "
                f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", default="d2739ee", help="the commit to compare with")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=60)
    parser.add_argument("--loads", nargs="+", type=float, default=[1.5])
    parser.add_argument("--paced", help="the model of scheduling_costs.json to be as slow as")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        from contextlib import redirect_stdout

        with redirect_stdout(sys.stderr):
            run = serve(json.load(sys.stdin), options.paced)
        print(json.dumps(run))
        return
    from benchmarks.scheduling_jobs import STEPS, WEIGHTS, drawn

    with tempfile.TemporaryDirectory() as name:
        before = Path(name) / "before"
        add = ["git", "worktree", "add", "--quiet", "--detach", str(before), options.before]
        subprocess.run(add, cwd=ROOT, check=True)
        try:
            trees = {"before": before, "now": ROOT}
            paced = options.paced
            compare("24 jobs of 20 steps at once", trees, [BURST] * options.rounds, paced)
            first = numbers(in_a_process(ROOT, BURST, paced), BURST)
            mean_steps = sum(s * w for s, w in zip(STEPS, WEIGHTS, strict=True)) / sum(WEIGHTS)
            per_s = len(BURST) / first["makespan s"] * BURST[0][1] / mean_steps
            for load in options.loads:
                plans = [drawn(load * per_s, options.jobs, seed) for seed in range(options.rounds)]
                compare(f"load {load}, {options.jobs} mixed jobs", trees, plans, paced)
        finally:
            remove = ["git", "worktree", "remove", "--force", str(before)]
            subprocess.run(remove, cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
