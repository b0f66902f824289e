"""From an idle queue to the first model call, and what a job costs Redis.

    python -m benchmarks.dispatch [--jobs N] [--json]

Runs a real API, Valkey and worker with a tiny random model on CPU and sends one job at a time.
Prints the median and 95th percentile of each leg, and the commands that clients send per job: a
script counts as one, what it does inside Redis does not; beats, bells and the rest of what runs
whether or not there are jobs are counted per second beside it.
"""

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from redis import ConnectionError, Redis
from rich.console import Console
from rich.table import Table

from darkroom.queue.connection import connect
from darkroom.queue.queue import Queue
from tests import tiny
from tests.deployment import Deployment

MODELS = """
[[models]]
name = "tiny"
source = "tiny"
defaults = { num_inference_steps = 2 }
limits = { min_size = 8, size_multiple = 4 }
"""

STANDING = frozenset(
    {
        *("beat", "blpop", "client", "exec", "hello", "hset", "multi", "pexpire", "ping"),
        *("reap", "sadd", "script", "time"),
    }
)
"""Commands that flow whether or not there are jobs: leases, bells, announcements."""


class Monitor(threading.Thread):
    """Counts the commands that clients send, scripts by their name."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(daemon=True)
        self._redis = redis
        self._names = {script.sha: name for name, script in Queue(redis)._scripts.items()}
        self.counts: Counter[str] = Counter()

    def run(self) -> None:
        with suppress(ConnectionError), self._redis.monitor() as monitor:
            for event in monitor.listen():
                if event["client_type"] == "lua":
                    continue
                words = event["command"].split(" ")
                name = words[0].lower()
                self.counts[self._names.get(words[1], name) if name == "evalsha" else name] += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), arguments.jobs)
    if arguments.json:
        print(json.dumps(result, indent=1))
    else:
        show(result)


def measure(folder: Path, jobs: int) -> dict[str, Any]:
    """Milliseconds by leg and commands by name."""
    tiny.write("sd15", folder / "tiny")
    (folder / "models.toml").write_text(MODELS)
    with Deployment(folder / "darkroom", folder / "models.toml") as darkroom:
        darkroom.start_api()
        darkroom.start_worker()
        send(darkroom, 5)
        monitor = Monitor(connect(darkroom.valkey.url))
        monitor.start()
        darkroom.until(lambda: monitor.counts, "the monitor sees commands")
        monitor.counts.clear()
        began = time.monotonic()
        legs = send(darkroom, jobs)
        seconds = time.monotonic() - began
        counts = dict(monitor.counts)
    return {
        "jobs": jobs,
        "ms": {name: quantiles(values) for name, values in legs.items()},
        "commands_per_job": {k: n / jobs for k, n in counts.items() if k not in STANDING},
        "standing_commands_per_s": {k: n / seconds for k, n in counts.items() if k in STANDING},
    }


def send(darkroom: Deployment, jobs: int) -> dict[str, list[float]]:
    """One job after another, each to its end."""
    legs: dict[str, list[float]] = {"POST": [], "submit to claim": [], "claim to pipeline": []}
    legs |= {"submit to pipeline": [], "pipeline's own set-up": []}
    for i in range(jobs):
        began = time.perf_counter()
        job = darkroom.submit(prompt=f"cat {i}")
        legs["POST"].append(time.perf_counter() - began)
        spent = darkroom.finished(job["id"])["timings"]
        legs["submit to claim"].append(spent["queued"])
        legs["claim to pipeline"].append(spent["load"])
        legs["submit to pipeline"].append(spent["queued"] + spent["load"])
        legs["pipeline's own set-up"].append(spent["encode"])
    return legs


def quantiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    p95 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    return {"p50": round(statistics.median(ordered) * 1e3, 2), "p95": round(p95 * 1e3, 2)}


def show(result: dict[str, Any]) -> None:
    console = Console()
    table = Table("leg", "p50 ms", "p95 ms", title=f"{result['jobs']} jobs, one at a time")
    for leg, values in result["ms"].items():
        table.add_row(leg, str(values["p50"]), str(values["p95"]))
    console.print(table)
    table = Table("commands", "per job", "per second")
    for name, n in sorted(result["commands_per_job"].items()):
        table.add_row(name, f"{n:.2f}", "")
    table.add_row("together", f"{sum(result['commands_per_job'].values()):.2f}", "", style="bold")
    for name, n in sorted(result["standing_commands_per_s"].items()):
        table.add_row(name, "", f"{n:.1f}")
    console.print(table)


if __name__ == "__main__":
    main()
