"""What of a job can be had, or why nothing."""

import pytest

from darkroom.client.pictures import NoPicturesError, kept_pictures
from darkroom.errors import SafetyBlockedError
from darkroom.job import Job
from tests.scripted import job

PICTURE = {"id": "img_1", "url": "/x", "width": 8, "height": 8, "seed": 1, "bytes": 9}
WITHHELD = PICTURE | {"id": "img_2", "url": None, "bytes": None, "sha256": None, "flagged": True}


def ended(status: str, **more: object) -> Job:
    return Job.model_validate(job(status, **more).body)


def test_pictures_that_were_withheld_are_left_out():
    images = [PICTURE | {"sha256": "0"}, WITHHELD]
    assert [each.id for each in kept_pictures(ended("succeeded", images=images))] == ["img_1"]


def test_a_failure_is_of_the_class_that_has_its_code():
    error = {"code": "safety_blocked", "message": "All were withheld."}
    with pytest.raises(SafetyBlockedError, match=r"job_1 failed: All were withheld\.") as raised:
        kept_pictures(ended("failed", error=error))
    assert isinstance(raised.value, NoPicturesError)
    assert (raised.value.job.id, raised.value.retryable) == ("job_1", False)


def test_one_that_may_pass_says_so():
    error = {"code": "out_of_memory", "message": "Too little."}
    with pytest.raises(NoPicturesError) as raised:
        kept_pictures(ended("failed", error=error))
    assert raised.value.retryable


def test_a_canceled_job_has_none():
    with pytest.raises(NoPicturesError, match="job_1 canceled") as raised:
        kept_pictures(ended("canceled"))
    assert raised.value.code == "canceled"
