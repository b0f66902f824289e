"""What may be asked of a picture that is made larger, and what becomes of its request."""

import json
from dataclasses import replace
from typing import Any

import pytest

from darkroom.costs import Work, solo_s
from darkroom.draft import Draft, load_request, stored
from darkroom.hires import grown
from darkroom.provenance import infotext
from darkroom.validation import completed, filled_in, parse
from tests.offers import CAT, SD, UNSEEN, offered, wrong

TEXT_ONLY = offered("PixArtSigmaPipeline", ("text-to-image",))
SMALL = CAT | {"width": 64, "height": 32, "num_inference_steps": 10}


@pytest.mark.parametrize(
    ("size", "scale", "final"),
    [
        ((512, 768), 1.5, (768, 1152)),
        ((512, 512), 1.3, (672, 672)),
        ((520, 512), 1.5, (784, 768)),
        ((1000, 1000), 1.001, (1000, 1000)),
        ((36, 20), 2.0, (72, 40)),
    ],
)
def test_sides_grow_to_multiples_that_the_first_ones_are(
    size: tuple[int, int], scale: float, final: tuple[int, int]
) -> None:
    assert grown(*size, scale) == final


def test_what_is_left_out_is_filled_in_and_posted_back_it_is_the_same() -> None:
    draft = parse(SMALL | {"hires": {}}, SD)
    assert draft.values["hires"] == {
        "scale": 2.0,
        "strength": 0.7,
        "num_inference_steps": None,
        "upscaler": "latent",
    }
    kept = stored(filled_in(draft, SD, None), SD)
    assert parse(kept, SD).values == kept
    assert parse(CAT, SD).values["hires"] is None


@pytest.mark.parametrize(
    ("hires", "pointer", "detail"),
    [
        ({"scale": 9}, "/hires/scale", "Must be at most 4."),
        ({"scale": 1}, "/hires/scale", "Must be greater than 1."),
        (
            {"scale": 1.0001},
            "/hires/scale",
            "Leaves 64 x 32 as it is: at least 1.25 makes it larger.",
        ),
        ({"strength": 0}, "/hires/strength", "Must be greater than 0."),
        ({"denoising": 0.5}, "/hires/denoising", "There is no such field."),
        (
            {"strength": 0.05},
            "/hires/strength",
            "Leaves none of 10 steps to make: at least 0.1 makes one.",
        ),
        ({"num_inference_steps": 151}, "/hires/num_inference_steps", "Must be at most 150."),
        (2, "/hires", "Must be an object."),
    ],
)
def test_what_makes_no_second_part_is_refused(hires: Any, pointer: str, detail: str) -> None:
    assert wrong(SMALL | {"hires": hires}) == {pointer: detail}


@pytest.mark.parametrize("sides", [{"width": 256, "height": 256}, {"width": 512, "height": 128}])
def test_the_limits_are_those_of_the_final_picture(sides: dict[str, int]) -> None:
    asked = CAT | sides | {"hires": {"scale": 1.5}}
    width, height = (sides[side] * 3 // 2 for side in ("width", "height"))
    assert wrong(asked) == {
        "/hires/scale": f"Would become {width} x {height}; this model makes at most 512 on a side "
        "and 65536 pixels."
    }


def test_so_are_its_multiples() -> None:
    limits = SD.limits.model_copy(update={"size_multiple": 32})
    asked = SMALL | {"hires": {"scale": 1.25}}
    said = "Would become 80 x 48; both sides must be multiples of 32."
    assert wrong(asked, replace(SD, limits=limits)) == {"/hires/scale": said}


def test_a_model_that_begins_with_no_picture_has_no_second_part() -> None:
    assert "takes no hires for text-to-image" in wrong(SMALL | {"hires": {}}, TEXT_ONLY)["/hires"]
    told = wrong(CAT | {"hires": {}, "image": "file_" + "0" * 64})["/hires"]
    assert told == "image-to-image takes no hires; it belongs to text-to-image."


def test_of_a_model_that_nobody_knows_the_worker_checks_it() -> None:
    draft = parse(CAT | {"hires": {"scale": 4}}, UNSEEN)
    kept = stored(filled_in(draft, UNSEEN, None), UNSEEN)
    loaded = load_request(kept)
    assert isinstance(loaded, Draft)
    request = completed(replace(loaded, values={**kept, "model": SD.card.name}), SD, None)
    assert request.hires.scale == 4
    too_large = {**kept, "width": 256, "height": 256}
    assert "/hires/scale" in wrong(dict(too_large), SD)


def test_the_second_part_is_judged_as_image_to_image() -> None:
    first = SMALL | {"scheduler": "DPM++ 2M Karras"}
    assert parse(first | {"hires": {}}, SD).warnings == ()
    [told] = parse(first | {"hires": {"strength": 0.1}}, SD).warnings
    assert told.startswith("hires: DPM++ 2M Karras")
    flow = offered(
        "StableDiffusion3Pipeline",
        ("text-to-image", "image-to-image"),
        ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler"),
    )
    heun = SMALL | {"scheduler": "Flow match Heun"}
    assert "at strength 1" in wrong(heun | {"hires": {}}, flow)["/scheduler"]
    assert parse(heun | {"hires": {"strength": 1.0}}, flow).warnings == ()


def test_it_is_told_as_a1111_tells_it() -> None:
    draft = parse(SMALL | {"hires": {"num_inference_steps": 4}, "seed": 1}, SD)
    told = infotext(stored(filled_in(draft, SD, None), SD), 1)
    for part in (
        "Size: 64x32",
        "Denoising strength: 0.7",
        "Hires upscale: 2.0",
        "Hires steps: 4",
        "Hires upscaler: Latent",
    ):
        assert part in told
    other = stored(filled_in(draft, SD, None), SD)
    other["hires"] = {**other["hires"], "upscaler": "emoji-upscale"}
    assert "Hires upscaler: emoji-upscale" in infotext(other, 1)
    plain = stored(filled_in(parse(SMALL | {"seed": 1}, SD), SD, None), SD)
    assert "Hires" not in infotext(plain, 1)
    assert "Denoising" not in infotext(plain, 1)


def test_its_cost_is_that_of_both_parts() -> None:
    request = json.loads(json.dumps(dict(parse(SMALL | {"hires": {}}, SD).values)))
    first, second = Work.parts_of(request, None)
    assert (first.size, first.passes, first.rows) == ((64, 32), 10, 2)
    assert (second.size, second.passes, second.rows) == ((128, 64), 7, 2)
    plain = {**request, "hires": None}
    assert Work.parts_of(plain, None) == (first,)
    large = {**plain, "width": 128, "height": 64, "strength": 0.7}
    assert solo_s(request, None) == solo_s(plain, None) + solo_s(large, None)
    upscale = {"model": "up", "width": 256, "height": 128, "num_inference_steps": 5}
    _, between, _ = Work.parts_of(request, None, (upscale, None))
    assert (between.model, between.size, between.steps, between.rows) == ("up", (256, 128), 5, 1)
    all_s = solo_s(request, None, (upscale, None))
    assert all_s == pytest.approx(solo_s(request, None) + solo_s(upscale, None))
