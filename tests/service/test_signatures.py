"""Addresses without a key: whom they let in, to what, until when (attack G5 of a list)."""

import json
import time
from datetime import timedelta

import pytest

from darkroom import signing
from darkroom.queue import api_keys
from darkroom.queue.exchange import Client
from darkroom.queue.lua import PLAIN_RULES, scripts
from darkroom.queue.url_secrets import url_secrets
from tests.service.conftest import bearer, png
from tests.service.test_streaming import events

JOBS = "/api/v1/jobs"
URLS = "/api/v1/signed-urls"


def sign(http, headers, *paths: str, **more: object) -> list[dict]:
    answer = http.post(URLS, json={"paths": paths} | more, headers=headers)
    assert answer.status_code == 200, answer.text
    assert [each["path"] for each in answer.json()["data"]] == list(paths)
    return answer.json()["data"]


@pytest.fixture
def token(made, guarded):
    guarded.here.signatures._secrets.outdate()  # Redis was emptied
    return made("ann")


@pytest.fixture
def things(http, token, guarded_work) -> tuple[str, str, str]:
    """Paths of a picture, of the events of its job and of the content of a file."""
    job = http.post(JOBS, json={"prompt": "a cat"}, headers=bearer(token)).json()
    image = guarded_work.all().images[0]
    file = http.post("/api/v1/files", content=png((3, 3)), headers=bearer(token)).json()
    return image.url, job["urls"]["events"], file["urls"]["content"]


def test_g5_whoever_has_the_address_gets_that_one_thing(http, token, things):
    signed = sign(http, bearer(token), *things)
    for each in signed:
        assert http.get(each["path"]).status_code == 401
        answer = http.get(each["url"])
        assert answer.status_code == 200
        assert answer.content == http.get(each["path"], headers=bearer(token)).content
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
        assert http.head(each["url"]).status_code == 200
    picture, query = signed[0]["url"].split("?")
    assert http.get(f"{picture}?w=16&{query}&format=webp").headers["content-type"] == "image/webp"
    for path in (JOBS, things[1].removesuffix("/events"), "/metrics", things[2]):
        assert http.get(f"{path}?{query}").status_code == 401, path


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_an_address_is_for_reading_alone(http, token, things, method):
    for each in sign(http, bearer(token), *things):
        assert http.request(method, each["url"]).status_code == 401


def test_g5_what_was_changed_in_an_address_is_refused_in_the_same_words(http, token, things, made):
    url = sign(http, bearer(token), things[0])[0]["url"]
    other = sign(http, bearer(made("bob")), things[0])[0]["url"]
    path, _, query = url.partition("?")
    parts = dict(each.split("=") for each in query.split("&"))
    later = str(int(parts["expires"]) + 1)
    changed = [
        parts | {"expires": later},
        parts | {"key": other.partition("key=")[2][:16]},
        parts | {"key": "0" * 16},
        parts | {"signature": "0" * 64},
        parts | {"signature": parts["signature"].upper()},
        parts | {"signature": ""},
        {name: value for name, value in parts.items() if name != "expires"},
        {name: value for name, value in parts.items() if name != "key"},
    ]
    asked = ["&".join(f"{name}={value}" for name, value in each.items()) for each in changed]
    asked += [f"{query}&signature={parts['signature']}", f"{query}&expires={later}"]
    told = set()
    for each in asked:
        refused = http.get(f"{path}?{each}")
        assert refused.status_code == 401, each
        told.add((refused.json()["code"], refused.json()["detail"]))
        assert parts["signature"] not in refused.text
    assert told == {("unauthenticated", "This signed URL is not valid here.")}


def test_signing_what_is_anothers_opens_nothing(http, made, things):
    for each in sign(http, bearer(made("bob")), *things):
        refused = http.get(each["url"])
        assert refused.status_code == 404
        assert refused.json()["code"] in ("image_not_found", "job_not_found", "file_not_found")


def test_g5_an_address_expires_and_never_outlives_its_key(http, token, things, made):
    [each] = sign(http, bearer(token), things[0], expires_s=1)
    give_up = time.monotonic() + 20
    while (answer := http.get(each["url"])).status_code == 200:
        assert time.monotonic() < give_up
    assert (answer.status_code, answer.json()["detail"]) == (401, "This signed URL has expired.")
    brief = made("brief", life=timedelta(hours=1))
    [each] = sign(http, bearer(brief), things[0], expires_s=86400)
    assert int(each["url"].partition("expires=")[2][:10]) <= time.time() + 3600


