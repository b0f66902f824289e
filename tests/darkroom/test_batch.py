"""Batches: the cells of a grid, and what a batch tells of its jobs."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from darkroom.batch import BATCH_ID, Batch, BatchJob, cells, new_batch_id, size_of
from darkroom.job import JobStatus

GRIDS = st.dictionaries(
    st.text(max_size=3), st.lists(st.integers(), min_size=1, max_size=4), max_size=4
)


def batch(*statuses: JobStatus | None) -> Batch:
    jobs = [BatchJob(id="job_1", status=each, at=None, url="/") for each in statuses]
    return Batch(id="batch_1", grid=None, jobs=jobs, created_at=datetime.now(UTC))


def test_cells_come_row_by_row_in_the_order_given():
    grid = {"seed": [7, 8], "guidance_scale": [1, 2, 3]}
    values = [tuple(grid[name][index] for name, index in at.items()) for at in cells(grid)]
    assert values == [(7, 1), (7, 2), (7, 3), (8, 1), (8, 2), (8, 3)]


@given(GRIDS)
def test_a_grid_has_each_cell_once(grid):
    found = [tuple(at.items()) for at in cells(grid)]
    assert len(found) == len(set(found)) == size_of(grid)


def test_a_batch_is_done_when_none_of_its_jobs_waits_or_runs():
    queued, running, succeeded, failed, canceled = JobStatus
    counts = batch(queued, running, succeeded, succeeded, failed, canceled, None).counts
    assert counts.model_dump() == {
        **{"queued": 1, "running": 1, "succeeded": 2, "failed": 1, "canceled": 1, "gone": 1}
    }
    assert batch(succeeded, failed, canceled, None).done
    assert not batch(succeeded, queued).done
    assert not batch(running, None).done


def test_ids_are_told_from_others():
    assert BATCH_ID.fullmatch(new_batch_id())
    assert new_batch_id() != new_batch_id()
