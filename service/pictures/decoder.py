"""A decoder process: `python -m service.pictures.decoder PARENT MEMORY`; decodes one picture after
the other for the service that started it, and may be killed at any time. Imports little."""

import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from darkroom.errors import InvalidImageError, UnsupportedError
from darkroom.tether import tie_to
from service.pictures import data_uris, messages
from service.pictures.copies import copied
from service.pictures.decode import decode
from service.pictures.marks import look
from service.pictures.messages import LENGTHS, MOST_S, READY, AnyWish, CopyWish, MarksWish, Wish

LEAST_CPU_S = 2.0
CPU_S_PER_PIXEL = 1e-7
"""Twice what the slowest files took on a core of 2020, large WebPs with transparency."""


def main() -> None:
    parent, memory = (int(each) for each in sys.argv[1:3])
    tie_to(parent)
    _limit(memory)
    pipe_in, pipe_out = sys.stdin.buffer, sys.stdout.buffer
    _write(pipe_out, READY)
    while lengths := pipe_in.read(LENGTHS.size):
        wish, data = (pipe_in.read(length) for length in LENGTHS.unpack(lengths))
        _allow_cpu(0)
        _write(pipe_out, *answer(messages.read_wish(wish), data))


def answer(wish: AnyWish, data: bytes) -> tuple[bytes, bytes]:
    """The message to send about a picture."""
    try:
        match wish:
            case Wish():
                return messages.decoded_message(decode(data, wish, _allow_cpu))
            case CopyWish():
                return messages.answer_message({}, copied(data, wish, _allow_cpu))
            case MarksWish():
                file = data_uris.read(data) if wish.is_text else data
                return messages.answer_message(look(file))
    except (InvalidImageError, UnsupportedError) as error:
        return messages.error_message(str(error))
    except MemoryError:
        return messages.error_message("Takes too much memory to decode; send it smaller.")


def _write(pipe: BinaryIO, *parts: bytes) -> None:
    for part in parts:
        pipe.write(part)
    pipe.flush()


def _limit(memory: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which ends this
    with suppress(OSError):  # if memory is short, this goes before the service does
        Path("/proc/self/oom_score_adj").write_text("1000")
    with suppress(ValueError, OSError):  # not every system limits addresses
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _allow_cpu(pixels: int) -> None:
    """From here on so much time of a core, in whole seconds; the kernel ends what takes more."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    allowed = min(LEAST_CPU_S + CPU_S_PER_PIXEL * pixels, MOST_S)
    ends = int(used.ru_utime + used.ru_stime + allowed) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (ends, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main()
