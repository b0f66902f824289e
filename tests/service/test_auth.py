"""Who is let in: attacks A1 to A7 of a list by letter, and every route of the app."""

import asyncio
import base64
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

import httpx2
import pytest
from starlette.datastructures import Headers

from darkroom.api_keys import SCOPES, USUAL_SCOPES, Token
from darkroom.errors import UnauthenticatedError
from darkroom.queue import api_keys
from darkroom.queue.connection import connect_async
from darkroom.queue.exchange import AsyncClient, Client
from darkroom.queue.lua import PLAIN_RULES, scripts
from service import auth, known_keys
from service.auth import OPEN, token_in
from service.known_keys import Keys
from tests.service.conftest import Served, bearer, png
from tests.service.test_streaming import events
from tests.service.wire import JSON, answer_and_close, head
from tests.waiting import until

JOBS = "/api/v1/jobs"
OTHERS = f"dk_{'0' * 16}_{'0' * 64}"


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


def forms(key: str) -> list[list[tuple[str, str]]]:
    """All in which clients send one."""
    values = [f"Bearer {key}", f"bearer  {key}", f"Token {key}", f"Key {key}"]
    values += [basic(f"{key}:"), basic(f"any:{key}"), basic(f"{key}:{key}"), basic(key)]
    return [[("Authorization", value)] for value in values] + [
        [("X-API-Key", key)],
        [("X-Goog-Api-Key", key)],
        [("X-API-Key", key), ("Authorization", f"Bearer {key}")],
        [("X-API-Key", key), ("X-Goog-Api-Key", key)],
    ]


def test_each_form_of_a_key_is_taken(http, made):
    for headers in forms(made().reveal()):
        assert http.get("/version", headers=headers).status_code == 200, headers


def bad_forms(key: str, other: str) -> list[list[tuple[str | bytes, str | bytes]]]:
    values: list[str] = ["", "Bearer", key, f"Bearer {key[:-1]}", f"Bearer {key}x"]
    values += [f"Bearer {key.replace('dk_', 'sk_')}", f"Bearer {key.upper()}", f"Digest {key}"]
    values += [f"Bearer {'a' * 10240}", f"Bearer {key}{' ' * 10240}{key}", f"Bearer {OTHERS}"]
    values += [f"Bearer {key[:20]}{'0' * 64}", f"Bearer {key} {key}", f"Bearer {key},{key}"]
    values += [basic(":"), basic(f"{key}:{other}"), "Basic ???", "Basic", basic("user:password")]
    return [[("Authorization", value)] for value in values] + [
        [(b"Authorization", f"Bearer {key}".encode() + b"\xe9")],
        [(b"Authorization", f"Bearer {key[:-2]}".encode() + "\u0660".encode())],
        [("X-API-Key", key), ("X-API-Key", key)],
        [("X-API-Key", key), ("Authorization", f"Bearer {other}")],
        [("X-API-Key", other), ("Authorization", f"Bearer {key}")],
        [("X-API-Key", other), ("X-Goog-Api-Key", key)],
        [("X-Goog-Api-Key", key), ("X-Goog-Api-Key", key)],
        [("X-API-Key", "")],
    ]


def test_a1_what_is_no_key_is_refused_in_the_same_words(http, made):
    key, other = made().reveal(), made("other").reveal()
    told = set()
    for headers in bad_forms(key, other):
        answer = http.get(JOBS, headers=headers)
        assert answer.status_code == 401, headers
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["content-type"] == "application/problem+json"
        told.add((answer.json()["code"], answer.json()["detail"]))
    assert told == {("unauthenticated", "This is no API key that is valid here.")}
    twice = [("Authorization", f"Bearer {each}") for each in (key, other)]
    assert http.get(JOBS, headers=twice).status_code == 400  # by strict framing
    with pytest.raises(UnauthenticatedError, match="no API key that is valid"):
        token_in(Headers(raw=[(b"authorization", value.encode()) for _, value in twice]))
    none = http.get(JOBS)
    assert (none.status_code, none.json()["code"]) == (401, "unauthenticated")
    assert "missing" in none.json()["detail"]


def test_an_expired_key_says_so_to_who_has_it(http, made):
    token = made(life=timedelta(microseconds=1))
    assert "expired" in http.get(JOBS, headers=bearer(token)).json()["detail"]
    wrong = Token(token.id, "0" * 64)
    assert "expired" not in http.get(JOBS, headers=bearer(wrong)).json()["detail"]


