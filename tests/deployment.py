"""A whole Darkroom for end-to-end tests: real Valkey, API and workers as processes of their own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

import httpx2
from redis import Redis

from darkroom.command.valkey import RedisServer
from darkroom.ports import free_port
from darkroom.queue.connection import connect
from tests.chaos.spawn import Forked, Zygote

Value = TypeVar("Value")
Process = subprocess.Popen[bytes] | Forked
ROOT = Path(__file__).parent.parent


class Deployment:
    """Processes under one folder; a context manager that ends all of them.

    Each process writes its log to `<folder>/<name>.log`, which a failing test should show."""

    def __init__(
        self, folder: Path, models: Path, zygote: Zygote | None = None, **settings: Any
    ) -> None:
        """`zygote`: what forks its processes; without one, each starts from nothing."""
        self.folder = folder
        self.valkey = RedisServer(folder)
        self.processes: dict[str, Process] = {}
        self._zygote = zygote
        self.url = ""
        self._models = models
        self._settings = settings
        self._logs: list[IO[bytes]] = []
        self.log_to: Path | None = None
        """Where all processes write their logs instead."""

    def __enter__(self) -> "Deployment":
        self.folder.mkdir(parents=True, exist_ok=True)
        self.valkey.start()
        self.redis: Redis = connect(self.valkey.url)
        self.http = httpx2.Client(timeout=60)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.http.close()
        self.redis.close()
        self.valkey.stop()
        for log in self._logs:
            log.close()

    def environment(self, **settings: Any) -> dict[str, str]:
        values = {
            "redis_url": self.valkey.url,
            "state_dir": self.folder,
            "models": self._models,
            "log_format": "json",
            **self._settings,
            **settings,
        }
        own = {f"DARKROOM_{name.upper()}": str(value) for name, value in values.items()}
        kept = {k: v for k, v in os.environ.items() if not k.startswith("DARKROOM_")}
        return {**kept, **own, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}

    def start(self, name: str, *command: str, **settings: Any) -> Process:
        """Start `python -m <command>`."""
        log = (self.log_to or self.folder / f"{name}.log").open("ab")
        self._logs.append(log)
        if self._zygote:
            order = {"module": command[-1], "cold": False, "log": str(log.name), "cwd": str(ROOT)}
            order["env"] = self.environment(**settings)
            self.processes[name] = Forked(self._zygote, self._zygote.start(order))
            return self.processes[name]
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env=self.environment(**settings),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        self.processes[name] = process
        return process

    def start_api(self) -> str:
        if self.log_to:
            port = free_port()
            self.start("api", "service", port=port)
            self.until(lambda: _listens(port), "the API listens")
            self.url = f"http://127.0.0.1:{port}"
        else:
            self.start("api", "service", port=0)
            self.url = self.until(self._url, "the API listens")
        self.http.base_url = self.url
        return self.url

    def start_worker(self, name: str = "worker", **settings: Any) -> Process:
        """Start a worker and wait until its engine takes jobs."""
        process = self.start(name, "worker", worker_name=name, **settings)
        self.until(lambda: self.worker(name).get("state") in ("idle", "busy"), f"{name} is up")
        return process

    def worker(self, name: str) -> dict[str, Any]:
        """What `GET /api/v1/workers` says of one worker; empty when it is not there."""
        workers = self.http.get("/api/v1/workers").raise_for_status().json()["data"]
        return next((worker for worker in workers if worker["name"] == name), {})

    def engine_pid(self, supervisor: Process) -> int:
        """The process id of a supervisor's engine, its only child."""
        [pid] = Path(f"/proc/{supervisor.pid}/task/{supervisor.pid}/children").read_text().split()
        return int(pid)

    def submit(self, **request: Any) -> dict[str, Any]:
        answer = self.http.post("/api/v1/jobs", json=request)
        assert answer.status_code == 202, answer.text
        return answer.json()

    def finished(self, job_id: str, timeout_s: float = 120) -> dict[str, Any]:
        """The job once it has ended, by long polls."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            job = self.http.get(f"/api/v1/jobs/{job_id}", params={"wait": 10}).json()
            if job["status"] in ("succeeded", "failed", "canceled"):
                return job
        raise AssertionError(f"{job_id} did not end:\n{json.dumps(job, indent=1)}\n{self.logs()}")

    def logs(self) -> str:
        return "\n".join(
            f"== {path.name}\n{path.read_text()[-4000:]}" for path in self.folder.glob("*.log")
        )

    def until(self, ask: Callable[[], Value], what: str, timeout_s: float = 120) -> Value:
        """The first true answer of `ask`; the state of other processes can only be asked for."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if answer := ask():
                return answer
            for name, process in self.processes.items():
                assert process.poll() is None, f"{name} ended:\n{self.logs()}"
            time.sleep(0.05)
        raise AssertionError(f"waited in vain until {what}\n{self.logs()}")

    def _url(self) -> str | None:
        for line in (self.folder / "api.log").read_text().splitlines():
            if line.startswith("{") and (url := json.loads(line).get("url")):
                return url
        return None


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
