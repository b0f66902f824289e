"""The decoder processes of a service: a few children, each with one picture at a time; on the event
loop of the service, decodes nothing itself."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from darkroom import logs
from darkroom.errors import DecodersBusyError, InvalidImageError
from service.pictures import messages
from service.pictures.messages import (
    LENGTHS,
    MOST_S,
    READY,
    AnyWish,
    CopyWish,
    Decoded,
    MarksWish,
    Wish,
)

log = logs.get("service")

WAIT_S = 10.0
"""How long a picture may wait for a decoder."""
START_S = 20.0
PLAIN_MEMORY = 512 * 2**20
"""Bytes that a decoder has for itself and for the files that it reads and writes."""
MEMORY_PER_PIXEL = 10
"""Bytes: an RGBA picture is there twice while it is shrunk, once weighed by its alpha."""


_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1"}
"""Each thread would take of the addresses that a decoder may have."""


class Decoders:
    """Decodes pictures in at most `count` child processes, started when they are needed and killed
    when they take too long. To be used from one event loop."""

    def __init__(self, count: int, max_opened_pixels: int, wait_s: float = WAIT_S) -> None:
        self._places = asyncio.Semaphore(count)
        self._copies = asyncio.Semaphore(max(1, count - 1))
        self._memory = PLAIN_MEMORY + MEMORY_PER_PIXEL * max_opened_pixels
        self._wait_s = wait_s
        self._idle: list[Process] = []

    async def close(self) -> None:
        """End those that wait for work."""
        while self._idle:
            await _end(self._idle.pop())

    async def decode(self, data: bytes, wish: Wish) -> Decoded:
        """If the task is canceled, so is the work. Raises InvalidImageError, DecodersBusyError."""
        return messages.read_decoded(*await self._done(data, wish))

    async def copy(self, data: bytes, wish: CopyWish) -> bytes:
        """The file of a copy. Copies leave a decoder to the pictures of requests, if there are two.
        Raises as `decode` does."""
        async with self._place(self._copies):
            head, copy = await self._done(data, wish)
        messages.read_answer(head)
        return copy

    async def marks(self, data: bytes, *, is_text: bool = False) -> dict[str, Any]:
        """What `marks.look` found in a file, which may be written as text. Raises as `decode`
        does."""
        head, _ = await self._done(data, MarksWish(is_text))
        return messages.read_answer(head)

    async def _done(self, data: bytes, wish: AnyWish) -> list[bytes]:
        """The two parts of the answer of a decoder."""
        async with self._place(self._places):
            child = await self._child()
            try:
                async with asyncio.timeout(MOST_S):
                    answer = await _ask(child, *messages.wish_message(wish, data))
            except TimeoutError:
                await _end(child)
                raise _too_slow() from None
            except (EOFError, OSError):
                raise _fatal(await _end(child)) from None
            except asyncio.CancelledError:
                await _end(child)
                raise
            self._idle.append(child)
        return answer

    @asynccontextmanager
    async def _place(self, places: asyncio.Semaphore) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._wait_s):
                await places.acquire()
        except TimeoutError:
            raise DecodersBusyError(
                "Too many pictures are being decoded now; try again soon."
            ) from None
        try:
            yield
        finally:
            places.release()

    async def _child(self) -> Process:
        while self._idle:
            child = self._idle.pop()
            if child.returncode is None:
                return child
            await _end(child)
        return await _start(self._memory)


async def _start(memory: int) -> Process:
    command = ["-m", "service.pictures.decoder", str(os.getpid()), str(memory)]
    try:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, *command),
            env=os.environ | _ONE_THREAD,
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
        )
    except OSError as error:
        raise _no_decoder(str(error)) from error
    assert child.stdout is not None
    try:
        async with asyncio.timeout(START_S):
            await child.stdout.readexactly(len(READY))
    except (TimeoutError, EOFError):
        status = await _end(child)
        raise _no_decoder(f"it ended as it started, status {status}") from None
    except asyncio.CancelledError:
        await _end(child)
        raise
    return child


async def _ask(child: Process, *parts: bytes) -> list[bytes]:
    """The two parts of its answer. Raises EOFError, OSError when it dies over it."""
    assert child.stdin is not None
    assert child.stdout is not None
    for part in parts:
        child.stdin.write(part)
    await child.stdin.drain()
    lengths = LENGTHS.unpack(await child.stdout.readexactly(LENGTHS.size))
    return [await child.stdout.readexactly(length) for length in lengths]


async def _end(child: Process) -> int:
    """Kill a child; its exit status."""
    with suppress(ProcessLookupError):
        child.kill()
    if child.stdin is not None:
        child.stdin.close()
    # Who only waits does so for ever where more was left unread than asyncio buffers.
    await asyncio.shield(child.communicate())
    assert child.returncode is not None
    return child.returncode


def _fatal(status: int) -> InvalidImageError:
    if status == -signal.SIGXCPU:
        return _too_slow()
    log.warning("decoder_died", status=status)
    return InvalidImageError("Cannot be decoded; save it anew.")


def _too_slow() -> InvalidImageError:
    return InvalidImageError("Takes too long to decode; save it anew, smaller or as a PNG.")


def _no_decoder(reason: str) -> DecodersBusyError:
    log.error("decoder_not_started", reason=reason)
    return DecodersBusyError("No picture can be decoded now; try again soon.")
