"""The client's side of the Tasks extension, for the official SDK, which leaves it to extensions."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, Literal

import httpx2
import mcp_types as types
from mcp.client import Client
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from mcp.client.session import ClientSession
from mcp.client.streamable_http import streamable_http_client


class Handle(types.Result):
    """What a call is answered with that became a task."""

    result_type: Literal["task"]
    task_id: str
    status: str
    created_at: str
    last_updated_at: str
    ttl_ms: int | None
    poll_interval_ms: int
    status_message: str | None = None


class State(types.Result):
    """What is told of a task."""

    result_type: Literal["complete"]
    task_id: str
    status: Literal["working", "completed", "cancelled"]
    created_at: str
    last_updated_at: str
    ttl_ms: int | None
    poll_interval_ms: int
    status_message: str | None = None
    result: dict[str, Any] | None = None


class Acknowledged(types.Result):
    result_type: Literal["complete"]


class _Params(types.RequestParams):
    task_id: str
    input_responses: dict[str, Any] | None = None


class _Request(types.Request[_Params, str]):
    name_param = "taskId"


class Tasks(ClientExtension):
    """Follows tasks to their end."""

    identifier = "io.modelcontextprotocol/tasks"

    def claims(self) -> Sequence[ResultClaim[Any]]:
        return (ResultClaim(result_type="task", model=Handle, resolve=self._follow),)

    async def _follow(self, handle: Handle, context: ClaimContext) -> types.CallToolResult:
        state = await get(context.session, handle.task_id)
        while state.status == "working":
            await asyncio.sleep(0.02)
            state = await get(context.session, handle.task_id)
        return types.CallToolResult.model_validate(state.result)


async def get(session: ClientSession, task_id: str) -> State:
    return await session.send_request(_request("get", task_id=task_id), State)


async def cancel(session: ClientSession, task_id: str) -> Acknowledged:
    return await session.send_request(_request("cancel", task_id=task_id), Acknowledged)


async def update(session: ClientSession, task_id: str) -> Acknowledged:
    asked = _request("update", task_id=task_id, input_responses={})
    return await session.send_request(asked, Acknowledged)


def _request(verb: str, **params: Any) -> _Request:
    return _Request(method=f"tasks/{verb}", params=_Params(**params))


class Connected:
    """A client of a service over HTTP; with a key, if it is given one."""

    def __init__(self, url: str, headers: dict[str, str] | None = None, **options: Any) -> None:
        self._url, self._headers, self._options = f"{url}/mcp", headers or {}, options
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Client:
        asked = httpx2.AsyncClient(headers=self._headers, timeout=120)
        http = await self._stack.enter_async_context(asked)
        transport = streamable_http_client(self._url, http_client=http)
        return await self._stack.enter_async_context(Client(transport, **self._options))

    async def __aexit__(self, *error: Any) -> None:
        await self._stack.__aexit__(*error)
