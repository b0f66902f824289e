"""Which models are ready, by what workers announce and wrote of them."""

from datetime import UTC, datetime, timedelta

import pytest

from darkroom.model_record import ModelRecord
from darkroom.queue.workers import WorkerInfo
from service.readiness import ready_models, ready_workers, verdict

STARTED = datetime(2026, 11, 21, 8, tzinfo=UTC)


def worker(**given: object) -> WorkerInfo:
    about = {"name": "w", "engine": "e", "state": "idle", "models": (), "serves": ("a",)}
    about |= {"device": "cpu", "max_jobs": 8, "running": 0, "version": "0", "started_at": STARTED}
    return WorkerInfo(**about | given)


def failed(after: timedelta) -> ModelRecord:
    return ModelRecord(name="a", error="Torn.", updated_at=(STARTED + after).isoformat())


@pytest.mark.parametrize(
    ("workers", "record", "state", "ok"),
    [
        ([], None, "no_worker", False),
        ([worker(serves=("b",))], None, "no_worker", False),
        ([worker()], None, "not_loaded", True),
        ([worker(models=("a",))], None, "loaded", True),
        ([worker(state="loading", loads="a")], None, "loading", False),
        ([worker(state="loading", loads="a", running=1)], None, "loading", True),
        ([worker(state="starting")], None, "not_loaded", False),
        ([worker(state="draining", models=("a",))], None, "loaded", False),
        ([worker(state="starting"), worker(name="v")], None, "not_loaded", True),
        ([worker()], failed(timedelta(minutes=1)), "failed", False),
        ([worker()], failed(timedelta(minutes=-1)), "not_loaded", True),
        ([worker(models=("a",))], failed(timedelta(minutes=1)), "loaded", True),
        ([worker()], ModelRecord(name="a", error="Torn."), "not_loaded", True),
    ],
)
def test_how_soon_a_job_would_be_worked_on(workers, record, state, ok):
    models = ready_models(["a"], {"a": record} if record else {}, workers)
    assert models["a"].state == state
    assert models["a"].error == ("Torn." if state == "failed" else None)
    assert (verdict(models, workers) == "ok") is ok


def test_workers_are_told_by_name():
    first, second = ready_workers([worker(), worker(name="v", state="starting")])
    assert (first.name, first.takes_jobs) == ("w", True)
    assert (second.name, second.state, second.takes_jobs) == ("v", "starting", False)
