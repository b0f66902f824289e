import io
import os
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import httpx2
import pytest
from PIL import Image

MOMENTS = ("created", "finished")
LONG = {"prompt": "a cat", "num_inference_steps": 20_000}


def running(faulty, job: dict) -> bool:
    return faulty.http.get(f"/api/v1/jobs/{job['id']}").json()["status"] == "running"


def denoises(faulty, job: dict) -> bool:
    """To run is not enough: only a job that its engine is at work on is charged with its death, and
    what has not begun is given back when a worker drains."""
    progress = faulty.http.get(f"/api/v1/jobs/{job['id']}").json()["progress"]
    return bool(progress) and progress["stage"] == "denoise"


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.long
@pytest.mark.timeout(600)
def test_no_job_is_lost_or_done_twice_when_an_engine_is_killed_among_two_hundred(faulty):
    first = faulty.start_worker("first")
    faulty.start_worker("second")
    killed = threading.Event()
    done = Counter()

    def client(number: int) -> list[dict]:
        jobs = []
        with httpx2.Client(base_url=faulty.url, timeout=60) as http:
            for i in range(25):
                request = {"prompt": f"cat {number} {i}", "num_inference_steps": 2 + i % 7}
                job = http.post("/api/v1/jobs", json=request).raise_for_status().json()
                jobs.append(job)
                done[number] += 1
                if done.total() >= 100 and not killed.is_set():
                    killed.set()
                    os.kill(faulty.engine_pid(first), signal.SIGKILL)
        return jobs

    with ThreadPoolExecutor(8) as clients:
        jobs = [job for made in clients.map(client, range(8)) for job in made]
    ended = [faulty.finished(job["id"]) for job in jobs]
    assert killed.is_set()
    assert Counter(job["status"] for job in ended) == {"succeeded": 200}
    assert max(job["attempts"] for job in ended) <= 2
    for job in ended:
        assert 0 < job["timings"].pop("device") < job["timings"]["total"]
        *stages, total = (seconds or 0.0 for seconds in job["timings"].values())
        began, done_at = (datetime.fromisoformat(job[f"{name}_at"]) for name in MOMENTS)
        assert sum(stages) == pytest.approx(total, abs=0.01)
        assert total <= (done_at - began).total_seconds() + 0.1
    images = [image for job in ended for image in job["images"]]
    assert len({image["id"] for image in images}) == 200
    for image in images:
        data = faulty.http.get(image["url"]).raise_for_status().content
        Image.open(io.BytesIO(data)).load()
    metrics = faulty.http.get("/metrics").text
    assert 'darkroom_jobs_finished_total{error_code="",model="tiny",status="succeeded"' in metrics


@pytest.mark.long
def test_a_killed_supervisor_takes_its_engine_with_it(faulty):
    supervisor = faulty.start_worker()
    engine = faulty.engine_pid(supervisor)
    job = faulty.submit(**LONG)
    faulty.until(lambda: denoises(faulty, job), "the job is worked on")
    faulty.processes.pop("worker").kill()
    supervisor.wait()
    faulty.until(lambda: not is_alive(engine), "the engine is gone")
    faulty.start("keeper", "darkroom.command.cli", "keeper")
    faulty.start_worker("other")
    faulty.until(
        lambda: faulty.http.get(f"/api/v1/jobs/{job['id']}").json()["attempts"] == 2,
        "another worker has the job",
    )
    faulty.http.post(f"/api/v1/jobs/{job['id']}/cancel").raise_for_status()


def test_a_drained_worker_gives_long_jobs_back_without_counting_the_attempt(faulty):
    supervisor = faulty.start_worker(grace_s=0.5)
    job = faulty.submit(**LONG)
    faulty.until(lambda: running(faulty, job), "the job runs")
    faulty.processes.pop("worker").terminate()
    assert supervisor.wait(30) == 0
    after = faulty.http.get(f"/api/v1/jobs/{job['id']}").json()
    assert (after["status"], after["attempts"]) == ("queued", 0)
    assert faulty.worker("worker") == {}


def test_a_drained_worker_finishes_short_jobs(faulty):
    supervisor = faulty.start_worker(grace_s=60)
    job = faulty.submit(prompt="a cat", num_inference_steps=400)
    faulty.until(lambda: denoises(faulty, job), "the job denoises")
    faulty.processes.pop("worker").terminate()
    assert supervisor.wait(60) == 0
    assert faulty.finished(job["id"])["attempts"] == 1


@pytest.mark.long
def test_a_hung_engine_is_killed_and_its_job_runs_elsewhere(faulty):
    supervisor = faulty.start_worker(step_timeout_s=2)
    engine = faulty.engine_pid(supervisor)
    job = faulty.submit(**LONG)
    faulty.until(lambda: denoises(faulty, job), "the job is worked on")
    os.kill(engine, signal.SIGSTOP)
    faulty.until(lambda: not is_alive(engine), "the supervisor has killed it")
    faulty.until(
        lambda: faulty.http.get(f"/api/v1/jobs/{job['id']}").json()["attempts"] == 2,
        "the next engine has the job",
    )
    faulty.http.post(f"/api/v1/jobs/{job['id']}/cancel").raise_for_status()


def test_redis_may_go_and_come_back(faulty):
    faulty.start_worker()
    running_job = faulty.submit(prompt="a cat", num_inference_steps=200)
    faulty.valkey.stop()
    answer = faulty.http.post("/api/v1/jobs", json={"prompt": "a cat"})
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert faulty.http.get("/readyz").status_code == 503
    assert faulty.http.get("/livez").status_code == 200
    faulty.valkey.start()
    faulty.until(lambda: faulty.http.get("/readyz").status_code == 200, "the API is ready again")
    assert faulty.finished(running_job["id"])["status"] == "succeeded"
    assert faulty.finished(faulty.submit(prompt="a dog")["id"])["status"] == "succeeded"


@pytest.mark.long
def test_a_full_disk_delays_jobs_and_shows_no_partial_file(faulty):
    store = faulty.folder / "images"
    faulty.start_worker()
    (store / "images").rename(store / "away") if (store / "images").exists() else store.mkdir(
        parents=True, exist_ok=True
    )
    blocked = store / "images"
    blocked.write_text("no folder can be made here")
    job = faulty.submit(prompt="a cat")
    faulty.until(
        lambda: "store_unavailable" in (faulty.folder / "worker.log").read_text(), "it was tried"
    )
    waiting = faulty.http.get(f"/api/v1/jobs/{job['id']}").json()
    assert waiting["status"] in ("queued", "running")
    assert waiting["images"] == []
    blocked.unlink()
    ended = faulty.finished(job["id"])
    assert (ended["status"], ended["attempts"]) == ("succeeded", 1)
    assert [p for p in store.rglob("*") if p.suffix == ".tmp"] == []
