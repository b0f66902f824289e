"""A claim out of the answer of the script, and what is planted in Redis by hand."""

import pytest

from darkroom.queue.claim import Claim, claim_of

FIELDS = {
    "dr_attempt": "2",
    "dr_created": "100.0",
    "dr_started": "107.5",
    "dr_deadline": "120.0",
    "dr_priority": "high",
    "dr_spent": '{"load": 1.5, "denoise": 2}',
    "dr_warnings": '["slow"]',
}


def answer(**changes: str) -> list[object]:
    flat = [part.encode() for pair in {**FIELDS, **changes}.items() for part in pair]
    return [b"job_1", b"108.0", b"", 0, flat]


def test_a_claim_says_what_its_job_went_through() -> None:
    claim, fields = claim_of(answer(), "token")
    assert claim == Claim(
        job_id="job_1",
        token="token",
        request={},
        attempt=2,
        remaining_s=12.0,
        queued_s=4.0,
        priority="high",
        spent={"load": 1.5, "denoise": 2.0},
        warnings=("slow",),
    )
    assert fields == FIELDS


@pytest.mark.parametrize("warnings", ["{", "5", "", "[" * 100_000])
def test_warnings_that_cannot_be_read_are_none(warnings: str) -> None:
    assert claim_of(answer(dr_warnings=warnings), "token")[0].warnings == ()
