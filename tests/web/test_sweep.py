"""Two fields against each other, as a browser asks for it and shows it. A real service in a thread;
the test works the jobs."""

import io

import pytest
from PIL import Image
from playwright.sync_api import Page, expect


@pytest.fixture
def sweep(page: Page, served, here, work) -> Page:  # noqa: ARG001
    page.goto(served.url)
    page.get_by_label("Prompt", exact=True).fill("a cat")
    page.get_by_role("link", name="Sweep").click()
    expect(page.get_by_role("heading", name="Sweep")).to_be_visible()
    return page


def values(page: Page, **typed: str) -> None:
    for n, (field, text) in enumerate(typed.items()):
        page.get_by_label(("Down", "Across")[n], exact=True).select_option(field)
        page.locator(f"#sweep-{n}-values").fill(text)


def test_a_sweep_becomes_a_table_that_is_found_again_and_saved(sweep, api, work):
    values(sweep, num_inference_steps="10 to 30 by 5", seed="1 to 21")
    expect(sweep.get_by_text("105 jobs; one sweep has 100 at most")).to_be_visible()
    expect(sweep.locator("#generate")).to_be_disabled()
    values(sweep, num_inference_steps="20, 4 to 6 by 2", seed="7, 8")
    expect(sweep.get_by_text("3 × 2 = 6 jobs")).to_be_visible()
    sweep.keyboard.press("Control+Enter")
    expect(sweep.get_by_text("0 of 6 done")).to_be_visible()
    [batch] = {job["batch_id"] for job in api.get("/api/v1/jobs").json()["data"]}
    grid = api.get(f"/api/v1/batches/{batch}").json()["grid"]
    assert grid == {"num_inference_steps": [20, 4, 6], "seed": [7, 8]}
    for _ in range(6):
        work.finish(work.claim())
    expect(sweep.get_by_text("6 of 6 done")).to_be_visible()
    sweep.reload()
    cell = sweep.get_by_role("row", name="Steps 4").get_by_role("cell").nth(1)
    expect(cell.get_by_role("img")).to_have_js_property("naturalWidth", 8)
    with sweep.expect_download() as download:
        sweep.get_by_role("button", name="Save as one PNG").click()
    saved = Image.open(io.BytesIO(download.value.path().read_bytes())).convert("RGB")
    assert (saved.format, saved.width > 300, len(saved.getcolors(2**20)) > 20) == (None, True, True)
    sweep.get_by_role("link", name="Make", exact=True).first.click()
    sweep.get_by_role("link", name="Its sweep").last.click()
    expect(sweep.get_by_text("6 of 6 done")).to_be_visible()


def test_a_sweep_is_canceled_as_one_and_what_is_no_value_is_told(sweep, api):
    values(sweep, num_inference_steps="4, many", seed="1 to 3")
    expect(sweep.get_by_text("“many” is none of its values")).to_be_visible()
    values(sweep, num_inference_steps="4", seed="1 to 3")
    sweep.get_by_role("button", name="Generate 3").click()
    expect(sweep.locator(".sweep-table .card-state")).to_have_count(3)
    sweep.get_by_role("button", name="Cancel all").click()
    expect(sweep.get_by_text("3 of 3 done")).to_be_visible()
    assert {job["status"] for job in api.get("/api/v1/jobs").json()["data"]} == {"canceled"}
