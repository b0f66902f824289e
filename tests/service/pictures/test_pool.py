import asyncio
import os
import shutil
import signal
import sys

import pytest

from darkroom.errors import DecodersBusyError, InvalidImageError
from service.pictures import pool
from service.pictures.messages import CopyWish
from service.pictures.pool import Decoders
from tests.picture_files import encoded, noise, wish


def decoders(count: int = 1, **more: float) -> Decoders:
    return Decoders(count, 16_000_000, **more)


async def pid(used: Decoders) -> int:
    await used.decode(encoded(noise()), wish())
    return used._idle[-1].pid


def is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_child_is_used_again_and_ends_with_the_pool():
    async def main() -> int:
        used = decoders()
        first = await pid(used)
        assert await pid(used) == first
        with pytest.raises(InvalidImageError, match="undamaged"):
            await used.decode(b"junk", wish())
        assert await pid(used) == first
        await used.close()
        return first

    assert not is_there(asyncio.run(main()))


@pytest.mark.parametrize(
    ("number", "told"), [(signal.SIGSEGV, "Cannot be decoded"), (signal.SIGXCPU, "too long")]
)
def test_a_child_that_dies_over_a_picture_is_replaced(number, told):
    async def main() -> None:
        used = decoders()
        first = await pid(used)
        os.kill(first, signal.SIGSTOP)  # so that it surely does not answer before it dies
        work = asyncio.ensure_future(used.decode(encoded(noise()), wish()))
        while used._idle:
            await asyncio.sleep(0)
        os.kill(first, number)
        os.kill(first, signal.SIGCONT)
        with pytest.raises(InvalidImageError, match=told):
            await work
        assert await pid(used) != first
        await used.close()

    asyncio.run(main())


def test_a_child_that_died_meanwhile_costs_no_picture():
    async def main() -> None:
        used = decoders()
        os.kill(await pid(used), signal.SIGKILL)
        await used._idle[-1].wait()
        await used.decode(encoded(noise()), wish())
        await used.close()

    asyncio.run(main())


def test_a_child_that_takes_too_long_is_killed(monkeypatch):
    async def main() -> None:
        used = decoders()
        first = await pid(used)
        monkeypatch.setattr(pool, "MOST_S", 0.01)
        os.kill(first, signal.SIGSTOP)
        with pytest.raises(InvalidImageError, match="too long"):
            await used.decode(encoded(noise()), wish())
        assert not is_there(first)
        monkeypatch.undo()
        await used.decode(encoded(noise()), wish())
        await used.close()

    asyncio.run(main())


def test_who_leaves_ends_the_work_and_gives_the_place_back():
    async def main() -> None:
        used = decoders()
        first = await pid(used)
        os.kill(first, signal.SIGSTOP)
        work = asyncio.ensure_future(used.decode(encoded(noise()), wish()))
        while used._idle:
            await asyncio.sleep(0)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        assert not is_there(first)
        await used.decode(encoded(noise()), wish())
        await used.close()

    asyncio.run(main())


def test_a_child_that_nobody_listened_to_ends():
    async def main() -> int:
        talks = "import sys; sys.stdout.buffer.write(bytes(10**7))"
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            talks,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        while not child.stdout._paused:  # it has said more than is kept
            await asyncio.sleep(0)
        async with asyncio.timeout(20):
            return await pool._end(child)

    assert asyncio.run(main()) == -signal.SIGKILL


def test_who_waits_too_long_for_a_place_is_told_so():
    async def main() -> None:
        used = decoders(2, wait_s=0.05)
        blocked = []
        for _ in range(2):
            os.kill(await pid(used), signal.SIGSTOP)
            blocked.append(asyncio.ensure_future(used.decode(encoded(noise()), wish())))
            while used._idle:
                await asyncio.sleep(0)
        with pytest.raises(DecodersBusyError, match="try again"):
            await used.decode(encoded(noise()), wish())
        for each in blocked:
            each.cancel()
        await asyncio.gather(*blocked, return_exceptions=True)
        await used.close()

    asyncio.run(main())


def test_decoders_that_cannot_start_are_no_fault_of_the_picture(monkeypatch):
    async def main() -> None:
        used = decoders()
        for broken in ("/nowhere", shutil.which("false")):
            monkeypatch.setattr(pool.sys, "executable", broken)
            with pytest.raises(DecodersBusyError, match="try again"):
                await used.decode(encoded(noise()), wish())
        monkeypatch.undo()
        await used.decode(encoded(noise()), wish())
        await used.close()

    asyncio.run(main())


def test_copies_and_marks_are_made_by_the_children_too():
    async def main() -> None:
        used = decoders()
        copy = await used.copy(encoded(noise()), CopyWish("webp", 16))
        assert copy[8:12] == b"WEBP"
        assert (await used.marks(encoded(noise((8, 4)))))["width"] == 8
        for work in (used.copy(b"junk", CopyWish("webp", 16)), used.marks(b"junk")):
            with pytest.raises(InvalidImageError):
                await work
        assert len(used._idle) == 1
        await used.close()

    asyncio.run(main())


def test_copies_leave_a_child_to_others():
    async def main() -> None:
        used = decoders(2, wait_s=0.0)
        async with used._place(used._copies):  # as one that is being made
            with pytest.raises(DecodersBusyError):
                await used.copy(encoded(noise()), CopyWish("webp", 16))
            await used.decode(encoded(noise()), wish())
        await used.close()

    asyncio.run(main())
