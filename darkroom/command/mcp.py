"""`darkroom mcp`: the Model Context Protocol on standard input and output, for agents that start
what they talk to; carries messages to a running Darkroom and back, and knows no tool."""

import asyncio
import base64
import json
import sys
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import httpx2

from darkroom import __version__
from darkroom.client.connecting import DEFAULT_URL
from darkroom.command.remote import Key, Url, client_of, key_of
from darkroom.command.terminal import faults
from darkroom.ports import is_loopback

INVALID_REQUEST, INTERNAL = -32600, -32603
PATIENCE_S, AGAIN_S = 10.0, 0.5
"""For how long a service that is away is asked again, as at a restart, and how often."""
LAST_ANSWERS_S = 1.0
"""How long answers are waited for once nobody asks any more."""
TIMEOUT = httpx2.Timeout(120, connect=5.0)
"""A service answers a call within a minute, and says sooner that it still lives."""
_VERSION = "io.modelcontextprotocol/protocolVersion"

Write = Callable[[Mapping[str, Any]], None]


def mcp(url: Url = DEFAULT_URL, key: Key = None) -> None:
    """Let agents make pictures (MCP).

    Speaks the Model Context Protocol on standard input and output, to agents that start it
    themselves; others connect to /mcp of the Darkroom."""
    with faults(), client_of(url, key) as client:
        at = f"{client.url}/mcp"
        found, _ = key_of(url, key)
        with suppress(KeyboardInterrupt, BrokenPipeError):
            asyncio.run(carry(at, found, sys.stdin.buffer, _to(sys.stdout.buffer)))


async def carry(url: str, key: str | None, source: BinaryIO, write: Write) -> None:
    """Carry the messages of `source`, one a line, until it ends."""
    headers = {"User-Agent": f"darkroom/{__version__}"}
    headers |= {"Authorization": f"Bearer {key}"} if key else {}
    trust_env = not is_loopback(urlsplit(url).hostname or "")
    async with httpx2.AsyncClient(headers=headers, timeout=TIMEOUT, trust_env=trust_env) as http:
        bridge = Bridge(http, url, write)
        async for line in _lines(source):
            bridge.take(line)
        await bridge.end()


def _to(stream: BinaryIO) -> Write:
    def write(message: Mapping[str, Any]) -> None:
        stream.write(json.dumps(message).encode() + b"\n")
        stream.flush()

    return write


async def _lines(source: BinaryIO) -> AsyncIterator[bytes]:
    """The lines of a stream, read in a thread that a program which ends does not wait for."""
    loop, lines = asyncio.get_running_loop(), asyncio.Queue[bytes]()

    def read() -> None:
        with suppress(RuntimeError):  # the loop is closed
            for line in source:
                loop.call_soon_threadsafe(lines.put_nowait, line)
            loop.call_soon_threadsafe(lines.put_nowait, b"")

    threading.Thread(target=read, daemon=True).start()
    while line := await lines.get():
        if line.strip():
            yield line


class Bridge:
    """Each request is a request over HTTP; who takes one back closes its connection."""

    def __init__(self, http: httpx2.AsyncClient, url: str, write: Write) -> None:
        self._http, self._url, self._write = http, url, write
        self._under_way: dict[Any, asyncio.Task[None]] = {}
        self._version: str | None = None
        """What `initialize` agreed on; later versions say it in each request."""

    def take(self, line: bytes) -> None:
        """Carry a message, beside those that are under way."""
        try:
            message = json.loads(line)
            method, params = message.get("method"), message.get("params") or {}
            wanted = params.get("requestId")
        except (ValueError, AttributeError, RecursionError):
            self._write(_error(None, INVALID_REQUEST, "This line is no message of JSON-RPC 2.0."))
            return
        if method == "notifications/cancelled":
            if task := self._under_way.get(json.dumps(wanted)):
                task.cancel()
        elif "id" in message and not _is_id(message["id"]):  # an answer could not repeat it
            self._write(_error(None, INVALID_REQUEST, "The id must be text or a whole number."))
        elif "id" in message:  # nothing depends on any other notification
            name = json.dumps(message["id"])
            self._under_way[name] = task = asyncio.ensure_future(self._carry(message))
            task.add_done_callback(lambda _: self._under_way.pop(name, None))

    async def end(self) -> None:
        """Give up what is still under way after a moment."""
        if tasks := list(self._under_way.values()):
            _, late = await asyncio.wait(tasks, timeout=LAST_ANSWERS_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _carry(self, message: Mapping[str, Any]) -> None:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + PATIENCE_S
        while True:
            try:
                await self._exchange(message)
                return
            except httpx2.ConnectError:  # nothing was sent
                if loop.time() > give_up:
                    break
                await asyncio.sleep(AGAIN_S)
            except (httpx2.TransportError, ValueError) as error:
                why = f"The connection to {self._url} broke: {error or type(error).__name__}"
                self._write(_error(message["id"], INTERNAL, why))
                return
        why = f"No Darkroom answers at {self._url}. Start one with `darkroom up`."
        self._write(_error(message["id"], INTERNAL, why))

    async def _exchange(self, message: Mapping[str, Any]) -> None:
        """Raises TransportError, and ValueError for what is no answer of a Darkroom."""
        body, headers = json.dumps(message), self._headers(message)
        async with self._http.stream("POST", self._url, content=body, headers=headers) as answer:
            if answer.headers.get("content-type", "").startswith("text/event-stream"):
                await self._pass_on(message, answer)
                return
            told = json.loads(await answer.aread())
        if not isinstance(told, dict) or told.get("jsonrpc") != "2.0":
            raise ValueError(f"what answers there is no Darkroom with /mcp ({answer.status_code})")
        if message.get("method") == "initialize" and "result" in told:
            self._version = told["result"].get("protocolVersion")
        self._write(told | {"id": message["id"]})  # who refuses before reading has no id

    async def _pass_on(self, message: Mapping[str, Any], answer: httpx2.Response) -> None:
        """The messages of a stream, the last of which is the answer."""
        is_answered = False
        async for line in answer.aiter_lines():
            if line.startswith("data:"):
                told = json.loads(line.removeprefix("data:"))
                self._write(told)
                is_answered |= told.get("id") == message["id"]
        if not is_answered:
            raise ValueError("the stream ended before its answer")

    def _headers(self, message: Mapping[str, Any]) -> dict[str, str]:
        """The head says again what stands in the body, for those on the way."""
        headers = {
            "Accept": "application/json, text/event-stream",
            "Content-Type": "application/json",
        }
        params = message.get("params") or {}
        meta = params.get("_meta")
        version = meta.get(_VERSION) if isinstance(meta, dict) else None
        if version is None:
            return headers | ({"Mcp-Protocol-Version": self._version} if self._version else {})
        name = params.get("name") or params.get("uri") or params.get("taskId")
        said = {
            "Mcp-Protocol-Version": version,
            "Mcp-Method": message.get("method"),
            "Mcp-Name": name,
        }
        return headers | {each: _encoded(str(text)) for each, text in said.items() if text}


def _is_id(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _encoded(text: str) -> str:
    """Text as a header can hold it."""
    is_plain = text.isascii() and text.isprintable() and text == text.strip()
    if is_plain and not text.startswith("=?base64?"):
        return text
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


def _error(rpc_id: Any, code: int, text: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": rpc_id, "error": {"code": code, "message": text}}
