"""How many jobs an engine has to hold beside those under way, so that its passes stay full.

    python -m benchmarks.look_ahead [--jobs 48] [--rounds 3] [--json]

One real engine with a tiny random model on one thread of a CPU, a queue that is never empty, and a
link to Valkey that answers at once or later (`tests/chaos/proxy.py`). Short jobs of a few steps are
the hard case: a place is free every few passes. Told are the rows of a pass, in proportion to what
its places allow, and the seconds in all; the ratio of each round is taken against the most held.
"""

import argparse
import json
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from darkroom.catalog import Catalog
from darkroom.command.valkey import RedisServer
from darkroom.draft import stored
from darkroom.offers import offer
from darkroom.queue.connection import connect
from darkroom.queue.lua import Rules
from darkroom.queue.model_records import ModelRecords
from darkroom.queue.queue import Queue
from darkroom.settings import Settings
from darkroom.validation import filled_in, parse
from tests import tiny
from tests.chaos.proxy import Proxy
from worker import engine as engine_process
from worker.engine import assemble

MODELS = """
[[models]]
name = "tiny"
source = "tiny"
limits = { min_size = 8, max_size = 64, size_multiple = 4 }
"""
PLACES = 8
LOOK_AHEADS = (0.0, 0.25, 0.5, 1.0)
"""Jobs held beside those under way, for each place."""
ROUND_TRIPS_S = (0.0, 0.02)
STEPS = (2, 3, 4, 6)


def submit_all(jobs: Queue, models: Catalog, count: int) -> None:
    known = offer(models, models.find("tiny"), None)
    for index in range(count):
        body = {"prompt": "a cat", "seed": index, "num_inference_steps": STEPS[index % len(STEPS)]}
        request = filled_in(parse({**body, "width": 16, "height": 16}, known), known, None)
        jobs.submit(stored(request, known), model="tiny")


def run(folder: Path, far: Queue, near: Queue, count: int, look_ahead: float) -> dict[str, float]:
    """One engine, from its start until all is done."""
    near.redis.flushall()
    engine_process.LOOK_AHEAD = look_ahead
    settings = Settings(
        _env_file=None, state_dir=folder, models=folder / "models.toml", max_jobs=PLACES
    )
    engine = assemble(settings, far, ModelRecords(near.redis), worker="w", engine="e")
    submit_all(near, engine.catalog, count)
    thread = threading.Thread(target=engine.run, daemon=True)
    began = time.perf_counter()
    thread.start()
    while near.counters().get(("finished", "tiny", "succeeded", ""), 0) < count:
        time.sleep(0.002)
    took = time.perf_counter() - began
    engine.drain()
    thread.join()
    calls = sum(STEPS[index % len(STEPS)] for index in range(count))
    return {"seconds": took, "filled": calls / engine.gather.forwards / PLACES}


def measure(count: int, rounds: int) -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tiny.write("sd15", folder / "tiny")
        (folder / "models.toml").write_text(MODELS)
        server = RedisServer(folder / "state")
        url = server.start()
        try:
            with Proxy(lambda: url) as proxy, connect(url) as near:
                return [
                    row
                    for round_trip_s in ROUND_TRIPS_S
                    for row in _rows(proxy, folder, Queue(near), round_trip_s, count, rounds)
                ]
        finally:
            server.stop()


def _rows(
    proxy: Proxy, folder: Path, near: Queue, round_trip_s: float, count: int, rounds: int
) -> list[dict[str, Any]]:
    link = proxy.link(f"{round_trip_s}")
    link.slow(round_trip_s)
    seen: dict[float, list[dict[str, float]]] = {each: [] for each in LOOK_AHEADS}
    with connect(link.url) as redis:
        far = Queue(redis, Rules())
        for _ in range(rounds):
            for look_ahead in LOOK_AHEADS:
                seen[look_ahead].append(run(folder, far, near, count, look_ahead))
    most = seen[LOOK_AHEADS[-1]]
    return [
        {
            "round_trip_ms": 1000 * round_trip_s,
            "held_per_place": look_ahead,
            "filled": statistics.median(each["filled"] for each in found),
            "seconds": statistics.median(each["seconds"] for each in found),
            "times_the_most": statistics.median(
                one["seconds"] / other["seconds"] for one, other in zip(found, most, strict=True)
            ),
        }
        for look_ahead, found in seen.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = measure(arguments.jobs, arguments.rounds)
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    table = Table("round trip", "held per place", "passes filled", "seconds", "times the most held")
    for row in rows:
        table.add_row(
            f"{row['round_trip_ms']:.0f} ms",
            f"{row['held_per_place']:.2f}",
            f"{row['filled']:.0%}",
            f"{row['seconds']:.2f}",
            f"{row['times_the_most']:.2f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
