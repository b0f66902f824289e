"""What was made, as a browser shows it: the gallery and one picture large. Jobs are worked by the
test, or by a real `darkroom up` where pictures have to be true ones."""

import re
from io import BytesIO

import httpx2
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from darkroom.api_keys import Token
from darkroom.job import ImageRecord, JobStatus, new_image_id
from tests.begun import begun
from tests.chaos.proxy import Proxy
from tests.service.conftest import bearer, know_models
from tests.waiting import until

MOST_ELEMENTS = 200
WATCH_ELEMENTS = """new MutationObserver(() => {
  window.most = Math.max(window.most ?? 0, document.images.length);
}).observe(document, { childList: true, subtree: true })"""


@pytest.fixture
def made_of(submitted, work):
    """Makes a job with pictures."""

    def make(prompt: str, **body: object) -> dict:
        job = submitted(prompt=prompt, **body)
        work.all()
        return job

    return make


def shows(page: Page, *prompts: str) -> None:
    expect(page.locator(".caption span")).to_have_text(list(prompts))


def test_all_pictures_newest_first_and_the_service_looks_for_those_that_are_sought(
    page, served, made_of, submitted, work
):
    page.goto(f"{served.url}/#/pictures")
    expect(page.get_by_text("No pictures yet")).to_be_visible()
    made_of("a cat", num_images=2, tags=["pets"])
    made_of("a dog", model="other")
    shows(page, "a dog", "a cat", "a cat")
    submitted(prompt="a house")
    work.all()
    shows(page, "a house", "a dog", "a cat", "a cat")
    expect(page.locator(".tile img").first).to_have_js_property("naturalWidth", 8)
    page.get_by_label("Words of the prompt").fill("CAT")
    shows(page, "a cat", "a cat")
    page.get_by_label("Words of the prompt").fill("cow")
    page.get_by_role("button", name="Show all").click()
    expect(page.get_by_label("Words of the prompt")).to_have_value("")
    page.get_by_label("Model").select_option("other")
    shows(page, "a dog")
    page.get_by_label("Model").select_option("")
    page.get_by_label("Tag").fill("pets")
    shows(page, "a cat", "a cat")


def test_pictures_are_looked_at_starred_and_deleted_by_keys(page, served, made_of, api):
    for prompt in ("a cat", "a dog", "a house"):
        made_of(prompt)
    made_of("stars", num_images=2)
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(f"{served.url}/#/pictures")
    shows(page, "stars", "stars", "a house", "a dog", "a cat")
    assert over(page, 360) == []
    page.locator(".tile a").first.focus()
    for key in ("End", "ArrowLeft", "s"):
        page.keyboard.press(key)
    expect(page.locator(".tile .star[aria-pressed=true]")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.get_by_role("article", name="a dog")).to_be_focused()
    expect(page.get_by_role("button", name="Star")).to_have_attribute("aria-pressed", "true")
    assert over(page, 360) == []
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("article", name="a house")).to_be_visible()
    page.keyboard.press("Delete")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("a house")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.keyboard.press("Delete")
    dialog.get_by_role("button", name="Delete for good").click()
    expect(page.get_by_role("article", name="a dog")).to_be_visible()
    page.keyboard.press("Escape")
    shows(page, "stars", "stars", "a dog", "a cat")
    expect(page.locator(".tile a:focus")).to_have_attribute("title", "a dog")
    page.keyboard.press("Home")
    page.keyboard.press("Delete")
    expect(dialog).to_contain_text("One job made them")
    dialog.get_by_role("button", name="Delete for good").click()
    shows(page, "a dog", "a cat")
    expect(page.locator(".tile a:focus")).to_have_attribute("title", "a dog")
    page.get_by_role("button", name="Starred alone").click()
    shows(page, "a dog")
    left = api.get("/api/v1/jobs").json()["data"]
    assert [(job["request"]["prompt"], job["starred"]) for job in left] == [
        ("a dog", True),
        ("a cat", False),
    ]


