"""Words of models.toml around the prompts of a request."""

import pytest

from darkroom.cards import StyleCard
from darkroom.errors import InvalidRequestError
from darkroom.styles import styles_of
from darkroom.validation import completed, parse
from tests.offers import CAT, DIT, FILE, SD, offered

INK = StyleCard(name="ink", prompt="ink drawing of {prompt}, fine lines", negative_prompt="photo")
OIL = StyleCard(name="oil-painting", prompt="{prompt}, oil")
STYLES = (INK, OIL)
NO_NEGATIVE = offered("FluxPipeline", ("text-to-image",))


def prompts(body: dict, terms=SD, styles=STYLES) -> tuple[str, str]:
    draft = parse(body, terms, styles=styles)
    assert "style" not in draft.values
    assert "style" not in draft.options.model_dump()
    return draft.values["prompt"], draft.values.get("negative_prompt", "")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"prompt": "a cat"}, ("ink drawing of a cat, fine lines", "photo")),
        (
            {"prompt": "a {prompt}", "negative_prompt": "dog"},
            ("ink drawing of a {prompt}, fine lines", "dog, photo"),
        ),
        ({"image": FILE}, ("ink drawing of , fine lines", "photo")),
        ({"prompt": " ", "negative_prompt": " "}, ("ink drawing of  , fine lines", "photo")),
    ],
)
def test_a_style_stands_around_the_prompts(body, expected):
    assert prompts(body | {"style": "ink"}) == expected


def test_a_style_without_a_prompt_is_the_prompt():
    assert prompts({"style": "oil-painting"})[0] == "oil"


def test_what_a_job_keeps_makes_the_same_picture_without_the_style():
    once = completed(parse(CAT | {"style": "ink", "seed": 1}, SD, styles=STYLES), SD, (32, 32))
    again = completed(parse(once.model_dump(mode="json"), SD), SD, (32, 32))
    assert again == once


def test_a_style_may_hold_tags_of_loras():
    tagged = StyleCard(name="ink", prompt="{prompt} <lora:ink:0.5>")
    values = parse(CAT | {"style": "ink"}, SD, styles=(tagged,)).values
    assert values["prompt"] == "a cat"
    assert [(each["name"], each["scale"]) for each in values["loras"]] == [("ink", 0.5)]


def test_the_negative_prompt_of_the_card_counts_as_the_clients_own():
    card = SD.card.model_copy(
        update={"defaults": SD.card.defaults.model_copy(update={"negative_prompt": "blur"})}
    )
    terms = SD.__class__(**{**vars(SD), "card": card})
    assert prompts(CAT | {"style": "ink"}, terms)[1] == "blur, photo"


def test_a_model_without_negative_prompts_says_that_it_leaves_them_out():
    draft = parse(CAT | {"style": "ink"}, NO_NEGATIVE, styles=STYLES)
    assert draft.values["prompt"].startswith("ink drawing")
    assert [each for each in draft.warnings if "negative_prompt" in each and "'ink'" in each]


@pytest.mark.parametrize(
    ("body", "terms", "styles", "code", "said"),
    [
        (CAT | {"style": "inc"}, SD, STYLES, "not_one_of", "Did you mean ink?"),
        (CAT | {"style": "x"}, SD, STYLES, "not_one_of", "There are: ink, oil-painting."),
        (CAT | {"style": "ink"}, SD, (), "not_one_of", "No styles are set up here."),
        (CAT | {"style": 5}, SD, STYLES, "wrong_type", "text"),
        ({"class_label": 1, "style": "ink"}, DIT, STYLES, "unsupported_field", "no prompt"),
    ],
)
def test_a_style_that_cannot_be_had_is_refused_with_those_there_are(
    body, terms, styles, code, said
):
    with pytest.raises(InvalidRequestError) as caught:
        parse(body | {"height": "tall"} if terms is SD else body, terms, styles=styles)
    found = {error.pointer: error for error in caught.value.errors}
    assert found["/style"].code == code
    assert said in found["/style"].detail
    assert ("/height" in found) == (terms is SD), "and all else that is wrong"


def test_of_very_many_styles_not_all_are_named():
    many = tuple(OIL.model_copy(update={"name": f"s{n}"}) for n in range(50))
    with pytest.raises(InvalidRequestError, match="and 30 more"):
        parse(CAT | {"style": "none"}, SD, styles=many)


def test_a_models_own_goes_before_that_of_all():
    own = INK.model_copy(update={"prompt": "{prompt}!"})
    assert styles_of((own,), STYLES) == (own, OIL)
