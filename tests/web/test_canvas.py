"""The picture that a job begins with, as a browser takes it: its settings, mask and frame. A real
service in a thread; no worker takes the jobs."""

import base64
import io
import json
import re

import httpx2
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import Locator, Page, expect

from tests.service.conftest import knows, picture
from tests.web.test_accessible import AXE, faults

DROP = """(file) => {
  const data = new DataTransfer();
  const bytes = Uint8Array.from(atob(file.content), (each) => each.charCodeAt(0));
  data.items.add(new File([bytes], file.name, { type: file.type }));
  const event = { bubbles: true, cancelable: true, dataTransfer: data };
  const over = new DragEvent("dragover", event);
  document.querySelector(".sheet").dispatchEvent(over);
  if (!over.defaultPrevented) throw new Error("nothing may be dropped here");
  document.querySelector(".sheet").dispatchEvent(new DragEvent("drop", event));
}"""
PASTE = """(file) => {
  const data = new DataTransfer();
  const bytes = Uint8Array.from(atob(file.content), (each) => each.charCodeAt(0));
  data.items.add(new File([bytes], file.name, { type: file.type }));
  const event = { bubbles: true, cancelable: true, clipboardData: data };
  document.querySelector("#field-prompt").dispatchEvent(new ClipboardEvent("paste", event));
}"""

A1111 = "a lighthouse\nNegative prompt: fog\nSteps: 12, Sampler: Euler, CFG scale: 5, Seed: 77"
LOSE_MASK = """sessionStorage["darkroom.wish"] = JSON.stringify({
  ...JSON.parse(sessionStorage["darkroom.wish"]), mask_image: "file_" + "0".repeat(64),
})"""


@pytest.fixture
def make(page: Page, served, here, redis) -> Page:  # noqa: ARG001
    """The view Make, of a model that does all with pictures."""
    knows(redis, "pix", "text-to-image", "image-to-image", "inpaint")
    page.goto(served.url)
    expect(page.locator("#generate")).to_be_enabled()
    return page


def given(page: Page, how: str, content: bytes, media_type: str = "image/png") -> None:
    file = {"name": "own", "type": media_type, "content": base64.b64encode(content).decode()}
    page.evaluate(how, file)


def pick(page: Page, size: tuple[int, int] = (96, 64)) -> None:
    own = {"name": "own.png", "mimeType": "image/png", "buffer": picture("png", size)}
    page.locator("#field-image").set_input_files(own)
    expect(place(page)).to_contain_text(f"{size[0]} × {size[1]}")


def place(page: Page) -> Locator:
    return page.locator(".canvas")


def generate(page: Page) -> dict:
    """The request that the service accepted."""
    with page.expect_response("**/api/v1/jobs") as answer:
        page.get_by_role("button", name="Generate").click()
    assert answer.value.ok, answer.value.text()
    return answer.value.json()["request"]


def described(**texts: str) -> bytes:
    """A picture whose file says how it was made."""
    notes = PngInfo()
    for name, text in texts.items():
        notes.add_itxt(name, text)
    file = io.BytesIO()
    Image.new("RGB", (96, 64), "green").save(file, "png", pnginfo=notes)
    return file.getvalue()


def test_a_picture_dropped_anywhere_is_begun_with(make):
    given(make, DROP, picture("png", (96, 64)))
    expect(place(make)).to_contain_text("96 × 64")
    make.get_by_label("Strength", exact=True).fill("0.35")
    request = generate(make)
    assert (request["task"], request["strength"]) == ("image-to-image", 0.35)
    assert request["image"].startswith("file_")
    assert request["width"] > request["height"]
    make.get_by_role("button", name="Take away").click()
    make.get_by_label("Prompt", exact=True).fill("a cat")
    assert generate(make)["task"] == "text-to-image"


