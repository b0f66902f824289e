"""What the body of a batch asks for, and where its faults are."""

import pytest

from darkroom.errors import FieldError, InvalidRequestError
from service.batch_bodies import read_batch

CAT = {"prompt": "a cat"}


def faults(body: dict, most: int = 100) -> list[tuple[str, str]]:
    with pytest.raises(InvalidRequestError) as refused:
        read_batch(body, most)
    return [(each.pointer, each.code) for each in refused.value.errors]


def test_a_list_is_what_it_is():
    jobs = [CAT, {"prompt": "a dog"}]
    assert read_batch({"jobs": jobs}, 2).bodies == jobs
    assert read_batch({"jobs": jobs}, 2).grid is None


def test_a_grid_is_laid_over_the_rest():
    body = {**CAT, "seed": 1, "grid": {"width": [8, 16], "tags": [["a"], None]}}
    assert read_batch(body, 4).bodies == [
        {"prompt": "a cat", "seed": 1, "width": width, "tags": tags}
        for width in (8, 16)
        for tags in (["a"], None)
    ]


@pytest.mark.parametrize("seed", [{}, {"seed": None}, {"seed": -1}])
def test_a_seed_that_nobody_gives_is_the_same_in_all_cells(seed):
    bodies = read_batch({**CAT, **seed, "grid": {"width": [8, 16, 24]}}, 3).bodies
    assert len({each["seed"] for each in bodies}) == 1
    assert bodies[0]["seed"] >= 0


def test_seeds_of_a_grid_stay_as_they_are():
    bodies = read_batch({"grid": {"seed": [None, -1, 5]}}, 3).bodies
    assert [each["seed"] for each in bodies] == [None, -1, 5]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, [("", "missing")]),
        (CAT, [("", "missing")]),
        ({"jobs": {}}, [("/jobs", "wrong_type")]),
        ({"jobs": None}, [("/jobs", "wrong_type")]),
        ({"jobs": []}, [("/jobs", "too_few")]),
        ({"jobs": [1, CAT, []]}, [("/jobs/0", "wrong_type"), ("/jobs/2", "wrong_type")]),
        ({"jobs": [CAT], "grid": {}}, [("/grid", "unknown_field")]),
        ({"jobs": [CAT], "prompt": "x"}, [("/prompt", "unknown_field")]),
        ({"grid": []}, [("/grid", "wrong_type")]),
        ({"grid": {}}, [("/grid", "too_few")]),
        ({"grid": {"seed": 1}}, [("/grid/seed", "wrong_type")]),
        ({"grid": {"width": []}}, [("/grid/width", "too_few")]),
        ({"seed": 1, "grid": {"seed": [1]}}, [("/grid/seed", "duplicate")]),
    ],
)  # fmt: skip
def test_what_is_no_batch_is_told(body, told):
    assert faults(body) == told


def test_more_than_may_be_are_refused_however_many():
    assert faults({"jobs": [CAT] * 3}, 2) == [("/jobs", "too_many")]
    assert faults({"grid": {"seed": [1, 2], "width": [8, 16]}}, 3) == [("/grid", "too_many")]
    wide = {f"f{n}": list(range(100)) for n in range(100)}
    assert faults({"grid": wide}) == [("/grid", "too_many")]


def placed(body: dict, job: int, pointer: str) -> str:
    with pytest.raises(InvalidRequestError) as refused, read_batch(body, 9).told_of(job):
        raise InvalidRequestError([FieldError(pointer, "Is wrong.", "invalid")])
    return refused.value.errors[0].pointer


def test_faults_of_a_job_are_told_where_its_body_came_from():
    listed = {"jobs": [CAT] * 4}
    assert placed(listed, 3, "/width") == "/jobs/3/width"
    assert placed(listed, 0, "") == "/jobs/0"
    grid = {"prompt": "x", "grid": {"width": [1, 2, 3], "a/b": [1], "controls": [[], []]}}
    assert placed(grid, 5, "/width") == "/grid/width/2"
    assert placed(grid, 5, "/controls/0/end") == "/grid/controls/1/0/end"
    assert placed(grid, 5, "/prompt") == "/prompt"
    assert placed(grid, 5, "/widths") == "/widths"
    assert placed(grid, 0, "/a~1b") == "/grid/a~1b/0"
