"""The checker is as good as what it catches: a history without a fault, and each breach planted."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.chaos.checker import check

Lines = list[dict[str, Any]]
IMAGE = {"id": "img_1"}


def told(at: float, name: str, **data: Any) -> list[Any]:
    return [at, name, data]


def sound() -> Lines:
    """A job whose engine is killed, which another one finishes."""
    seen = {"kind": "seen", "job": "a"}
    events = [
        told(10.0, "status", status="queued"),
        told(10.1, "status", status="running", attempt=1),
        told(11.1, "status", status="queued"),
        told(12.0, "status", status="running", attempt=2),
        told(12.5, "image", **IMAGE),
        told(12.6, "done", status="succeeded", code=None),
    ]
    end = {"status": "succeeded", "images": [IMAGE], "error": None, "attempts": 2}
    struck = {"worker": "w", "held": ["a"], "room": True}
    return [
        {"kind": "send", "at": 9.9, "key": "k", "sort": "innocent"},
        {"kind": "ack", "at": 10.0, "job": "a", "key": "k", "sort": "innocent", "pictures": 1},
        {**seen, "at": 10.05, "status": "queued", "position": 3, "attempts": 0},
        {**seen, "at": 10.07, "status": "queued", "position": 0, "attempts": 0},
        {"kind": "fault", "at": 11.0, "number": 0, "fault": "engine killed", **struck},
        {"kind": "mended", "at": 11.0, "number": 0},
        {"kind": "fault", "at": 30.0, "number": 1, "fault": "worker drained", "held": []},
        {"kind": "mended", "at": 31.0, "number": 1},
        {"kind": "drained", "at": 31.0, "worker": "w", "status": 0, "took_s": 1.0},
        {**seen, "at": 13.0, "status": "succeeded", "position": None, "attempts": 2},
        {"kind": "listed", "at": 40.0, "job": "a", "key": "k"},
        {"kind": "end", "at": 40.0, "job": "a", "body": end},
        {"kind": "events", "at": 40.0, "job": "a", "events": events},
        {"kind": "picture", "at": 40.0, "job": "a", "image": "img_1", "wrong": ""},
        {"kind": "counters", "at": 41.0, "submitted": 1, "finished": 1, "listed": 1, "fenced": 0},
    ]


def of(lines: Lines, kind: str) -> dict[str, Any]:
    return next(line for line in lines if line["kind"] == kind)


def events(lines: Lines) -> list[Any]:
    found: list[Any] = of(lines, "events")["events"]
    return found


def end(lines: Lines) -> dict[str, Any]:
    found: dict[str, Any] = of(lines, "end")["body"]
    return found


def add(lines: Lines, kind: str, **more: Any) -> None:
    lines.append({"kind": kind, "at": 50.0, **more})


REFUSED = {"what": "POST jobs", "code": "x", "problem": True, "retry_after": True}
PLANTED: dict[str, tuple[str, Callable[[Lines], Any]]] = {
    "a job is gone": ("I1", lambda lines: lines.remove(of(lines, "end"))),
    "a job hangs": ("I1", lambda lines: end(lines).update(status="running")),
    "a job is nowhere": ("I1", lambda lines: add(lines, "astray", job="a", status="queued")),
    "a client is told it is gone": ("I1", lambda lines: add(lines, "missing", job="a", status=404)),
    "two ends": ("I2", lambda lines: events(lines).append(events(lines)[-1])),
    "no end": ("I2", lambda lines: events(lines).pop()),
    "it goes on": ("I2", lambda lines: events(lines).append(told(13, "status", status="queued"))),
    "it ends otherwise": ("I2", lambda lines: events(lines)[-1][2].update(status="failed")),
    "an end is taken back": (
        "I2",
        lambda lines: add(lines, "seen", job="a", status="running", position=None, attempts=2),
    ),
    "a second result": ("I3", lambda lines: events(lines).insert(4, told(12, "image", id="img_2"))),
    "a picture too few": ("I3", lambda lines: of(lines, "ack").update(pictures=2)),
    "counted twice": ("I3", lambda lines: of(lines, "counters").update(finished=2)),
    "an attempt too many": ("I4", lambda lines: end(lines).update(attempts=3)),
    "an innocent fails": (
        "I4",
        lambda lines: end(lines).update(status="failed", error={"code": "poison"}),
    ),
    "poison does not kill": ("I4", lambda lines: of(lines, "ack").update(sort="poison")),
    "a damaged picture": ("I5", lambda lines: of(lines, "picture").update(wrong="cut short")),
    "a position rises": ("I7", lambda lines: of(lines, "seen").update(position=-1)),
    "two jobs of one key": ("I8", lambda lines: add(lines, "listed", job="b", key="k")),
    "a job of no key": ("I8", lambda lines: add(lines, "listed", job="b", key="other")),
    "a lease is left": ("I9", lambda lines: add(lines, "left", what="darkroom:leases: 1")),
    "a drain fails": ("I11", lambda lines: of(lines, "drained").update(status=1)),
    "a bare 500": ("I13", lambda lines: add(lines, "refused", status=500, **REFUSED)),
    "a 503 that is no problem document": (
        "I13",
        lambda lines: add(lines, "refused", status=503, **REFUSED | {"problem": False}),
    ),
    "a 503 without Retry-After": (
        "I13",
        lambda lines: add(lines, "refused", status=503, **REFUSED | {"retry_after": False}),
    ),
    "a client gives up": ("I13", lambda lines: add(lines, "gave up", what="POST")),
    "a process ends": ("I14", lambda lines: add(lines, "died", what="w1 ended with status 1")),
}


def test_a_sound_history_breaks_no_promise() -> None:
    verdict = check(sound(), lease_s=2)
    assert verdict.breaches == []
    assert verdict.counts["jobs"] == verdict.counts["succeeded"] == 1
    assert verdict.faults == {"engine killed": 1, "worker drained": 1}
    alone = verdict.recovery["engine killed"]["alone"]
    assert alone.queued == [pytest.approx(0.05)]
    assert alone.running == [pytest.approx(0.5)]


@pytest.mark.parametrize("name", PLANTED)
def test_a_breach_is_found(name: str) -> None:
    promise, plant = PLANTED[name]
    lines = copy.deepcopy(sound())
    plant(lines)
    assert promise in {breach.promise for breach in check(lines, lease_s=2).breaches}


def test_an_attempt_that_a_drain_costs_is_found() -> None:
    lines = sound()
    drain = next(line for line in lines if line.get("fault") == "worker drained")
    drain.update(at=11.0, held=["a"], room=True)
    lines = [line for line in lines if line.get("fault") != "engine killed"]
    assert "I11" in {breach.promise for breach in check(lines, lease_s=2).breaches}


def test_faults_that_overlap_are_told_apart() -> None:
    lines = sound()
    other = {"kind": "fault", "at": 11.5, "number": 2, "fault": "link slow"}
    recovery = check([*lines, other], lease_s=2).recovery["engine killed"]
    assert (len(recovery["alone"].running), len(recovery["overlapping"].running)) == (0, 1)