@pytest.mark.long
def test_five_thousand_pictures_are_few_elements(page, served, made_of, jobs, api):
    page.set_viewport_size({"width": 2560, "height": 1440})
    made_of("first")
    url = api.get("/api/v1/images").json()["data"][0]["url"]
    for job in range(50):
        jobs.submit({"prompt": f"job {job}"}, model="pix")
        claim = begun(jobs, queues=["pix.normal"])
        images = [
            ImageRecord(
                id=new_image_id(), url=url, width=8, height=8, seed=n, bytes=1, sha256="0" * 64
            )
            for n in range(100)
        ]
        assert jobs.finish(claim, JobStatus.SUCCEEDED, images=images) == "committed"
    page.goto(f"{served.url}/#/pictures")
    expect(page.locator(".caption span").first).to_have_text("job 49")
    page.evaluate(WATCH_ELEMENTS)
    page.locator(".tile a").first.focus()

    def at_the_end() -> bool:
        page.keyboard.press("End")
        return page.evaluate("document.activeElement.title") == "first"

    until(at_the_end)
    expect(page.locator(".tile:last-child")).to_have_attribute("aria-posinset", "5001")
    assert page.locator(".tile img").count() <= page.evaluate("window.most") <= MOST_ELEMENTS
    page.evaluate("scrollTo({ top: document.body.scrollHeight / 2, behavior: 'instant' })")
    expect(page.locator(".tile").first).to_have_attribute("aria-posinset", re.compile("^2[345]"))
    assert page.evaluate("window.most") <= MOST_ELEMENTS


def finished(up: str, **body: object) -> dict:
    """The job, made by a real model."""
    with httpx2.Client(base_url=up, timeout=90) as http:
        job = http.post("/api/v1/jobs", json=body).raise_for_status().json()
        return http.get(job["urls"]["self"], params={"wait": 60}).json()


def newest_after(up: str, job: dict) -> dict:
    """The job that was made behind one, once it has succeeded."""
    found: list[dict] = []

    def succeeded() -> bool:
        found[:] = httpx2.get(f"{up}/api/v1/jobs?limit=1").json()["data"]
        return found[0]["id"] != job["id"] and found[0]["status"] == "succeeded"

    until(succeeded)
    return found[0]


def open_large(page: Page, up: str, image: dict, job: dict) -> None:
    page.goto(f"{up}/#/pictures/{image['id']}/{job['id']}")
    expect(page.get_by_role("button", name="Use all settings")).to_be_visible()


@pytest.mark.long
def test_all_settings_make_the_same_picture_again(page, up):
    job = finished(up, prompt="a cat", seed=3, num_inference_steps=2)
    again = made_again(page, up, job, 0)
    assert again["id"] != job["images"][0]["id"]
    assert again["sha256"] == job["images"][0]["sha256"]


@pytest.mark.long
def test_all_settings_of_one_picture_of_several_make_that_one(page, up):
    job = finished(up, prompt="a cat", seed=3, num_images=2, num_inference_steps=4)
    again = made_again(page, up, job, 1)
    assert again["seed"] == 4
    assert pixels(up, again) == pixels(up, job["images"][1])


def made_again(page: Page, up: str, job: dict, number: int) -> dict:
    """What all settings of one of its pictures make."""
    open_large(page, up, job["images"][number], job)
    page.get_by_role("button", name="Use all settings").click()
    expect(page.get_by_label("Prompt", exact=True)).to_be_focused()
    page.keyboard.press("Control+Enter")
    [again] = newest_after(up, job)["images"]
    return again


def pixels(up: str, image: dict) -> bytes:
    return Image.open(BytesIO(httpx2.get(up + image["url"]).content)).tobytes()


@pytest.mark.long
def test_a_prompt_and_a_seed_are_taken_over_each_alone(page, up):
    job = finished(up, prompt="a dog", negative_prompt="cat", seed=5, num_inference_steps=2)
    open_large(page, up, job["images"][0], job)
    page.get_by_role("button", name="Same prompt").click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a dog")
    expect(page.locator("#field-seed")).to_have_value("")
    page.go_back()
    page.get_by_role("button", name="Same seed").click()
    expect(page.locator("#field-seed")).to_have_value("5")
    expect(page.locator("#field-num_inference_steps")).not_to_have_value("2")


@pytest.mark.long
def test_what_a_picture_began_with_is_shown_beside_it(page, up):
    small = finished(up, prompt="star", seed=1, num_inference_steps=4)
    open_large(page, up, small["images"][0], small)
    expect(page.locator("img.before")).to_have_count(0)
    page.get_by_role("button", name="Vary").click()
    varied = newest_after(up, small)
    assert varied["request"]["task"] == "image-to-image"
    assert varied["request"]["prompt"] == "star"
    assert varied["images"][0]["sha256"] != small["images"][0]["sha256"]
    page.get_by_role("button", name="Upscale").click()
    large = newest_after(up, varied)
    assert large["request"]["task"] == "upscale"
    for job in (varied, large):
        open_large(page, up, job["images"][0], job)
        before = page.locator("img.before")
        expect(before).to_have_js_property("naturalWidth", 64)
        page.get_by_label("How much of the picture before").fill("20")
        assert before.evaluate("each => each.style.clipPath") == "inset(0px 80% 0px 0px)"
    page.get_by_role("button", name="As input").click()
    page.get_by_label("Model").select_option("emoji")
    expect(page.locator(f"img[src*='{large['images'][0]['id']}']").first).to_be_visible()


