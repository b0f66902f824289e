"""Bytes of event streams become events, however they are cut; connections are in test_client.py."""

import json

import pytest

from darkroom.client.event_stream import EventReader
from darkroom.client.refusals import ConnectionLostError, NoServiceError, RefusedError
from darkroom.errors import UnauthenticatedError
from darkroom.events import Ended, Logged, Missed, StatusChanged
from darkroom.job import Progress

PATH = "/api/v1/jobs/job_1/events"


def sent(kind: str, id: str = "", retry: int = 0, **data: object) -> bytes:
    lines = [f"event: {kind}", f"data: {json.dumps(data, ensure_ascii=False)}"]
    lines += [f"id: {id}"] * bool(id) + [f"retry: {retry}"] * bool(retry)
    return ("\n".join(lines) + "\n\n").encode()


@pytest.fixture
def reader() -> EventReader:
    reader = EventReader(PATH, "job_1", "", 60)
    reader.call()
    reader.opened(200)
    return reader


def test_events_come_as_the_classes_that_tell_them(reader):
    data = sent("status", "1-0", status="running", attempt=1) + b": ping\n\n"
    data += sent("progress", "2-0", stage="denoise", step=1, steps=4, mood="good")
    data += sent("log", "3-0", level="info", message="a\u2028b\u0085c")
    data += sent("done", "4-0", status="succeeded", code=None)
    events = list(reader.read(data))
    kinds = [StatusChanged, Progress, Logged, Ended]
    assert [type(event.data) for event in events] == kinds
    assert [event.id for event in events] == ["1-0", "2-0", "3-0", "4-0"]
    assert {event.job_id for event in events} == {"job_1"}
    assert events[2].data.message == "a\u2028b\u0085c"
    assert reader.done


def test_however_the_bytes_are_cut(reader):
    data = sent("log", "1-0", level="info", message="ä") + sent("status", "2-0", status="queued")
    data = data.replace(b"\n", b"\r\n")
    events = [event for n in range(len(data)) for event in reader.read(data[n : n + 1])]
    assert [(event.id, event.kind) for event in events] == [("1-0", "log"), ("2-0", "status")]


def test_it_goes_on_behind_the_last_event(reader):
    assert "Last-Event-ID" not in reader.call().options["headers"]
    torn = sent("status", "8-0", status="queued")[:-1]
    assert [event.id for event in reader.read(sent("status", "7-0", status="queued") + torn)] == [
        "7-0"
    ]
    call = reader.call()
    assert (call.path, call.options["headers"]["Last-Event-ID"]) == (PATH, "7-0")
    assert list(reader.read(b"\n")) == [], "of the connection before nothing is left"


def test_what_a_newer_service_tells_is_passed_over(reader):
    assert list(reader.read(sent("mood", "5-0", good=True) + b"id: 6-0\n\n")) == []
    assert reader.call().options["headers"]["Last-Event-ID"] == "6-0"


def test_a_service_that_stops_is_asked_again_when_it_says(reader):
    assert reader.pause_s(None) == 1
    why = {"code": "shutting_down", "message": "It stops.", "retryable": True}
    assert list(reader.read(sent("error", retry=3000, **why))) == []
    assert (reader.done, reader.pause_s(None)) == (False, 3)


def test_what_ends_for_good_is_raised(reader):
    why = {"code": "unauthenticated", "message": "Revoked.", "retryable": False}
    with pytest.raises(UnauthenticatedError, match=r"Revoked\.") as raised:
        list(reader.read(sent("error", **why)))
    assert isinstance(raised.value, RefusedError)
    with pytest.raises(RefusedError):
        reader.pause_s(raised.value)


def test_faults_are_waited_out_as_long_as_there_is_patience(reader):
    lost = ConnectionLostError("It broke.")
    assert [reader.pause_s(lost), reader.pause_s(lost)] == [0.5, 1]
    list(reader.read(b": ping\n\n"))
    assert reader.pause_s(lost) == 0.5
    with pytest.raises(ConnectionLostError):
        EventReader(PATH, "job_1", "", 0).pause_s(lost)


def test_a_job_that_ended_and_of_which_nothing_was_missed_is_done(reader):
    reader.opened(204)
    assert reader.done


@pytest.mark.parametrize("data", ["<html>", "[]", '{"status": "mad"}'])
def test_what_is_no_event_is_refused(reader, data):
    with pytest.raises(NoServiceError):
        list(reader.read(f"event: status\ndata: {data}\n\n".encode()))


def test_the_stream_of_all_jobs_says_whose_events_are_and_never_ends():
    reader = EventReader("/api/v1/events", None, "3-0", 60)
    assert reader.call().options["headers"]["Last-Event-ID"] == "3-0"
    data = sent("missed", "4-0", message="Look.") + sent("done", "5-0", job_id="job_2")[:-2]
    done = {"job_id": "job_2", "status": "canceled", "code": None, "job": None}
    data = sent("missed", "4-0", message="Look.") + sent("done", "5-0", **done)
    missed, done = reader.read(data)
    assert (type(missed.data), missed.job_id, done.job_id) == (Missed, None, "job_2")
    assert not reader.done
