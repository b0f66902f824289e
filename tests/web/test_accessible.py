"""That axe-core finds no serious fault on any view of the page."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

AXE = Path(__file__).parent / "node/node_modules/axe-core/axe.min.js"


def faults(page: Page) -> list[str]:
    """What axe-core finds of serious and critical faults."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run()")["violations"]
    return [
        f"{each['id']}: {[node['html'] for node in each['nodes']]}"
        for each in found
        if each["impact"] in ("serious", "critical")
    ]


@pytest.fixture
def make(page: Page, up: str) -> Page:
    if not AXE.exists():
        pytest.skip("axe-core is not installed: npm ci --prefix tests/web/node")
    page.goto(up)
    expect(page.locator("#generate")).to_be_enabled()
    return page


@pytest.mark.long
@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_nothing_serious_on_make(make, scheme, width):
    make.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    make.set_viewport_size({"width": width, "height": 900})
    assert faults(make) == []
    for each in make.locator("details").all():
        each.locator("summary").first.click()
    make.get_by_label("Add a control").select_option("canny")
    make.get_by_label("Hires").check()
    assert faults(make) == []
    make.get_by_role("button", name="What it knows").click()
    expect(make.get_by_role("dialog")).to_be_visible()
    assert faults(make) == []
    make.keyboard.press("Escape")
    expect(make.get_by_role("dialog")).to_have_count(0)
    make.get_by_role("button", name="Remove canny").click()
    make.get_by_label("Prompt", exact=True).fill("house")
    make.keyboard.press("Control+Enter")
    expect(make.locator("img[alt^=house]").first).to_be_visible()
    assert faults(make) == []


@pytest.mark.long
@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_nothing_serious_on_pictures(make, up, scheme, width):
    make.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    make.set_viewport_size({"width": width, "height": 900})
    make.get_by_label("Prompt", exact=True).fill("house")
    make.keyboard.press("Control+Enter")
    expect(make.locator("img[alt^=house]").first).to_be_visible()
    make.goto(f"{up}/#/pictures")
    tile = make.get_by_role("link", name="house").first
    tile.hover()
    assert faults(make) == []
    tile.click()
    make.get_by_role("button", name="Upscale").click()
    expect(make.get_by_text("It is on its way")).to_be_visible()
    assert faults(make) == []
    make.get_by_role("button", name="Delete").click()
    expect(make.get_by_role("dialog")).to_be_visible()
    assert faults(make) == []
    make.keyboard.press("Escape")
    make.keyboard.press("Escape")
    make.locator(".tile", has_text="emoji-upscale").get_by_role("link").first.click()
    expect(make.locator("img.before")).to_be_visible()
    assert faults(make) == []


@pytest.mark.long
@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_nothing_serious_on_the_operators_view(make, up, scheme, width):
    make.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    make.set_viewport_size({"width": width, "height": 900})
    make.goto(f"{up}/#/operator")
    jobs = make.get_by_role("region", name="Jobs")
    make.request.post(f"{up}/api/v1/jobs", data={"prompt": "house", "num_inference_steps": 100})
    expect(jobs.get_by_role("button", name="Cancel").first).to_be_visible()
    assert make.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert faults(make) == []
    jobs.get_by_role("button", name="Cancel").first.click()
    make.get_by_role("button", name="Examine").click()
    expect(make.get_by_role("article", name="Fine")).to_be_visible(timeout=90_000)
    assert faults(make) == []
    make.get_by_role("button", name="Drain").click()
    expect(make.get_by_role("dialog")).to_be_visible()
    assert faults(make) == []
