"""From the body of a batch to the bodies of its jobs, and from what is wrong with one of these to
the place in that; in the service only."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from darkroom.batch import Grid, cells, size_of
from darkroom.errors import FieldError, InvalidRequestError, ModelNotFoundError
from darkroom.field_errors import pointer
from darkroom.validation import drawn_seed

JOBS, GRID = "jobs", "grid"


@dataclass(frozen=True)
class BatchBody:
    """What a batch asks for."""

    bodies: list[dict[str, Any]]
    """Of its jobs, in order."""
    grid: Grid | None = None
    """Whose cells they are."""

    @cached_property
    def places(self) -> list[dict[str, int]]:
        """The cell of each job; empty without a grid."""
        return list(cells(self.grid or {}))

    @contextmanager
    def told_of(self, job: int) -> Iterator[None]:
        """Lets what is wrong with the body of a job point into that of the batch: raises
        InvalidRequestError."""
        try:
            yield
        except (InvalidRequestError, ModelNotFoundError) as error:
            raise InvalidRequestError([self._placed(each, job) for each in error.errors]) from None

    def _placed(self, error: FieldError, job: int) -> FieldError:
        if self.grid is None:
            return replace(error, pointer=f"{pointer(JOBS, str(job))}{error.pointer}")
        for name, index in self.places[job].items():
            field = pointer(name)
            if error.pointer == field or error.pointer.startswith(f"{field}/"):
                rest = error.pointer.removeprefix(field)
                return replace(error, pointer=f"{pointer(GRID, name, str(index))}{rest}")
        return error


def read_batch(body: dict[str, Any], most: int) -> BatchBody:
    """The jobs that a body asks for, `most` at most. Raises InvalidRequestError."""
    if JOBS in body:
        return _listed(body, most)
    if GRID in body:
        return _cells(body, most)
    detail = "Give `jobs`, a list of requests, or a request with `grid`, lists of values by field."
    raise InvalidRequestError([FieldError("", detail, "missing")])


def _listed(body: dict[str, Any], most: int) -> BatchBody:
    listed = body[JOBS]
    faults = [
        FieldError(pointer(name), "Nothing may stand beside `jobs`.", "unknown_field")
        for name in body
        if name != JOBS
    ]
    if not isinstance(listed, list):
        faults.append(FieldError(pointer(JOBS), "Must be a list.", "wrong_type"))
    elif not listed:
        faults.append(FieldError(pointer(JOBS), "Must not be empty.", "too_few"))
    else:
        faults += [
            FieldError(pointer(JOBS, str(index)), "Must be an object.", "wrong_type")
            for index, each in enumerate(listed)
            if not isinstance(each, dict)
        ]
        faults += _too_many(JOBS, len(listed), most)
    if faults:
        raise InvalidRequestError(faults)
    return BatchBody(listed)


def _cells(body: dict[str, Any], most: int) -> BatchBody:
    """All that is no part of the grid is the same in all jobs, a seed that is drawn too."""
    grid = body[GRID]
    shared = {name: value for name, value in body.items() if name != GRID}
    if faults := list(_faults(grid, shared)) or list(_too_many(GRID, size_of(grid), most)):
        raise InvalidRequestError(faults)
    if "seed" not in grid and shared.get("seed") in (None, -1):
        shared["seed"] = drawn_seed()
    bodies = [
        shared | {name: grid[name][index] for name, index in at.items()} for at in cells(grid)
    ]
    return BatchBody(bodies, grid)


def _faults(grid: Any, shared: dict[str, Any]) -> Iterator[FieldError]:
    if not isinstance(grid, dict):
        yield FieldError(pointer(GRID), "Must be an object.", "wrong_type")
        return
    if not grid:
        yield FieldError(pointer(GRID), "Must not be empty.", "too_few")
    for name, values in grid.items():
        where = pointer(GRID, name)
        if not isinstance(values, list):
            yield FieldError(where, "Must be a list of values.", "wrong_type")
        elif not values:
            yield FieldError(where, "Must not be empty.", "too_few")
        if name in shared:
            yield FieldError(where, "Stands in the request as well: give one.", "duplicate")


def _too_many(field: str, size: int, most: int) -> Iterator[FieldError]:
    if size > most:
        detail = f"May make at most {most} jobs."
        yield FieldError(pointer(field), detail, "too_many")