ENDLESS = "/api/v1/events"


def routes(served: Served) -> list[tuple[str, str]]:
    found = [
        (method, route.path)
        for router in served.server._app.router.routes
        for route in router.effective_route_contexts()  # what is no router has no such method
        for method in sorted(route.methods)
    ]
    assert len(found) > 20
    return found


class Things(NamedTuple):
    """Ids of what belongs to somebody."""

    job: str
    image: str
    batch: str
    file: str


NOTHING = Things(
    *(f"{kind}_{'0' * 32}" for kind in ("job", "img", "batch")), file=f"file_{'0' * 64}"
)
"""What is not there."""


def filled(path: str, things: Things) -> str:
    """The path with what it is about. Whose a thing is that is not named here, this test has to be
    told."""
    of_everybody = {"model_id:path": "other", "model_id": "other", "lora_name": "ink"}
    of_everybody |= {"name": "start.js", "name:path": "app/main.js", "worker_name:path": "nobody"}
    of_everybody |= {"method": "predict"}
    of_everybody |= {"message_id": "msg_0_1", "owner": "tiny", "version": "0" * 64}
    ids = {f"{kind}_id": value for kind, value in things._asdict().items()}
    ids["job_id:job"] = things.job
    for name, value in (ids | of_everybody).items():
        path = path.replace(f"{{{name}}}", value)
    assert "{" not in path
    return path


@pytest.fixture
def theirs(http, made, guarded_work) -> tuple[Token, Things]:
    """A key, and a batch with a finished job and its picture that were made with it, and a file."""
    token = made("theirs")
    body = {"prompt": "s3cret", "tags": ["s3cret"]}
    batch = http.post(f"{JOBS}/batch", json={"jobs": [body]}, headers=bearer(token)).json()
    done = guarded_work.all()
    assert done.id == batch["jobs"][0]["id"]
    file = http.post("/api/v1/files", content=png((4, 4), (1, 2, 3)), headers=bearer(token)).json()
    return token, Things(done.id, done.images[0].id, batch["id"], file["id"])


def test_a7_every_route_asks_for_a_key_but_those_that_are_open(http, guarded):
    """A new one does without being told to; and so does what is no route."""
    for method, path in routes(guarded):
        answer = http.request(method, filled(path, NOTHING))
        expected = path in OPEN or path in ("/docs/{name}", "/web/{name:path}")
        assert (answer.status_code != 401) == expected, (method, path)
    for path in (
        "/nothing",
        "/api/v1",
        "/docs/nothing",
        "/web/nothing",
        "/web/../metrics",
        "/livez/",
        "/metrics",
    ):
        assert http.get(path).status_code == 401, path
    for method in ("POST", "PUT", "DELETE", "PATCH", "BREW", "TRACE"):
        assert http.request(method, "/livez").status_code == 401, method
    assert http.options(JOBS).status_code == 401
    for path in ("//livez", "http://localhost/livez", "/livez%00", "/docs/../metrics", "*"):
        answer = answer_and_close(guarded.url, head(f"GET {path} HTTP/1.1", "Connection: close"))
        assert answer[9:12] in (b"400", b"401"), path


def test_a7_what_is_open_tells_nothing_of_anybody(http, announced):
    announced(name="machine-7", serves=("pix",))
    page = ("docs", "docs/", "docs/start.js", "docs/swagger-ui-bundle.js", "docs/swagger-ui.css")
    others = ("", "livez", "readyz", "openapi.json", "docs/favicon-32x32.png")
    assert {f"/{path}" for path in (*page, *others)} == OPEN
    for path in sorted(OPEN):
        answer = http.get(path)
        assert answer.status_code in (200, 308), path
        assert "machine-7" not in answer.text
    ready = http.get("/readyz").json()
    assert ready == {"status": ready["status"]}
    # A key that is wrong is as none here.
    assert http.get("/readyz", headers={"X-API-Key": "no"}).json() == ready


def test_who_has_a_key_is_told_more(http, made, announced):
    announced(name="machine-7", serves=("pix",))
    assert "machine-7" in http.get("/readyz", headers=bearer(made())).text
    assert http.get("/metrics", headers=bearer(made("reads", ("read",)))).status_code == 200


