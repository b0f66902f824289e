import os
import signal
import subprocess
import sys

from worker.at_work import AtWork, shared_memory, tokens_in

DYING = """
import os, signal, sys
from worker.at_work import AtWork
at_work = AtWork(int(sys.argv[1]))
at_work.turn_to(["old"])
at_work.turn_to(["a" * 32, "b" * 32])
with at_work.on("done"):
    pass
with at_work.on("c" * 32):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_process_was_at_work_on_is_known_when_it_was_killed() -> None:
    descriptor = shared_memory()
    assert tokens_in(descriptor) == frozenset()
    ended = subprocess.run(
        [sys.executable, "-c", DYING, str(descriptor)], pass_fds=[descriptor], check=False
    )
    assert ended.returncode == -signal.SIGKILL
    assert tokens_in(descriptor) == {"a" * 32, "b" * 32, "c" * 32}
    os.close(descriptor)


def test_more_than_there_is_room_for_is_cut_and_harms_nothing() -> None:
    descriptor = shared_memory()
    AtWork(descriptor).turn_to(f"{index:032}" for index in range(1000))
    assert "0" * 32 in tokens_in(descriptor)
    os.close(descriptor)


def test_without_a_supervisor_nobody_reads_it() -> None:
    AtWork().turn_to(["a"])
