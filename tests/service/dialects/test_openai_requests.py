"""Bodies of the OpenAI Images API as native ones; routes/test_openai.py sends them."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.catalog import Catalog
from darkroom.errors import InvalidRequestError, MalformedRequestError
from darkroom.offers import ModelRecord, offer
from service.dialects.openai_requests import (
    Pictures,
    asked_of,
    edit,
    from_form,
    from_json,
    generation,
    told_of_pictures,
    variation,
)
from service.forms import Part

CATALOG = Catalog.parse(
    '[[models]]\nname = "pix"\nsource = "x"\nquality = { low = 3 }\nlimits = { max_steps = 40 }',
    Path("models.toml"),
)


def offering(*tasks):
    record = ModelRecord(name="pix", tasks=tasks, schedulers=("DDIMScheduler",))
    return offer(CATALOG, CATALOG.cards["pix"], record)


ANY = offering("text-to-image", "image-to-image", "inpaint")


def test_as_little_as_may_be_becomes_as_little():
    assert generation(asked_of({"prompt": "a"}, needs_prompt=True), ANY) == {
        "task": "text-to-image",
        "prompt": "a",
        "num_images": 1,
        "output": {"format": "png"},
    }


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ({"size": "512x256"}, {"width": 512, "height": 256}),
        ({"n": "3"}, {"num_images": 3}),
        ({"quality": "low"}, {"num_inference_steps": 3}),
        ({"quality": "max"}, {"num_inference_steps": 40}),
        ({"output_format": "jpeg"}, {"output": {"format": "jpeg"}}),
        ({"output_compression": 0}, {"output": {"format": "png", "quality": 1}}),
        ({"seed": "9", "guidance_scale": "2.5"}, {"seed": 9, "guidance_scale": 2.5}),
    ],
)
def test_what_fields_mean(said, means):
    body = generation(asked_of({"prompt": "a"} | said, needs_prompt=True), ANY)
    assert means.items() <= body.items()


@pytest.mark.parametrize("nothing", [None, ""])
@pytest.mark.parametrize("name", ["size", "quality", "seed", "n", "model", "response_format"])
def test_null_and_empty_are_left_out(name, nothing):
    plain = {"prompt": "a"}
    assert asked_of(plain | {name: nothing}, needs_prompt=True) == asked_of(
        plain, needs_prompt=True
    )


def test_an_empty_prompt_is_one():
    assert asked_of({"prompt": ""}, needs_prompt=True).prompt == ""
    with pytest.raises(InvalidRequestError):
        asked_of({"prompt": None}, needs_prompt=True)
    assert asked_of({}, needs_prompt=False).prompt is None


@given(
    st.dictionaries(
        st.sampled_from(["n", "size", "quality", "seed", "stream", "loras", "prompt", "x"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()),
    )
)
def test_whatever_is_sent_is_taken_or_refused(fields):
    with suppress(InvalidRequestError):
        assert 1 <= asked_of(fields, needs_prompt=True).n <= 10


@pytest.mark.parametrize(
    ("tasks", "mask", "expected"),
    [
        (("edit", "inpaint"), None, {"task": "edit", "images": ["a"]}),
        (("edit",), "m", {"task": "edit", "images": ["a"], "mask_image": "m"}),
        (("inpaint",), "m", {"task": "inpaint", "image": "a", "mask_image": "m"}),
        (("inpaint",), None, {"task": "image-to-image", "image": "a"}),
    ],
)
def test_by_which_task_an_edit_is_made(tasks, mask, expected):
    body, told = edit(
        asked_of({"prompt": "p"}, needs_prompt=True), offering(*tasks), Pictures(("a",), mask)
    )
    assert expected.items() <= body.items()
    assert bool(told) is ("edit" not in tasks)


def test_a_variation_needs_no_prompt():
    body = variation(asked_of({}, needs_prompt=False), ANY, Pictures(("a",)))
    assert (body["task"], body["image"], "prompt" in body) == ("image-to-image", "a", False)


@pytest.mark.parametrize(
    ("body", "images", "mask"),
    [
        ({"images": [{"image_url": "u"}, {"file_id": "f"}]}, ("u", "f"), None),
        ({"images": [{"image_url": {"url": "u"}}], "mask": {"file_id": "m"}}, ("u",), "m"),
        ({"image": "u", "mask": "m"}, ("u",), "m"),
        ({"image": ["u", "v"]}, ("u", "v"), None),
    ],
)
def test_pictures_in_json(body, images, mask):
    assert from_json(body) == Pictures(images, mask)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/images"),
        ({"images": []}, "/images"),
        ({"images": [{"image_url": "u"}, 1]}, "/images/1"),
        ({"images": [{}]}, "/images/0"),
        ({"image": "u", "mask": {"image_url": 1}}, "/mask"),
        ({"images": ["u"] * 17}, "/images"),
    ],
)
def test_what_is_no_picture_in_json_is_named(body, pointer):
    with pytest.raises(InvalidRequestError) as caught:
        from_json(body)
    assert [each.pointer for each in caught.value.errors] == [pointer]


def test_a_form():
    fields, pictures = from_form(
        [
            Part("image[]", b"1", is_file=True),
            Part("image[1]", b"img_x", is_file=False),
            Part("mask", b"2", is_file=True),
            Part("prompt", b"p", is_file=False),
            Part("loras", b'[{"name": "ink"}]', is_file=False),
        ]
    )
    assert pictures == Pictures(("MQ==", "img_x"), "Mg==")
    assert fields == {"prompt": "p", "loras": [{"name": "ink"}]}
    with pytest.raises(MalformedRequestError, match="'loras' is no JSON"):
        from_form([Part("loras", b"{", is_file=False)])


@pytest.mark.parametrize("name", ["prompt", "size", "mask"])
def test_a_field_that_stands_twice_in_a_form_is_refused(name):
    twice = [Part(name, each, is_file=name == "mask") for each in (b"1", b"2")]
    with pytest.raises(InvalidRequestError) as caught:
        from_form([Part("image", b"1", is_file=True), *twice])
    assert [(each.pointer, each.code) for each in caught.value.errors] == [
        (f"/{name}", "duplicate")
    ]
    unknown = [Part("tag", each, is_file=False) for each in (b"a", b"b")]
    assert from_form([Part("image", b"1", is_file=True), *unknown])[1] == Pictures(("MQ==",))


@pytest.mark.parametrize(
    ("fields", "named"),
    [({}, ""), ({"image": None, "mask": ""}, ""), ({"images": ["u"], "mask": "m"}, "images, mask")],
)
def test_pictures_for_a_generation_are_told_of(fields, named):
    told = told_of_pictures(fields)
    assert bool(told) is bool(named)
    assert named in "".join(told)
