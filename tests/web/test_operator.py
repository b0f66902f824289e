"""The operator's view: what waits, who works, what went wrong, and what can be done about it. A
real service in a thread; the test works the jobs, and is the worker."""

from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Locator, Page, expect

from darkroom.api_keys import SCOPES
from darkroom.command.valkey import RedisServer
from darkroom.job import JobError, JobStatus
from darkroom.queue.workers import Workers
from tests.chaos.proxy import Proxy
from tests.service.conftest import know_models, knows


def part(page: Page, title: str) -> Locator:
    return page.get_by_role("region", name=title, exact=True)


def verdict(page: Page) -> Locator:
    return page.locator(".verdict")


def look(page: Page) -> None:
    """It does so every few seconds, and at once where the machine has a network again."""
    page.evaluate("dispatchEvent(new Event('online'))")


@pytest.fixture
def operator(page: Page, served, here) -> Page:  # noqa: ARG001
    page.goto(f"{served.url}/#/operator")
    return page


def test_the_queue_is_seen_as_it_changes_and_paused(operator, submitted, work):
    queue = part(operator, "Queue")
    expect(queue).to_contain_text("none waiting · none running")
    for priority in ("high", "normal", "normal"):
        submitted(priority=priority)
    look(operator)
    high, normal = (queue.get_by_role("row").filter(has_text=each) for each in ("high", "normal"))
    expect(high.get_by_role("cell").first).to_have_text("1")
    expect(normal.get_by_role("cell").first).to_have_text("2")
    queue.get_by_role("button", name="Pause pix").focus()
    operator.keyboard.press("Enter")
    expect(verdict(operator)).to_contain_text("An operator paused the queues of pix")
    assert work.next(patience_s=0) is None
    submitted(priority="normal")
    look(operator)
    expect(normal.get_by_role("cell").first).to_have_text("3")
    resume = queue.get_by_role("button", name="Resume pix")
    expect(resume).to_be_focused()
    resume.press("Enter")
    expect(queue.get_by_role("button", name="Pause pix")).to_be_focused()
    work.claim()
    queue.get_by_role("button", name="Pause all").click()
    expect(verdict(operator)).to_contain_text("All queues are paused")
    expect(high.get_by_role("cell").nth(1)).to_have_text("1")
    expect(queue.get_by_role("button", name="Pause pix")).to_have_count(0)
    assert work.next(patience_s=0) is None
    queue.get_by_role("button", name="Resume all").click()
    expect(queue.get_by_role("button", name="Pause pix")).to_be_visible()
    work.claim()


def test_a_worker_is_seen_and_drained_once_that_was_confirmed(operator, announced, redis):
    workers = part(operator, "Workers")
    expect(workers).to_contain_text("No worker is alive")
    knows(redis, "pix", "text-to-image", step_s=0.0123, worker="studio/1")
    memory = {"free": 20 * 2**30, "total": 80 * 2**30, "allocated": 50 * 2**30}
    seen = announced(
        name="studio/1",
        state="busy",
        running=2,
        models=("pix",),
        serves=("pix",),
        passes=1200,
        joined_passes=300,
        speed=1.834,
        memory=memory,
        started_at=datetime.now(UTC) - timedelta(hours=3),
    )
    look(operator)
    own = workers.get_by_role("article", name="studio/1")
    expect(own).to_contain_text("2 jobs, at most 8 in a pass")
    expect(own).to_contain_text("pix, 0.012 s a step")
    expect(own).to_contain_text("60.0 of 80.0 GiB, 50.0 by this worker")
    expect(own).to_contain_text("1,200, 25 % shared by several jobs")
    expect(own).to_contain_text("1.8 s of work a second")
    expect(own).to_contain_text("the first 3 h ago")
    drain = own.get_by_role("button", name="Drain")
    drain.press("Enter")
    expect(operator.get_by_role("dialog")).to_be_visible()
    operator.keyboard.press("Escape")
    expect(drain).to_be_focused()
    assert not Workers(redis).announce(seen, ttl_s=60)
    drain.press("Enter")
    operator.get_by_role("dialog").get_by_role("button", name="Drain").click()
    expect(operator.get_by_text("studio/1 takes no more jobs and ends.")).to_be_visible()
    assert Workers(redis).announce(seen, ttl_s=60)