def test_settings_of_a_pasted_picture_fill_the_form_when_asked_for(make):
    given(make, PASTE, described(parameters=A1111))
    expect(place(make)).to_contain_text("by A1111 or a program like it: “a lighthouse”")
    expect(make.get_by_label("Prompt", exact=True)).to_have_value("")
    make.get_by_role("button", name="Use its settings").click()
    expect(make.get_by_label("Prompt", exact=True)).to_have_value("a lighthouse")
    expect(place(make)).not_to_contain_text("96 × 64")
    request = generate(make)
    assert (request["task"], request["negative_prompt"]) == ("text-to-image", "fog")
    assert (request["num_inference_steps"], request["seed"]) == (12, 77)


@pytest.mark.long
def test_settings_that_a_darkroom_wrote_are_left_when_they_are_waved_away(make):
    written = json.dumps({"request": {"prompt": "a dog"}, "seed": 3})
    given(make, DROP, described(darkroom=written))
    expect(place(make)).to_contain_text("by a Darkroom: “a dog”")
    make.get_by_role("button", name="Leave them").click()
    expect(place(make)).not_to_contain_text("a dog")
    expect(make.get_by_label("Prompt", exact=True)).to_have_value("")
    assert generate(make)["task"] == "image-to-image"


@pytest.mark.long
def test_what_is_no_picture_is_told_at_the_canvas(watched, make):
    watched.expected |= {"415", "422"}
    given(make, DROP, b"GIF89a", "image/gif")
    wrong = place(make).get_by_role("alert")
    expect(wrong).to_be_visible()
    pick(make)
    expect(wrong).to_have_count(0)


@pytest.mark.long
def test_a_model_that_begins_with_no_picture_says_so(watched, make, redis):
    watched.expected |= {"415", "422"}
    knows(redis, "pix", "text-to-image")
    make.reload()
    expect(make.locator("#generate")).to_be_enabled()
    expect(make.locator("#field-image")).to_have_count(0)
    given(make, DROP, picture("png"))
    expect(make.get_by_text("This model begins with no picture")).to_be_visible()
    given(make, DROP, b"GIF89a", "image/gif")
    expect(make.locator(".toast.fault")).to_be_visible()
    given(make, DROP, described(parameters=A1111))
    make.get_by_role("button", name="Use its settings").click()
    assert generate(make)["prompt"] == "a lighthouse"


def edit(page: Page) -> Locator:
    """Opens the editor; what is painted on."""
    page.get_by_role("button", name="Mask or extend it").click()
    surface = page.get_by_role("application")
    expect(surface).to_be_visible()
    return surface


def tool(page: Page, name: str) -> None:
    page.get_by_role("dialog").get_by_role("button", name=name, exact=True).click()


def stroke(page: Page, surface: Locator, *points: tuple[float, float]) -> None:
    """With the mouse, along points in shares of the sides."""
    box = surface.bounding_box()
    for n, (x, y) in enumerate(points):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
        if n == 0:
            page.mouse.down()
    page.mouse.up()


def posted(page: Page) -> Image.Image:
    """The mask that is sent when the editor is closed, as the service read it."""
    with page.expect_response("**/api/v1/files?kind=mask") as sent:
        tool(page, "Done")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(place(page)).to_contain_text("masked")
    [name] = re.findall(r"file_\w+", sent.value.text())[:1]
    content = httpx2.get(f"{page.url.rstrip('/')}/api/v1/files/{name}/content").content
    return Image.open(io.BytesIO(content))


def at(mask: Image.Image, x: float, y: float) -> int:
    return mask.getpixel((int(x * (mask.width - 1)), int(y * (mask.height - 1))))


def white(mask: Image.Image) -> float:
    """The share of it."""
    return sum(mask.histogram()[128:]) / (mask.width * mask.height)


def test_a_posted_mask_is_white_where_it_was_painted(make):
    pick(make)
    surface = edit(make)
    stroke(make, surface, (0.1, 0.1), (0.5, 0.1), (0.5, 0.3))
    tool(make, "Eraser")
    stroke(make, surface, (0.1, 0.1))
    tool(make, "Brush")
    stroke(make, surface, (0.9, 0.9))
    tool(make, "Undo")
    mask = posted(make)
    assert mask.size == (1024, 683)
    painted, left = [(0.3, 0.1), (0.5, 0.1), (0.5, 0.28)], [(0.1, 0.1), (0.9, 0.9), (0.9, 0.1)]
    assert [at(mask, *each) for each in (*painted, *left, (0.1, 0.9))] == [255] * 3 + [0] * 4
    assert 0.05 < white(mask) < 0.15
    assert generate(make)["task"] == "inpaint"


