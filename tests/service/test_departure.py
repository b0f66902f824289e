import asyncio

import pytest
from fastapi import Request
from starlette.requests import ClientDisconnect

from service.departure import unless_gone


def request(*messages: str) -> Request:
    """One whose body was read; `messages` are what still comes."""
    coming = [{"type": each} for each in messages]

    async def receive() -> dict:
        if coming:
            return coming.pop(0)
        return await asyncio.Event().wait()

    return Request({"type": "http"}, receive)


async def answer() -> str:
    await asyncio.sleep(0)
    return "done"


def test_work_is_done_for_who_stays():
    assert asyncio.run(unless_gone(request("http.request"), answer())) == "done"


def test_faults_of_the_work_come_out():
    async def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        asyncio.run(unless_gone(request(), fail()))


def test_work_for_who_leaves_is_canceled():
    ended = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with pytest.raises(ClientDisconnect):
        asyncio.run(unless_gone(request("http.request", "http.disconnect"), work()))
    assert ended == [True]


def test_work_of_a_request_that_is_canceled_is_canceled():
    async def main() -> list[bool]:
        ended, begun = [], asyncio.Event()

        async def work() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(True)

        whole = asyncio.ensure_future(unless_gone(request(), work()))
        await begun.wait()
        whole.cancel()
        await asyncio.gather(whole, return_exceptions=True)
        return ended

    assert asyncio.run(main()) == [True]
