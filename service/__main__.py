"""The service as a process: `python -m service`, or `serve` for those that start it themselves."""

import asyncio
import logging
import resource
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from darkroom import heap, logs, streams
from darkroom.errors import DarkroomError
from darkroom.ports import refuse_taken_port
from darkroom.settings import Settings
from service.app import create_app
from service.auth import require_key
from service.connection import Connection, without_noise
from service.crowd import Crowd, trusted

GRACE_S = 10
"""How long answers that are under way at a signal may take."""
LAST_WORDS_S = 2
"""What then gives up a client that was cut off may take."""

KEEP_ALIVE_S = 75
"""Longer than clients and proxies usually keep a connection, so that they are the ones to close it:
a request sent while the server closes is lost."""

BACKLOG = 128
"""Connections that wait to be accepted; asyncio accepts as many before it looks at one."""
FILES_BESIDE_CONNECTIONS = 512
"""Open files for Redis, pictures and logs, and for connections that are being refused."""
MOST_FILES = 65536

TICKS_PER_CHECK = 5
"""Of uvicorn's ten ticks a second."""


class Server(uvicorn.Server):
    """uvicorn's server that says where it listens, looks after slow clients and lets go of those
    who wait for jobs."""

    def __init__(self, app: FastAPI, settings: Settings, ready: Callable[[str], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                http=partial(Connection, settings, _crowd(settings)),  # type: ignore[arg-type]
                ws="none",
                backlog=min(BACKLOG, _files() // 8),
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=bool(settings.trusted_proxies),
                forwarded_allow_ips=settings.trusted_proxies,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=GRACE_S + LAST_WORDS_S,
            )
        )
        self._app = app
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(_note)
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self._ready(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")

    async def on_tick(self, counter: int) -> bool:
        if counter % TICKS_PER_CHECK == 0:
            now = asyncio.get_running_loop().time()
            for connection in self._connections:
                connection.check(now)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.darkroom.feed.close()
        asyncio.get_running_loop().call_later(GRACE_S, self._cut_off)
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """End gracefully at the first signal, at once at a second Ctrl-C; exit 0, not by it."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    @property
    def _connections(self) -> list[Connection]:
        return [c for c in self.server_state.connections if isinstance(c, Connection)]

    def _cut_off(self) -> None:
        for connection in self._connections:
            connection.abort()


def _note(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what asyncio could tell nobody else, and whose connection it was."""
    transport = context.get("transport")
    client = transport.get_extra_info("peername") if transport else None
    logs.get("asyncio").error(
        context["message"], client=client and client[0], exc_info=context.get("exception")
    )


def _crowd(settings: Settings) -> Crowd:
    """Who may be connected: no more than there are open files for."""
    most = min(settings.max_connections, max(_files() - FILES_BESIDE_CONNECTIONS, _files() // 2))
    most_each = settings.max_connections_per_address
    return Crowd("connections", most, most_each, exempt=trusted(settings))


def _files() -> int:
    """How many files this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_FILES if soft == resource.RLIM_INFINITY else soft


def _allow_files() -> None:
    """As many open files as the system lets this process have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(OSError, ValueError):  # macOS has a lower limit that it does not tell
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def serve(settings: Settings, *, ready: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C. `ready` gets the URL once it listens; port 0 takes a free one.

    Raises CannotListenError, NoKeysError, and what `create_app` raises."""
    log = logs.get("service")
    _allow_files()
    logging.getLogger("uvicorn.error").addFilter(without_noise)

    def listening(url: str) -> None:
        log.info("listening", url=url)
        if ready:
            ready(url)

    # uvicorn would end the process in words of its own.
    refuse_taken_port(settings.host, settings.port, another="--port 8001, or DARKROOM_PORT")
    require_key(settings)
    Server(create_app(settings), settings, listening).run()
    log.info("stopped")


def main() -> None:
    streams.guard()
    settings = Settings()
    logs.setup(settings, process="service")
    heap.keep_large_apart()
    heap.keep_small()
    try:
        serve(settings)
    except DarkroomError as error:  # what an operator has to mend
        raise SystemExit(f"darkroom: {error}") from None


if __name__ == "__main__":
    main()
