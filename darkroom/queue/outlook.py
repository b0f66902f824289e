"""When jobs that wait are likely to be done, by one look at all queues and workers; used by the
service, sends nothing itself."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import get_args

from darkroom.costs import score
from darkroom.job import LEAST_WORK_S, Priority, QueuePlace
from darkroom.queue.exchange import Exchange, run
from darkroom.queue.model_records import all_records
from darkroom.queue.workers import WorkerInfo, living

AS_IF = {"high": 0.1, "normal": 1.0, "low": 10.0}
"""Within a worker jobs of a priority go as if they had so many times their work; as in
worker/batcher.py."""

_RANKS = {priority: rank for rank, priority in enumerate(get_args(Priority))}


@dataclass(frozen=True)
class Line:
    """The jobs of one queue."""

    model: str
    priority: str
    waiting: Sequence[tuple[float, float]] = ()
    """When each was accepted, in Unix time, and its work in seconds."""
    running: Sequence[float] = ()
    """Seconds of work that each has left."""

    @property
    def rank(self) -> int:
        """The least goes first."""
        return _RANKS.get(self.priority, len(_RANKS))


class _Sums:
    """Works in some order, of which any first ones can be summed up at once."""

    def __init__(self, works: Iterable[tuple[float | tuple[float, float], float]]) -> None:
        """Of each by what it is ordered, and its seconds."""
        ordered = sorted(works)
        self._keys = [key for key, _ in ordered]
        self._sums = list(accumulate((work for _, work in ordered), initial=0.0))

    def __len__(self) -> int:
        return len(self._keys)

    def before(self, key: float | tuple[float, float]) -> int:
        """How many come before."""
        return bisect_left(self._keys, key)

    def of_first(self, count: int) -> float:
        """Seconds of so many, or of all."""
        return self._sums[min(max(count, 0), len(self))]


@dataclass(frozen=True)
class _Ahead:
    """What goes before a job."""

    jobs: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: "_Ahead") -> "_Ahead":
        return _Ahead(self.jobs + other.jobs, self.seconds + other.seconds)


class _Indexed:
    """A queue whose work ahead of any job is found without going through it."""

    def __init__(self, line: Line, now: float) -> None:
        self.line, self._now = line, now
        self.accepted: list[float] = []
        """When this process accepted jobs after the look."""

    def all(self) -> _Ahead:
        return _Ahead(len(self._by_age), self._by_age.of_first(len(self._by_age)))

    def accepted_before(self, since: float) -> _Ahead:
        count = self._by_age.before(since)
        return _Ahead(count, self._by_age.of_first(count))

    def claimed_before(self, since: float, work_s: float) -> _Ahead:
        """By the score of `claim.lua`."""
        count = self._by_score.before((self._score(since, work_s), since))
        return _Ahead(count, self._by_score.of_first(count))

    def came_since(self, place: QueuePlace, since: float, free: int) -> _Ahead:
        """Jobs that were accepted after the queue was looked at and before one at `place`, with
        those that have begun in `free` places: taken for its like, if they are not longer in the
        mean."""
        work_s, jobs = place.work_s, max(place.position - len(self._by_age), 0)
        begun = bisect_left(self.accepted, since) - jobs
        jobs += min(max(begun, 0), max(free, 0))
        mean = self.all().seconds / len(self._by_age) if len(self._by_age) else work_s
        return _Ahead(jobs, jobs * min(work_s, mean))

    @cached_property
    def _by_age(self) -> _Sums:
        return _Sums(self.line.waiting)

    @cached_property
    def _by_score(self) -> _Sums:
        waiting = self.line.waiting
        return _Sums(((self._score(since, work), since), work) for since, work in waiting)

    def _score(self, since: float, work_s: float) -> float:
        return score(max(work_s, LEAST_WORK_S), self._now - since)


class _Pool:
    """The workers that serve a model, and what else they have to do."""

    def __init__(
        self, model: str, queues: Iterable[_Indexed], workers: Iterable[WorkerInfo]
    ) -> None:
        """`workers`: all that take jobs."""
        workers = list(workers)
        serving = [each for each in workers if model in each.serves]
        self.speed = sum(map(_speed, serving))
        """Of all of them together."""
        self.alone = min(self.speed / max(len(serving), 1), 1.0)
        """That at which one does the work of a single job."""
        self.has_loaded = any(model in each.models for each in serving)
        self.queues = [(each, _share(each.line.model, serving, workers)) for each in queues]
        running = [
            (left * AS_IF.get(each.line.priority, 1.0), left * share)
            for each, share in self.queues
            for left in each.line.running
            if share
        ]
        self.running = _Sums(running)
        self.free = sum(each.max_jobs for each in serving) - len(running)


class Outlook:
    """How long jobs will take that wait, as far as one look at queues and workers tells.

    A job ends once the work ahead of it is done by the workers that serve its model, at the speed
    that they announce, and then its own by one of them, as if it ran alone. Ahead of it are jobs
    of higher priorities; of its own, those of its queue that `claim.lua` claims earlier and the
    older ones of other models; of those that run, the ones with less work left, and as many as
    have to end before it has a place. Other models' work counts by the share of their workers'
    speed that is of workers which also serve this model. Neither jobs still to come, the turns that
    owners take, nor the credit of lower priorities and of the oldest jobs is foreseen.
    """

    def __init__(
        self,
        lines: Iterable[Line],
        workers: Iterable[WorkerInfo],
        load_s: Mapping[str, float],
        now: float,
    ) -> None:
        """`load_s`: seconds that loading models took; `now`: when all this was so, Unix time."""
        self._queues = {f"{line.model}.{line.priority}": _Indexed(line, now) for line in lines}
        self._now = now
        self._workers = [each for each in workers if each.state != "draining"]
        self._load_s = load_s
        self._pools: dict[str, _Pool] = {}

    def eta_s(self, place: QueuePlace, since: float) -> float | None:
        """Seconds until a job that waits at `place` and was accepted at `since` has ended; None if
        nobody serves its model."""
        model, _, priority = place.name.rpartition(".")
        queue, pool = self._queue(model, priority), self._pool(model)
        if not pool.speed:
            return None
        ahead = queue.came_since(place, since, pool.free)
        for each, share in pool.queues:
            before = _before(each, queue, since, place.work_s)
            ahead += _Ahead(before.jobs * share, before.seconds * share)
        to_leave = round(ahead.jobs) + 1 - pool.free
        shorter = pool.running.before(place.work_s * AS_IF.get(priority, 1.0))
        ahead += _Ahead(0, pool.running.of_first(max(to_leave, shorter)))
        loading = 0.0 if pool.has_loaded else self._load_s.get(model, 0.0)
        return round(loading + ahead.seconds / pool.speed + place.work_s / pool.alone, 2)

    def accepted(self, place: QueuePlace, since: float) -> None:
        """A job was accepted at `since`, which this look has not seen."""
        model, _, priority = place.name.rpartition(".")
        self._queue(model, priority).accepted.append(since)

    def _queue(self, model: str, priority: str) -> _Indexed:
        name = f"{model}.{priority}"
        if name not in self._queues:
            self._queues[name] = _Indexed(Line(model, priority), self._now)
            self._pools.clear()
        return self._queues[name]

    def _pool(self, model: str) -> _Pool:
        if model not in self._pools:
            self._pools[model] = _Pool(model, self._queues.values(), self._workers)
        return self._pools[model]


def look() -> Exchange[Outlook]:
    """Look at all queues and workers; for Redis that is work for each job that waits."""
    now, rows = yield from run("outlook")
    workers, records = (yield from living()), (yield from all_records())
    load_s = {name: record.load_s for name, record in records.items() if record.load_s}
    return Outlook([_line(*row) for row in rows], workers, load_s, float(now))


def _line(name: bytes, waiting: list[bytes], running: list[bytes]) -> Line:
    model, _, priority = name.decode().rpartition(".")
    numbers = list(map(float, waiting))
    pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
    return Line(model, priority, pairs, list(map(float, running)))


def _before(each: _Indexed, queue: _Indexed, since: float, work_s: float) -> _Ahead:
    """What of the jobs that wait in `each` goes before one of `queue`."""
    if each is queue:
        return each.claimed_before(since, work_s)
    rank = queue.line.rank
    if each.line.rank == rank:
        return each.accepted_before(since)
    return each.all() if each.line.rank < rank else _Ahead()


def _speed(worker: WorkerInfo) -> float:
    """Seconds of work that it gets through in a second."""
    return worker.speed or 1.0


def _share(model: str, serving: Iterable[WorkerInfo], workers: Iterable[WorkerInfo]) -> float:
    """How much of a model's work is done by the workers in `serving`."""
    speed = sum(_speed(each) for each in workers if model in each.serves)
    return sum(_speed(each) for each in serving if model in each.serves) / speed if speed else 0.0
