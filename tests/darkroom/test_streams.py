"""What is printed where nothing can be printed."""

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from darkroom.streams import Unfailing

PRINTS = """
import sys
from darkroom import streams
streams.guard()
print("out")
print("err", file=sys.stderr)
with open(sys.argv[1], "w") as file:
    file.write(f"{file.fileno()} {sys.stdout.isatty()}")
print("\\udc80 and \\u2713")
"""


def read(descriptor: int) -> bytes:
    """All that can be read without waiting."""
    found = b""
    while select.select([descriptor], [], [], 0)[0] and (part := os.read(descriptor, 65536)):
        found += part
    return found


@pytest.fixture
def pipe() -> tuple[int, int]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


@pytest.mark.parametrize("streams", ["<&- >&- 2>&-", ">/dev/full 2>&1", ">/dev/null 2>&-", "2>&1"])
def test_a_process_lives_wherever_it_prints_to(streams: str, tmp_path: Path) -> None:
    found = tmp_path / "found"
    command = f'exec "$0" -c "$1" "$2" {streams}'
    done = subprocess.run(["sh", "-c", command, sys.executable, PRINTS, found], capture_output=True)
    assert done.returncode == 0
    number, _ = found.read_text().split()
    assert int(number) > 2, "a file has the number of a stream that was closed"
    assert done.stderr == b""
    assert done.stdout == ("out\nerr\n\\udc80 and ✓\n".encode() if streams == "2>&1" else b"")


def test_a_pipe_that_nobody_reads_costs_lines(pipe: tuple[int, int]) -> None:
    out, line = Unfailing(pipe[1]), b"x" * 9_999 + b"\n"
    assert {out.write(line) for _ in range(100)} == {len(line)}
    assert os.get_blocking(pipe[1]), "others who share it must not find it changed"
    whole, _, torn = read(pipe[0]).rpartition(b"\n")
    assert set(whole.split(b"\n")) == {line.strip()}
    assert 0 < len(torn) < len(line)
    assert out.write(b"read again\n")
    lost = 100 - whole.count(b"\n") - 1
    assert read(pipe[0]) == b"\nBefore this, %d writes failed.\nread again\n" % lost
    out.write(b"and again\n")
    assert read(pipe[0]) == b"and again\n"


def test_a_pipe_that_nobody_holds_any_more_costs_lines() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    assert Unfailing(writing).write(b"line\n") == 5
    os.close(writing)
    assert Unfailing(os.open(os.devnull, os.O_RDONLY)).write(b"line\n") == 5


FULL = """
import os, resource
from darkroom.streams import Unfailing
out = Unfailing(os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND))
out.write(b"before\\n")
resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
out.write(b"torn off\\n")
out.write(b"lost\\n")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
out.write(b"after\\n")
"""


def test_what_a_full_disk_cut_off_does_not_spoil_the_next_line(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", FULL], cwd=tmp_path, check=True, env=_with_sources())
    told = b"Before this, 2 writes failed."
    assert (tmp_path / "log").read_bytes() == b"before\ntor\n" + told + b"\nafter\n"


def _with_sources() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def test_it_is_a_terminal_if_it_was() -> None:
    master, terminal = os.openpty()
    out = Unfailing(terminal)
    assert (out.isatty(), out.fileno(), out.writable()) == (True, terminal, True)
    out.write(b"line\n")
    assert read(master) == b"line\r\n"
    os.close(master)
    assert out.write(b"hung up\n") == 8
    os.close(terminal)