@pytest.mark.long
def test_a_mask_is_found_again_inverted_and_cleared(make):
    pick(make)
    stroke(make, edit(make), (0.2, 0.2), (0.4, 0.2))
    mask = posted(make)
    make.reload()
    edit(make)
    tool(make, "Invert")
    inverted = posted(make)
    assert white(inverted) == pytest.approx(1 - white(mask), abs=0.01)
    assert [at(inverted, *each) for each in ((0.2, 0.2), (0.4, 0.2), (0.8, 0.8))] == [0, 0, 255]
    edit(make)
    tool(make, "Clear")
    tool(make, "Done")
    expect(place(make)).not_to_contain_text("masked")


def test_a_picture_is_continued_by_dragging_an_edge_of_its_frame(make):
    pick(make)
    edit(make)
    tool(make, "Extend")
    edge = make.get_by_role("slider", name="New canvas: left")
    box, frame = edge.bounding_box(), make.locator(".frame-edge").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    make.mouse.move(x, y)
    make.mouse.down()
    make.mouse.move(x - frame["width"] * 40 / 96, y, steps=4)
    make.mouse.up()
    expect(edge).to_have_attribute("aria-valuenow", "40")
    make.get_by_role("slider", name="New canvas: bottom").press("ArrowDown")
    expect(make.locator(".frame-size")).to_have_text("136 × 72")
    make.keyboard.press("Escape")
    expect(place(make)).to_contain_text("extended")
    request = generate(make)
    assert (request["task"], request["width"], request["height"]) == ("inpaint", 136, 72)
    assert request["padding"] == {"left": 40, "top": 0, "right": 0, "bottom": 8}


@pytest.mark.long
def test_a_mask_is_painted_by_keyboard(make):
    pick(make)
    surface = edit(make)
    surface.focus()
    for key in ("ArrowLeft",) * 3 + ("]",) * 2:
        make.keyboard.press(key)
    make.keyboard.down("Space")
    for _ in range(4):
        make.keyboard.press("Shift+ArrowUp")
    make.keyboard.up("Space")
    make.keyboard.press("Shift+ArrowRight")
    make.keyboard.press("Space")
    make.keyboard.press("Control+z")
    mask = posted(make)
    assert [at(mask, x, y) for x, y in ((0.4, 0.7), (0.4, 0.1), (0.8, 0.1))] == [255, 255, 0]