def same(answer: httpx2.Response, things: Things) -> tuple[int, dict]:
    """An answer without what the request brought itself."""
    text = answer.text
    for each in things:
        text = text.replace(each, "ID")
    told = json.loads(text) if text else {}
    return answer.status_code, {k: v for k, v in told.items() if k != "request_id"}


def test_a4_what_is_anothers_is_as_if_it_were_not_there(http, guarded, made, theirs):
    owner, things = theirs
    stranger = made("stranger", USUAL_SCOPES)
    for method, path in routes(guarded):
        if path == ENDLESS:
            continue  # see test_a4_another_key_hears_nothing in routes/test_events.py
        body = {"content": b""} if method == "PUT" else {}
        asked = {"headers": bearer(stranger), **body}
        answer = http.request(method, filled(path, things), **asked)
        assert answer.status_code < 500, (method, path)
        told = answer.text.replace(path, "")
        assert "s3cret" not in told, (method, path)
        if any(f"{{{kind}_id" in path for kind in things._fields):
            absent = http.request(method, filled(path, NOTHING), **asked)
            assert same(answer, things) == same(absent, NOTHING), (method, path)
            assert answer.status_code == 404, (method, path)
        else:
            assert not [each for each in things if each in told], (method, path)
    mine = http.get(f"{JOBS}/{things.job}", headers=bearer(owner))
    assert mine.json()["status"] == "succeeded"
    for path in (f"/api/v1/images/{things.image}", f"/api/v1/files/{things.file}/content"):
        assert http.get(path, headers=bearer(owner)).status_code == 200
    batch = http.get(f"/api/v1/batches/{things.batch}", headers=bearer(owner))
    assert batch.json()["counts"]["succeeded"] == 1


def test_scopes(http, made, guarded):
    reads, submits = made("reads", ("read",)), made("submits", ("submit",))
    refused = http.post(JOBS, json={"prompt": "a cat"}, headers=bearer(reads))
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert "scope submit" in refused.json()["detail"]
    assert http.get(JOBS, headers=bearer(reads)).status_code == 200
    assert http.get(JOBS, headers=bearer(submits)).status_code == 403
    job = http.post(JOBS, json={"prompt": "a cat"}, headers=bearer(submits))
    assert job.status_code == 202
    for token, status in ((reads, 200), (submits, 403)):
        asked = http.post("/api/v1/inspect", content=png(), headers=bearer(token))
        assert asked.status_code == status
    for method, path in routes(guarded):
        if method not in ("GET", "HEAD") and path not in auth._CHANGE_NOTHING:
            url = filled(path, NOTHING)
            assert http.request(method, url, headers=bearer(reads)).status_code == 403, path


def test_admin(http, made):
    usual, admin = made("usual"), made("admin", ("admin",))
    lora = "/api/v1/models/pix/loras/mine"
    for method, path in (("GET", "/api/v1/workers"), ("PUT", lora), ("DELETE", lora)):
        refused = http.request(method, path, headers=bearer(usual))
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert "scope admin" in refused.json()["detail"]
        answer = http.request(method, path, headers=bearer(admin))
        assert answer.status_code == 200 or answer.json()["code"] == "uploads_off"
    job = http.post(JOBS, json={"prompt": "a cat"}, headers=bearer(usual)).json()
    assert http.get(job["urls"]["self"], headers=bearer(admin)).status_code == 200
    assert [each["id"] for each in http.get(JOBS, headers=bearer(admin)).json()["data"]] == [
        job["id"]
    ]


def test_a_key_is_asked_for_before_the_body(guarded, redis):  # noqa: ARG001
    for declared in (
        "Content-Length: 1000",
        "Content-Length: 99999999999",
        "Transfer-Encoding: chunked",
    ):
        answer = answer_and_close(guarded.url, head(f"POST {JOBS} HTTP/1.1", JSON, declared))
        assert answer.startswith(b"HTTP/1.1 401 "), declared
        assert b"connection: close" in answer.lower()


