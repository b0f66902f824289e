"""A fault that lasts does not fill the log."""

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator

import pytest
import structlog

from darkroom import logs
from darkroom.logs import BURST, FLOOD_PER_S, MOST_KINDS, REPEAT_EVERY_S, Floods, Repeats
from darkroom.settings import Settings

GONE = {"part": "intake", "event": "queue_unavailable", "reason": "connection refused"}


class Written:
    """What comes through, at a time that the test says."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._repeats = Repeats(clock=lambda: self.now)

    def line(self, level: str = "warning", **line: str) -> dict | None:
        try:
            return dict(self._repeats(None, level, line))
        except structlog.DropEvent:
            return None


@pytest.fixture
def written() -> Written:
    return Written()


def test_same_warning_comes_once_in_a_while_and_says_how_many_were_left_out(
    written: Written,
) -> None:
    assert written.line(**GONE) == GONE
    assert [written.line(**GONE) for _ in range(5)] == [None] * 5
    written.now += REPEAT_EVERY_S
    assert written.line(**GONE) == GONE | {"left_out": 5}
    written.now += REPEAT_EVERY_S
    assert written.line(**GONE) == GONE


@pytest.mark.parametrize(
    "other", [{"part": "beat"}, {"event": "store_unavailable"}, {"reason": "timed out"}]
)
def test_other_warnings_come_through(written: Written, other: dict) -> None:
    written.line(**GONE)
    assert written.line(**GONE | other) == GONE | other


def test_errors_and_what_happens_once_all_come_through(written: Written) -> None:
    for _ in range(3):
        assert written.line("error", **GONE)
        assert written.line(event="job_unreadable", reason="KeyError")


class Flood(Written):
    def __init__(self) -> None:
        super().__init__()
        self._repeats = Floods(clock=lambda: self.now)


BAD = {"part": "connection", "event": "request_refused"}


def test_a_flood_of_one_kind_is_thinned_and_says_how_many_more_there_were() -> None:
    flood = Flood()
    written = [flood.line(**BAD, client=str(n)) for n in range(10_000)]
    assert len([line for line in written if line]) == BURST
    assert flood.line("error", part="service", event="request failed")
    flood.now += 1 / FLOOD_PER_S
    assert flood.line(**BAD) == BAD | {"left_out": 10_000 - BURST}
    assert flood.line(**BAD) is None
    flood.now += 1000
    assert [flood.line(**BAD) for _ in range(BURST)][1:] == [BAD] * (BURST - 1)


def test_what_is_no_fault_is_never_thinned() -> None:
    flood = Flood()
    assert all(flood.line("info", event="job_done") for _ in range(10 * BURST))


def test_kinds_that_never_end_are_not_all_remembered() -> None:
    flood = Flood()
    for n in range(3 * MOST_KINDS):
        assert flood.line(event=f"kind {n}")
    assert len(flood._repeats._kinds) <= MOST_KINDS


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[dict[str, str]]]]:
    """What a process logs, as JSON."""
    before, written = structlog.get_config(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(logging.root, "level", logging.root.level)
    logs.setup(Settings(log_format="json"))
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    structlog.configure(**before)


def test_processes_log_so(lines: Callable[[], list[dict[str, str]]]) -> None:
    for _ in range(3):
        logs.get("intake").warning("queue_unavailable", reason="gone")
    (line,) = lines()
    assert line.items() >= {"event": "queue_unavailable", "reason": "gone"}.items()


def test_libraries_log_so_too(lines: Callable[[], list[dict[str, str]]]) -> None:
    logging.getLogger("some.library").info("not worth a line")
    try:
        raise OSError("no more files")
    except OSError:
        logging.getLogger("some.library").exception("It failed %s\nat once", "twice")
    (line,) = lines()
    assert (line["part"], line["level"]) == ("some.library", "error")
    assert (line["event"], line["detail"]) == ("It failed twice", "at once")
    assert "no more files" in line["exception"]


@pytest.mark.parametrize(
    ("line", "fault", "told"),
    [
        (
            '{"job_id": "j", "event": "job_ended", "level": "info",'
            ' "timestamp": "2026-01-02T03:04:05.678Z", "process": "worker"}',
            False,
            "03:04:05 info job_ended job_id=j",
        ),
        (
            '{"event": "failed", "level": "error", "timestamp": "2026-01-02T03:04:05Z",'
            ' "exception": "Traceback ...\\nOSError: no"}',
            True,
            "03:04:05 error failed\nTraceback ...\nOSError: no",
        ),
        ("Segmentation fault", True, "Segmentation fault"),
        ("[1]", True, "[1]"),
        ('{"level": 5}', True, '{"level": 5}'),
    ],
)
def test_lines_of_a_log_for_people(line: str, fault: bool, told: str) -> None:
    assert logs.is_fault(line) is fault
    assert logs.readable(line) == told


FORGED = "x\n12:00:00 info key_created \x1b[2J\u202eadmin\r"
SEEN = "x\\n12:00:00 info key_created \\x1b[2J\\u202eadmin\\r"


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_h2_what_clients_write_begins_no_line_and_commands_no_terminal(
    log_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, written = structlog.get_config(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(logging.root, "level", logging.root.level)
    logs.setup(Settings(log_format=log_format))
    try:
        logs.get("service").warning("key_refused", reason=FORGED, client="\x1b]0;x\x07")
        logging.getLogger("some.library").warning("%s", FORGED)
    finally:
        structlog.configure(**before)
    lines = written.getvalue().splitlines()
    assert len(lines) == 2
    assert not set(written.getvalue()) & {"\x1b", "\x07", "\r", "\u202e"}
    assert "key_created" in lines[0]


def test_h2_nor_does_a_line_that_is_read_to_people() -> None:
    line = {"timestamp": "2026-01-02T03:04:05Z", "level": "error", "event": "e", "reason": FORGED}
    assert logs.readable(json.dumps(line)) == f"03:04:05 error e reason={SEEN}"
    assert logs.readable("\x1b[2J") == "\\x1b[2J"
    told = logs.readable(json.dumps(line | {"exception": "Traceback\n  \x1b[2J"}))
    assert told.splitlines()[1:] == ["Traceback", "  \\x1b[2J"]


class Unspeakable:
    def __repr__(self) -> str:
        raise KeyError("nothing can be said")

    __str__ = __repr__


def test_nothing_that_is_logged_raises(lines: Callable[[], list[dict[str, str]]]) -> None:
    logs.get("engine").error("odd", about=Unspeakable())
    for level, *said in ((logging.WARNING, "%d of %s", ("one",)), (35, "a level of its own", ())):
        logs.FromLibraries().handle(logging.LogRecord("library", level, "", 0, *said, None))
    first, second, third = lines()
    assert first == {"event": "odd", "level": "error", "not_told": "KeyError"}
    assert (second["event"], second["level"]) == ("%d of %s", "warning")
    assert (third["event"], third["level"]) == ("a level of its own", "warning")


def test_a_finaliser_may_log_while_a_line_is_looked_at() -> None:
    floods = Floods()
    with floods._lock:
        assert floods(None, "error", {"event": "of the finaliser"})
