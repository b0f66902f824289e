"""Which model enlarges a picture between its two parts, and what is asked of it."""

from dataclasses import replace
from typing import Any

import pytest

from darkroom.errors import InvalidRequestError
from darkroom.offers import Offer
from darkroom.upscaling import between, resolved
from darkroom.validation import parse
from tests.offers import CAT, SD, SD_UPSCALER, UNSEEN, UPSCALER, offered

SMALL = CAT | {"width": 64, "height": 32, "seed": 3, "num_images": 2, "negative_prompt": "dark"}
OFFERS = (SD, UPSCALER, SD_UPSCALER)


def named(offer: Offer, *names: str) -> Offer:
    return replace(offer, card=offer.card.model_copy(update={"aliases": names}))


def ask(upscaler: str, offers: tuple[Offer, ...] = OFFERS, **more: Any) -> tuple[Any, Any]:
    draft = parse(SMALL | {"hires": {"upscaler": upscaler}} | more, SD)
    found, offer = resolved(draft, lambda: offers)
    return found.values, offer


def refused(upscaler: str, offers: tuple[Offer, ...] = OFFERS, **more: Any) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        ask(upscaler, offers, **more)
    [error] = caught.value.errors
    assert error.pointer == "/hires/upscaler"
    return error.detail


def test_it_is_found_by_each_of_its_names_and_kept_by_its_own() -> None:
    for name in (UPSCALER.card.name, "big"):
        values, offer = ask(name, (SD, named(UPSCALER, "big")))
        assert values["hires"]["upscaler"] == offer.card.name == UPSCALER.card.name
    for name in ("latent", "lanczos"):
        assert ask(name)[1] is None


def test_what_is_asked_of_it_is_what_it_takes_by_default() -> None:
    values, offer = ask(SD_UPSCALER.card.name)
    request = between(values, offer)
    assert (request.width, request.height) == (256, 128)
    assert (request.seed, request.num_images) == (3, 2)
    assert (request.prompt, request.negative_prompt) == ("a cat", "dark")
    assert (request.num_inference_steps, request.guidance_scale) == (75, 9.0)
    assert between(values, UPSCALER).prompt == ""


@pytest.mark.parametrize("name", ["esrgan", SD.card.name, ""])
def test_what_is_no_upscale_model_is_refused_with_those_that_are(name: str) -> None:
    detail = refused(name)
    assert detail == (
        "No model of this name does upscale. Must be one of: latent, lanczos, "
        f"{UPSCALER.card.name}, {SD_UPSCALER.card.name}."
    )


def test_the_limits_of_that_model_are_for_what_it_makes() -> None:
    detail = refused(UPSCALER.card.name, width=128, height=128)
    assert detail == (
        f"The model {UPSCALER.card.name!r} cannot enlarge the picture to 512 x 512: Would become "
        "512 x 512; this model makes at most 512 on a side and 65536 pixels."
    )
    few = UPSCALER.limits.model_copy(update={"max_images": 1})
    assert "Must be at most 1." in refused(UPSCALER.card.name, (replace(UPSCALER, limits=few),))


def test_a_model_that_nobody_knows_yet_is_left_to_the_worker() -> None:
    values, offer = ask("new", (SD, UNSEEN))
    assert (values["hires"]["upscaler"], offer) == ("new", UNSEEN)


@pytest.mark.parametrize(
    ("pipeline", "channels", "resumes"),
    [
        ("StableDiffusionXLPipeline", 4, True),
        ("StableDiffusionXLPipeline", None, True),
        ("StableDiffusion3Pipeline", 16, True),
        ("FluxPipeline", None, True),
        ("ZImagePipeline", 16, False),
        ("QwenImagePipeline", None, False),
        ("IFPipeline", None, False),
        ("SanaSprintPipeline", 32, False),
    ],
)
def test_latents_are_refused_where_image_to_image_takes_them_for_pictures(
    pipeline: str, channels: int | None, resumes: bool
) -> None:
    offer = offered(pipeline, ("text-to-image", "image-to-image"), latent_channels=channels)
    body = CAT | {"width": 64, "height": 64, "hires": {}}
    if resumes:
        assert parse(body, offer).values["hires"]["upscaler"] == "latent"
        return
    with pytest.raises(InvalidRequestError) as caught:
        parse(body, offer)
    [error] = caught.value.errors
    assert error.pointer == "/hires/upscaler"
    assert error.detail == "This model does not go on from latents: ask for lanczos."
    parse(body | {"hires": {"upscaler": "lanczos"}}, offer)


def test_a_model_that_could_not_be_loaded_is_not_named_among_those_that_enlarge() -> None:
    broken = replace(UPSCALER, error="damaged")
    assert UPSCALER.card.name in refused("nobody")
    assert UPSCALER.card.name not in refused("nobody", (SD, broken, SD_UPSCALER))
