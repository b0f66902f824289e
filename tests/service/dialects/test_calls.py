"""Calls over real sockets: clients that leave, come again, or lose the service under them."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import httpx2
import pytest
from openai import OpenAI
from starlette.datastructures import Headers

from darkroom.images import ImageStore
from darkroom.job import JobStatus
from darkroom.ports import free_port
from darkroom.queue.queue import Queue
from darkroom.settings import Settings
from service.dialects.calls import is_repeat
from tests.running import environment
from tests.service.conftest import Work, know_models
from tests.service.wire import JSON, connected, head
from tests.waiting import until

GENERATIONS = "/v1/images/generations"
ASKED = {"prompt": "a cat"}
AGAIN = {"X-Stainless-Retry-Count": "1"}


@pytest.mark.parametrize(
    ("told", "repeat"),
    [({}, False), ({"x-stainless-retry-count": "0"}, False), (AGAIN, True)]
    + [({"x-stainless-retry-count": text}, False) for text in ("", "-1", "1.0", "²", "9" * 9)],
)
def test_what_counts_as_a_repeat(told, repeat):
    assert is_repeat(Headers(told)) is repeat


@contextmanager
def asking(served, **headers):
    """A client that has sent a request and waits, until it leaves."""
    body = json.dumps(ASKED).encode()
    told = [f"{name}: {value}" for name, value in headers.items()]
    line = f"POST {GENERATIONS} HTTP/1.1"
    with connected(served.url) as connection:
        connection.sendall(head(line, JSON, f"Content-Length: {len(body)}", *told) + body)
        yield


@pytest.fixture
def leave(served, here, jobs):
    """Asks and goes away; the id of the job."""

    def leave():
        with asking(served):
            until(lambda: here.feed.waiters)
        [job] = jobs.page().jobs
        return job.id

    return leave


def left(redis):
    return [each.decode() for each in redis.zrange("darkroom:left", 0, -1)]


def test_a_client_that_goes_away_gives_its_job_up(leave, redis, jobs):
    job_id = leave()
    until(lambda: left(redis) == [job_id])
    assert jobs.cancel_left() == []
    redis.zadd("darkroom:left", {job_id: 1})
    assert jobs.cancel_left() == [job_id]
    assert jobs.fetch(job_id).status is JobStatus.CANCELED


def test_so_does_one_that_leaves_a_stream(api, redis):
    body = ASKED | {"stream": True}
    with api.stream("POST", GENERATIONS, json=body) as answer:
        job_id = answer.headers["x-darkroom-job-id"]
    until(lambda: left(redis) == [job_id])


def test_who_watches_a_job_keeps_it(served, here, api, redis, work):
    """The one who watches came before the client left, by an idempotency key here."""
    key = {"Idempotency-Key": "k"}
    with ThreadPoolExecutor(1) as pool:
        stays = pool.submit(api.post, GENERATIONS, json=ASKED, headers=key)
        until(lambda: here.feed.waiters)
        claim = work.claim()
        with redis.pubsub(ignore_subscribe_messages=True) as channel:
            channel.subscribe("darkroom:events")
            with asking(served, **key):
                until(lambda: here.feed.waiters == 2)
            told = f"{claim.job_id} left".encode()
            until(lambda: (channel.get_message(timeout=1) or {}).get("data") == told)
        until(lambda: not left(redis))
        work.finish(claim)
        assert stays.result().status_code == 200


def test_the_clients_own_retry_gets_the_job_of_the_try_that_was_cut_off(served, redis, jobs, work):
    with (
        OpenAI(base_url=f"{served.url}/v1", api_key="none", timeout=0.5, max_retries=9) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        made = pool.submit(client.images.generate, prompt="a cat")
        until(lambda: left(redis))
        claim = work.claim()
        until(lambda: not left(redis) and served.here.feed.waiters)
        work.finish(claim)
        assert len(made.result().data) == 1
    assert [job.id for job in jobs.page().jobs] == [claim.job_id]


def test_equal_first_tries_are_jobs_of_their_own(api, leave, redis, jobs, work):
    first = leave()
    until(lambda: left(redis) == [first])
    with ThreadPoolExecutor(2) as pool:
        others = [pool.submit(api.post, GENERATIONS, json=ASKED) for _ in range(2)]
        done = {work.all().id for _ in range(3)}
        made = {each.result().headers["x-darkroom-job-id"] for each in others}
    assert len(made) == 2
    assert done == made | {first} == {job.id for job in jobs.page().jobs}


def test_a_job_is_given_to_one_repeat_alone(api, leave, redis, work):
    first = leave()
    until(lambda: left(redis) == [first])
    with ThreadPoolExecutor(2) as pool:
        again = [pool.submit(api.post, GENERATIONS, json=ASKED, headers=AGAIN) for _ in range(2)]
        work.all()
        work.all()
        answers = [each.result() for each in again]
    assert [each.status_code for each in answers] == [200, 200]
    assert len({each.headers["x-darkroom-job-id"] for each in answers}) == 2
    assert sorted(each.headers.get("idempotency-replayed", "") for each in answers) == ["", "true"]


@pytest.mark.parametrize("stream", [True, False])
def test_a_call_that_was_answered_is_forgotten(api, work, redis, stream):
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(api.post, GENERATIONS, json=ASKED | {"stream": stream})
        done = work.all()
        assert asked.result().headers["x-darkroom-job-id"] == done.id
    until(lambda: not redis.keys("darkroom:calls:*"))


def test_an_idempotency_key_is_honoured(api, work, jobs):
    key = {"Idempotency-Key": "order-7"}
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(api.post, GENERATIONS, json=ASKED, headers=key)
        work.all()
        again = api.post(GENERATIONS, json=ASKED, headers=key)
    assert first.result().json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert len(jobs.page().jobs) == 1
    other = api.post(GENERATIONS, json=ASKED | {"n": 2}, headers=key)
    assert (other.status_code, other.json()["error"]["code"]) == (400, "idempotency_mismatch")


def test_a_service_that_stops_leaves_its_calls_to_the_next(serving, valkey, redis, jobs, tmp_path):
    know_models(redis)
    first, second = (serving(redis_url=valkey.url, state_dir=tmp_path) for _ in range(2))
    with ThreadPoolExecutor(2) as pool:
        asked = pool.submit(httpx2.post, first.url + GENERATIONS, json=ASKED, timeout=30)
        until(lambda: first.here.feed.waiters)
        claim = Work(jobs, second.here).claim()
        first.server.should_exit = True
        refused = asked.result()
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "busy")
        assert refused.headers["x-darkroom-job-id"] == claim.job_id
        assert "x-should-retry" not in refused.headers
        assert left(redis) == []
        url = second.url + GENERATIONS
        again = pool.submit(httpx2.post, url, json=ASKED, headers=AGAIN, timeout=30)
        until(lambda: second.here.feed.waiters)
        Work(jobs, second.here).finish(claim)
        assert again.result().headers["x-darkroom-job-id"] == claim.job_id


def test_calls_wait_out_an_absence_of_redis(api, here, jobs, work, monkeypatch):
    monkeypatch.setattr("service.dialects.calls.ASK_AGAIN_S", 0.01)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(api.post, GENERATIONS, json=ASKED)
        until(lambda: here.feed.waiters)
        claim = work.claim()
        jobs.redis.config_set("maxclients", 1)
        jobs.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        jobs.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        until(lambda: not here.feed.connected)
        jobs.redis.config_set("maxclients", 10000)
        work.finish(claim)
        assert asked.result().status_code == 200


@pytest.mark.long
def test_a_hundred_calls_survive_a_kill_of_the_service(valkey, redis, models_toml, tmp_path):
    """The client's own retries find the job of each call; none is lost, none is made twice."""
    know_models(redis)
    port = free_port()
    variables = environment(
        DARKROOM_REDIS_URL=valkey.url,
        DARKROOM_STATE_DIR=str(tmp_path),
        DARKROOM_MODELS=str(models_toml),
        DARKROOM_PORT=str(port),
    )
    command = [sys.executable, "-m", "service"]
    calls = 100

    def start() -> subprocess.Popen:
        return subprocess.Popen(command, env=variables, stderr=subprocess.DEVNULL)

    settings = Settings(_env_file=None, state_dir=tmp_path, redis_url=valkey.url)
    queue = Queue(redis)
    work = Work(queue, SimpleNamespace(store=ImageStore.of(settings)))
    api = start()
    url = f"http://127.0.0.1:{port}/v1"
    try:
        with OpenAI(base_url=url, api_key="none", max_retries=20, timeout=200) as client:
            until(lambda: _answers(url))
            with ThreadPoolExecutor(calls) as pool:
                made = [pool.submit(client.images.generate, prompt="a cat") for _ in range(calls)]
                until(lambda: len(queue.page(limit=100).jobs) == calls)
                for _ in range(calls // 2):
                    work.all()
                api.kill()
                api.wait()
                api = start()
                for _ in range(calls // 2):
                    work.all()
                answers = [each.result() for each in made]
    finally:
        api.kill()
        api.wait()
    assert all(len(each.data) == 1 for each in answers)
    page = queue.page(limit=100)
    assert (len(page.jobs), page.next_cursor) == (calls, None)
    assert {job.attempts for job in page.jobs} == {1}
    assert len({each.data[0].url for each in answers}) == calls


def _answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/models").status_code == 200
    except httpx2.HTTPError:
        return False
