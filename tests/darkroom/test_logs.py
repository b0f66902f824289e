"""A fault that lasts does not fill the log."""

import json

import pytest
import structlog

from darkroom import logs
from darkroom.logs import REPEAT_EVERY_S, Repeats
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


def test_processes_log_so(capsys: pytest.CaptureFixture[str]) -> None:
    before = structlog.get_config()
    logs.setup(Settings(log_format="json"))
    try:
        for _ in range(3):
            logs.get("intake").warning("queue_unavailable", reason="gone")
    finally:
        structlog.configure(**before)
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line).items() >= {"event": "queue_unavailable", "reason": "gone"}.items()
