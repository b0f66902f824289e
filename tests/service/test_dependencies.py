"""What routes are given."""

import asyncio
from contextlib import ExitStack

import httpx2
import pytest
from redis import Redis

from darkroom.queue.model_records import ModelRecords
from service.app import create_app
from service.dependencies import Darkroom
from tests.service.conftest import RECORDS, bearer


@pytest.fixture
def ours(here: Darkroom) -> Darkroom:
    """The same parts in a loop of the test's own."""
    return create_app(here.settings).state.darkroom


def test_what_workers_found_out_is_offered(ours: Darkroom, redis: Redis) -> None:
    ModelRecords(redis).put(RECORDS[0].model_copy(update={"width": 80, "classes": 7}))

    async def ask() -> None:
        async with ours.client.redis:
            records = await ours.records()
            assert set(records) == {"pix", "other"}
            offers = [
                await ours.offer(each, records[each.name]) for each in ours.catalog.cards.values()
            ]
            assert offers == ours.offers(records)
            assert (offers[0].card.name, offers[0].classes) == ("pix", 7)

    asyncio.run(ask())


def test_until_a_worker_knows_a_model_its_offer_is_a_guess(ours: Darkroom) -> None:
    async def ask() -> None:
        card = ours.catalog.find("pix")
        assert await ours.offer(card, None) == ours.offers({})[0]
        assert (await ours.offer(card, None)).tasks

    asyncio.run(ask())


@pytest.mark.parametrize("job_id", ["x", "job_", "job_" + "A" * 32, "job_" + "0" * 31, "a" * 300])
def test_what_is_no_job_id_is_not_asked_for(api, job_id: str) -> None:
    response = api.get(f"/api/v1/jobs/{job_id}")
    assert (response.status_code, response.json()["code"]) == (404, "job_not_found")


def test_b5_those_who_wait_are_bounded_in_all(serving, valkey, tmp_path, here):  # noqa: ARG001
    served = serving(redis_url=valkey.url, state_dir=tmp_path, max_waiting=2)
    with httpx2.Client(base_url=served.url) as api, ExitStack() as streams:
        job = api.post("/api/v1/jobs", json={"prompt": "x"}).json()
        events, itself = job["urls"]["events"], job["urls"]["self"]
        read = [streams.enter_context(api.stream("GET", events)).iter_lines() for _ in range(2)]
        assert [next(lines) for lines in read] == ["event: status"] * 2
        for path in (events, f"{itself}?wait=1"):
            refused = api.get(path)
            assert (refused.status_code, refused.json()["code"]) == (503, "busy")
            assert refused.headers["retry-after"]
        assert api.get(itself).status_code == 200
        asked = {"Prefer": "wait=60"}
        accepted = api.post("/api/v1/jobs", json={"prompt": "x"}, headers=asked)
        assert accepted.status_code == 202
        api.post(job["urls"]["cancel"])
        assert all("event: done" in list(lines) for lines in read)
        with api.stream("GET", f"{accepted.json()['urls']['self']}/events") as response:
            assert response.status_code == 200


def test_b5_a_key_has_so_many_streams_wherever_it_comes_from(serving, valkey, tmp_path, made):
    served = serving(redis_url=valkey.url, state_dir=tmp_path, keys="on", max_waiting_per_address=1)
    ann, bob = bearer(made("ann")), bearer(made("bob"))
    with httpx2.Client(base_url=served.url) as http, ExitStack() as streams:
        for who in (ann, bob):
            stream = http.stream("GET", "/api/v1/events?after=0-0", headers=who)
            assert streams.enter_context(stream).status_code == 200
        refused = http.get("/api/v1/events", headers=ann)
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_at_once")


def test_clients_of_a_proxy_are_told_apart(serving, valkey, tmp_path, here):  # noqa: ARG001
    served = serving(
        redis_url=valkey.url,
        state_dir=tmp_path,
        max_waiting_per_address=1,
        trusted_proxies="127.0.0.1",
    )

    def of(*addresses: str) -> dict[str, str]:
        return {"X-Forwarded-For": ", ".join(addresses)}

    with httpx2.Client(base_url=served.url) as proxy:
        events = proxy.post("/api/v1/jobs", json={"prompt": "x"}).json()["urls"]["events"]
        with proxy.stream("GET", events, headers=of("192.0.2.1")) as response:
            lines = response.iter_lines()
            assert next(lines) == "event: status"
            refused = proxy.get(events, headers=of("198.51.100.9", "192.0.2.1"))
            assert (refused.status_code, refused.json()["code"]) == (429, "too_many_at_once")
            for other in (of("192.0.2.2"), {}):
                with proxy.stream("GET", events, headers=other) as welcome:
                    assert welcome.status_code == 200
