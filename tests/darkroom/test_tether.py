"""Children do not outlive whoever started them."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

PARENT = """
import subprocess, sys
from darkroom.tether import tether
child = subprocess.Popen(
    [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"],
    preexec_fn=tether(), stdout=sys.stdout,
)
print(child.pid, flush=True)
child.wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children")
def test_the_child_of_a_killed_process_ends() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert parent.stdout
    with parent.stdout as lines:
        said = sorted(lines.readline().strip() for _ in range(2))
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        # The child held the other end of the pipe: it is read to its end when the child is gone.
        assert lines.read() == ""
    assert said[1] == "up"