@pytest.mark.long
def test_a_picture_is_zoomed_and_moved_and_kept(watched, up):
    watched.expected.add("404")
    page = watched.page
    job = finished(up, prompt="a cat", num_inference_steps=2, num_images=2)
    image = job["images"][0]
    open_large(page, up, image, job)
    picture = page.locator(".developed")
    whole = picture.bounding_box()
    page.keyboard.press("+")
    page.keyboard.press("+")
    assert picture.bounding_box()["width"] == pytest.approx(2.25 * whole["width"], 0.01)
    page.locator(".ground").hover()
    page.mouse.wheel(0, -300)
    near = picture.bounding_box()
    assert near["width"] == pytest.approx(4.5 * whole["width"], 0.01)
    page.mouse.down()
    page.mouse.move(600, 500)
    page.mouse.up()
    assert picture.bounding_box()["x"] != near["x"]
    page.keyboard.press("0")
    assert picture.bounding_box() == whole
    with page.expect_download() as download:
        page.get_by_label("Download").click()
    assert download.value.suggested_filename == f"{image['id']}.png"
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_text("Copied.")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert httpx2.get(copied).content == httpx2.get(up + image["url"]).content
    page.evaluate(
        f"location.hash = '#/pictures/{job['images'][1]['id']}'"
    )  # of what job is not said
    expect(page.get_by_text(str(job["images"][1]["seed"]), exact=True).first).to_be_visible()
    for gone in (f"img_{'0' * 32}", f"img_{'0' * 32}/job_{'0' * 32}"):
        page.evaluate(f"location.hash = '#/pictures/{gone}'")
        expect(page.get_by_text("This picture is no longer there")).to_be_visible()


@pytest.mark.long
def test_a_link_that_is_copied_needs_no_key_and_another_key_sees_nothing(
    watched, guarded, redis, made, guarded_work
):
    know_models(redis)
    watched.expected.add("401")
    page, token = watched.page, made()
    body = {"prompt": "a cat"}
    httpx2.post(f"{guarded.url}/api/v1/jobs", json=body, headers=bearer(token)).raise_for_status()
    guarded_work.all()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{guarded.url}/#/pictures")
    give_key(page, token)
    page.locator(".tile a").click()
    expect(page.locator(".developed img")).to_have_js_property("naturalWidth", 8)
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_text("Copied. Whoever has this link")).to_be_visible()
    copied = httpx2.get(page.evaluate("navigator.clipboard.readText()"))
    assert (copied.status_code, copied.headers["content-type"]) == (200, "image/png")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Forget the key").click()
    give_key(page, made("another"))
    expect(page.get_by_text("No pictures yet")).to_be_visible()


def give_key(page: Page, token: Token) -> None:
    page.get_by_label("API key").fill(token.reveal())
    page.keyboard.press("Enter")


@pytest.mark.long
def test_a_service_that_is_lost_is_told_and_the_list_comes_by_itself(watched, served, made_of):
    watched.expected |= {"ERR_", "net::"}
    page = watched.page
    made_of("a cat")
    with Proxy(lambda: served.url.replace("http", "redis")) as proxy:
        link = proxy.link("page")
        page.goto(f"http://127.0.0.1:{link.port}/#/pictures")
        shows(page, "a cat")
        link.cut()
        page.get_by_label("Words of the prompt").fill("cat")
        expect(page.get_by_role("button", name="Try again")).to_be_visible()
        link.mend()
        shows(page, "a cat")


@pytest.mark.long
@pytest.mark.parametrize("width", [360, 768, 1440])
def test_nothing_reaches_over_the_edge(page, served, made_of, width):
    made_of("word " * 100 + "w" * 200, num_images=4)
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(f"{served.url}/#/pictures")
    expect(page.locator(".tile img")).to_have_count(4)
    assert over(page, width) == []
    page.locator(".tile a").first.click()
    expect(page.get_by_role("button", name="Vary")).to_be_visible()
    assert over(page, width) == []


def over(page: Page, width: int) -> list[str]:
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    return page.evaluate(
        "[...document.querySelectorAll('button, input, select, p, dd, img, h2')].filter(each => "
        "each.getBoundingClientRect().right > innerWidth).map(each => each.outerHTML)"
    )
