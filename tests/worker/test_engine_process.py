"""The engine as its supervisor sees it, with a stand-in for its program."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from darkroom.settings import Settings
from worker.engine_process import EngineProcess
from worker.report import Report

STAND_IN = """#!{python}
import sys
from worker.at_work import AtWork
AtWork(int(sys.argv[sys.argv.index("--at-work") + 1])).turn_to(["token"])
print("what a library prints")
print({report!r}, flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[EngineProcess]:
    """One that reports once, is at work on one job, and ends at the first order."""
    report = Report(state="busy", tick=3).line().decode().strip()
    program = tmp_path / "engine"
    program.write_text(STAND_IN.format(python=sys.executable, report=report))
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    one = EngineProcess("w1", Settings(_env_file=None, step_timeout_s=1, load_timeout_s=900))
    yield one
    one.kill()
    one.close()


def test_it_reports_drains_and_leaves_word_of_what_it_was_at_work_on(engine) -> None:
    give_up = time.monotonic() + 60
    while engine.report.tick != 3:
        assert time.monotonic() < give_up
        engine.read()
    assert engine.report.state == "busy"
    engine.drain()
    assert engine.process.wait(30) == 0
    assert engine.at_work == {"token"}
    engine.drain()  # to one that has gone


def test_a_call_may_take_less_long_than_a_load(engine) -> None:
    engine.progressed_at = time.monotonic() - 100
    engine.report = Report(state="loading")
    assert not engine.hung
    engine.report = Report(state="busy")
    assert engine.hung
