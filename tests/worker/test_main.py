"""The supervisor as a process, with a real Valkey and engines that do what each test needs."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pytest
from redis import Redis

from darkroom.command.valkey import RedisServer
from darkroom.job import JobStatus
from darkroom.queue.connection import connect
from darkroom.queue.queue import Queue, queue_names
from darkroom.queue.workers import Workers, drain
from tests.begun import begun
from tests.darkroom.queue.test_workers import INFO
from tests.running import environment, wait_until_gone
from worker.__main__ import _without_counts
from worker.report import NO_DEVICE, Report

pytestmark = pytest.mark.usefixtures("redis")  # nothing that another test left in it

SUPERVISOR = """
import sys
sys.executable = sys.argv.pop(1)  # what it starts its engine with
from worker.__main__ import main
sys.exit(main())
"""
ENGINE = f"""#!{sys.executable} -S
import json, os, sys, time
from pathlib import Path

folder = Path(__file__).parent
with (folder / "starts").open("a") as starts:
    starts.write(".")
start = (folder / "starts").stat().st_size

def report(**values):
    print(json.dumps(json.loads({Report().line()!r}) | values), flush=True)

"""
DEAF = "while True: time.sleep(60)"
FAILING = """
if start == 3:
    report(finished=1)
sys.exit(7)
"""
HUNG = """
time.sleep(1)  # longer than a step, but it is not up yet
while True:
    report(state="busy", tick=1)
    time.sleep(0.05)
"""
DRAINING = """
report(state="idle", device="cpu", models=["tiny"])
assert sys.stdin.readline() == "drain\\n"
(folder / "finish").read_text()
"""
TALKATIVE = """
for said in ("what a library says as it is imported", "{}", "[]", "3", '{"models": 3}'):
    print(said, flush=True)
report(state="idle")
assert sys.stdin.readline() == "drain\\n"
"""
VANISHING = """
if start == 1:
    report(state="idle", device="cuda:0")
sys.exit(4)
"""
LEAVING = """
if start == 1:
    Path(__file__).rename(folder / "away")
    sys.exit(7)
