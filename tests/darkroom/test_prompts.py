"""Blank prompts are empty, and a picture can lead in place of words."""

import pytest

from darkroom.prompts import is_blank
from darkroom.validation import completed, parse
from tests.offers import BARE, BOX, CONTROL, FILE, GLIGEN, LDM, SD, SD_UPSCALER, wrong

BLANKS = ["", " ", "\n\t \n", "\u00a0\u2003\u3000", "\u200b\ufeff\u2060", "\u2800", "\u3164\ufe0f"]


@pytest.mark.parametrize("text", BLANKS)
def test_of_a_blank_prompt_nothing_is_to_be_seen(text):
    assert is_blank(text)
    body = {"prompt": text, "negative_prompt": text, "image": FILE}
    values = parse(body, SD).values
    assert values["prompt"] == values["negative_prompt"] == ""


@pytest.mark.parametrize("text", [".", "a", "\u200ba", "\0", "\x1f", "é", "🍎", 5, None])
def test_what_is_not_blank(text):
    assert not is_blank(text)


@pytest.mark.parametrize(
    "leader",
    [
        {"image": FILE},
        {"image": FILE, "mask_image": FILE},
        {"controls": [CONTROL]},
        {"reference_images": [FILE]},
    ],
)
@pytest.mark.parametrize("prompt", [{}, {"prompt": ""}, {"prompt": " \u200b"}, {"prompt": "()"}])
def test_a_picture_leads_where_words_do_not(leader, prompt):
    request = completed(parse(leader | prompt, SD), SD, (32, 32))
    assert request.prompt == ("()" if prompt == {"prompt": "()"} else "")


@pytest.mark.parametrize(
    ("body", "terms", "told"),
    [
        ({"task": "text-to-image"}, SD, "or reference_images, or image for image-to-image."),
        (
            {"task": "text-to-image", "controls": []},
            SD,
            "in prompt what the picture shall show, or give controls",
        ),
        ({"task": "text-to-image"}, BARE, "Say in prompt what the picture shall show"),
        ({"prompt": "", "regions": [BOX]}, GLIGEN, "Say in prompt what the picture shall show"),
        ({"prompt": " \n", "regions": [BOX]}, GLIGEN, "Say in prompt what the picture shall show"),
        ({"regions": [BOX]}, GLIGEN, "Say in prompt what the picture shall show"),
    ],
)
def test_where_nothing_leads_it_is_said_what_is_missing(body, terms, told):
    [(pointer, detail)] = wrong(body, terms).items()
    assert pointer == "/prompt"
    assert told in detail


@pytest.mark.parametrize("prompt", [*BLANKS, "()", "BREAK", "<lora:ink:1>"])
@pytest.mark.parametrize("terms", [SD, BARE])
def test_an_empty_prompt_that_is_given_is_done_and_told(prompt, terms):
    draft = parse({"prompt": prompt}, terms)
    assert any("prompt: it is empty" in each for each in draft.warnings)
    assert completed(draft, terms, None).prompt in ("", "()", "BREAK")


def test_nothing_is_told_of_an_empty_prompt_where_a_picture_leads():
    assert parse({"prompt": "", "controls": [CONTROL]}, SD).warnings == ()
    assert parse({"prompt": "", "image": FILE}, SD).warnings == ()


def test_models_without_need_of_words_are_left_alone():
    assert parse({"image": FILE}, SD_UPSCALER).values["prompt"] == ""
    assert "prompt" not in parse({}, LDM).values
