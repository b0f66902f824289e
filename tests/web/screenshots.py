"""Writes the pictures of docs/page.md: `python -m tests.web.screenshots`.

Starts a `darkroom up` of its own with the demo models and drives Chromium through each view, dark
and light, wide and narrow. A view is a function of `VIEWS`.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from tests.running import ROOT, RunningUp
from tests.web.conftest import CHROMIUM, FLAGS

FOLDER = ROOT / "docs" / "pictures" / "page"
SIZES = {"wide": (1440, 900), "middle": (768, 1024), "narrow": (360, 740)}


def make(page: Page) -> None:
    """Wishes of several shapes, done, and one that runs."""
    wish = page.get_by_label("Prompt", exact=True)
    for prompt, shape, count in (
        ("large rocket on a blue background", "2:3", 1),
        ("smiling face with sunglasses", "1:1", 4),
        ("a red apple", "1:1", 1),
    ):
        if page.locator(".card", has_text=prompt).count():
            continue
        page.get_by_role("button", name=shape).click()
        page.get_by_label("Pictures", exact=True).fill(str(count))
        wish.fill(prompt)
        page.keyboard.press("Control+Enter")
        expect(page.locator(".card.succeeded", has_text=prompt)).to_have_count(1)
    page.get_by_label("Pictures", exact=True).fill("1")
    page.evaluate("scrollTo(0, 0)")


def folds(page: Page) -> None:
    """What is folded away."""
    page.locator("summary", has_text="Seed").click()
    page.locator("summary", has_text="Steps and scheduler").click()
    page.get_by_label("Steps", exact=True).fill("40")
    page.locator("summary", has_text="Steps and scheduler").scroll_into_view_if_needed()


def known(page: Page) -> None:
    """What the demo model knows."""
    page.get_by_role("button", name="What it knows").click()
    expect(page.get_by_role("dialog")).to_be_visible()


def gallery(page: Page) -> None:
    """What was made so far."""
    expect(page.locator(".tile img").last).to_have_js_property("complete", True)
    starred = page.locator(".tile .star[aria-pressed=true]")
    if not starred.count():
        page.locator(".tile .star").nth(2).click()
        expect(starred).not_to_have_count(0)


def large(page: Page) -> None:
    """A picture beside what it began with."""
    upscaled = page.locator(".tile", has_text="emoji-upscale").get_by_role("link")
    expect(page.locator(".tile img").last).to_be_visible()
    if not upscaled.count():
        page.locator(".tile a").first.click()
        page.get_by_role("button", name="Upscale").click()
        page.get_by_role("button", name="Dismiss").click()
        page.keyboard.press("Escape")
    upscaled.first.click()
    expect(page.locator("img.before")).to_have_js_property("complete", True)


def operator(page: Page) -> None:
    """Jobs that run and wait."""
    for prompt, priority in (("house", "normal"), ("a red apple", "high"), ("rocket", "low")):
        body = {"prompt": prompt, "priority": priority, "num_images": 4, "num_inference_steps": 50}
        page.request.post(page.url.partition("#")[0] + "api/v1/jobs", data=body)
    expect(page.get_by_role("region", name="Jobs").get_by_text("step").first).to_be_visible()


def canvas(page: Page) -> None:
    """A picture of one's own, a part of which is masked, on a larger canvas."""
    apple = ROOT / "docs" / "pictures" / "apple.png"
    page.locator("#field-image").set_input_files(apple)
    page.get_by_role("button", name="Mask or extend it").click()
    page.get_by_role("button", name="Extend", exact=True).click()
    edge = page.get_by_role("slider", name="New canvas: right")
    for _ in range(4):
        edge.press("ArrowRight")
    page.get_by_role("button", name="Brush", exact=True).click()
    box = page.get_by_role("application").bounding_box()
    for n, (x, y) in enumerate(((0.25, 0.35), (0.4, 0.25), (0.6, 0.35), (0.75, 0.25))):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=8)
        if n == 0:
            page.mouse.down()
    page.mouse.up()


def sweep(page: Page) -> None:
    """Two fields against each other."""
    page.get_by_label("Prompt", exact=True).fill("smiling face with sunglasses")
    page.locator(".to-sweep").click()
    page.get_by_label("Values of Guidance").fill("1, 3, 7")
    page.get_by_label("Values of Seed").fill("1 to 6")
    page.get_by_role("button", name="Generate 18").click()
    expect(page.get_by_text("18 of 18 done")).to_be_visible(timeout=90_000)
    expect(page.locator(".sweep-table img").last).to_have_js_property("complete", True)


VIEWS: dict[str, tuple[str, Callable[[Page], None]]] = {
    "make": ("", make),
    "folds": ("", folds),
    "known": ("", known),
    "sweep": ("", sweep),
    "gallery": ("#/pictures", gallery),
    "large": ("#/pictures", large),
    "operator": ("#/operator", operator),
    "canvas": ("", canvas),
}
"""By the names of files: the address behind the service's, and what is done there first."""


def main(names: list[str]) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        RunningUp(Path(folder), ROOT / "models.toml") as up,
        sync_playwright() as playwright,
    ):
        url = up.ready()
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for name in names or VIEWS:
            place, prepare = VIEWS[name]
            for theme in ("dark", "light"):
                for size, (width, height) in SIZES.items():
                    page = browser.new_page(
                        viewport={"width": width, "height": height}, color_scheme=theme
                    )
                    page.goto(f"{url}/{place}")
                    expect(page.locator("main")).not_to_be_empty()
                    prepare(page)
                    page.screenshot(path=FOLDER / f"{name}-{theme}-{size}.png")
                    page.close()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
