"""Examples are whole; that each is of its shape is tried in test_documentation.py."""

from darkroom import events
from darkroom.job import Job
from service.examples import ANSWERS, EVENTS


def test_the_job_of_the_examples_is_a_job():
    for name in (("create_job", "200"), ("create_job", "202"), ("cancel_job", "202")):
        shown = dict(ANSWERS[name])
        assert set(shown) == {*Job.model_fields, "urls"}
        del shown["urls"]
        assert Job.model_validate(shown).id == shown["id"]


def test_the_stream_of_the_examples_ends():
    for name in ("follow_job", "follow_all"):
        lines = ANSWERS[name, "200"].splitlines()
        kinds = [line[7:] for line in lines if line.startswith("event: ")]
        assert kinds == ["status", "progress", "preview", "image", "log", "done"]


def test_there_is_an_example_of_each_kind_of_event():
    assert [events.kind_of(event) for event in EVENTS] == list(events.EVENTS)
