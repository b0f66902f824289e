"""How often a key may ask, how its answers say so, and how many jobs it may have."""

import re

import pytest

from darkroom.job import JobStatus
from service.rates import LEFT, POLICY
from tests.service.conftest import bearer
from tests.service.wire import JSON, answer_and_close, head

JOBS = "/api/v1/jobs"


def left(answer) -> tuple[int, int]:
    """Requests that are left, and seconds until all are."""
    found = re.fullmatch(r'"default";r=(\d+);t=(\d+)', answer.headers[LEFT])
    return int(found[1]), int(found[2])


def test_each_answer_tells_what_is_left(http, made):
    limited = bearer(made(per_minute=3))
    answers = [http.get(path, headers=limited) for path in (JOBS, "/nowhere", "/version")]
    assert [answer.status_code for answer in answers] == [200, 404, 200]
    assert [answer.headers[POLICY] for answer in answers] == ['"default";q=3;w=60'] * 3
    assert [left(answer)[0] for answer in answers] == [2, 1, 0]
    assert 55 <= left(answers[-1])[1] <= 60
    free = http.get(JOBS, headers=bearer(made("free")))
    assert {POLICY.lower(), LEFT.lower()}.isdisjoint(free.headers)


def test_who_asks_too_often_is_told_when_to_come_again(http, made, redis):
    token = made(per_minute=2)
    for _ in range(2):
        assert http.get(JOBS, headers=bearer(token)).status_code == 200
    refused = http.get(JOBS, headers=bearer(token))
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert refused.json()["retryable"] is True
    assert left(refused)[0] == 0
    wait_s = int(refused.headers["retry-after"])
    assert 20 <= wait_s <= 30
    assert http.get(JOBS, headers=bearer(made("other", per_minute=2))).status_code == 200

    def after(seconds: float) -> int:
        """As if so much time had passed since the first refusal; Redis's clock cannot be moved."""
        bucket = f"darkroom:requests:{token.id}"
        redis.hset(bucket, "at", float(redis.hget(bucket, "at")) - seconds)
        return http.get(JOBS, headers=bearer(token)).status_code

    assert [after(wait_s - 3), after(3)] == [429, 200]


def test_b2_a_body_that_comes_too_often_is_not_read(guarded, made):
    key = f"Authorization: Bearer {made(per_minute=1).reveal()}"
    first = answer_and_close(guarded.url, head("GET /version HTTP/1.1", key, "Connection: close"))
    assert first.startswith(b"HTTP/1.1 200 ")
    sent = head(f"POST {JOBS} HTTP/1.1", JSON, key, "Content-Length: 1000")
    answer = answer_and_close(guarded.url, sent)
    assert answer.startswith(b"HTTP/1.1 429 ")
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize(
    ("method", "path", "body", "names"),
    [
        ("GET", "/sdapi/v1/options", None, {"error", "detail", "body", "errors"}),
        ("POST", "/hf/pix", {"inputs": "a cat"}, {"error"}),
        ("GET", "/replicate/v1/models", None, {"type", "title", "detail", "status"}),
        ("POST", "/mcp", {"jsonrpc": "2.0", "id": 1, "method": "ping"}, {"jsonrpc", "id", "error"}),
    ],
)
def test_compatible_apis_tell_it_in_their_own_shapes(http, made, method, path, body, names):
    """That of OpenAI: tests/service/routes/test_openai.py."""
    limited = bearer(made(per_minute=1))
    assert http.get("/version", headers=limited).status_code == 200
    refused = http.request(method, path, json=body, headers=limited)
    assert (refused.status_code, set(refused.json())) == (429, names)
    assert int(refused.headers["retry-after"]) > 0
    assert "minute" in refused.text, refused.text


def test_what_needs_no_key_is_not_counted(http, made):
    limited = bearer(made(per_minute=1))
    for path in ("/livez", "/readyz", "/openapi.json", "/livez"):
        assert http.get(path, headers=limited).status_code == 200
    assert http.get("/version", headers=limited).status_code == 200
    assert http.get("/livez", headers=limited).status_code == 200


def test_a_rate_costs_one_round_trip(http, made, redis):
    limited = bearer(made(per_minute=1000))
    http.get("/version", headers=limited)
    redis.config_resetstat()
    for _ in range(5):
        http.get("/version", headers=limited)
    assert redis.info("commandstats")["cmdstat_evalsha"]["calls"] == 5


