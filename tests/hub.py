"""A small server that answers as the Hub does: repositories by name, as folders."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

COMMIT = "c0ffee" * 6 + "c0ff"


class Hub:
    """What is asked of it is kept; what goes wrong is set."""

    def __init__(self, folders: dict[str, Path], gated: str | None = None) -> None:
        self.folders, self.gated = folders, gated
        self.asked: list[str] = []
        """Names of the files whose bytes were asked for."""
        self.sent: dict[str, int] = {}
        """Bytes of each that were sent."""
        self.cut_at: int | None = None
        """Where in a file connections are cut; then the server is busy."""
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.answer(self)

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, to: BaseHTTPRequestHandler) -> None:
        path = urlsplit(to.path).path
        for name, folder in self.folders.items():
            if path.startswith(f"/api/models/{name}/tree/{COMMIT}"):
                return self._send(to, json.dumps(self._entries(folder)).encode())
            if path.startswith(f"/api/models/{name}/commits/"):
                commit = {"id": COMMIT, "title": "", "message": "", "authors": []}
                return self._send(
                    to, json.dumps([{**commit, "date": "2026-01-01T00:00:00.000Z"}]).encode()
                )
            revisions = (f"/revision/{COMMIT}", "/revision/main", "")
            if path in [f"/api/models/{name}{each}" for each in revisions]:
                about = {"id": name, "sha": COMMIT, "siblings": [], "private": False}
                about |= {"gated": "auto" if name == self.gated else False}
                about |= {"cardData": {"license": "other", "license_name": "openrail"}}
                return self._send(to, json.dumps(about).encode())
            if path.startswith(f"/api/models/{name}/revision/"):
                return self._refuse(to, 404, "RevisionNotFound")
            if path.startswith(f"/{name}/resolve/{COMMIT}/"):
                if name == self.gated:
                    return self._refuse(to, 403, "GatedRepo")
                file = folder / path.split(f"{COMMIT}/")[1]
                return self._send(to, file.read_bytes(), str(file.relative_to(folder)))
        return self._refuse(to, 404, "RepoNotFound")

    def _entries(self, folder: Path) -> list[dict[str, object]]:
        entries: list[dict[str, object]] = []
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            size, hash_ = file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest()
            entry = {"type": "file", "path": str(file.relative_to(folder)), "size": size}
            large = {"lfs": {"oid": hash_, "size": size, "pointerSize": 130}}
            entries.append({**entry, "oid": hash_[:40], **(large if size > 2**20 else {})})
        return entries

    def _refuse(self, to: BaseHTTPRequestHandler, status: int, code: str) -> None:
        to.send_response(status)
        to.send_header("X-Error-Code", code)
        to.send_header("Content-Length", "0")
        to.end_headers()

    def _send(self, to: BaseHTTPRequestHandler, data: bytes, name: str | None = None) -> None:
        is_asked = name is not None and to.command == "GET"
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", to.headers.get("Range", ""))
        start = int(span[1]) if span else 0
        piece = data[start : int(span[2]) + 1 if span and span[2] else None]
        if is_asked and self.cut_at is not None and start > 0:
            return self._refuse(to, 503, "Busy")
        to.send_response(206 if span else 200)
        if span:
            end = start + len(piece) - 1
            to.send_header("Content-Range", f"bytes {start}-{end}/{len(data)}")
        to.send_header("Content-Length", str(len(piece)))
        to.send_header("Content-Type", "application/json")
        to.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        to.send_header("X-Repo-Commit", COMMIT)
        to.end_headers()
        if to.command != "GET":
            return None
        if is_asked and self.cut_at is not None and len(piece) > self.cut_at:
            piece = piece[: self.cut_at]
            to.close_connection = True
        to.wfile.write(piece)
        if name is not None and not (span and span[2]):  # else it is a header that is read
            self.asked.append(name)
            self.sent[name] = self.sent.get(name, 0) + len(piece)
        return None


@contextmanager
def served(folders: dict[str, Path], gated: str | None = None) -> Iterator[Hub]:
    hub = Hub(folders, gated)
    thread = Thread(target=hub.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield hub
    hub.server.shutdown()
    hub.server.server_close()


def run(module: str, *arguments: str, folder: Path, hub: Hub | None = None):
    """A module as a process, with the models.toml of a folder, a cache of its own in there, and no
    Hub but that one."""
    own = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0"} if hub else {"HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=os.environ
        | {"DARKROOM_MODELS": str(folder / "models.toml"), "HF_HOME": str(folder / "cache")}
        | {"DARKROOM_DEVICE": "cpu", "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        | own,
        capture_output=True,
        text=True,
    )
