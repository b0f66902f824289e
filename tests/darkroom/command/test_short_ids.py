"""The beginning or end of an id, among jobs that a service lists; as a command in test_jobs.py."""

import pytest

from darkroom.client.client import Client
from darkroom.command.short_ids import whole_id
from darkroom.errors import JobNotFoundError
from tests.scripted import Answer, Service, job

IDS = [f"job_{'a' * 28}{end}" for end in ("1111", "2222")]


@pytest.mark.parametrize(("part", "number"), [("2222", 1), ("AA1111", 0), (IDS[0][:35] + "1", 0)])
def test_a_part_that_one_id_has_is_that_id(part: str, number: int) -> None:
    listed = Answer({"data": [job(id=each).body for each in IDS]})
    with Service(listed) as service, Client(service.url) as client:
        assert whole_id(client, part) == IDS[number]


@pytest.mark.parametrize(("part", "said"), [("job_aaaa", "several jobs"), ("3333", "no job's id")])
def test_a_part_of_several_or_none_is_refused(part: str, said: str) -> None:
    listed = Answer({"data": [job(id=each).body for each in IDS]})
    with (
        Service(listed) as service,
        Client(service.url) as client,
        pytest.raises(JobNotFoundError, match=said),
    ):
        whole_id(client, part)


def test_too_short_a_part_asks_nothing() -> None:
    with Client("http://127.0.0.1:9") as client:
        with pytest.raises(JobNotFoundError):
            whole_id(client, "abc")
        assert whole_id(client, f"job_{'0' * 32}") == f"job_{'0' * 32}"