report(state="idle")
assert sys.stdin.readline() == "drain\\n"
"""
TELLING = """
(folder / "told").write_text(json.dumps({"argv": sys.argv[1:], "environment": dict(os.environ)}))
"""


class Supervised:
    """A supervisor and its stand-in for an engine; a context manager that ends both."""

    def __init__(self, folder: Path, redis_url: str, engine: str, **variables: str) -> None:
        (folder / "models.toml").write_text('[[models]]\nname = "tiny"\nsource = "tiny"\n')
        program = folder / "engine"
        program.write_text(ENGINE + engine)
        program.chmod(0o755)
        own = {
            "DARKROOM_REDIS_URL": redis_url,
            "DARKROOM_WORKER_NAME": "worker",
            "DARKROOM_LOG_FORMAT": "json",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR, str(program)],
            cwd=folder,
            env=environment(**own, **variables),
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def says(self, event: str) -> dict[str, Any]:
        """Read on until a line of the log tells of the event."""
        said = []
        for line in self.process.stderr or ():
            said.append(line)
            told: dict[str, Any] = json.loads(line) if line.startswith("{") else {}
            if told.get("event") == event:
                return told
        raise AssertionError(f"ended without {event}:\n{''.join(said)}")

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(60)


def submit_claimed(jobs: Queue, engine: str) -> str:
    """A new job that the engine holds."""
    job = jobs.submit({"prompt": "a cat", "model": "tiny"}, model="tiny").job
    assert begun(jobs, engine=engine, queues=queue_names(["tiny"]))
    return job.id


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"DARKROOM_REDIS_URL": ""}, "darkroom up"),
        ({"DARKROOM_WORKER_MODELS": "tiny,tinny"}, "tinny"),
        ({"DARKROOM_MODELS": "nowhere.toml"}, "nowhere.toml"),
    ],
)
def test_a_worker_that_cannot_work_says_why(
    variables: dict[str, str], said: str, tmp_path: Path
) -> None:
    (tmp_path / "models.toml").write_text('[[models]]\nname = "tiny"\nsource = "tiny"\n')
    known = {"DARKROOM_REDIS_URL": f"unix://{tmp_path}/none"} | variables
    done = subprocess.run(
        [sys.executable, "-m", "worker"],
        cwd=tmp_path,
        env=environment(**{name: value for name, value in known.items() if value}),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_device_that_never_was_there_ends_the_worker(tmp_path: Path, valkey: RedisServer) -> None:
    with Supervised(tmp_path, valkey.url, "sys.exit(4)") as supervised:
        assert supervised.says("engine_ended")["status"] == NO_DEVICE
        assert supervised.process.wait(60) == 2
    assert (tmp_path / "starts").read_text() == "."


def test_a_device_that_was_there_is_waited_for(tmp_path: Path, valkey: RedisServer) -> None:
    with Supervised(tmp_path, valkey.url, VANISHING) as supervised:
        for _ in range(2):
            assert supervised.says("engine_restarts")["status"] == NO_DEVICE
        assert supervised.stop() == 0


def test_what_is_no_report_is_passed_over(tmp_path: Path, valkey: RedisServer) -> None:
    with Supervised(tmp_path, valkey.url, TALKATIVE) as supervised:
        for _ in range(5):
            supervised.says("no_report")
        assert supervised.stop() == 0


def test_an_engine_that_cannot_be_started_is_tried_again(
    tmp_path: Path, valkey: RedisServer
) -> None:
    with Supervised(tmp_path, valkey.url, LEAVING) as supervised:
        assert "No such file" in supervised.says("engine_not_started")["reason"]
        (tmp_path / "away").rename(tmp_path / "engine")
        supervised.says("engine_started")
        assert supervised.stop() == 0


def test_what_nobody_foresaw_of_redis_costs_no_engine(
    tmp_path: Path, valkey: RedisServer, redis: Redis
) -> None:
    redis.set("rq:workers", "of another program")
    with Supervised(tmp_path, valkey.url, DRAINING) as supervised:
        engine = supervised.says("engine_started")["engine"]
        assert "WRONGTYPE" in supervised.says("cannot_announce")["exception"]
        redis.delete("rq:workers")
        while not (living := Workers(redis).all()):
            assert supervised.process.poll() is None
        assert living[0].engine == engine
        (tmp_path / "finish").write_text("")
        assert supervised.stop() == 0


def test_an_engine_is_told_whose_it_is_and_how_it_is_set_up(
    tmp_path: Path, valkey: RedisServer
) -> None:
    (tmp_path / ".env").write_text("DARKROOM_MAX_JOBS=3\n")
    with Supervised(tmp_path, valkey.url, TELLING, HF_HUB_OFFLINE="0") as supervised:
        started = supervised.says("engine_started")
        supervised.says("engine_ended")
        assert supervised.stop() == 0
    told = json.loads((tmp_path / "told").read_text())
    assert told["argv"][2:6] == ["--worker", "worker", "--engine", started["engine"]]
    assert told["argv"][6] == "--at-work"
    expected = {"DARKROOM_MAX_JOBS": "3", "HF_HUB_OFFLINE": "1"}
    assert told["environment"].items() >= expected.items()


def test_an_engine_that_fails_is_started_again_later_and_later_until_it_has_worked(
    tmp_path: Path, valkey: RedisServer
) -> None:
    with Supervised(tmp_path, valkey.url, FAILING) as supervised:
        restarts = [supervised.says("engine_restarts") for _ in range(3)]
        assert {restart["status"] for restart in restarts} == {7}
        first, second, after_work = (restart["in_s"] for restart in restarts)
        assert first == after_work < second
        # It may not have come back from writing the line that was read last.
        assert supervised.stop() == 0


def test_an_engine_that_makes_no_progress_is_killed_but_may_take_its_time_to_start(
    tmp_path: Path, valkey: RedisServer
) -> None:
    with Supervised(tmp_path, valkey.url, HUNG, DARKROOM_STEP_TIMEOUT_S="0.3") as supervised:
        assert supervised.says("engine_hung")["state"] == "busy"
        assert supervised.says("engine_ended")["status"] == -signal.SIGKILL
        supervised.says("engine_started")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, None])
def test_a_worker_drains_and_signs_off(
    number: int | None, tmp_path: Path, redis: Redis, valkey: RedisServer
) -> None:
    os.mkfifo(tmp_path / "finish")
    with Supervised(tmp_path, valkey.url, DRAINING) as supervised:
        engine = supervised.says("engine_started")["engine"]
        while not any(info.device for info in Workers(redis).all()):
            assert supervised.process.poll() is None
        [info] = Workers(redis).all()
        assert (info.name, info.engine, info.state) == ("worker", engine, "idle")
        assert (info.models, info.serves) == (("tiny",), ("tiny",))
        if number:
            supervised.process.send_signal(number)
        else:
            Queue(redis).carry_out(drain("worker"))
        while Workers(redis).all()[0].state != "draining":
            assert supervised.process.poll() is None
        if number is None:  # a first signal after that changes nothing
            supervised.process.terminate()
        (tmp_path / "finish").write_text("")
        assert supervised.says("engine_ended")["status"] == 0
        assert supervised.process.wait(60) == 0
    assert Workers(redis).all() == []


def test_a_second_signal_stops_at_once(tmp_path: Path, valkey: RedisServer) -> None:
    with Supervised(tmp_path, valkey.url, DEAF) as supervised:
        supervised.says("engine_started")
        supervised.process.terminate()
        supervised.says("draining")
        supervised.process.terminate()
        supervised.says("engine_did_not_drain")
        assert supervised.says("engine_ended")["status"] == -signal.SIGKILL
        assert supervised.process.wait(60) == 0


def test_what_a_dead_engine_held_is_queued_again(
    tmp_path: Path, redis: Redis, valkey: RedisServer
) -> None:
    jobs = Queue(redis)
    with Supervised(tmp_path, valkey.url, DEAF) as supervised:
        dead = supervised.says("engine_started")
        job = submit_claimed(jobs, dead["engine"])
        others = submit_claimed(jobs, "another")
        os.kill(dead["pid"], signal.SIGKILL)
        given_back = supervised.says("jobs_given_back")
        assert (given_back["engine"], given_back["jobs"]) == (dead["engine"], 1)
        assert supervised.says("engine_started")["engine"] != dead["engine"]
    assert jobs.fetch(job).status is JobStatus.QUEUED
    assert jobs.fetch(others).status is JobStatus.RUNNING


def test_what_a_dead_engine_held_is_queued_again_when_redis_is_back(
    tmp_path: Path, state_dir: Path
) -> None:
    with RedisServer(state_dir) as server, connect(server.url) as redis:
        with Supervised(tmp_path, server.url, DEAF) as supervised:
            dead = supervised.says("engine_started")
            job = submit_claimed(Queue(redis), dead["engine"])
            server.stop()
            os.kill(dead["pid"], signal.SIGKILL)
            supervised.says("engine_restarts")
            server.start()
            assert supervised.says("jobs_given_back")["engine"] == dead["engine"]
        assert Queue(redis).fetch(job).status is JobStatus.QUEUED


@pytest.mark.skipif(sys.platform != "linux", reason="needs the kernel's parent-death signal")
def test_an_engine_ends_with_its_killed_supervisor_whatever_it_does(
    tmp_path: Path, valkey: RedisServer
) -> None:
    with Supervised(tmp_path, valkey.url, DEAF) as supervised:
        engine = supervised.says("engine_started")["pid"]
        supervised.process.kill()
        assert not wait_until_gone({engine})


def test_what_changes_with_every_job_is_no_news_of_its_own() -> None:
    later = replace(INFO, running=3, passes=9, joined_passes=4, speed=2.5, memory={"free": 1})
    assert _without_counts(later) == _without_counts(INFO)
    assert _without_counts(replace(INFO, loads="a model")) != _without_counts(INFO)
