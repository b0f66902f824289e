"""The child process as the service starts it, without the service."""

import os
import resource
import select
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from darkroom.errors import InvalidImageError
from service.pictures import messages
from service.pictures.messages import LENGTHS, READY, Decoded, Wish
from tests.picture_files import encoded, noise, wish

MODULE = [sys.executable, "-m", "service.pictures.decoder"]
MEMORY = 2**30


class Child:
    def __init__(self, memory: int = MEMORY) -> None:
        command = [*MODULE, str(os.getpid()), str(memory)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.read(1) == READY

    def ask(self, data: bytes, wanted: Wish) -> Decoded:
        for part in messages.wish_message(wanted, data):
            self.process.stdin.write(part)
        self.process.stdin.flush()
        lengths = LENGTHS.unpack(self.process.stdout.read(LENGTHS.size))
        return messages.read_decoded(*[self.process.stdout.read(length) for length in lengths])


@pytest.fixture
def child() -> Iterator[Child]:
    started = Child()
    yield started
    started.process.stdin.close()
    assert started.process.wait(20) == 0
    started.process.stdout.close()


def test_pictures_are_decoded_one_after_the_other(child):
    for side in (8, 9):
        assert child.ask(encoded(noise((side, 8))), wish()).size == (side, 8)
        with pytest.raises(InvalidImageError, match="undamaged"):
            child.ask(b"junk", wish())


def test_d1_what_takes_too_much_memory_is_refused_and_the_next_is_taken(child):
    hungry = encoded(Image.new("1", (20_000, 20_000)))  # four bytes a pixel as RGB
    with pytest.raises(InvalidImageError, match="memory"):
        child.ask(hungry, wish(max_opened_pixels=10**9))
    assert child.ask(encoded(noise()), wish()).size == (32, 32)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_it_may_take_so_much_time_and_write_no_files(child):
    child.ask(encoded(noise()), wish())
    cpu = resource.prlimit(child.process.pid, resource.RLIMIT_CPU)[0]
    assert 2 <= cpu <= 5
    assert resource.prlimit(child.process.pid, resource.RLIMIT_AS)[0] == MEMORY
    assert resource.prlimit(child.process.pid, resource.RLIMIT_FSIZE)[0] == 0
    score = Path(f"/proc/{child.process.pid}/oom_score_adj")
    assert score.read_text().strip() == "1000"


def test_it_imports_little():
    forbidden = ("numpy", "pydantic", "fastapi", "redis", "darkroom.settings", "asyncio")
    check = f"""
        import sys, service.pictures.decoder
        print([name for name in {forbidden} if name in sys.modules])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(check)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_it_ends_with_a_parent_that_is_killed():
    starts_one = f"""
        import os, subprocess, sys, time
        command = [*{MODULE!r}, str(os.getpid()), "{MEMORY}"]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        child.stdout.read(1)
        print(child.pid, flush=True)
        sys.stdin.read()
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(starts_one)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    child = os.pidfd_open(int(parent.stdout.readline()))
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    assert select.select([child], [], [], 20)[0], "it lives on"
    os.close(child)
