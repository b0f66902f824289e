"""The service as a process: `python -m service`, or `serve` for those that start it themselves."""

import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from darkroom import logs
from darkroom.errors import DarkroomError
from darkroom.settings import Settings
from service.app import create_app

GRACE_S = 10
"""How long answers that are under way at a signal may take."""

KEEP_ALIVE_S = 75
"""Longer than clients and proxies usually keep a connection, so that they are the ones to close it:
a request sent while the server closes is lost."""


class Server(uvicorn.Server):
    """uvicorn's server that says where it listens and lets go of those who wait for jobs."""

    def __init__(self, app: FastAPI, settings: Settings, ready: Callable[[str], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=GRACE_S,
            )
        )
        self._app = app
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self._ready(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.darkroom.feed.close()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """End gracefully at the first signal, at once at a second Ctrl-C; exit 0, not by it."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


def serve(settings: Settings, *, ready: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C. `ready` gets the URL once it listens; port 0 takes a free one.

    Raises what `create_app` raises."""
    log = logs.get("service")

    def listening(url: str) -> None:
        log.info("listening", url=url)
        if ready:
            ready(url)

    Server(create_app(settings), settings, listening).run()
    log.info("stopped")


def main() -> None:
    settings = Settings()
    logs.setup(settings, process="service")
    try:
        serve(settings)
    except DarkroomError as error:  # what an operator has to mend
        raise SystemExit(f"darkroom: {error}") from None


if __name__ == "__main__":
    main()
