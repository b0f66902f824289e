import subprocess
import sys

BROKEN = """
from worker.vital import Vital

class Broken(Vital):
    def work(self):
        raise KeyError("a secret of the prompt")

thread = Broken(name="broken", daemon=True)
thread.start()
thread.join(60)
"""


def test_a_thread_that_dies_takes_its_process_with_it() -> None:
    ended = subprocess.run([sys.executable, "-c", BROKEN], capture_output=True, text=True)
    assert ended.returncode == 1
    assert "thread_died" in ended.stderr + ended.stdout
