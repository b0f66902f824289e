"""Tags in prompts become fields of the request, or something is said of them."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.cards import EmbeddingCard, LoraCard
from darkroom.draft import stored
from darkroom.errors import InvalidRequestError
from darkroom.offers import Offer
from darkroom.prompt_tags import take_tags
from darkroom.validation import completed, parse
from tests.offers import BARE, SD, SD_UPSCALER, offered

DOTTED = offered("StableDiffusionPipeline", ("text-to-image",), loras=("Ink.v2-soft", "ink", "Ink"))


def asked(prompt: str, terms: Offer = SD, **fields: Any) -> tuple[str, list[tuple[str, float]]]:
    """The prompt and the LoRAs of the request, of which nothing is said."""
    draft = parse({"prompt": prompt, **fields}, terms)
    assert draft.warnings == ()
    return draft.values["prompt"], _loras(draft.values)


def _loras(values: Any) -> list[tuple[str, float]]:
    return [(each["name"], each["scale"]) for each in values["loras"]]


@pytest.mark.parametrize(
    ("prompt", "rest", "loras"),
    [
        ("a cat <lora:ink:0.8>", "a cat", [("ink", 0.8)]),
        ("<lora:ink> a cat", "a cat", [("ink", 1.0)]),
        ("a <lora:ink:.5> cat<lora:soft:-1>", "a cat", [("ink", 0.5), ("soft", -1.0)]),
        ("a cat, <lora:ink:1>, b", "a cat, , b", [("ink", 1.0)]),
        ("a cat <lora:ink: 0 >", "a cat", [("ink", 0.0)]),
        ("a cat <lora:ink:0.7:0.7>", "a cat", [("ink", 0.7)]),
        ("a cat <lora:ink:te=0.7>", "a cat", [("ink", 0.7)]),
        ("a cat <lora:ink:<lora:ink:1>1>", r"a cat \<lora:ink:1>", [("ink", 1.0)]),
        ("a cat <LoRA:Ink.safetensors:1:>", "a cat", [("ink", 1.0)]),
        ("a cat <lora:styles/ink:1>", "a cat", [("ink", 1.0)]),
        ("a cat <lyco:soft:1>", "a cat", [("soft", 1.0)]),
        ("a (cat <lora:ink:1>:1.2)", "a (cat :1.2)", [("ink", 1.0)]),
        ("two\nlines <lora:ink:1>\n", "two\nlines", [("ink", 1.0)]),
        ("no  tag ", "no  tag ", []),
        (r"a cat \<lora:ink:1>", r"a cat \<lora:ink:1>", []),
        (r"a cat \\<lora:ink:1>", r"a cat \\", [("ink", 1.0)]),
        ("a cat <my-cat> <3 <br> x<y>z", "a cat <my-cat> <3 <br> x<y>z", []),
    ],
)
def test_a_tag_asks_for_a_lora(prompt: str, rest: str, loras: list[tuple[str, float]]) -> None:
    assert asked(prompt) == (rest, loras)


def test_names_are_found_as_people_write_them() -> None:
    for name in ("Ink.v2-soft", "ink.v2 soft", "INK.V2_SOFT", "Ink.v2-soft.safetensors"):
        assert asked(f"a <lora:{name}:1>", DOTTED)[1] == [("Ink.v2-soft", 1.0)]
    assert asked("a <lora:ink:1> <lora:Ink:2>", DOTTED)[1] == [("ink", 1.0), ("Ink", 2.0)]


@pytest.mark.parametrize(
    ("prompt", "loras", "told"),
    [
        (
            "<lora:inc:1>",
            [],
            "<lora:inc:1> was left out: .* no LoRA of this name; it has ink, soft",
        ),
        ("<lora::1>", [], "no LoRA of this name"),
        ("<hypernet:ink:1>", [], "Darkroom has no hypernetworks"),
        ("<lora:ink:2:0.5>", [("ink", 0.5)], "two weights; that of the UNet, 0.5, is taken"),
        ("<lora:ink:unet=0.5>", [("ink", 0.5)], "two weights; that of the UNet, 0.5"),
        ("<lora:ink:te=2:unet=0.5>", [("ink", 0.5)], "two weights; that of the UNet, 0.5"),
        ("<lora:ink:1:1:4>", [("ink", 1.0)], "more than a weight, which is ignored"),
        ("<lora:ink:1:lbw=FACE>", [("ink", 1.0)], "more than a weight, which is ignored"),
        ("<lora:ink:strong>", [("ink", 1.0)], "weighs 'strong', which is no number; 1 is taken"),
        ("<lora:ink:nan>", [("ink", 1.0)], "weighs 'nan', which is no number"),
        ("<lora:ink:-99>", [("ink", -10.0)], "weighs -99; scales end at -10"),
    ],
)
def test_what_cannot_be_done_as_written_is_told(
    prompt: str, loras: list[tuple[str, float]], told: str
) -> None:
    draft = parse({"prompt": f"a cat {prompt}"}, SD)
    assert (draft.values["prompt"], _loras(draft.values)) == ("a cat", loras)
    [warning] = draft.warnings
    assert re.search(told, warning)
    assert (
        parse({"prompt": draft.values["prompt"], "loras": draft.values["loras"]}, SD).warnings == ()
    )


def test_a_model_without_loras_leaves_tags_out_and_says_so() -> None:
    draft = parse({"prompt": "a cat <lora:ink:1>"}, BARE)
    assert draft.values["prompt"] == "a cat"
    assert "has no LoRAs" in draft.warnings[0]
    upscaled = parse({"prompt": "a <lora:x:1>", "image": "file_" + "0" * 64}, SD_UPSCALER)
    assert upscaled.values["prompt"] == "a"
    assert "has no LoRAs" in upscaled.warnings[0]


def test_a_lora_of_the_card_that_could_not_be_loaded_is_told_apart() -> None:
    card = SD.card.model_copy(update={"loras": (LoraCard(name="torn", source="x"),)})
    [warning] = parse({"prompt": "a <lora:torn:1>"}, Offer(**vars(SD) | {"card": card})).warnings
    assert "cannot use this LoRA" in warning


def test_a_tag_in_the_negative_prompt_is_left_out_and_told() -> None:
    draft = parse({"prompt": "a cat", "negative_prompt": "dog <lora:ink:1>"}, SD)
    assert (draft.values["negative_prompt"], _loras(draft.values)) == ("dog", [])
    assert "name it in prompt or in `loras`" in draft.warnings[0]


def test_tags_stand_beside_the_field() -> None:
    draft = parse({"prompt": "a <lora:ink:1>", "loras": [{"name": "ink", "scale": 0.5}]}, SD)
    assert _loras(draft.values) == [("ink", 0.5), ("ink", 1.0)]
    assert "its scales are added" in draft.warnings[0]
    assert asked("a <lora:ink:1>", loras=[{"name": "soft"}])[1] == [("soft", 1.0), ("ink", 1.0)]


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"prompt": "a" + "<lora:ink:1>" * 9}, "/prompt"),
        ({"prompt": "a <lora:ink:1>", "loras": [{"name": "soft"}] * 8}, "/prompt"),
        ({"prompt": "a <lora:ink:1>", "loras": [{"name": "soft"}] * 9}, "/loras"),
        ({"prompt": "a" + "<lora:no:1>" * 65}, "/prompt"),
        ({"prompt": "a", "negative_prompt": "<lora:no:1>" * 65}, "/negative_prompt"),
        ({"prompt": "a <lora:ink:1>", "loras": "soft"}, "/loras"),
        ({"prompt": "a <lora:ink:1>", "loras": [{"name": "no"}]}, "/loras/0/name"),
    ],
)
def test_what_is_wrong_is_said_of_the_field_that_the_client_wrote(
    fields: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse(fields, SD)
    assert [error.pointer for error in caught.value.errors] == [pointer]


def test_many_tags_are_told_in_few_sentences() -> None:
    tags = "".join(f"<lora:no{n}:1>" for n in range(50))
    warnings = parse({"prompt": "a " + tags}, SD).warnings
    assert len(warnings) == 4
    assert warnings[-1].endswith("47 more tags.")


def test_a_word_of_the_model_is_no_tag() -> None:
    words = (EmbeddingCard(token="<lora:my:cat>", source="x"),)
    card = SD.card.model_copy(update={"embeddings": words})
    assert asked("a <lora:my:cat>", Offer(**vars(SD) | {"card": card})) == ("a <lora:my:cat>", [])


def test_where_tags_are_switched_off_they_are_words_and_told() -> None:
    draft = parse({"prompt": "a <lora:ink:1>", "negative_prompt": "<lora:b:1>"}, SD, tags=False)
    assert draft.values["prompt"] == "a <lora:ink:1>"
    assert _loras(draft.values) == []
    assert [each.split(":")[0] for each in draft.warnings] == ["prompt", "negative_prompt"]


@given(st.lists(st.sampled_from(["<lora:ink:", "<lora:no:", ">", "1", "\\", "<", "(", " a", ":"])))
def test_a_request_with_tags_posted_back_is_itself(parts: list[str]) -> None:
    prompt = "cat " + "".join(parts)
    rest, tags = take_tags(prompt)
    if len([tag for tag in tags if tag.name == "ink"]) > 8:
        return
    kept = stored(completed(parse({"prompt": prompt, "seed": 1}, SD), SD, None), SD)
    assert kept["prompt"] == rest
    again = parse(kept, SD)
    assert stored(completed(again, SD, None), SD) == kept
    assert not any("LoRA" in each and "times" not in each for each in again.warnings)
