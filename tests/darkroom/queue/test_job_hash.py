"""A job's hash as others may have left it: what Darkroom wrote is read, nothing else is."""

import json
import pickle
import zlib

import pytest

from darkroom.errors import ExpiredError, JobNotFoundError
from darkroom.job import JobStatus
from darkroom.queue.job_hash import (
    FUNCTION,
    image_ids,
    input_ids,
    read_fields,
    read_job,
    read_jobs,
    read_request,
)

REQUEST = {"task": "text-to-image", "model": "pix", "prompt": "a cat"}
DATA = json.dumps([FUNCTION, None, [REQUEST], {}])
HASH = {
    "status": "queued",
    "origin": "pix.normal",
    "data": DATA,
    "dr_attempt": "0",
    "dr_priority": "normal",
    "dr_created": "1700000000.5",
    "dr_owner": "ann",
}
JOB = "job_" + "0" * 32


def answer(position: int = 3, **fields: str | None) -> list:
    """What `view` of the prelude returns: id, now, whether a tombstone stands, place, hash."""
    whole = {name: value for name, value in (HASH | fields).items() if value is not None}
    flat = [part.encode() for pair in whole.items() for part in pair]
    return [JOB.encode(), b"1700000100", 0, position, flat]


def test_a_hash_is_a_job() -> None:
    job = read_job(answer(), JOB)
    assert (job.id, job.status, job.request) == (JOB, JobStatus.QUEUED, REQUEST)
    assert job.queue is not None
    assert (job.queue.name, job.queue.position, job.attempts) == ("pix.normal", 3, 0)


def test_the_jobs_of_others_are_as_if_they_were_not_there() -> None:
    assert read_job(answer(), JOB, "ann").id == JOB
    with pytest.raises(JobNotFoundError):
        read_job(answer(), JOB, "bob")


def test_a_job_beyond_its_retention_has_expired() -> None:
    with pytest.raises(ExpiredError):
        read_job(answer(dr_expires="1700000099"), JOB)


@pytest.mark.parametrize(
    "broken",
    [
        {"status": "sleeping"},
        {"dr_attempt": "many"},
        {"dr_priority": "urgent"},
        {"dr_images": "[{}]"},
        {"data": "[]"},
        {"dr_created": None},
    ],
)
def test_a_hash_that_is_no_job_is_passed_over(broken: dict) -> None:
    with pytest.raises(JobNotFoundError):
        read_job(answer(**broken), JOB)
    assert [job.id for job in read_jobs([answer(**broken), answer()])] == [JOB]


@pytest.mark.parametrize(
    "data",
    [
        json.dumps(["os.system", None, [REQUEST], {}]),
        json.dumps([FUNCTION, None, ["rm -rf /"], {}]),
        json.dumps([FUNCTION, None, [REQUEST], {"shell": True}]),
        "[" * 100_000,
        "no json",
        pickle.dumps(REQUEST, 0).decode(),
    ],
)
def test_only_a_call_of_our_own_function_is_a_request(data: str) -> None:
    with pytest.raises(ValueError, match=r"its data|JSON|Expecting"):
        read_request(data)


def test_data_that_rqs_tools_compressed_is_read() -> None:
    fields = read_fields([b"data", zlib.compress(DATA.encode())])
    assert read_request(fields["data"]) == REQUEST


def test_pictures_are_found_in_what_is_stored() -> None:
    name = "file_" + "a" * 64
    data = json.dumps([FUNCTION, None, [REQUEST | {"image": name}], {}]).encode()
    assert input_ids(data) == input_ids(zlib.compress(data)) == [name]
    assert image_ids(b'[{"id": "img_1"}]') == ["img_1"]
    assert image_ids(b"") == []
