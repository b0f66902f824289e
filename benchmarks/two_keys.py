"""How long five jobs of one key take beside another key's 500, against an idle service.

    python -m benchmarks.two_keys [--rounds N] [--weight N] [--max-jobs N] [--paced] [--json]

Runs a real API, Valkey and a worker with the demo model; `--paced`: with a tiny one, as
`benchmarks.eta` has it, whose passes take 30 ms and 12 more for each row, in which the CPU is free.
All jobs are alike, 20 steps of one picture; seconds are from the acceptance of the first of the
five to the end of the last. `--weight`: that of the key with five.
"""

import argparse
import json
import statistics
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.eta import WARM_UP, paced
from darkroom.api_keys import SCOPES, USUAL_SCOPES, Limits, Scope, Token, new_key
from darkroom.queue import api_keys
from darkroom.queue.exchange import Client
from darkroom.queue.lua import PLAIN_RULES, scripts
from tests.deployment import ROOT, Deployment

GREEDY, MODEST = 500, 5
BETWEEN_S = 5.0
"""Between two rounds beside the greedy key: several jobs long."""
BODY = {"model": "emoji", "prompt": "a red apple", "num_inference_steps": 20}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--weight", type=int)
    parser.add_argument("--max-jobs", type=int, default=8, help="jobs that may share a pass")
    parser.add_argument("--paced", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        models = paced(Path(folder)) if arguments.paced else ROOT / "models.toml"
        settings = {"serves": "emoji", "torch_threads": 1, "max_queued": 2000, "keys": "on"}
        settings["max_jobs"] = arguments.max_jobs
        with Deployment(Path(folder) / "darkroom", models, **settings) as darkroom:
            result = measure(darkroom, arguments.rounds, arguments.weight)
    print(json.dumps(result, indent=1) if arguments.json else shown(result))


def measure(darkroom: Deployment, rounds: int, weight: int | None) -> dict[str, list[float]]:
    """Seconds of each round, alone and beside the greedy key."""
    admin = made(darkroom, "admin", SCOPES)
    greedy, modest = made(darkroom, "greedy"), made(darkroom, "modest", weight=weight)
    darkroom.http.headers = head(admin)
    darkroom.start_api()
    darkroom.start_worker()
    took_s(darkroom, modest, WARM_UP)
    time.sleep(6)  # what was learned is written every five seconds
    alone = [took_s(darkroom, modest, MODEST) for _ in range(rounds)]
    submit(darkroom, greedy, GREEDY)
    beside = []
    for _ in range(rounds):
        time.sleep(BETWEEN_S)
        beside.append(took_s(darkroom, modest, MODEST))
    (row,) = darkroom.http.get("/api/v1/queue").json()["data"]
    assert row["queued"] > 0, "the greedy key has run out of jobs: ask for fewer rounds"
    return {"alone": alone, "beside": beside}


def made(
    darkroom: Deployment, name: str, scopes: tuple[Scope, ...] = USUAL_SCOPES, **limits: Any
) -> Token:
    key, token = new_key(name, scopes, limits=Limits(**limits))
    Client(darkroom.redis, scripts(PLAIN_RULES)).carry_out(api_keys.put(key))
    return token


def head(token: Token) -> dict[str, str]:
    return {"X-API-Key": token.reveal()}


def submit(darkroom: Deployment, token: Token, count: int) -> list[str]:
    """Ids of so many jobs."""
    answers = [
        darkroom.http.post("/api/v1/jobs", json=BODY, headers=head(token)) for _ in range(count)
    ]
    return [answer.raise_for_status().json()["id"] for answer in answers]


def took_s(darkroom: Deployment, token: Token, count: int) -> float:
    jobs = [darkroom.finished(each, timeout_s=600) for each in submit(darkroom, token, count)]
    assert {job["status"] for job in jobs} == {"succeeded"}
    began, ended = (
        [datetime.fromisoformat(job[name]) for job in jobs]
        for name in ("created_at", "finished_at")
    )
    return (max(ended) - min(began)).total_seconds()


def shown(result: dict[str, list[float]]) -> str:
    alone, beside = (statistics.median(result[name]) for name in ("alone", "beside"))
    each = "; ".join(
        f"{name}: {', '.join(f'{seconds:.1f}' for seconds in result[name])} s" for name in result
    )
    return f"{each}\nmedian {alone:.1f} s alone, {beside:.1f} s beside: {beside / alone:.2f} times"


if __name__ == "__main__":
    main()