def test_models_tell_how_soon_and_why_not(operator, announced, redis):
    models = part(operator, "Models")
    pix, other = (models.get_by_role("article", name=each, exact=True) for each in ("pix", "other"))
    expect(pix).to_contain_text("without a worker")
    expect(pix).to_contain_text("CC0-1.0")
    announced(models=("other",), serves=("pix", "other"))
    knows(redis, "pix", error="There is no such file.", updated_at=datetime.now(UTC).isoformat())
    knows(redis, "other", "text-to-image", faults={"lora:torn": "tiny/torn: damaged"})
    look(operator)
    expect(pix).to_contain_text("could not be loaded")
    expect(pix).to_contain_text("There is no such file.")
    expect(other).to_contain_text("in memory")
    expect(other).to_contain_text("torn: tiny/torn: damaged")


def test_jobs_are_canceled_and_tried_again(operator, submitted, work, jobs):
    listed = part(operator, "Jobs")
    expect(listed).to_contain_text("Nothing runs.")
    for prompt in ("a dog", "a cat", "a bird"):
        submitted(prompt=prompt)
    broke = JobError(code="internal_error", message="It broke.")
    work.finish(work.claim(), JobStatus.FAILED, error=broke)
    work.claim()
    look(operator)
    cat = listed.get_by_role("article", name="a cat")
    cat.get_by_role("button", name="Cancel").press("Enter")
    expect(cat).to_have_count(0)
    expect(listed.get_by_role("heading", name="Jobs")).to_be_focused()
    listed.get_by_role("button", name="Waiting").click()
    expect(listed.get_by_role("article", name="a bird")).to_contain_text("No worker serves")
    listed.get_by_role("button", name="Failed").click()
    dog = listed.get_by_role("article", name="a dog")
    expect(dog).to_contain_text("It broke.")
    dog.get_by_role("button", name="Try again").click()
    listed.get_by_role("button", name="Waiting").click()
    expect(dog).to_be_visible()
    assert [job.status for job in jobs.page().jobs] == ["queued", "queued", "canceled", "failed"]


@pytest.mark.long
def test_it_is_shown_to_whom_it_concerns(watched, guarded, redis, made):
    know_models(redis)
    watched.expected |= {"401", "403"}
    page = watched.page
    page.goto(f"{guarded.url}/#/operator")
    give(page, made().reveal())
    expect(page.get_by_role("alert")).to_contain_text("scope admin")
    expect(page.get_by_role("link", name="Operator")).to_have_count(0)
    page.get_by_role("button", name="Forget the key").click()
    give(page, made("operator", SCOPES).reveal())
    look(page)
    expect(part(page, "Queue")).to_be_visible()
    expect(page.get_by_role("link", name="Operator")).to_be_visible()
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def give(page: Page, key: str) -> None:
    page.get_by_role("dialog").get_by_label("API key").fill(key)
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)


@pytest.mark.long
def test_it_tells_that_redis_is_away_and_comes_back(
    watched, serving, valkey: RedisServer, tmp_path
):
    watched.expected.add("503")
    page = watched.page
    with Proxy(lambda: valkey.url) as proxy:
        link = proxy.link("service")
        page.goto(f"{serving(redis_url=link.url, state_dir=tmp_path).url}/#/operator")
        expect(part(page, "Queue")).to_be_visible()
        link.cut()
        expect(verdict(page)).to_contain_text("Redis cannot be reached")
        expect(page.get_by_text("What follows is as it was")).to_be_visible()
        page.reload()
        expect(page.get_by_role("alert").filter(has_text="Try again")).to_be_visible()
        link.mend()
        expect(part(page, "Queue")).to_be_visible()
        expect(page.get_by_role("link", name="Operator")).to_be_visible()


@pytest.mark.long
def test_it_looks_again_by_itself(operator, announced):
    expect(part(operator, "Workers")).to_contain_text("No worker is alive")
    announced()
    expect(part(operator, "Workers")).to_contain_text("1 alive")


@pytest.mark.long
def test_the_doctor_is_asked(operator):
    doctor = part(operator, "Doctor")
    doctor.get_by_role("button", name="Examine").click()
    expect(doctor.get_by_role("status")).to_contain_text("It looks at the machine")
    expect(doctor).to_contain_text("fine", timeout=90_000)
    expect(doctor).to_contain_text("Redis writes")
