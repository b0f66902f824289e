"""Threads that take their process with them, also when nothing can be told of it."""

import subprocess
import sys

import pytest

BROKEN = """
import sys
from darkroom import logs, streams
from darkroom.settings import Settings
from worker.vital import Vital

class Broken(Vital):
    def work(self):
        raise {}

streams.guard()
logs.setup(Settings())
thread = Broken(name="broken", daemon=True)
thread.start()
thread.join(60)
"""
GOOD = """
from worker.vital import Vital, or_exit

class Good(Vital):
    def work(self):
        return

thread = Good(name="good")
thread.start()
thread.join()
with or_exit("main"):
    print("goes on")
print("to its end")
"""


@pytest.mark.parametrize("error", ["KeyError('x')", "SystemExit('x')", "KeyboardInterrupt"])
@pytest.mark.parametrize("stderr", ["2>&1", "2>/dev/full", "2>&-"])
def test_a_thread_that_dies_takes_its_process_with_it(error: str, stderr: str) -> None:
    command = ["sh", "-c", f'exec "$0" -c "$1" {stderr}', sys.executable, BROKEN.format(error)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ("thread_died" in ended.stdout) == (stderr == "2>&1" and error != "KeyboardInterrupt")


def test_one_that_has_done_its_work_does_not() -> None:
    ended = subprocess.run([sys.executable, "-c", GOOD], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "goes on\nto its end\n")
