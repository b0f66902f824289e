import pytest

from darkroom import errors
from darkroom.errors import DarkroomError, JobFailure
from service.errors import RETRY_AFTER_S, STATUS


def every(cls: type) -> list[type]:
    return [cls, *(below for sub in cls.__subclasses__() for below in every(sub))]


def status_of(cls: type[DarkroomError]) -> int | None:
    return next((STATUS[base] for base in cls.__mro__ if base in STATUS), None)


def test_every_error_a_request_can_meet_has_a_status():
    own = [cls for cls in every(DarkroomError) if cls.__module__ == errors.__name__]
    without = {cls for cls in own if status_of(cls) is None}
    assert without == {DarkroomError, *every(JobFailure)}


@pytest.mark.parametrize("cls", [c for c in every(DarkroomError) if status_of(c)])
def test_what_may_be_tried_again_says_when(cls):
    assert cls.retryable is (status_of(cls) in RETRY_AFTER_S)
