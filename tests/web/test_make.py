"""Making pictures in a browser, from the first look on, against a real `darkroom up`."""

import re

import httpx2
import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.service.conftest import picture
from tests.waiting import until


@pytest.fixture
def make(page: Page, up: str) -> Page:
    """The view Make, ready."""
    page.goto(up)
    expect(page.locator("#generate")).to_be_enabled()
    return page


def generate(page: Page, prompt: str) -> None:
    """Until the service has answered; what it accepted is then shown first."""
    page.get_by_label("Prompt", exact=True).fill(prompt)
    with page.expect_response(lambda answer: answer.request.method == "POST"):
        page.keyboard.press("Control+Enter")
    expect(page.locator("#generate")).to_be_enabled()


def newest(page: Page) -> Locator:
    return page.locator(".card").first


def fold(page: Page, title: str) -> Locator:
    """The fold, opened."""
    found = page.locator("details", has=page.locator("summary", has_text=title)).first
    found.locator("summary").click()
    return found


def last_job(up: str) -> dict:
    return httpx2.get(f"{up}/api/v1/jobs?limit=1").json()["data"][0]


WATCH = """() => {
  window.seen = { previews: new Set(), ratios: new Set() };
  new MutationObserver(() => {
    const card = document.querySelector(".card");
    const preview = card?.querySelector("[data-preview]");
    const ratio = card?.querySelector("progress");
    if (preview?.src) window.seen.previews.add(preview.src);
    if (ratio) window.seen.ratios.add(ratio.value);
  }).observe(document.body, { subtree: true, childList: true, attributes: true });
}"""
"""Notes all that the first card shows while its job runs, however short that is."""


def test_an_example_becomes_a_picture_that_is_seen_to_come(make, up):
    make.get_by_role("button", name="a red apple").click()
    fold(make, "Steps").get_by_label("Steps", exact=True).fill("150")
    make.evaluate(WATCH)
    make.get_by_role("button", name="Generate").click()
    card = newest(make)
    expect(card.locator("img[alt^='a red apple']")).to_be_visible()
    seen = make.evaluate("Object.fromEntries(Object.entries(seen).map(([k, v]) => [k, v.size]))")
    assert seen["previews"] >= 2
    assert seen["ratios"] >= 3
    job = last_job(up)
    assert (job["request"]["prompt"], job["request"]["num_inference_steps"]) == ("a red apple", 150)
    drawn = "img => img.complete && img.naturalWidth"
    until(lambda: card.locator("img").evaluate(drawn) == job["images"][0]["width"])


@pytest.mark.long
def test_the_same_seed_makes_the_same_picture(make, up):
    made = []
    for _ in range(2):
        generate(make, "house")
        expect(newest(make).locator("img[alt^=house]")).to_be_visible()
        made.append(last_job(up)["images"][0])
        if len(made) == 1:
            fold(make, "Seed").get_by_role("button", name="Use the last seed").click()
            expect(make.get_by_label("Seed", exact=True)).to_have_value(str(made[0]["seed"]))
        expect(make.locator(".card.queued, .card.running")).to_have_count(0)
    assert made[0]["id"] != made[1]["id"]
    assert made[0]["sha256"] == made[1]["sha256"]


@pytest.mark.long
def test_several_pictures_of_another_shape_and_what_was_set_is_used_again(make, up):
    make.get_by_role("button", name="3:2").click()
    make.get_by_role("button", name="One picture more").click()
    steps = fold(make, "Steps")
    steps.get_by_label("Scheduler").select_option("Euler a")
    steps.get_by_label("Steps", exact=True).fill("5")
    generate(make, "a cat")
    expect(newest(make).locator("img[alt^='a cat']")).to_have_count(2)
    request = last_job(up)["request"]
    assert (request["width"], request["height"], request["num_images"]) == (80, 56, 2)
    assert request["scheduler"] == "EulerAncestralDiscreteScheduler"
    make.reload()
    make.evaluate("sessionStorage.clear()")
    make.reload()
    expect(make.get_by_label("Prompt", exact=True)).to_have_value("")
    newest(make).get_by_role("button", name="Use all settings").click()
    expect(make.get_by_label("Prompt", exact=True)).to_have_value("a cat")
    expect(make.get_by_label("Width", exact=True)).to_have_value("80")
    expect(make.get_by_label("Pictures", exact=True)).to_have_value("2")
    expect(make.locator("summary", has_text="Steps")).to_contain_text("Scheduler Euler a")
    make.keyboard.press("Control+Enter")
    until(lambda: last_job(up)["request"] == request)
    expect(make.locator(".card.queued, .card.running")).to_have_count(0)


def test_what_is_refused_is_marked_where_it_is_wrong(watched, make):
    watched.expected.add("422")
    steps = fold(make, "Steps")
    steps.get_by_label("Steps", exact=True).fill("9999")
    steps.locator("summary").click()
    generate(make, "a cat")
    field = make.get_by_label("Steps", exact=True)
    expect(field).to_be_focused()
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(make.locator("#field-num_inference_steps-wrong")).to_contain_text("at most 150")
    field.fill("7")
    expect(field).to_be_visible()
    expect(field).not_to_have_attribute("aria-invalid", "true")


def test_a_picture_that_is_needed_is_asked_for_at_its_place(watched, make):
    watched.expected.add("422")
    make.get_by_label("Model").select_option("emoji-upscale")
    expect(make.get_by_text("It makes pictures larger")).to_be_visible()
    make.get_by_role("button", name="Generate").click()
    expect(make.locator(".canvas")).to_contain_text("This field is required")
    expect(make.locator("#field-image")).to_be_focused()