@pytest.mark.long
def test_a_finger_paints_and_does_not_scroll(browser, served, here, redis):  # noqa: ARG001
    knows(redis, "pix", "text-to-image", "image-to-image", "inpaint")
    context = browser.new_context(
        viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    page.goto(served.url)
    pick(page)
    surface = edit(page)
    box = surface.bounding_box()
    touch = context.new_cdp_session(page)

    def finger(kind: str, *points: tuple[float, float]) -> None:
        where = [
            {"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]} for x, y in points
        ]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": where})

    finger("touchStart", (0.2, 0.2))
    for y in (0.3, 0.5, 0.7, 0.8):
        finger("touchMove", (0.2, y))
    finger("touchEnd")
    mask = posted(page)
    assert [at(mask, x, y) for x, y in ((0.2, 0.2), (0.2, 0.75), (0.7, 0.5))] == [255, 255, 0]
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    context.close()


@pytest.mark.long
def test_a_mask_that_cannot_be_sent_is_not_lost(watched, make):
    watched.expected |= {"ERR_", "net::"}
    pick(make)
    surface = edit(make)
    stroke(make, surface, (0.2, 0.2))
    make.route("**/files?kind=mask", lambda route: route.abort())
    tool(make, "Done")
    told = make.get_by_role("dialog").get_by_role("alert")
    expect(told).to_contain_text("Darkroom does not answer.")
    make.unroute("**/files?kind=mask")
    stroke(make, surface, (0.8, 0.8))
    expect(told).to_have_count(0)
    mask = posted(make)
    assert [at(mask, x, x) for x in (0.2, 0.5, 0.8)] == [255, 0, 255]


@pytest.mark.long
def test_what_is_wrong_with_a_mask_is_told_at_the_canvas(watched, make):
    watched.expected |= {"404", "422"}
    pick(make)
    make.evaluate(LOSE_MASK)
    make.reload()
    expect(place(make)).to_contain_text("masked")
    make.get_by_role("button", name="Generate").click()
    opener = make.locator("#field-mask_image")
    expect(opener).to_be_focused()
    expect(opener).to_have_attribute("aria-invalid", "true")
    expect(make.locator("#canvas-told")).to_have_class("wrong")
    opener.click()
    expect(make.get_by_role("dialog").get_by_role("alert")).to_be_visible()


@pytest.mark.long
def test_what_is_edited_is_the_picture_of_the_canvas_and_more(make, redis):
    knows(redis, "other", "text-to-image", "edit", pipeline="Flux2Pipeline")
    make.reload()
    make.get_by_label("Model").select_option("other")
    pick(make)
    make.get_by_label("Prompt", exact=True).fill("make it blue")
    more = make.locator("summary", has_text="More pictures to edit")
    more.click()
    own = {"name": "own.png", "mimeType": "image/png", "buffer": picture("png", (40, 40))}
    make.locator("#field-images-0").set_input_files(own)
    expect(make.locator("#field-images-1")).to_be_attached()
    request = generate(make)
    assert (request["task"], len(request["images"])) == ("edit", 2)
    make.get_by_role("button", name="Take away: Picture to begin with").click()
    expect(more).to_have_count(0)
    assert generate(make)["task"] == "text-to-image"


@pytest.mark.long
def test_boxes_are_drawn_and_say_what_is_in_them(make, redis):
    knows(redis, "other", "text-to-image", "layout-to-image")
    make.reload()
    make.get_by_label("Model").select_option("other")
    make.get_by_label("Prompt", exact=True).fill("a table")
    make.get_by_role("button", name="Draw what shall be where").click()
    stroke(make, make.locator(".paper"), (0.1, 0.2), (0.5, 0.6))
    first = make.get_by_label("1", exact=True)
    expect(first).to_be_focused()
    first.fill("a cat")
    make.get_by_role("button", name="Add a box").click()
    make.get_by_label("2", exact=True).fill("a cup")
    box = make.get_by_role("button", name="Box 2: a cup")
    box.press("ArrowRight")
    box.press("Shift+ArrowDown")
    tool(make, "Done")
    expect(place(make)).to_contain_text("a cat, a cup")
    request = generate(make)
    assert request["task"] == "layout-to-image"
    assert [each["phrase"] for each in request["regions"]] == ["a cat", "a cup"]
    assert request["regions"][0]["box"] == pytest.approx([0.1, 0.2, 0.5, 0.6], abs=0.01)
    assert request["regions"][1]["box"] == [0.27, 0.25, 0.77, 0.77]


@pytest.mark.long
@pytest.mark.parametrize(("scheme", "width"), [("dark", 360), ("light", 1280)])
def test_axe_finds_nothing_serious_on_the_canvas(make, redis, scheme, width):
    if not AXE.exists():
        pytest.skip("axe-core is not installed: npm ci --prefix tests/web/node")
    knows(redis, "other", "text-to-image", "layout-to-image")
    make.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    make.set_viewport_size({"width": width, "height": 740})
    make.reload()
    expect(make.locator("#generate")).to_be_enabled()
    given(make, DROP, described(parameters=A1111))
    expect(make.get_by_role("button", name="Use its settings")).to_be_visible()
    assert faults(make) == []
    stroke(make, edit(make), (0.2, 0.2))
    assert faults(make) == []
    tool(make, "Extend")
    assert faults(make) == []
    tool(make, "Done")
    make.get_by_role("button", name="Take away").click()
    make.get_by_label("Model").select_option("other")
    make.get_by_role("button", name="Draw what shall be where").click()
    make.get_by_role("button", name="Add a box").click()
    assert faults(make) == []
    assert make.evaluate("document.documentElement.scrollWidth") <= width
