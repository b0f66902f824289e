"""Batches: jobs that were asked for together, as a list or as the cells of a grid; used by all
processes, knows neither HTTP nor Redis."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import product
from math import prod
from typing import Any, Literal

from pydantic import Field, computed_field
from uuid_utils import uuid7

from darkroom.job import Frozen, JobError, JobStatus

MOST_JOBS = 100
"""Of one batch."""

BATCH_ID = re.compile(r"batch_[0-9a-f]{32}", re.ASCII)

Grid = Mapping[str, Sequence[Any]]
"""Values by field."""


def new_batch_id() -> str:
    return f"batch_{uuid7().hex}"


def size_of(grid: Grid) -> int:
    """How many cells it has."""
    return prod(map(len, grid.values()))


def cells(grid: Grid) -> Iterator[dict[str, int]]:
    """Each cell as the index of its value by field, the last field changing fastest."""
    for indexes in product(*(range(len(values)) for values in grid.values())):
        yield dict(zip(grid, indexes, strict=True))


class BatchJob(Frozen):
    """One job of a batch; `url` has all of it."""

    id: str
    """`job_` and 32 hexadecimal digits."""
    status: JobStatus | None
    """As of the job; null if it is gone: it was deleted, or kept for its time."""
    at: dict[str, int] | None
    """Its cell of the grid: by field the index, from 0, of its value in `grid`; null without a
    grid."""
    images: Sequence[str] = ()
    """Where its pictures can be had, once it has succeeded."""
    warnings: Sequence[str] = ()
    """Sentences on what may not be as the client thinks."""
    error: JobError | None = None
    """Why it failed or was canceled; null if it did not or nobody said."""
    url: str
    """The job itself."""


class BatchCounts(Frozen):
    """How many of its jobs are in each status; together they are all of the batch."""

    queued: int = 0
    """Wait."""
    running: int = 0
    """Run."""
    succeeded: int = 0
    """Have their pictures."""
    failed: int = 0
    """Failed."""
    canceled: int = 0
    """Were canceled."""
    gone: int = 0
    """Were deleted, or kept for their time."""

    @classmethod
    def of(cls, jobs: Iterable[BatchJob]) -> "BatchCounts":
        return cls(**Counter(job.status.value if job.status else "gone" for job in jobs))


class BatchUrls(Frozen):
    """Where to ask about a batch."""

    self_: str = Field(alias="self")
    """The batch itself."""
    jobs: str
    """Its jobs in full, newest first, page by page."""
    cancel: str
    """POST here cancels what of it has not ended."""


class Batch(Frozen):
    """Jobs that were asked for together. It is gone when the last of them is."""

    id: str
    """`batch_` and 32 hexadecimal digits; later ids are larger."""
    object: Literal["batch"] = "batch"
    """What this is."""
    grid: dict[str, list[Any]] | None
    """The values that were asked for, by field; pictures by their ids. Null for a list of jobs."""
    jobs: list[BatchJob]
    """In the order of the list or, of a grid, cell by cell, its last field changing fastest."""
    created_at: datetime
    """When it was accepted."""

    @computed_field  # type: ignore[prop-decorator]  # as pydantic's documentation has it
    @property
    def counts(self) -> BatchCounts:
        """How many of its jobs are in each status."""
        return BatchCounts.of(self.jobs)

    @computed_field  # type: ignore[prop-decorator]  # as above
    @property
    def done(self) -> bool:
        """Whether none of its jobs waits or runs any more."""
        return not any(job.status and not job.status.terminal for job in self.jobs)

    @computed_field  # type: ignore[prop-decorator]  # as above
    @property
    def urls(self) -> BatchUrls:
        """Where to ask about it."""
        here = f"/api/v1/batches/{self.id}"
        jobs = f"/api/v1/jobs?batch={self.id}"
        return BatchUrls(**{"self": here}, jobs=jobs, cancel=f"{here}/cancel")
