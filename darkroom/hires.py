"""A picture that is made small, enlarged, and gone on with at its final size; used by service and
worker, knows neither HTTP nor torch."""

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field

from darkroom.cards import Limits
from darkroom.errors import FieldError
from darkroom.fields import Fields

LATENT, LANCZOS = "latent", "lanczos"
"""What enlarges without another model."""

MULTIPLE = 16
"""Pixels to whose multiples sides are rounded where the first ones are such multiples: nearly all
families take them."""


class Hires(Fields):
    """How a picture is made larger and gone on with: the noise of image-to-image, from the same
    seed, is added to the enlarged picture, and taken away again."""

    scale: Annotated[float, Field(gt=1, le=4)] = 2.0
    """How many times as wide and high the final picture is. Its sides are rounded to multiples of
    16, or of 8 or less where width and height are no more than that."""
    strength: Annotated[float, Field(gt=0, le=1)] = 0.7
    """As of image-to-image: how much is made anew. Enlarged latents are blurred, and stay so if it
    is low."""
    num_inference_steps: int | None = Field(None, ge=1)
    """Of the second part, of which the share `strength` is made; null: as many as of the first."""
    upscaler: Annotated[str, Field(max_length=200)] = LATENT
    """What is enlarged: `latent`, the latents (bilinear), where the model can go on from them; or
    the decoded picture, which stays sharp at low strengths: `lanczos`, by Lanczos' filter, or the
    name of a model that does upscale, whose four times as large picture that filter makes as small
    as `scale` says."""


def grown(width: int, height: int, scale: float) -> tuple[int, int]:
    """The final size: `scale` times as large, to what the sides are multiples of already, at most
    `MULTIPLE`."""
    unit = math.gcd(width, height, MULTIPLE)
    wide, high = (math.floor(side * scale / unit + 0.5) * unit for side in (width, height))
    return wide, high


def second_part(values: Mapping[str, Any]) -> dict[str, Any] | None:
    """Of a request as JSON the second part: its size, strength and steps in place of the first
    one's. None where it has none, or is not known yet."""
    hires, width, height = values.get("hires"), values.get("width"), values.get("height")
    if not hires or not width or not height:
        return None
    wide, high = grown(width, height, hires["scale"])
    steps = hires.get("num_inference_steps") or values.get("num_inference_steps")
    changed = {"width": wide, "height": high, "num_inference_steps": steps}
    return {**values, **changed, "strength": hires["strength"], "hires": None}


def upscale_model(values: Mapping[str, Any]) -> str | None:
    """Of a request as JSON the model that enlarges its picture; None if none does."""
    upscaler = (values.get("hires") or {}).get("upscaler")
    return None if upscaler in (LATENT, LANCZOS) else upscaler


def refusals(
    values: Mapping[str, Any], limits: Limits, *, resumes_latents: bool
) -> Iterator[FieldError]:
    """Of a final picture beyond the model's limits or no larger than the first, of latents that the
    model does not go on from, and of a second part without a step."""
    if values.get("hires") and values["hires"]["upscaler"] == LATENT and not resumes_latents:
        detail = "This model does not go on from latents: ask for lanczos."
        yield FieldError("/hires/upscaler", detail, "unsupported_field")
    second = second_part(values)
    if second is None:
        return
    width, height, steps = second["width"], second["height"], second["num_inference_steps"]
    would = f"Would become {width} x {height}; "
    if (width, height) == (values["width"], values["height"]):
        shorter = min(width, height)
        least = 1 + math.gcd(width, height, MULTIPLE) / (2 * shorter)
        detail = f"Leaves {width} x {height} as it is: at least {_up(least):g} makes it larger."
        yield FieldError("/hires/scale", detail, "out_of_range")
    elif max(width, height) > limits.max_size or width * height > limits.max_pixels:
        detail = (
            f"{would}this model makes at most {limits.max_size} on a side and "
            f"{limits.max_pixels} pixels."
        )
        yield FieldError("/hires/scale", detail, "too_many_pixels")
    elif width % limits.size_multiple or height % limits.size_multiple:
        detail = f"{would}both sides must be multiples of {limits.size_multiple}."
        yield FieldError("/hires/scale", detail, "not_a_multiple")
    if steps and steps > limits.max_steps:
        detail = f"Must be at most {limits.max_steps}."
        yield FieldError("/hires/num_inference_steps", detail, "out_of_range")
    elif steps and int(steps * second["strength"]) == 0:
        least = math.ceil(100 / steps) / 100
        detail = f"Leaves none of {steps} steps to make: at least {least:g} makes one."
        yield FieldError("/hires/strength", detail, "out_of_range")


def _up(scale: float) -> float:
    """The next larger number of three decimals."""
    return math.ceil(scale * 1000) / 1000