@pytest.mark.parametrize("limit", ["max_active", "max_queued"])
def test_b3_a_key_has_so_many_jobs_and_no_more(http, made, guarded_work, limit):
    limited = bearer(made(**{limit: 2}))
    for _ in range(2):
        assert http.post(JOBS, json={"prompt": "a cat"}, headers=limited).status_code == 202
    refused = http.post(JOBS, json={"prompt": "a cat"}, headers=limited)
    code = {"max_active": "too_many_active_jobs", "max_queued": "too_many_queued_jobs"}[limit]
    assert (refused.status_code, refused.json()["code"]) == (429, code)
    assert refused.json()["detail"].startswith("2 of your jobs are queued")
    assert refused.headers["retry-after"] == "5"
    other = http.post(JOBS, json={"prompt": "a cat"}, headers=bearer(made("other")))
    assert other.status_code == 202

    claim = guarded_work.claim()  # one of them runs
    again = http.post(JOBS, json={"prompt": "a cat"}, headers=limited)
    assert again.status_code == (429 if limit == "max_active" else 202)
    guarded_work.finish(claim, JobStatus.FAILED)
    again = http.post(JOBS, json={"prompt": "a cat"}, headers=limited)
    assert again.status_code == (202 if limit == "max_active" else 429)


SMALL = {"prompt": "a cat", "num_inference_steps": 8}


def gpu(answer) -> tuple[int, int]:
    """GPU seconds that are left, and seconds until all are."""
    found = re.fullmatch(r'"gpu";r=(\d+);t=(\d+)', answer.headers[LEFT])
    return int(found[1]), int(found[2])


def test_gpu_seconds_are_charged_told_refused_and_given_back(http, made, redis):
    limited = bearer(made(gpu_seconds_per_day=100))
    first = http.post(JOBS, json=SMALL, headers=limited)
    assert first.status_code == 202
    assert first.headers[POLICY] == '"gpu";q=100;qu="gpu-seconds";w=86400'
    cost = first.json()["queue"]["work_s"]
    assert gpu(first)[0] == int(100 - cost)
    redis.incrby(*redis.keys("darkroom:gpu:*"), int((100 - 1.5 * cost) * 1000))  # other jobs
    before, _ = redis.time()
    refused = http.post(JOBS, json=SMALL, headers=limited)
    seconds, _ = redis.time()
    assert (refused.status_code, refused.json()["code"]) == (429, "gpu_budget_spent")
    assert refused.json()["retryable"] is True
    for told in (int(refused.headers["retry-after"]), gpu(refused)[1]):
        assert 86_400 - seconds % 86_400 <= told <= 86_400 - before % 86_400
    dry = http.post(f"{JOBS}?dry_run=true", json=SMALL, headers=limited)
    assert dry.json()["code"] == "gpu_budget_spent"
    assert http.post(first.json()["urls"]["cancel"], headers=limited).status_code == 202
    assert http.post(JOBS, json=SMALL, headers=limited).status_code == 202


def test_b4_more_than_a_day_has_is_refused_for_good(http, made):
    limited = bearer(made(gpu_seconds_per_day=1, per_minute=50))
    large = {"prompt": "a cat", "num_inference_steps": 100, "num_images": 4, "width": 512}
    for path in (JOBS, f"{JOBS}?dry_run=true"):
        refused = http.post(path, json=large | {"height": 128}, headers=limited)
        assert (refused.status_code, refused.json()["retryable"]) == (422, False)
        [error] = refused.json()["errors"]
        assert error["code"] == "too_much_work"
        assert "this API key may take 1 a day" in error["detail"]
        assert refused.headers[POLICY].startswith('"default";q=50;w=60, "gpu";q=1;')
    assert http.get(JOBS, headers=limited).json()["data"] == []


def test_a_share_of_the_queue(http, made, guarded):
    most = guarded.here.settings.max_queued
    limited = bearer(made(share=1))
    for _ in range(most // 100):
        assert http.post(JOBS, json=SMALL, headers=limited).status_code == 202
    refused = http.post(JOBS, json=SMALL, headers=limited)
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_queued_jobs")
    assert http.post(JOBS, json=SMALL, headers=bearer(made("other"))).status_code == 202