def test_a6_a_revoked_key_ends_what_waits(http, made, guarded, redis):
    token = made()
    job = http.post(JOBS, json={"prompt": "a cat"}, headers=bearer(token)).json()
    answers: list[httpx2.Response] = []

    def poll() -> None:
        url = f"{guarded.url}{job['urls']['self']}"
        asked = {"params": {"wait": 30}, "headers": bearer(token), "timeout": 40}
        answers.append(httpx2.get(url, **asked))

    def submit() -> None:
        asked = {"headers": {**bearer(token), "Prefer": "wait=30"}, "timeout": 40}
        accepted.append(httpx2.post(guarded.url + JOBS, json={"prompt": "a dog"}, **asked))

    accepted: list[httpx2.Response] = []
    waiters = [threading.Thread(target=each, daemon=True) for each in (poll, submit)]
    for waiter in waiters:
        waiter.start()
    began = time.monotonic()
    with http.stream("GET", job["urls"]["events"], headers=bearer(token)) as stream:
        told = events(stream)
        assert next(told)["event"] == "status"
        until(lambda: guarded.here.feed.waiters >= 3)
        Client(redis, scripts(PLAIN_RULES)).carry_out(api_keys.remove(token.id))
        [last] = list(told)
    assert last["event"] == "error"
    assert json.loads(last["data"]) | {"message": ""} == {
        "code": "unauthenticated",
        "message": "",
        "retryable": False,
    }
    for waiter in waiters:
        waiter.join(20)
    assert [answer.status_code for answer in answers] == [401]
    # What was accepted stays so, or its client would send it twice.
    assert [answer.status_code for answer in accepted] == [202]
    assert accepted[0].json()["status"] == "queued"
    assert http.get(JOBS, headers=bearer(token)).status_code == 401
    assert time.monotonic() - began < 10  # a ping comes after 15 s only


def test_a_key_that_expires_ends_its_stream(http, made):
    token = made(life=timedelta(seconds=1))
    job = http.post(JOBS, json={"prompt": "a cat"}, headers=bearer(token)).json()
    with http.stream("GET", job["urls"]["events"], headers=bearer(token)) as stream:
        last = list(events(stream))[-1]
    assert (last["event"], "expired" in last["data"]) == ("error", True)


def test_a_new_secret_is_taken_at_once_and_the_old_one_no_more(http, made, redis):
    token = made()
    assert http.get("/version", headers=bearer(token)).status_code == 200
    key, renewed = Client(redis).carry_out(api_keys.get(token.id)).renewed()
    redis.hset("darkroom:keys", key.id, key.model_dump_json())  # what tells services may get lost
    assert http.get("/version", headers=bearer(renewed)).status_code == 200
    assert http.get("/version", headers=bearer(token)).status_code == 401


def test_a_key_is_read_at_most_once_a_second(http, made, redis):
    token = made()
    redis.config_resetstat()
    began = time.monotonic()
    for _ in range(25):
        assert http.get("/version", headers=bearer(token)).status_code == 200
    reads = redis.info("commandstats")["cmdstat_hget"]["calls"]
    assert reads <= 2 + (time.monotonic() - began)


def test_guesses_are_not_remembered_and_keys_not_without_end(made, valkey, monkeypatch):
    monkeypatch.setattr(known_keys, "MOST_KNOWN", 2)
    tokens = [made(f"{n}") for n in range(3)]

    async def known() -> list[str]:
        async with connect_async(valkey.url) as redis:
            keys = Keys(AsyncClient(redis, scripts(PLAIN_RULES)))
            for guess in (Token.drawn(), Token(tokens[0].id, "0" * 64), Token.drawn()):
                with pytest.raises(UnauthenticatedError):
                    await keys.whose(guess)
            assert set(keys._known) <= {tokens[0].id}
            for token in tokens:
                await keys.whose(token)
            return list(keys._known)

    assert asyncio.run(known()) == [token.id for token in tokens[1:]]


def test_without_redis_nobody_is_let_in(serving, tmp_path):
    served = serving(redis_url="unix:///nothing", state_dir=tmp_path, keys="on")
    with httpx2.Client(base_url=served.url, timeout=20, headers={"X-API-Key": OTHERS}) as http:
        refused = http.get("/version")
        assert (refused.status_code, refused.json()["code"]) == (503, "queue_unavailable")
        assert http.get("/livez").status_code == 200
        ready = http.get("/readyz")
        assert ready.status_code == 503
        assert "checks" not in ready.json()


