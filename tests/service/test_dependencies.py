"""What routes are given."""

import asyncio

import pytest
from redis import Redis

from darkroom.queue.model_records import ModelRecords
from service.app import create_app
from service.dependencies import Darkroom
from tests.service.conftest import RECORDS


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
