"""What OpenAPI says of problems is what errors.py answers."""

from darkroom.codes import CODES
from darkroom.errors import DarkroomError
from service.errors import _CODES, STATUS
from service.problems import EVERYWHERE, NO_PICTURE, TOLD, example, problems
from tests.service.test_errors import every, status_of


def test_every_code_is_told():
    assert set(TOLD) == set(CODES)
    statuses = [told.status for told in TOLD.values()]
    assert statuses == sorted(statuses)


def test_each_is_told_with_the_status_that_is_sent():
    for cls in every(DarkroomError):
        if status := status_of(cls):
            assert TOLD[cls.code].status == status, cls
    for status, code in _CODES.items():
        assert TOLD[code].status == status
    assert STATUS


def test_codes_of_one_status_are_one_answer():
    told = problems("job_not_found", "queue_unavailable", "model_not_found")
    assert list(told) == [404, 503]
    (content,) = told[404]["content"].values()
    assert set(content["examples"]) == {"job_not_found", "model_not_found"}
    assert CODES["job_not_found"].meaning in told[404]["description"]


def test_lists_of_codes_name_codes():
    assert {*EVERYWHERE, *NO_PICTURE} <= set(CODES)
    assert example("picture_not_ready")["urls"]["self"].startswith("/api/v1/jobs/")
