"""The picture that a job begins with, as a browser takes it: its settings, mask and frame. A real
service in a thread; no worker takes the jobs."""

import base64
import io
import json

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import Page, expect

from tests.service.conftest import knows, picture

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


def place(page: Page):
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
    text = "a lighthouse\nNegative prompt: fog\nSteps: 12, Sampler: Euler, CFG scale: 5, Seed: 77"
    given(make, PASTE, described(parameters=text))
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


def test_what_is_no_picture_is_told_at_the_canvas(watched, make):
    watched.expected |= {"415", "422"}
    given(make, DROP, b"GIF89a", "image/gif")
    wrong = place(make).get_by_role("alert")
    expect(wrong).to_be_visible()
    pick(make)
    expect(wrong).to_have_count(0)
