import os
import signal
import threading
import time

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from darkroom import __version__
from darkroom.command.valkey import RedisServer
from darkroom.queue.connection import connect
from tests.service.conftest import know_models


def test_a_living_process_says_so(api):
    assert api.get("/livez").json() == {"status": "alive"}


def test_the_version(api):
    version = api.get("/version").json()
    assert (version["name"], version["version"]) == ("darkroom", __version__)


def test_ready_with_a_worker_for_every_model(api, announced):
    announced(serves=("pix", "other"))
    response = api.get("/readyz")
    assert response.status_code == 200
    assert response.json()["status"] == "ready"


def test_each_model_and_each_worker_is_told(api, announced):
    announced(serves=("pix", "other"), models=("pix",), state="loading", loads="other", running=1)
    told = api.get("/readyz").json()
    states = {name: model["state"] for name, model in told["models"].items()}
    assert states == {"pix": "loaded", "other": "loading"}
    assert told["workers"] == [{"name": "worker", "state": "loading", "takes_jobs": True}]


def test_a_worker_that_starts_is_waited_for(api, announced):
    announced(serves=("pix", "other"), state="loading", loads="pix")
    told = api.get("/readyz").json()
    assert told["status"] == "degraded"
    assert told["detail"] == "No worker is ready for pix, other yet; jobs wait until one is."


def test_missing_workers_only_degrade(api, announced):
    response = api.get("/readyz")
    assert response.status_code == 200
    assert response.json()["status"] == "degraded"
    assert "No worker" in response.json()["detail"]
    announced(serves=("pix",))
    response = api.get("/readyz")
    assert (response.status_code, response.json()["status"]) == (200, "degraded")
    assert "other" in response.json()["detail"]


def test_a_store_that_cannot_be_written_is_not_ready(serving, valkey, tmp_path):
    (tmp_path / "file").touch()
    broken = serving(redis_url=valkey.url, store=tmp_path / "file")
    response = httpx2.get(broken.url + "/readyz")
    assert response.status_code == 503
    assert response.json()["code"] == "store_unavailable"
    assert response.json()["checks"]["redis"] == "ok"
    assert int(response.headers["retry-after"]) >= 1


def test_metrics_are_what_prometheus_reads(api, submitted, work):
    submitted()
    submitted()
    work.all()
    response = api.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {f.name: f for f in text_string_to_metric_families(response.text)}
    (finished,) = families["darkroom_jobs_finished"].samples
    assert finished.labels == {"model": "pix", "status": "succeeded", "error_code": ""}
    assert finished.value == 1


@pytest.fixture
def own_valkey(tmp_path):
    server = RedisServer(tmp_path / "own")
    server.start()
    yield server
    if server.pid:
        os.kill(server.pid, signal.SIGCONT)
    server.stop()


def refused(response: httpx2.Response) -> bool:
    return (
        response.status_code == 503
        and response.json()["code"] == "queue_unavailable"
        and "socket" not in response.text
        and int(response.headers["retry-after"]) >= 1
    )


def test_redis_gone_is_said_and_recovered_from(serving, own_valkey, tmp_path):
    """Nothing has to be restarted; what is alive stays alive."""
    served = serving(redis_url=own_valkey.url, state_dir=tmp_path)
    know_models(connect(own_valkey.url))
    jobs = served.url + "/api/v1/jobs"
    accepted = httpx2.post(jobs, json={"prompt": "a cat"}, timeout=20).json()
    own_valkey.stop()
    assert refused(httpx2.post(jobs, json={"prompt": "a cat"}, timeout=20))
    assert refused(httpx2.get(served.url + accepted["urls"]["self"], timeout=20))
    for path in ("/api/v1/jobs", "/api/v1/queue", "/api/v1/workers", "/api/v1/models", "/readyz"):
        assert refused(httpx2.get(served.url + path, timeout=20)), path
    assert httpx2.get(served.url + "/livez").status_code == 200
    assert httpx2.get(served.url + "/api/v1/jobs/no-id").status_code == 404
    assert "darkroom_redis_up 0.0" in httpx2.get(served.url + "/metrics", timeout=20).text
    own_valkey.start()
    assert httpx2.get(served.url + accepted["urls"]["self"], timeout=20).json() == accepted
    assert httpx2.post(jobs, json={"prompt": "a cat"}, timeout=20).status_code == 202


def test_a_job_accepted_before_redis_went_is_answered_as_accepted(serving, own_valkey, tmp_path):
    served = serving(redis_url=own_valkey.url, state_dir=tmp_path)
    know_models(connect(own_valkey.url))
    answers = []

    def post() -> None:
        headers, body = {"Prefer": "wait=60"}, {"prompt": "a cat"}
        answers.append(
            httpx2.post(served.url + "/api/v1/jobs", json=body, headers=headers, timeout=70)
        )

    poster = threading.Thread(target=post, daemon=True)
    poster.start()
    while not served.here.feed.waiters:
        assert poster.is_alive()
    own_valkey.stop()
    poster.join(20)
    assert (answers[0].status_code, answers[0].json()["status"]) == (202, "queued")


def test_a_stream_ends_in_order_when_redis_goes(serving, own_valkey, tmp_path):
    served = serving(redis_url=own_valkey.url, state_dir=tmp_path)
    know_models(connect(own_valkey.url))
    job = httpx2.post(served.url + "/api/v1/jobs", json={"prompt": "a cat"}).json()
    with httpx2.stream("GET", served.url + job["urls"]["events"], timeout=20) as response:
        lines = response.iter_lines()
        assert next(lines) == "event: status"
        own_valkey.stop()
        assert "event: done" not in list(lines)


def test_alive_while_redis_is_stalled(serving, own_valkey, tmp_path):
    served = serving(redis_url=own_valkey.url, state_dir=tmp_path)
    assert httpx2.get(served.url + "/readyz").status_code == 200
    os.kill(own_valkey.pid, signal.SIGSTOP)
    started = time.monotonic()
    response = httpx2.get(served.url + "/readyz", timeout=20)
    assert response.status_code == 503
    assert "within 3 s" in response.json()["checks"]["redis"]
    assert httpx2.get(served.url + "/livez").status_code == 200
    assert time.monotonic() - started < 10
    os.kill(own_valkey.pid, signal.SIGCONT)


def test_a_models_file_that_is_wrong_degrades_and_costs_no_model(serving, valkey, tmp_path):
    path = tmp_path / "models.toml"
    path.write_text('[[models]]\nname = "one"\nsource = "tiny/one"\n')
    other = serving(redis_url=valkey.url, state_dir=tmp_path, models=path)

    def told(said):
        for _ in range(200):
            ready = httpx2.get(other.url + "/readyz").json()
            if said in ready["checks"]["models"]:
                return ready
            threading.Event().wait(0.05)
        raise AssertionError(ready)

    assert told("ok")["models"].keys() == {"one"}
    path.write_text("[[models]\n")
    ready = told("is no TOML")
    assert (ready["status"], ready["models"].keys()) == ("degraded", {"one"})
    path.write_text('[[models]]\nname = "two"\nsource = "tiny/two"\n')
    assert told("ok")["models"].keys() == {"two"}
    assert httpx2.get(other.url + "/api/v1/models/one").status_code == 404
