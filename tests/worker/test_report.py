import os
import subprocess
import sys

import pytest

from worker.report import PARENT_GONE, Report

REPORTING = """
import sys
from worker.report import Report, private_stdout, report_for_ever
out = private_stdout()
print("what a library prints")
report_for_ever(lambda: Report(state="idle", models=("a", "b")), out)
"""
OBEYING = """
from worker.report import obey
obey(lambda: print("draining", flush=True))
"""


def child(code: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize(
    "report",
    [
        Report(),
        Report(
            state="busy",
            tick=3,
            finished=1,
            models=("a", "b"),
            loads="c",
            running=2,
            passes=9,
            joined_passes=4,
            speed=2.5,
            device="cpu",
            memory={"free": 1},
        ),
    ],
)
def test_a_report_is_read_as_it_was_written(report: Report) -> None:
    line = report.line()
    assert line.count(b"\n") == 1
    assert Report.parse(line) == report


def test_the_pipe_holds_reports_alone_and_an_engine_ends_when_nobody_listens() -> None:
    with child(REPORTING) as engine:
        assert engine.stdout
        assert engine.stderr
        for _ in range(2):
            assert Report.parse(engine.stdout.readline()).models == ("a", "b")
        engine.stdout.close()
        assert engine.wait(60) == PARENT_GONE
        assert b"what a library prints" in engine.stderr.read()


def test_an_engine_drains_when_it_is_told_to_and_ends_when_its_supervisor_has_gone() -> None:
    with child(OBEYING) as engine:
        assert engine.stdin
        assert engine.stdout
        engine.stdin.write(b"what is this\ndrain\n")
        engine.stdin.flush()
        assert engine.stdout.readline() == f"draining{os.linesep}".encode()
        engine.stdin.close()
        assert engine.wait(60) == PARENT_GONE
        assert engine.stdout.read() == b""
