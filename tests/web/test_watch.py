"""What becomes of jobs, as a browser shows it: waiting, refusals, a lost service, keys. A real
service in a thread; the test works the jobs."""

import pytest
from playwright.sync_api import Page, expect

from darkroom.command.valkey import RedisServer
from tests.chaos.proxy import Proxy
from tests.service.conftest import Work, know_models


def wish(page: Page, url: str, prompt: str = "a cat") -> None:
    page.goto(url)
    expect(page.locator("#generate")).to_be_enabled()
    ask(page, prompt)


def ask(page: Page, prompt: str) -> None:
    page.get_by_label("Prompt", exact=True).fill(prompt)
    page.keyboard.press("Control+Enter")


def card(page: Page, prompt: str):
    return page.get_by_role("article", name=prompt)


def test_a_queued_job_tells_its_place(page, served, here, work):  # noqa: ARG001
    wish(page, served.url, "first")
    expect(card(page, "first")).to_contain_text("No worker serves its model now")
    ask(page, "second")
    expect(card(page, "second")).to_have_class("card queued")
    work.all()
    expect(card(page, "first")).to_have_class("card succeeded")
    expect(page.get_by_role("status").first).to_have_text("Finished: first")


def test_a_lost_service_is_told_and_healed_and_nothing_is_missed(watched, served, here, work):  # noqa: ARG001
    watched.expected |= {"ERR_", "net::"}
    page = watched.page
    with Proxy(lambda: served.url.replace("http", "redis")) as proxy:
        link = proxy.link("page")
        wish(page, f"http://127.0.0.1:{link.port}")
        expect(card(page, "a cat")).to_have_class("card queued")
        link.cut()
        expect(page.get_by_text("Darkroom does not answer.")).to_be_visible()
        ask(page, "a dog")
        expect(page.get_by_text("It was not sent.")).to_be_visible()
        work.all()
        link.mend()
        expect(page.get_by_text("Darkroom does not answer.")).to_have_count(0)
        expect(card(page, "a cat")).to_have_class("card succeeded")
        page.get_by_role("button", name="Generate").click()
        expect(card(page, "a dog")).to_have_class("card queued")
        streams = [each for each in watched.requests if each.url.endswith("/api/v1/events")]
        assert "last-event-id" not in streams[0].headers
        assert "last-event-id" in streams[-1].headers


def test_after_a_night_it_goes_on_where_it_was(watched, served, here, work):  # noqa: ARG001
    page = watched.page
    page.clock.install()
    wish(page, served.url)
    expect(card(page, "a cat")).to_have_class("card queued")
    with page.expect_request("**/api/v1/events") as again:
        page.clock.fast_forward("08:00:00")
        page.clock.fast_forward("00:10")
    assert "last-event-id" in again.value.headers
    work.all()
    expect(card(page, "a cat")).to_have_class("card succeeded")


def test_a_worker_that_comes_is_seen(page, served, here, announced):  # noqa: ARG001
    page.clock.install()
    page.goto(served.url)
    expect(page.get_by_text("No worker serves it now")).to_be_visible()
    announced(serves=("pix",), models=("pix",))
    page.clock.fast_forward("00:06")
    expect(page.get_by_text("No worker serves it now")).to_have_count(0)


def test_it_works_below_a_path_of_a_proxy(watched, served, here, work):  # noqa: ARG001
    page, below = watched.page, f"{served.url}/darkroom/"
    page.route(f"{below}**", lambda route: route.continue_(url=behind(route.request.url)))
    wish(page, below)
    expect(card(page, "a cat")).to_have_class("card queued")
    work.all()
    expect(card(page, "a cat").get_by_role("img")).to_have_js_property("naturalWidth", 8)
    asked = page.evaluate("performance.getEntriesByType('resource').map(each => each.name)")
    assert len(asked) > 40
    assert [url for url in asked if not url.startswith(below)] == []


def behind(url: str) -> str:
    return url.replace("/darkroom/", "/", 1)


@pytest.fixture
def full(serving, valkey: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A service in whose queues one job may wait."""
    folder = tmp_path_factory.mktemp("full")
    return serving(redis_url=valkey.url, state_dir=folder, max_queued=1).url


def test_a_full_queue_says_when_to_try_again(watched, full, here, work):  # noqa: ARG001
    watched.expected.add("429")
    page = watched.page
    wish(page, full)
    expect(card(page, "a cat")).to_have_class("card queued")
    ask(page, "a dog")
    expect(page.locator("#generate-told")).to_contain_text("1 jobs are queued")
    expect(page.locator("[data-again]")).to_contain_text("Try again")


def test_a_key_is_asked_for_and_pictures_come_by_signed_addresses(
    watched, guarded, redis, made, guarded_work
):
    know_models(redis)
    watched.expected.add("401")
    page = watched.page
    page.goto(guarded.url)
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("API key").fill(f"dk_{'0' * 16}_{'0' * 64}")
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("no API key that is valid")
    dialog.get_by_label("API key").fill(made().reveal())
    page.keyboard.press("Enter")
    expect(dialog).to_have_count(0)
    expect(page.locator("#generate")).to_be_enabled()
    ask(page, "a cat")
    expect(card(page, "a cat")).to_have_class("card queued")
    guarded_work.all()
    picture = card(page, "a cat").get_by_role("img")
    expect(picture).to_have_js_property("naturalWidth", 8)
    assert "signature=" in str(picture.get_attribute("src"))
    assert page.evaluate("sessionStorage.getItem('darkroom.key')") is None
    page.get_by_role("button", name="Forget the key").click()
    expect(dialog).to_be_visible()
    expect(card(page, "a cat")).to_have_count(0)


@pytest.fixture
def guarded_work(guarded, redis) -> Work:
    from darkroom.queue.queue import Queue

    return Work(Queue(redis), guarded.here)


def test_styles_and_loras_are_those_of_the_model(page, served, here, work):  # noqa: ARG001
    page.goto(served.url)
    page.get_by_label("Model").select_option("other")
    page.locator("summary", has_text="LoRAs").click()
    page.get_by_label("Add a LoRA").select_option("ink")
    page.get_by_label("ink", exact=True).fill("0.5")
    page.locator("summary", has_text="Style").click()
    page.get_by_label("Style", exact=True).select_option("ink")
    expect(page.get_by_text("…, blue ink.")).to_be_visible()
    ask(page, "a cat")
    expect(card(page, "a cat, blue ink")).to_have_class("card queued")
    request = work.claim().request
    assert request["loras"] == [{"name": "ink", "scale": 0.5}]
    assert request["prompt"] == "a cat, blue ink"
