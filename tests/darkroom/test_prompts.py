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
        ({"prompt": ""}, SD, "shall show, or give controls or reference_images."),
        ({"prompt": " \n"}, SD, "shall show, or give controls"),
        ({"prompt": "", "controls": []}, SD, "shall show, or give controls"),
        ({"prompt": "()"}, SD, "shall show"),
        ({"prompt": "BREAK"}, SD, "shall show"),
        ({"prompt": "<lora:ink:1>"}, SD, "Without its tags it is empty. Say what"),
        ({"prompt": ""}, BARE, "Say what the picture shall show."),
        ({"task": "text-to-image"}, BARE, "Say what the picture shall show."),
        ({"prompt": "", "regions": [BOX]}, GLIGEN, "Say what the picture shall show."),
    ],
)
def test_where_nothing_leads_it_is_said_what_is_missing(body, terms, told):
    [(pointer, detail)] = wrong(body, terms).items()
    assert pointer == "/prompt"
    assert told in detail


def test_models_without_need_of_words_are_left_alone():
    assert parse({"image": FILE}, SD_UPSCALER).values["prompt"] == ""
    assert "prompt" not in parse({}, LDM).values
