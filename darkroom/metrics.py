"""What Prometheus reads: counters that all processes keep in Redis, gauges read at the scrape.

Knows neither HTTP nor torch. No job id and no prompt ever becomes a label.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from darkroom import __version__
from darkroom.errors import DependencyError
from darkroom.queue.queue import Queue
from darkroom.queue.workers import WorkerInfo, Workers

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(queue: Queue, workers: Workers) -> bytes:
    """All metrics as text. While Redis is away only `darkroom_redis_up 0` and the version."""
    registry = CollectorRegistry()
    registry.register(_Reader(queue, workers))
    return generate_latest(registry)


class _Reader:
    def __init__(self, queue: Queue, workers: Workers) -> None:
        self._queue = queue
        self._workers = workers

    def collect(self) -> Iterator[Metric]:
        version = {(__version__,): 1}
        yield _gauge("darkroom_build_info", "Version of Darkroom.", ["version"], version)
        try:
            found = [
                *_counters(self._queue.counters()),
                *_queues(self._queue),
                *_workers(self._workers.all()),
            ]
        except DependencyError:
            found = []
        yield _gauge("darkroom_redis_up", "Whether Redis answers.", [], {(): int(bool(found))})
        yield from found


def _counters(counted: dict[tuple[str, ...], int]) -> Iterator[Metric]:
    """The counters of the queue's scripts, which are named by what they count and its labels."""
    shapes = {
        "submitted": ("darkroom_jobs_submitted", "Jobs accepted.", ["model"]),
        "finished": (
            "darkroom_jobs_finished",
            "Jobs that ended.",
            ["model", "status", "error_code"],
        ),
        "reaped": ("darkroom_jobs_reaped", "Jobs taken back from engines that died.", []),
        "released": ("darkroom_jobs_released", "Jobs given back by draining workers.", []),
        "fenced": ("darkroom_results_refused", "Results of engines without a lease.", []),
    }
    for event, (name, text, labels) in shapes.items():
        family = CounterMetricFamily(name, text, labels=labels)
        for key, count in counted.items():
            if key[0] == event and len(key) == len(labels) + 1:
                family.add_metric(key[1:], count)
        yield family


def _queues(queue: Queue) -> Iterator[Metric]:
    states = queue.queues()
    jobs = {(s.name, "queued"): s.queued for s in states}
    jobs |= {(s.name, "running"): s.running for s in states}
    yield _gauge("darkroom_queue_jobs", "Jobs by queue and state.", ["queue", "state"], jobs)
    yield _gauge(
        "darkroom_queue_oldest_job_age_seconds",
        "How long the head of the queue has waited.",
        ["queue"],
        {(s.name,): s.oldest_age_s for s in states},
    )


def _workers(workers: Iterable[WorkerInfo]) -> Iterator[Metric]:
    living = list(workers)
    states = Counter((str(worker.state),) for worker in living)
    yield _gauge("darkroom_workers", "Living workers by state.", ["state"], states)
    loaded = Counter((model,) for worker in living for model in worker.models)
    yield _gauge("darkroom_model_loaded", "Workers that hold a model.", ["model"], loaded)


def _gauge(
    name: str, text: str, labels: list[str], values: dict[tuple[str, ...], float]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(key, value)
    return family