def test_an_address_ends_with_its_key_and_with_its_keys_secret(http, token, things, redis):
    client = Client(redis, scripts(PLAIN_RULES))
    [each] = sign(http, bearer(token), things[0])
    key, renewed = client.carry_out(api_keys.get(token.id)).renewed()
    redis.hset("darkroom:keys", key.id, key.model_dump_json())
    redis.publish("darkroom:events", "keys changed")
    _refused_soon(http, each["url"])
    [each] = sign(http, bearer(renewed), things[0])
    assert http.get(each["url"]).status_code == 200
    client.carry_out(api_keys.remove(token.id))
    _refused_soon(http, each["url"])


def _refused_soon(http, url: str) -> None:
    give_up = time.monotonic() + 20
    while http.get(url).status_code == 200:
        assert time.monotonic() < give_up


def test_a_new_secret_is_taken_at_once_and_the_one_before_still(http, token, things, redis):
    [before] = sign(http, bearer(token), things[0])
    client = Client(redis, scripts(PLAIN_RULES))
    redis.hset("darkroom:url_secrets", "since", 1)
    secrets = client.carry_out(url_secrets())
    key = client.carry_out(api_keys.get(token.id))
    expires = int(time.time()) + 60
    elsewhere = signing.sign(things[0], expires, key.id, key.digest, secrets.current)
    assert http.get(elsewhere.url).status_code == 200
    assert http.get(before["url"]).status_code == 200
    redis.delete("darkroom:url_secrets")  # so an operator ends all of them
    _refused_soon(http, before["url"])


def test_a_stream_ends_when_its_address_expires(http, token):
    job = http.post(JOBS, json={"prompt": "a cat"}, headers=bearer(token)).json()
    [each] = sign(http, bearer(token), job["urls"]["events"], expires_s=2)
    with http.stream("GET", each["url"]) as stream:
        told = list(events(stream))
    assert told[0]["event"] == "status"
    assert told[-1]["event"] == "error"
    assert json.loads(told[-1]["data"])["code"] == "unauthenticated"


def test_what_cannot_be_signed_knows_no_signature(http, token):
    refused = http.get(f"{JOBS}?signature=x", headers=bearer(token))
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (
        422,
        "/query/signature",
    )


def test_a_key_beside_a_signature_counts_alone(http, token, things, made):
    [each] = sign(http, bearer(token), things[0])
    assert http.get(each["url"], headers=bearer(made("bob"))).status_code == 404
    assert http.get(each["url"], headers={"X-API-Key": "no"}).status_code == 401


def test_what_can_be_asked_for(http, made, things):
    reads, submits = bearer(made("reads", ("read",))), bearer(made("submits", ("submit",)))
    assert http.post(URLS, json={"paths": [things[0]]}, headers=submits).status_code == 403
    for body, pointer in (
        ({}, "/paths"),
        ({"paths": []}, "/paths"),
        ({"paths": ["/api/v1/jobs"]}, "/paths/0"),
        ({"paths": [things[0], "https://x.example/"]}, "/paths/1"),
        ({"paths": [things[0]] * 101}, "/paths"),
        ({"paths": [things[0]], "expires_s": 0}, "/expires_s"),
        ({"paths": [things[0]], "expires_s": 604801}, "/expires_s"),
        ({"paths": [things[0]], "method": "PUT"}, "/method"),
    ):
        refused = http.post(URLS, json=body, headers=reads)
        assert refused.status_code == 422, body
        assert refused.json()["errors"][0]["pointer"] == pointer
    [each] = sign(http, reads, things[0], expires_s=604800)
    assert each["expires_at"]


def test_where_no_keys_are_asked_for_the_path_alone_will_do(api, submitted, work):
    submitted()
    path = work.all().images[0].url
    [each] = sign(api, {}, path)
    assert (each["url"], each["expires_at"]) == (path, None)
    old = signing.sign(path, 1, "0" * 16, "0" * 64, "1" * 64)
    assert api.get(old.url).status_code == 200


def test_requests_count_for_the_key_that_signed(http, made, things):
    limited = bearer(made("limited", per_minute=2))
    [each] = sign(http, limited, things[0])
    assert http.get(each["url"]).status_code == 404
    assert http.get(each["url"]).status_code == 429
