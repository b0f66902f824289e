"""Work that ends when the client who asked for it leaves; in the service only."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

T = TypeVar("T")


async def unless_gone(http: Request, work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns. To be called once the body was read: then all that a client can still do
    is to leave, which cancels the work. Raises ClientDisconnect."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_leave(http))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _leave(http: Request) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass
