"""Examples are whole; that each is of its shape is tried in test_documentation.py."""

from darkroom.job import Job
from service.examples import ANSWERS, EVENTS


def test_the_job_of_the_examples_is_a_job():
    for name in (("create_job", "200"), ("create_job", "202"), ("cancel_job", "202")):
        shown = dict(ANSWERS[name])
        assert set(shown) == {*Job.model_fields, "urls"}
        del shown["urls"]
        assert Job.model_validate(shown).id == shown["id"]


def test_the_stream_of_the_examples_ends():
    kinds = [line[7:] for line in EVENTS.splitlines() if line.startswith("event: ")]
    assert kinds == ["status", "progress", "image", "done"]
