"""Learns what passes cost while the engine makes them, and keeps it in the records of its models; a
thread of the engine writes them, no torch."""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from darkroom import logs
from darkroom.costs import DECODE, ENCODE, Takes, Work, most_used, network_in
from darkroom.curves import UNSURE, Cost, Curve, Sides, curve
from darkroom.errors import QueueUnavailableError
from darkroom.model_record import ModelRecord, RefusedUpload
from darkroom.networks import NETWORKS, stage_of
from darkroom.queue.model_records import ModelRecords
from worker.running import RunningJob
from worker.speed import Speed
from worker.vital import Vital

log = logs.get("costs")

LOOK_EVERY_S = 5.0
"""How often the records are compared with what was learned, and written where they differ."""
LONGEST_WRITE_S = 10.0
"""How long the end of the engine waits for the last one: what is lost is measured again."""
DOUBT_AFTER = 128
"""Passes of a module after which rows that shared none of them are tried again: they may have been
measured while something else slowed the machine down, and dear ones would never be chosen again."""
WORTH_TELLING = 0.1
"""By what share a cost must have changed."""


class _Kind(NamedTuple):
    module: str
    size: Sides
    beside: int
    rows: int


class Costs(Vital):
    """What the engine knows of the costs of each model's passes. Its loop tells what it saw and
    asks for curves; the thread writes records. `close` ends it."""

    def __init__(self, records: ModelRecords) -> None:
        super().__init__(name="costs", daemon=True)
        self._kept = records
        self._records: dict[str, ModelRecord] = {}
        self._costs: dict[str, dict[_Kind, Cost]] = defaultdict(dict)
        self._curves: dict[tuple[str, str, Sides, int], Curve] = {}
        self._passes: Counter[tuple[str, str, Sides, int]] = Counter()
        self._tried: dict[tuple[str, _Kind], int] = {}
        """The number of the last pass, of those of its module and size."""
        self._written: dict[str, tuple[Cost, ...]] = {}
        self.speed = Speed()
        self._closed = threading.Event()
        self._lock = threading.Lock()

    # For the engine's loop.

    def tell(self, record: ModelRecord) -> None:
        """Write what was found of a model that was loaded, with what was learned of it before, by
        whichever engine. Raises QueueUnavailableError; the thread then writes it later."""
        with self._lock:
            self._records[record.name] = record
            self._written.pop(record.name, None)
        if record.error is None and not self._costs[record.name]:
            self._remember(record, self._kept.all().get(record.name))
        self._write(record.name)

    def seeing(self, jobs: Sequence[RunningJob], module: str, rows: int) -> Callable[[float], None]:
        """Whom to tell how long a pass took, in which calls of `jobs` shared so many rows."""
        # Jobs may have gone on to a larger size by the time that is known.
        seen = [(job, job.work, job.progress.stage) for job in jobs]
        first, work, _ = seen[0]

        shares = [part.rows if module in NETWORKS else 1 for _, part, _ in seen]

        def saw(seconds: float) -> None:
            for (job, _, _), share in zip(seen, shares, strict=True):
                job.device_s += seconds * share / sum(shares)
            if module in NETWORKS:
                self._learn(first, work, module, rows, seconds)
                for job, part, _ in seen:
                    self.speed.did(self.curve(job, module, part).seconds(part.rows))
                    self._learn_apart(job, part, ENCODE, job.apart_s.pop(ENCODE, 0.0))
                return
            self.speed.did(seconds)
            if stage_of(module) == DECODE:
                self._learn_apart(first, work, DECODE, seconds)
            else:
                for job, _, stage in seen:
                    job.apart_s[stage] = job.apart_s.get(stage, 0.0) + seconds / len(jobs)

        return saw

    def curve(self, job: RunningJob, module: str, work: Work | None = None) -> Curve:
        """What passes of `module` cost at the size of `work`, or of the part of the job that is
        made now, as far as is known."""
        work = work or job.work
        model, size, beside = work.model or job.model, work.size, work.beside(module)
        name = (model, module, size, beside)
        found = self._curves.get(name)
        if found is None:
            costs = self._costs[model].values()
            self._curves[name] = found = curve(costs, module, size, beside=beside)
        return found

    def takes(self, job: RunningJob, work: Work | None = None) -> Takes:
        """What parts of `work` take, or of the part of the job that is made now, as far as is
        known."""
        work = work or job.work

        def took(module: str, rows: int) -> float:
            return self.curve(job, module, work).seconds(rows)

        network = network_in(self._costs[work.model or job.model].values())
        return Takes.of(work, network, took)

    def close(self) -> None:
        """Write what is new, and wait until the thread has ended."""
        self._closed.set()
        self.join(LONGEST_WRITE_S)

    def _learn_apart(self, job: RunningJob, work: Work, stage: str, seconds: float) -> None:
        """What a job did before or after its steps, which it shares with nobody."""
        if seconds and work.rounds == 1:
            self._learn(job, work, stage, work.images, seconds)

    def _learn(self, job: RunningJob, work: Work, module: str, rows: int, seconds: float) -> None:
        model, size = work.model or job.model, work.size
        kind = _Kind(module, size, work.beside(module), rows)
        with self._lock:
            known = self._costs[model].get(kind)
            if known is None:
                dtype = self._records[model].dtype or ""
                sides = {"width": size[0], "height": size[1], "beside": kind.beside}
                new = Cost(
                    module=module, **sides, dtype=dtype, rows=rows, seconds=seconds, passes=1
                )
            self._costs[model][kind] = known.seen(seconds) if known else new
            self._doubt(model, kind)
        for each in [each for each in self._curves if each[:2] == (model, module)]:
            del self._curves[each]

    def _doubt(self, model: str, seen: _Kind) -> None:
        """Now and then let go of what was not tried for long."""
        module = (model, *seen[:3])
        self._passes[module] += 1
        count = self._tried[model, seen] = self._passes[module]
        if count % DOUBT_AFTER:
            return
        for kind, cost in self._costs[model].items():
            is_alike = kind[:3] == seen[:3]
            if is_alike and self._tried.get((model, kind), 0) <= count - DOUBT_AFTER:
                self._costs[model][kind] = cost.doubted()

    def _remember(self, record: ModelRecord, before: ModelRecord | None) -> None:
        """Take over what a record tells of the same weights on the same kind of device."""
        with self._lock:
            if before is None or _place(before) != _place(record):
                return
            self._costs[record.name] = {_kind(cost): cost for cost in before.costs}

    # For the thread.

    def work(self) -> None:
        while not self._closed.wait(LOOK_EVERY_S):
            self.write_news()
        self.write_news()

    def write_news(self) -> None:
        """Write the records of models whose costs are others than they tell, and those that Redis
        has lost."""
        try:
            kept = self._kept.names()
            for name in list(self._records):
                if name not in kept or self._has_news(name):
                    self._write(name)
        except QueueUnavailableError as error:
            log.warning("record_not_written", reason=str(error))

    def _has_news(self, name: str) -> bool:
        told = {_kind(cost): cost.seconds for cost in self._written.get(name, ())}
        return name not in self._written or any(
            abs(cost.seconds - told.get(_kind(cost), 0.0)) > WORTH_TELLING * cost.seconds
            for cost in self._known(name)
        )

    def _write(self, name: str) -> None:
        known = self._known(name)
        record = self._records[name]
        step_s = None
        if known and record.width and record.height:
            size = (record.width, record.height)
            edits = int(record.tasks == ("edit",))
            step_s = curve(known, network_in(known), size, beside=edits).seconds(1)
        refused = _refused_by_all(record, self._kept.all().get(name))
        news = {"costs": known, "step_s": step_s, "refused_uploads": refused}
        self._kept.put(record.model_copy(update=news))
        self._written[name] = known

    def _known(self, name: str) -> tuple[Cost, ...]:
        """What is worth keeping."""
        with self._lock:
            costs = list(self._costs[name].values())
        return most_used(cost for cost in costs if cost.passes >= UNSURE - 1)


def _kind(cost: Cost) -> _Kind:
    return _Kind(cost.module, (cost.width, cost.height), cost.beside, cost.rows)


def _refused_by_all(record: ModelRecord, kept: ModelRecord | None) -> dict[str, RefusedUpload]:
    """What other workers found of uploads that this one may not have tried, too. Where a file has
    changed since it counts for nothing, whoever found it."""
    if kept is None or (kept.source, kept.revision) != (record.source, record.revision):
        return record.refused_uploads
    return {**kept.refused_uploads, **record.refused_uploads}


def _place(record: ModelRecord) -> tuple[str | None, ...]:
    """What its costs hang on."""
    return record.source, record.revision, record.dtype, record.device
