"""Which of the jobs that wait may start: those that may have taken an engine down run alone, and
nobody is overtaken for ever; engine thread of the worker, no torch."""

from collections.abc import Collection, Iterable

from worker.running import RunningJob


def in_order(waiting: Iterable[RunningJob], loaded: Collection[str]) -> list[RunningJob]:
    """First the jobs that have to run alone, then those whose model is in memory, then the rest;
    among equals as they came."""

    def precedence(job: RunningJob) -> int:
        return 0 if job.claim.must_run_alone else 1 + (job.model not in loaded)

    return sorted(waiting, key=precedence)


def must_wait(job: RunningJob, running: Collection[RunningJob]) -> bool:
    """Whether a job has to wait for the running ones to end, because it or one of them has to run
    alone."""
    alone = job.claim.must_run_alone or any(each.claim.must_run_alone for each in running)
    return alone and bool(running)


def must_let_others_go_first(
    job: RunningJob, waiting: Iterable[RunningJob], patience_s: float
) -> bool:
    """Whether another job waits for room in memory more than `patience_s` longer than this one, so
    that the models in its way must get no new jobs."""
    longest = job.waited_s + patience_s
    others = (other for other in waiting if other is not job)
    return any(other.needs_room and other.waited_s > longest for other in others)
