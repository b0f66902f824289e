"""What Prometheus reads: counters that all processes keep in Redis, gauges read at the scrape.

Knows neither HTTP nor torch. No job id and no prompt ever becomes a label.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from darkroom import __version__
from darkroom.queue.exchange import Exchange
from darkroom.queue.jobs import QueueState, counters, queues
from darkroom.queue.workers import WorkerInfo, living

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Seen:
    """What Redis told at a scrape."""

    counters: dict[tuple[str, ...], int]
    queues: list[QueueState]
    workers: list[WorkerInfo]


def look() -> Exchange[Seen]:
    """Ask Redis for all that is shown."""
    return Seen((yield from counters()), (yield from queues()), (yield from living()))


def exposition(seen: Seen | None) -> bytes:
    """All metrics as text. While Redis is away only `darkroom_redis_up 0` and the version."""
    registry = CollectorRegistry()
    registry.register(_Reader(seen))
    return generate_latest(registry)


class _Reader(Collector):
    def __init__(self, seen: Seen | None) -> None:
        self._seen = seen

    def collect(self) -> Iterator[Metric]:
        version = {(__version__,): 1}
        yield _gauge("darkroom_build_info", "Version of Darkroom.", ["version"], version)
        up = int(self._seen is not None)
        yield _gauge("darkroom_redis_up", "Whether Redis answers.", [], {(): up})
        if self._seen:
            yield from _counters(self._seen.counters)
            yield from _queues(self._seen.queues)
            yield from _workers(self._seen.workers)


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
        "webhooks": ("darkroom_webhook_attempts", "Messages of webhooks, posted.", ["outcome"]),
        "fenced": ("darkroom_results_refused", "Results of engines without a lease.", []),
    }
    for event, (name, text, labels) in shapes.items():
        family = CounterMetricFamily(name, text, labels=labels)
        for key, count in counted.items():
            if key[0] == event and len(key) == len(labels) + 1:
                family.add_metric(key[1:], count)
        yield family


def _queues(states: list[QueueState]) -> Iterator[Metric]:
    jobs = {(s.name, "queued"): s.queued for s in states}
    jobs |= {(s.name, "running"): s.running for s in states}
    yield _gauge("darkroom_queue_jobs", "Jobs by queue and state.", ["queue", "state"], jobs)
    yield _gauge(
        "darkroom_queue_oldest_job_age_seconds",
        "How long the head of the queue has waited.",
        ["queue"],
        {(s.name,): s.oldest_age_s for s in states},
    )
    yield _gauge(
        "darkroom_queue_paused",
        "1 where an operator paused it: its jobs wait.",
        ["queue"],
        {(s.name,): int(s.paused) for s in states},
    )
    backlog: dict[tuple[str], float] = defaultdict(float)
    for state in states:
        backlog[(state.model,)] += state.backlog_s
    yield _gauge(
        "darkroom_backlog_seconds",
        "Work that waits and what is left of what runs, if no two jobs share a pass.",
        ["model"],
        backlog,
    )


def _workers(workers: Iterable[WorkerInfo]) -> Iterator[Metric]:
    living = list(workers)
    states = Counter((str(worker.state),) for worker in living)
    yield _gauge("darkroom_workers", "Living workers by state.", ["state"], states)
    loaded = Counter((model,) for worker in living for model in worker.models)
    yield _gauge("darkroom_model_loaded", "Workers that hold a model.", ["model"], loaded)


def _gauge(
    name: str, text: str, labels: list[str], values: Mapping[Any, float]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(key, value)
    return family
