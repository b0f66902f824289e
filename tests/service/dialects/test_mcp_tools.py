"""Tools: what they take, and what becomes of it."""

import pytest
from jsonschema import Draft202012Validator

from darkroom.errors import InvalidRequestError
from service.dialects.mcp_tools import LONGEST_WAIT_S, TOOLS, known, native_of, pick, wait_of
from tests.service.dialects.test_openai_requests import offering

EDIT, UPSCALE, GENERATE = (
    TOOLS[name] for name in ("edit_image", "upscale_image", "generate_image")
)
IMAGE, FILE = f"img_{'0' * 32}", f"file_{'0' * 64}"


def own(text):
    return text.removeprefix("http://here")


@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)
def test_what_a_tool_says_of_itself_is_a_schema(tool):
    schema = tool.told["inputSchema"]
    Draft202012Validator.check_schema(schema)
    assert set(tool.required) <= set(schema["properties"])
    assert all("description" in each for each in schema["properties"].values())


def test_arguments_that_count():
    given, told = known(GENERATE, {"prompt": "a", "seed": None, "steps": 3, "cfg": 1})
    assert given == {"prompt": "a"}
    assert told == ["Arguments that generate_image does not have are ignored: cfg, steps."]
    with pytest.raises(InvalidRequestError) as error:
        known(EDIT, {"prompt": None})
    assert [each.pointer for each in error.value.errors] == ["/prompt", "/images"]


def test_how_long_to_wait():
    assert [wait_of({}), wait_of({"wait_s": 0}), wait_of({"wait_s": 2.5})] == [50, 0, 2.5]
    assert wait_of({"wait_s": 10**400}) == LONGEST_WAIT_S
    for wrong in ("1", True, -1, float("nan"), []):
        with pytest.raises(InvalidRequestError):
            wait_of({"wait_s": wrong})


@pytest.mark.parametrize(
    ("name", "means"),
    [
        (f"darkroom://images/{IMAGE}", IMAGE),
        (f"darkroom://images/{IMAGE}?w=64", IMAGE),
        (f"http://here/api/v1/images/{IMAGE}?key=1&signature=2", IMAGE),
        (f"darkroom://files/{FILE}", FILE),
        (FILE, FILE),
        ("https://there/api/v1/images/x?y", "https://there/api/v1/images/x?y"),
    ],
)
def test_names_of_pictures(name, means):
    body, _ = native_of(UPSCALE, {"image": name}, offering("upscale"), own)
    assert body == {"task": "upscale", "image": means}


def test_the_body_of_each_tool():
    asked = {"prompt": "a", "seed": 1, "wait_s": 0}
    assert native_of(GENERATE, asked, offering("text-to-image"), own) == (
        {"task": "text-to-image", "prompt": "a", "seed": 1},
        [],
    )
    pictures = {"images": "x", "mask_image": "http://here/y"}
    body, [told] = native_of(EDIT, asked | pictures, offering("inpaint"), own)
    assert body == {
        "task": "inpaint",
        "prompt": "a",
        "seed": 1,
        "image": "x",
        "mask_image": "/y",
    }
    assert "does not follow instructions" in told


@pytest.mark.parametrize("images", [[], ["x"] * 17, [7], {"a": "b"}, 7])
def test_pictures_that_are_none(images):
    with pytest.raises(InvalidRequestError):
        native_of(EDIT, {"prompt": "a", "images": images}, offering("edit"), own)


def test_which_model_does_what_a_tool_is_for():
    first, second = offering("image-to-image"), offering("image-to-image", "edit")
    assert pick(EDIT, [first, second]) is second
    assert pick(UPSCALE, [first, second]) is None
