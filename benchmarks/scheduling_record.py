"""Records what passes of a model take on this machine for `scheduling.py`; one thread, no queue."""

import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.scheduling_jobs import COSTS, Model
from darkroom.catalog import Catalog
from darkroom.costs import Work
from darkroom.draft import stored
from darkroom.networks import NETWORKS, stage_of
from darkroom.offers import Offer, offer
from darkroom.request import Request
from darkroom.validation import completed, parse
from worker.gathering.gather import Gather
from worker.loading import pipelines
from worker.loading.pipelines import LoadedModel
from worker.making import tasks

SHARING = (1, 2, 3, 4, 6, 8)
STEPS = 8
ROUNDS = 5

Seconds = dict[tuple[str, int], list[float]]
"""By what was done, and for how many jobs."""


def record(name: str) -> None:
    """Measure a model of models.toml and write it down, in CPU time: whoever else uses the
    machine counts little."""
    torch.set_num_threads(1)
    catalog = Catalog.read(Path("models.toml"))
    card = catalog.find(name)
    gather = Gather()
    model = pipelines.load(card, catalog, gather, torch.device("cpu"))
    terms = offer(catalog, card, model.record)
    found: Seconds = defaultdict(list)
    for _ in range(ROUNDS):
        for jobs in SHARING:
            _one_round(gather, model, terms, jobs, found)
    work = Work.of(stored(_request(terms, 0), terms), model.record)
    told = json.loads(COSTS.read_text()) | {
        f"{name}-cpu": {
            "what": f"{name} at {work.size[0]}x{work.size[1]} in {model.record.dtype}, with "
            "guidance, on one thread of a CPU (CPU time)",
            "source": f"python -m benchmarks.scheduling --record --model {name}, torch "
            f"{torch.__version__}, {time.strftime('%d %B %Y')}",
            "rows_per_job": work.rows,
            "encode_ms": _ms(found["encode", 1]),
            "step_ms": {str(jobs): _ms(found["denoise", jobs]) for jobs in SHARING},
            "decode_ms": _ms(found["decode", 1]),
        }
    }
    COSTS.write_text(json.dumps(told, indent=2) + "\n")
    curve = Model.read(f"{name}-cpu")
    print({jobs: round(curve.pass_s(jobs) * 1000, 2) for jobs in SHARING})


def _request(terms: Offer, seed: int) -> Request:
    body = {"prompt": "a red apple", "num_inference_steps": STEPS, "seed": seed}
    return completed(parse(body, terms), terms, None)


def _one_round(gather: Gather, model: LoadedModel, terms: Offer, jobs: int, found: Seconds) -> None:
    """So many jobs from their text to their pictures, in step with one another."""

    def job(seed: int) -> Callable[[], object]:
        return lambda: tasks.run(_request(terms, seed), model, {})

    encode_s: dict[object, float] = defaultdict(float)
    for seed in range(jobs):
        gather.start(seed, job(seed))
    while gather.parked:
        calls = list(gather.parked.values())
        apart = [call for call in calls if call.module_name not in NETWORKS]
        chosen = apart[:1] or calls
        name, owners = chosen[0].module_name, [call.owner for call in chosen]
        began = time.process_time()
        gather.run(chosen)
        took = time.process_time() - began
        if name in NETWORKS:
            found["denoise", jobs].append(took)
        elif stage_of(name) == "decode":
            found["decode", 1].append(took)
        else:
            encode_s[owners[0]] += took
    found["encode", 1] += encode_s.values()
    for ended in gather.take_ended():
        if ended.error is not None:
            raise ended.error


def _ms(seconds: list[float]) -> float:
    """The lower quartile."""
    return round(statistics.quantiles(seconds, n=4)[0] * 1000, 2)
