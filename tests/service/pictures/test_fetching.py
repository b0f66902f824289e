"""Pictures by URL: fetched where it is allowed, told at their field where not, a few at once."""

import asyncio
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_network
from threading import Event

import httpx2
import pytest
from redis import Redis

from darkroom.command.valkey import RedisServer
from darkroom.errors import BusyError, InvalidImageError
from darkroom.outbound.client import Outbound
from darkroom.outbound.policy import Policy
from darkroom.settings import Settings, SettingsError
from service.pictures.fetching import MOST_AT_ONCE, Fetcher, Places, is_url
from tests.outside import Outside, outside, replies
from tests.picture_files import encoded, noise
from tests.service.conftest import Served, know_models

LOOPBACK = Policy(networks=(ip_network("127.0.0.1/32"),))
PICTURE = encoded(noise())


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        *((text, True) for text in ("http://a/", "HTTPS://a.example/b.png")),
        *(
            (text, False)
            for text in ("ftp://a/", "data:image/png;base64,", "iVBORw0KGgo", "http:a")
        ),
    ],
)
def test_what_is_a_url(text: str, is_one: bool) -> None:
    assert is_url(text) is is_one


def test_nothing_is_fetched_unless_it_is_allowed() -> None:
    assert Fetcher.of(Settings(_env_file=None)) is None
    fetcher = Fetcher.of(Settings(_env_file=None, image_urls=True, max_body_mb=0.5))
    assert fetcher is not None
    assert (fetcher.outbound.policy, fetcher.max_bytes) == (Policy(), 2**19)
    with pytest.raises(SettingsError, match="DARKROOM_OUTBOUND_NETWORKS"):
        Fetcher.of(Settings(_env_file=None, outbound_networks="here"))


def test_a_place_is_kept_until_the_picture_is_done_with() -> None:
    async def fetch(server: Outside) -> None:
        fetcher = Fetcher(Outbound(LOOPBACK), 100, wait_s=0.05, places=Places(1))
        async with fetcher.fetched(server.url, "") as data:
            assert data == b"x"
            with pytest.raises(BusyError, match="try again"):
                async with fetcher.fetched(server.url, ""):
                    pass
        for _ in range(2):  # a failure gives its place back
            with pytest.raises(InvalidImageError, match="Nothing can be fetched"):
                async with fetcher.fetched("https://127.0.0.2/", ""):
                    pass
        async with fetcher.fetched(server.url, "ann"):
            pass

    with outside(replies(body=b"x")) as server:
        asyncio.run(fetch(server))
        assert len(server.asked) == 2


def test_no_key_has_all_places_and_none_waits_for_one_alone() -> None:
    async def enter(places: Places, owner: str, times: int) -> int:
        """How many places were had at once, of those that were asked for."""
        had = [asyncio.create_task(places.enter(owner)) for _ in range(times)]
        await asyncio.sleep(0)
        for each in had:
            each.cancel()
        done = await asyncio.gather(*had, return_exceptions=True)
        return done.count(None)

    async def crowd() -> None:
        places = Places(MOST_AT_ONCE)
        assert await enter(places, "ann", 99) == 4
        assert await enter(places, "bob", 99) == 2
        assert await enter(places, "eve", 99) == 1
        assert await enter(places, "dan", 99) == 1
        assert await enter(places, "new", 1) == 0
        waiting = asyncio.create_task(places.enter("new"))
        places.leave("ann")
        await waiting
        assert await enter(Places(MOST_AT_ONCE), "", 99) == 8

    asyncio.run(crowd())


@pytest.fixture(scope="module")
def fetching(
    serving: Callable[..., Served], valkey: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Served:
    return serving(
        redis_url=valkey.url,
        state_dir=tmp_path_factory.mktemp("state"),
        image_urls=True,
        outbound_networks="127.0.0.1/32",
    )


@pytest.fixture
def client(fetching: Served, redis: Redis) -> Iterator[httpx2.Client]:
    know_models(redis)
    with httpx2.Client(base_url=f"{fetching.url}/api/v1", timeout=20) as client:
        yield client


def test_a_job_keeps_the_picture_and_not_its_url(client: httpx2.Client) -> None:
    with outside(replies(body=PICTURE, Content_Type="text/plain")) as server:
        url = f"{server.url}/secret.png?token=s3cret"
        answer = client.post("/jobs", json={"prompt": "a cat", "image": url})
        assert server.paths == ["/secret.png?token=s3cret"]
    assert answer.status_code == 202, answer.text
    assert answer.json()["request"]["image"].startswith("file_")
    assert "s3cret" not in answer.text


def test_a_request_sent_again_fetches_nothing_again(client: httpx2.Client) -> None:
    with outside(replies(body=PICTURE)) as server:
        body = {"prompt": "a cat", "image": server.url}
        key = {"Idempotency-Key": "once"}
        jobs = [client.post("/jobs", json=body, headers=key).json()["id"] for _ in range(2)]
        assert jobs[0] == jobs[1]
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("answering", "told"),
    [
        (replies(404), "Its server answered 404."),
        (replies(302, Location="http://127.0.0.2/"), "Its host has no address that may be asked."),
        (replies(body=b"x" * (2**20 + 1)), "It has more than 1 MiB."),
    ],
)
def test_what_cannot_be_fetched_is_told_at_its_field(
    client: httpx2.Client, answering: object, told: str
) -> None:
    with outside(answering) as server:
        answer = client.post("/jobs", json={"prompt": "a cat", "image": server.url})
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert (error["pointer"], error["code"]) == ("/image", "invalid_input_image")
    assert error["detail"] == f"Nothing can be fetched from this URL. {told}"


def test_a_page_is_no_picture(client: httpx2.Client) -> None:
    with outside(replies(body=b"<html>", Content_Type="image/png")) as server:
        answer = client.post("/jobs", json={"prompt": "a cat", "image": server.url})
    assert answer.status_code == 422
    assert "Not a complete, undamaged picture" in answer.json()["detail"]


def test_who_leaves_ends_the_fetch(client: httpx2.Client) -> None:
    begun, ended = Event(), Event()

    def endless(to: BaseHTTPRequestHandler, _: bytes) -> None:
        begun.set()
        assert to.rfile.read(1) == b""
        ended.set()

    with outside(endless) as server:
        with pytest.raises(httpx2.ReadTimeout):
            client.post("/jobs", json={"prompt": "x", "image": server.url}, timeout=0.5)
        assert begun.is_set()
        assert ended.wait(5)


def test_e7_without_leave_the_operators_setting_is_named(api: httpx2.Client) -> None:
    with outside(replies(body=PICTURE)) as server:
        answer = api.post("/api/v1/jobs", json={"prompt": "a cat", "image": server.url})
        assert server.asked == []
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/image"
    assert "Nothing is fetched from such a URL here" in answer.json()["detail"]
