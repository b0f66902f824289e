"""Which models and workers are ready; in the service only."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from darkroom.model_record import ModelRecord
from darkroom.queue.workers import WorkerInfo, WorkerState


class ReadyModel(BaseModel):
    """How soon a job for a model would be worked on."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    state: Literal["loaded", "loading", "not_loaded", "failed", "no_worker"]
    """loaded: at once; loading: soon; not_loaded: its first job loads it; failed: its jobs fail, as
    no worker could load it; no_worker: jobs wait until there is one."""
    workers: list[str]
    """The living workers that take its jobs, or will once they have started."""
    error: str | None
    """Why it could not be loaded."""


class ReadyWorker(BaseModel):
    """A living worker."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    """Its name."""
    state: WorkerState
    """What it does."""
    takes_jobs: bool
    """Whether it has started and does not drain."""


def ready_models(
    names: Sequence[str], records: Mapping[str, ModelRecord], workers: Sequence[WorkerInfo]
) -> dict[str, ReadyModel]:
    """Each of the models on offer."""
    return {name: _ready_model(name, records.get(name), workers) for name in names}


def ready_workers(workers: Sequence[WorkerInfo]) -> list[ReadyWorker]:
    """Each of the living workers."""
    return [
        ReadyWorker(name=each.name, state=each.state, takes_jobs=each.takes_jobs)
        for each in workers
    ]


def verdict(models: Mapping[str, ReadyModel], workers: Sequence[WorkerInfo]) -> str:
    """`ok` where every model has a worker that takes jobs and can load it, else why not."""
    if not workers:
        return "No worker is alive; jobs wait."
    taking = {each.name for each in workers if each.takes_jobs}
    starting = [
        name for name, each in models.items() if each.workers and taking.isdisjoint(each.workers)
    ]
    unserved = [name for name, each in models.items() if each.state == "no_worker"]
    failed = [name for name, each in models.items() if each.state == "failed"]
    sentences = (
        (unserved, "No worker serves {}; jobs for it wait."),
        (starting, "No worker is ready for {} yet; jobs wait until one is."),
        (failed, "No worker could load {}; its jobs fail."),
    )
    return " ".join(text.format(", ".join(names)) for names, text in sentences if names) or "ok"


def _ready_model(
    name: str, record: ModelRecord | None, workers: Sequence[WorkerInfo]
) -> ReadyModel:
    serving = [each for each in workers if name in each.serves]
    failed = record is not None and record.error is not None and _is_of_now(record, serving)
    state: Literal["loaded", "loading", "not_loaded", "failed", "no_worker"] = "not_loaded"
    if not serving:
        state = "no_worker"
    elif any(name in each.models for each in serving):
        state = "loaded"
    elif any(each.loads == name for each in serving):
        state = "loading"
    elif failed:
        state = "failed"
    return ReadyModel(
        state=state,
        workers=[each.name for each in serving],
        error=record.error if record and state == "failed" else None,
    )


def _is_of_now(record: ModelRecord, workers: Sequence[WorkerInfo]) -> bool:
    """Whether a record was written since one of the workers started: what an earlier one could not
    load, a mended file may have made loadable."""
    if record.updated_at is None:
        return False
    written = datetime.fromisoformat(record.updated_at)
    return any(written >= each.started_at.replace(microsecond=0) for each in workers)
