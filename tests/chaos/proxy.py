"""A TCP proxy before a Redis or Valkey, whose links can be slowed, cut, silenced or made to lose a
reply; runs in a thread of the test, knows nothing of Darkroom."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

CHUNK = 2**16

T = TypeVar("T")


class _Pair:
    """One connection of a client and the one to the server behind it."""

    def __init__(self, *ends: asyncio.StreamWriter) -> None:
        self.ends = ends
        self.asked: str | None = None
        """The script that the client's last words ask for; "" for anything else."""
        self.lost_bytes = False

    def close(self) -> None:
        for end in self.ends:
            end.transport.abort()


class Link:
    """One way to the server: an address of its own, with faults of its own."""

    def __init__(self, proxy: "Proxy", name: str) -> None:
        self.name = name
        self.port = 0
        self.replies_lost = 0
        self._proxy = proxy
        self._delay_s = 0.0
        self._is_cut = False
        self._is_silent = False
        self._lose: list[str] = []
        self._pairs: set[_Pair] = set()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def slow(self, round_trip_s: float) -> None:
        """Each answer comes so much later; 0: as fast as it goes."""
        self._delay_s = round_trip_s / 2

    def cut(self) -> None:
        """Connections break, and none can be made, until `mend`."""
        self._is_cut = True
        self._proxy.do(self._close_all)

    def swallow(self) -> None:
        """Nothing gets through and nothing says so, until `mend`; what lost bytes breaks then."""
        self._is_silent = True

    def mend(self) -> None:
        """As fast and whole as at the start."""
        self._is_cut = self._is_silent = False
        self._delay_s = 0.0
        self._lose.clear()
        self._proxy.do(self._close_damaged)

    def lose_reply(self, script: str = "") -> None:
        """Hang up instead of passing on the next reply: to a script of this name, else to any."""
        self._lose.append(script)

    def expect_replies(self) -> None:
        """Lose none of those that were still to be lost."""
        self._lose.clear()

    def _close_all(self) -> None:
        for pair in list(self._pairs):
            pair.close()

    def _close_damaged(self) -> None:
        for pair in [each for each in self._pairs if each.lost_bytes]:
            pair.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.transport.abort()
            return
        try:
            back_reader, back_writer = await self._proxy.dial()
        except OSError:  # the server is down
            writer.transport.abort()
            return
        pair = _Pair(writer, back_writer)
        self._pairs.add(pair)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._carry(pair, reader, back_writer, self._heard))
                tasks.create_task(self._carry(pair, back_reader, writer, self._answered))
        except* OSError:
            pass
        finally:
            self._pairs.discard(pair)
            pair.close()

    async def _carry(
        self,
        pair: _Pair,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        look: Callable[[_Pair, bytes], bool],
    ) -> None:
        """Pass bytes on, in their order and each as late as the link is slow."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due, data = await waiting.get()
                if (left := due - loop.time()) > 0:
                    await asyncio.sleep(left)
                writer.write(data)
                await writer.drain()

        delivery = loop.create_task(deliver())
        try:
            while data := await reader.read(CHUNK):
                if self._is_silent:
                    pair.lost_bytes = True
                elif not look(pair, data):
                    break
                elif self._delay_s or not waiting.empty():
                    waiting.put_nowait((loop.time() + self._delay_s, data))
                else:
                    writer.write(data)
                    await writer.drain()
        finally:
            delivery.cancel()
        raise ConnectionResetError

    def _heard(self, pair: _Pair, data: bytes) -> bool:
        pair.asked = self._proxy.script_of(data)
        return True

    def _answered(self, pair: _Pair, _: bytes) -> bool:
        for wanted in self._lose:
            if wanted in ("", pair.asked):
                self._lose.remove(wanted)
                self.replies_lost += 1
                return False
        return True


class Proxy:
    """Links to one server, each with a port of its own on 127.0.0.1. A context manager."""

    def __init__(self, server: Callable[[], str], scripts: Mapping[str, str] | None = None) -> None:
        """`server` tells its URL (`unix://` or `redis://`) whenever a connection is made; `scripts`
        names scripts by their SHA-1, for `lose_reply`."""
        self._server = server
        self._scripts = {sha.encode(): name for sha, name in (scripts or {}).items()}
        self._loop = asyncio.new_event_loop()
        self._listeners: list[asyncio.Server] = []
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="proxy")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        async def close() -> None:
            for listener in self._listeners:
                listener.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        self._await(close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def link(self, name: str) -> Link:
        """A new one, which works."""
        link = Link(self, name)

        async def listen() -> None:
            listener = await asyncio.start_server(link.serve, "127.0.0.1", 0)
            self._listeners.append(listener)
            link.port = listener.sockets[0].getsockname()[1]

        self._await(listen())
        return link

    def do(self, work: Callable[[], T]) -> T:
        """In the proxy's own thread."""

        async def call() -> T:
            return work()

        return self._await(call())

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        parts = urlsplit(self._server())
        if parts.scheme == "unix":
            return await asyncio.open_unix_connection(parts.path)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        with contextlib.suppress(OSError):
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return reader, writer

    def script_of(self, data: bytes) -> str:
        found = [name for sha, name in self._scripts.items() if sha in data]
        return found[-1] if found else "-"

    def _await(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)