def test_signs_of_life_and_pages_ask_nobody_for_a_key(guarded, made, redis):
    token = made()
    redis.config_resetstat()
    with httpx2.Client(base_url=guarded.url, timeout=20, headers=bearer(token)) as http:
        for path in OPEN - {"/readyz"}:
            assert http.get(path).status_code < 400, path
    assert "cmdstat_hget" not in redis.info("commandstats")


def test_what_an_operator_opens(serving, valkey, tmp_path, redis):  # noqa: ARG001
    app = "http://app.example"
    more = {"keys": "on", "open_metrics": True, "cors_origins": app}
    served = serving(redis_url=valkey.url, state_dir=tmp_path, **more)
    with httpx2.Client(base_url=served.url, headers={"Origin": app}, timeout=20) as http:
        assert http.get("/metrics").status_code == 200
        asked = {"Access-Control-Request-Method": "POST"}
        asked["Access-Control-Request-Headers"] = "authorization"
        preflight = http.options(JOBS, headers=asked)
        assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (
            200,
            app,
        )
        refused = http.get(JOBS)  # which a page can read
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, app)


def test_h1_no_key_is_told_by_anything(made, valkey, models_toml, tmp_path, redis):
    """A service ends where keys are asked for and there is none. With some, whatever is sent, no
    log, metric, answer or Redis holds a secret."""
    environment = os.environ | {
        "DARKROOM_REDIS_URL": valkey.url,
        "DARKROOM_MODELS": str(models_toml),
        "DARKROOM_STATE_DIR": str(tmp_path),
        "DARKROOM_PORT": "0",
        "DARKROOM_KEYS": "on",
        "DARKROOM_LOG_LEVEL": "debug",
    }
    command = [sys.executable, "-m", "service"]
    keyless = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert keyless.returncode == 1
    assert "darkroom keys create NAME" in keyless.stderr
    assert "--no-keys" in keyless.stderr
    assert "listening" not in keyless.stderr

    token, admin = made(), made("admin", SCOPES)
    log = tmp_path / "log"
    with (
        log.open("w") as file,
        subprocess.Popen(command, env=environment, stderr=file) as process,
    ):
        try:
            while not (found := re.search(r"http://[0-9.]+:\d+", log.read_text())):
                assert process.poll() is None
            answers = [*_send_everywhere(found[0], token, admin)]
        finally:
            process.terminate()
    assert {answer.status_code for answer in answers} >= {200, 202, 401, 403, 404, 422}
    lines = log.read_text().splitlines()
    assert len(lines) > len(answers)
    assert not [line for line in lines if "signature=" in line]
    told = [*lines, *(f"{answer.text}{answer.headers}" for answer in answers)]
    told += [repr(redis.dump(name)) for name in redis.scan_iter()]
    told += [repr(redis.hgetall(name)) for name in redis.scan_iter(_type="hash")]
    for secret in (token.secret, admin.secret):
        assert [line[:200] for line in told if secret in line] == []


def _send_everywhere(url: str, token: Token, admin: Token) -> Iterator[httpx2.Response]:
    key = token.reveal()
    with httpx2.Client(base_url=url, timeout=20) as http:
        for headers in [*forms(key), *bad_forms(key, admin.reveal())]:
            yield http.get(JOBS, headers=headers)
            yield http.post(JOBS, headers=headers, json={"prompt": "a cat", "width": 1})
            yield http.get(f"{JOBS}/nothing", headers=headers)
        mine = bearer(token)
        yield http.post(JOBS, headers=mine | {"Idempotency-Key": "k"}, json={"prompt": "a cat"})
        yield http.get(JOBS, headers=mine, params={"api_key": key})
        for method in ("GET", "POST", "DELETE"):
            yield http.request(method, "/google/v1beta/models", params={"key": key})
        yield http.post(JOBS, headers=mine, json={"prompt": "a cat", "api_key": key})
        yield http.get("/metrics", headers=mine)
        yield http.get("/api/v1/workers", headers=mine)
        asked = {"paths": [f"/api/v1/images/img_{'0' * 32}"]}
        signed = http.post("/api/v1/signed-urls", headers=mine, json=asked).json()["data"][0]["url"]
        for url in (signed, signed[:-1], f"{signed}&w=1"):
            yield http.get(url)
        for path in ("/readyz", "/openapi.json", JOBS, "/api/v1/workers", "/metrics"):
            yield http.get(path, headers=bearer(admin))
