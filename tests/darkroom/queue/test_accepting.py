"""Why jobs are refused, in words; that they are is in test_jobs.py and test_batches.py."""

import pytest

from darkroom.errors import DarkroomError, RateLimitedError
from darkroom.queue.accepting import NewJob, Terms, check_verdict

TERMS = Terms(per_minute=60)


def said(verdict: bytes, answer: object, size: int) -> str:
    with pytest.raises(DarkroomError) as refused:
        check_verdict(verdict, answer, TERMS, size)
    return str(refused.value)


def test_what_is_accepted_raises_nothing():
    for verdict in (b"accepted", b"replayed"):
        check_verdict(verdict, [], TERMS)


@pytest.mark.parametrize(
    ("verdict", "alone"),
    [
        (b"too_many", "3 of your jobs are queued or running."),
        (b"too_many_queued", "3 of your jobs are queued, as many as may be."),
        (b"full", "3 jobs are queued, which is all that may wait."),
    ],
)
def test_a_batch_is_told_that_it_is_all_or_nothing(verdict, alone):
    assert said(verdict, 3, 1) == alone
    together = said(verdict, 3, 4)
    assert together.endswith(". The 4 of this batch would be too many.")
    assert "all that may" not in together


def test_a_key_is_told_whose_it_is():
    assert "belongs to job job_1," in said(b"mismatch", b"job_1", 1)
    assert "belongs to batch_1," in said(b"mismatch", b"batch_1", 1)


def test_who_made_too_many_requests_is_told_when_there_are_enough():
    with pytest.raises(RateLimitedError) as refused:
        check_verdict(b"rate_limited", [0, b"4.5", b"55.5"], TERMS, 11)
    assert refused.value.retry_s == 6  # 10 are wanted, 5.5 lack, one comes in a second


def test_an_input_picture_is_named_once():
    file = f"file_{'0' * 64}"
    new = NewJob(request={"image": file, "mask_image": file}, model="m")
    assert new.words[-2:] == (1, file)