@pytest.mark.long
def test_a_picture_of_ones_own_holds_the_result_to_its_edges(make, up):
    control = fold(make, "Control")
    control.get_by_label("Add a control").select_option("canny")
    edges = control.get_by_alt_text("What the model sees")
    drawing = picture("png", (64, 64), (255, 255, 255))
    with make.expect_response("**/api/v1/controls/preprocess") as answer:
        control.locator("input[type=file]").set_input_files(
            {"name": "own.png", "mimeType": "image/png", "buffer": drawing}
        )
    assert answer.value.ok
    expect(edges).to_have_js_property("naturalWidth", 64)
    control.get_by_label("Scale").fill("0.5")
    generate(make, "star")
    [made] = last_job(up)["request"]["controls"]
    assert (made["name"], made["scale"], made["preprocess"]) == ("canny", 0.5, "canny")
    assert made["image"].startswith("file_")
    expect(make.locator(".card.queued, .card.running")).to_have_count(0)


def test_a_field_that_nobody_foresaw_appears_by_itself(page, up):
    def with_one_more(route: Route) -> None:
        answer = route.fetch()
        model = answer.json()
        field = {"type": "integer", "minimum": 0, "maximum": 9, "default": 3}
        new = {"sparkle": field | {"description": "How much it `sparkles`."}}
        model["schemas"]["text-to-image"]["properties"] |= new
        route.fulfill(response=answer, json=model)

    page.route("**/api/v1/models/emoji", with_one_more)
    page.goto(up)
    more = fold(page, "More")
    field = more.get_by_label("Sparkle")
    expect(field).to_have_value("3")
    expect(more).to_contain_text("0 to 9")
    expect(more).to_contain_text("How much it sparkles.")
    field.fill("5")
    expect(more.locator("summary")).to_contain_text("Sparkle 5")
    more.get_by_role("button", name="Sparkle: back to the default, 3").click()
    expect(field).to_have_value("3")


@pytest.mark.parametrize(("least", "most", "step", "side"), [(64, 2048, 8, 1024), (32, 256, 8, 64)])
def test_shapes_are_within_what_a_model_makes(make, least, most, step, side):
    limits = {"min_size": least, "max_size": most, "size_multiple": step}
    limits["max_pixels"] = most * most
    presets = "async ([limits, own]) => (await import(own[0])).presets(limits, own[1])"
    here = make.evaluate("new URL('web/app/make/shapes.js', document.baseURI).href")
    found = make.evaluate(presets, [limits, [here, side * side]])
    assert [each["label"] for each in found] == ["1:1", "4:3", "3:2", "16:9", "3:4", "2:3", "9:16"]
    for each in found:
        across, down = map(int, each["label"].split(":"))
        width, height = each["width"], each["height"]
        assert least <= min(width, height) <= max(width, height) <= most
        assert width % step == height % step == 0
        assert width * height == pytest.approx(side * side, rel=0.12)
        assert width / height == pytest.approx(across / down, rel=0.1)


def test_a_reload_finds_what_runs_and_it_can_be_canceled(make):
    fold(make, "Steps").get_by_label("Steps", exact=True).fill("150")
    make.get_by_label("Pictures", exact=True).fill("8")
    generate(make, "a dog")
    expect(newest(make).locator(".frame")).to_have_count(8)
    make.reload()
    card = newest(make)
    expect(card).to_have_class(re.compile("queued|running"))
    expect(card).to_contain_text("a dog")
    card.get_by_role("button", name="Cancel").click()
    expect(card).to_have_class("card canceled")


def test_a_picture_is_made_by_the_keyboard_alone(page, up):
    page.goto(up)
    expect(page.locator("#generate")).to_be_enabled()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Prompt", exact=True)).to_be_focused()
    page.keyboard.type("a red apple")
    seen = set()
    while not page.locator("#generate").evaluate("each => each === document.activeElement"):
        page.keyboard.press("Tab")
        focused = page.evaluate("document.activeElement.outerHTML")
        assert focused not in seen, "the focus goes round without Generate"
        seen.add(focused)
    assert page.evaluate("document.activeElement.matches(':focus-visible')")
    page.keyboard.press("Enter")
    expect(page.locator(".card").first).to_contain_text("a red apple")
    expect(page.locator(".card.queued, .card.running")).to_have_count(0)


@pytest.mark.long
def test_a_theme_is_chosen_and_kept(make):
    dark = make.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    make.get_by_role("button", name="Theme: system").click()
    make.get_by_role("button", name="Theme: dark").click()
    light = make.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    make.reload()
    again = make.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert light == again
    assert make.evaluate("document.documentElement.dataset.theme") == "light"
    assert dark == light  # Playwright's system is light


@pytest.mark.parametrize(
    "width",
    [360, pytest.param(768, marks=pytest.mark.long), pytest.param(1440, marks=pytest.mark.long)],
)
def test_nothing_reaches_over_the_edge(page, up, width):
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(up)
    expect(page.locator("#generate")).to_be_enabled()
    for each in page.locator("details").all():
        each.locator("summary").first.click()
    page.get_by_label("Prompt", exact=True).fill("word " * 300 + "w" * 200)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    over = page.evaluate(
        "[...document.querySelectorAll('button, input, select, textarea, p')].filter(each => "
        "each.getBoundingClientRect().right > innerWidth).map(each => each.outerHTML)"
    )
    assert over == []
