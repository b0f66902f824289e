"""Many ask, one reads."""

import asyncio
from collections.abc import Awaitable

import pytest

from darkroom.queue.shared_read import SharedRead


class Source:
    """Counts its readings; each ends when it is let go."""

    def __init__(self) -> None:
        self.readings: list[asyncio.Future[int]] = []
        self.shared = SharedRead(self.read)

    async def read(self) -> int:
        self.readings.append(asyncio.get_running_loop().create_future())
        return await self.readings[-1]


async def asking(source: Source, n: int) -> list["asyncio.Task[int]"]:
    tasks = [asyncio.create_task(source.shared.value()) for _ in range(n)]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


def run(test: Awaitable[None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(5):
            await test

    asyncio.run(bounded())


def test_all_get_what_one_read_until_it_is_outdated() -> None:
    async def test() -> None:
        source = Source()
        first = await asking(source, 3)
        source.readings[0].set_result(1)
        assert await asyncio.gather(*first) == [1, 1, 1]
        assert await source.shared.value() == 1
        source.shared.outdate()
        second = await asking(source, 2)
        source.readings[1].set_result(2)
        assert await asyncio.gather(*second) == [2, 2]

    run(test())


def test_what_is_outdated_while_it_is_read_serves_only_who_asked_before() -> None:
    async def test() -> None:
        source = Source()
        before = await asking(source, 1)
        source.shared.outdate()
        after = await asking(source, 1)
        source.readings[1].set_result(2)
        source.readings[0].set_result(1)
        assert await asyncio.gather(*before, *after) == [1, 2]
        assert await source.shared.value() == 2

    run(test())


def test_what_has_lasted_long_enough_is_read_again() -> None:
    async def test() -> None:
        source = Source()
        source.shared = SharedRead(source.read, lasts_s=0.0)
        first = await asking(source, 1)
        source.readings[0].set_result(1)
        assert await asyncio.gather(*first) == [1]
        second = await asking(source, 1)
        source.readings[1].set_result(2)
        assert await asyncio.gather(*second) == [2]

    run(test())


def test_who_leaves_does_not_end_the_reading_of_others() -> None:
    async def test() -> None:
        source = Source()
        leaving, staying = await asking(source, 2)
        leaving.cancel()
        await asyncio.sleep(0)
        source.readings[0].set_result(1)
        assert await staying == 1

    run(test())


def test_a_failure_is_told_to_all_who_waited_and_to_nobody_later() -> None:
    async def test() -> None:
        source = Source()
        waiting = await asking(source, 2)
        source.readings[0].set_exception(OSError("away"))
        for each in waiting:
            with pytest.raises(OSError, match="away"):
                await each
        again = await asking(source, 1)
        source.readings[1].set_result(2)
        assert await asyncio.gather(*again) == [2]

    run(test())


def test_who_waits_for_rest_waits_also_for_what_was_outdated_and_left() -> None:
    async def test() -> None:
        source = Source()
        await source.shared.at_rest()
        (asked,) = await asking(source, 1)
        asked.cancel()
        source.shared.outdate()
        resting = asyncio.create_task(source.shared.at_rest())
        for _ in range(3):
            await asyncio.sleep(0)
        assert not resting.done()
        source.readings[0].set_result(1)
        await resting

    run(test())
