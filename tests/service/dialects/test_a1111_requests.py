"""Bodies of AUTOMATIC1111's API as native ones."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.cards import StyleCard
from darkroom.errors import DarkroomError, InvalidRequestError
from darkroom.offers import Offer
from darkroom.validation import parse
from service.dialects import a1111_requests as requests
from service.dialects.a1111_controlnet import controls
from service.dialects.a1111_requests import Asked, Options, checked
from tests.offers import BARE, FILE, FLUX2, KONTEXT, PIX2PIX, SD, SD3, UNSEEN, offered

Native = tuple[dict[str, Any], list[str]]


def txt2img(offer: Offer = SD, options: Options = Options(), **asked: Any) -> Native:  # noqa: B008
    body, told = requests.txt2img(checked(Asked, {"prompt": "a cat"} | asked), options, offer)
    return {**parse(body | {"model": offer.card.name}, offer).values}, told


def img2img(offer: Offer = SD, **asked: Any) -> Native:
    given = {"prompt": "a cat", "init_images": [FILE]} | asked
    body, told = requests.img2img(checked(Asked, given), Options(), offer)
    return {**parse(body | {"model": offer.card.name}, offer).values}, told


def test_fields_have_other_names():
    asked = {"negative_prompt": "a dog", "width": 64, "height": 128, "steps": "4", "cfg_scale": "5"}
    body, told = txt2img(**asked, seed="12", batch_size=2, n_iter=3)
    expected = {"negative_prompt": "a dog", "width": 64, "height": 128, "num_inference_steps": 4}
    expected |= {"guidance_scale": 5.0, "seed": 12, "num_images": 6, "task": "text-to-image"}
    assert expected.items() <= body.items()
    assert told == []


def test_null_and_empty_are_as_good_as_left_out():
    nothing = dict.fromkeys(("negative_prompt", "steps", "sampler_name", "width", "styles"))
    assert txt2img(**nothing, scheduler="", hr_upscaler="") == txt2img()
    assert txt2img(seed=-1)[0]["seed"] is None


def test_the_names_that_all_compatible_apis_have_count_where_its_own_are_left_out():
    body, _ = txt2img(num_inference_steps=3, guidance_scale=2, loras=[{"name": "ink"}], cfg_scale=4)
    assert (body["num_inference_steps"], body["guidance_scale"]) == (3, 4.0)
    assert body["loras"] == [{"name": "ink", "scale": 1.0}]


@pytest.mark.parametrize(
    ("sampler", "schedule_type", "scheduler", "options", "is_told"),
    [
        ("DPM++ 2M", "Karras", "DPMSolverMultistepScheduler", {"sigmas": "karras"}, False),
        ("DPM++ 2M Karras", "", "DPMSolverMultistepScheduler", {"sigmas": "karras"}, False),
        ("Euler", "automatic", "EulerDiscreteScheduler", {}, False),
        ("Euler", "SGM Uniform", "EulerDiscreteScheduler", {"timestep_spacing": "trailing"}, False),
        ("Euler", "Simple", "EulerDiscreteScheduler", {}, True),
        ("DDIM", "karras", "DDIMScheduler", {}, True),
    ],
)
def test_samplers_and_schedule_types(sampler, schedule_type, scheduler, options, is_told):
    body, told = txt2img(sampler_name=sampler, scheduler=schedule_type)
    chosen = {name: value for name, value in body["scheduler_options"].items() if value}
    assert (body["scheduler"], chosen, bool(told)) == (scheduler, options, is_told)
    body, _ = txt2img(sampler_index=sampler)
    assert body["scheduler"] == scheduler


def test_what_the_model_does_not_take_is_left_out_and_told():
    options = Options(CLIP_stop_at_last_layers=3)
    assert txt2img(options=options)[0]["clip_skip"] == 2
    body, told = txt2img(FLUX2, options, negative_prompt="a dog")
    assert "negative_prompt" not in body
    assert told == [
        "The model takes no negative_prompt; it was left out.",
        "The model takes no clip_skip; it was left out.",
    ]
    assert txt2img(FLUX2, Options(CLIP_stop_at_last_layers=1))[1] == []


def test_options_of_a_request_go_before_those_that_are_kept():
    kept = checked(Options, {"sd_model_checkpoint": "a", "samples_format": "jpg"})
    override = checked(Options, {"sd_model_checkpoint": "b", "CLIP_stop_at_last_layers": "2"})
    both = override.with_those_of(kept)
    assert (both.model, both.format, both.stops_at) == ("b", "jpg", 2)
    assert txt2img(options=both)[0]["output"]["format"] == "jpeg"


@pytest.mark.parametrize(
    ("upscaler", "expected"),
    [
        (None, "latent"),
        ("Latent (bicubic antialiased)", "latent"),
        ("None", "lanczos"),
        ("Lanczos", "lanczos"),
        ("my upscaler", "my upscaler"),
    ],
)
def test_a_hires_fix(upscaler, expected):
    asked = {"enable_hr": True, "hr_scale": 1.5, "hr_upscaler": upscaler, "denoising_strength": 0.4}
    hires = txt2img(**asked, width=64, height=64, hr_second_pass_steps=5)[0]["hires"]
    assert hires == {
        "scale": 1.5,
        "strength": 0.4,
        "num_inference_steps": 5,
        "upscaler": expected,
    }
    assert txt2img(**(asked | {"enable_hr": False}))[0]["hires"] is None


@pytest.mark.parametrize("upscaler", ["Latent (bicubic antialiased)", "None", "nearest"])
def test_upscalers_that_are_as_another_are_told(upscaler):
    [told] = txt2img(enable_hr=True, width=64, height=64, hr_upscaler=upscaler)[1]
    assert told.startswith(f"The upscaler {upscaler!r} is as '")
    for own in ("latent", "Lanczos", "my upscaler"):
        assert txt2img(enable_hr=True, width=64, height=64, hr_upscaler=own)[1] == []


def test_a_hires_fix_by_size():
    asked = {"enable_hr": True, "width": 64, "height": 128}
    assert txt2img(**asked, hr_resize_x=128)[0]["hires"]["scale"] == 2.0
    assert txt2img(**asked, hr_resize_x=96, hr_resize_y=192)[0]["hires"]["scale"] == 1.5
    with pytest.raises(InvalidRequestError):
        txt2img(**asked, hr_resize_x=96, hr_resize_y=96)


def test_a_picture_from_a_picture():
    body, told = img2img(denoising_strength=0.3, mask_blur=9)
    assert (body["task"], body["image"], body["strength"]) == ("image-to-image", FILE, 0.3)
    body, _ = img2img(mask=FILE, mask_blur=9, denoising_strength=1)
    assert (body["task"], body["mask_image"], body["mask_blur"]) == ("inpaint", FILE, 9)
    assert body["padding_mask_crop"] == 0
    cropped = img2img(mask=FILE, inpaint_full_res="true", inpaint_full_res_padding=32)[0]
    assert cropped["padding_mask_crop"] == 32
    assert img2img(mask=FILE, inpaint_full_res=0)[0]["padding_mask_crop"] is None
    assert told == []
    assert img2img(mask=FILE, mask_blur_x=3, mask_blur_y=3)[0]["mask_blur"] == 3


def test_how_a_picture_is_fitted_and_filled_otherwise_than_asked_is_told():
    for asked in ({}, {"inpainting_fill": 1, "mask": FILE}, {"inpainting_fill": 0}):
        assert img2img(**asked)[1] == []
    for fill in (0, 2, 3):
        [told] = img2img(inpainting_fill=fill, mask=FILE)[1]
        assert told.startswith("inpainting_fill is always 1 here")
    assert img2img(resize_mode=3)[1] == ["resize_mode 3 is as 0 here."]
    assert img2img(resize_mode=3, mask=FILE)[1] == []


def test_a_model_that_edits_does_that_alone():
    body, _ = img2img(KONTEXT, denoising_strength=0.3, image_cfg_scale=1.5)
    assert (body["task"], body["images"]) == ("edit", [FILE])


def test_how_closely_an_edit_keeps_to_its_picture():
    assert img2img(PIX2PIX, image_cfg_scale=2.5)[0]["image_guidance_scale"] == 2.5
    assert img2img(PIX2PIX, image_cfg_scale=0)[0]["image_guidance_scale"] is None
    assert img2img(SD, image_cfg_scale=2.5)[0]["task"] == "image-to-image"


def test_eta_counts_for_samplers_that_heed_it():
    assert txt2img(sampler_name="DDIM", eta=0.5)[0]["scheduler_options"]["eta"] == 0.5
    for asked in ({"eta": 0.5}, {"sampler_name": "Euler", "eta": 0.5}):
        body, told = txt2img(**asked)
        assert (body["scheduler_options"]["eta"], told) == (None, [])
    able = offered(
        "StableDiffusionPipeline", ("text-to-image",), ("EulerAncestralDiscreteScheduler",)
    )
    assert txt2img(able, sampler_name="Euler a", eta=1)[1] == []
    assert txt2img(able, sampler_name="Euler a", eta=0.5)[1] == [
        "eta is always 1 with this sampler."
    ]


def test_several_pictures_are_no_batch():
    with pytest.raises(InvalidRequestError) as caught:
        img2img(init_images=[FILE, FILE])
    assert caught.value.errors[0].pointer == "/init_images"


def test_styles_go_around_one_another():
    cards = (
        StyleCard(name="ink", prompt="{prompt}, ink", negative_prompt="photo"),
        StyleCard(name="big", prompt="huge {prompt}"),
    )
    body = {"task": "text-to-image", "prompt": "a cat"}
    made, told = requests.styled(body, ["ink", "big"], cards, SD)
    assert (made["prompt"], made["negative_prompt"], told) == ("huge a cat, ink", "photo", [])
    with pytest.raises(InvalidRequestError):
        requests.styled(body, ["other"], cards, SD)


def test_what_is_not_done_is_told_where_it_was_asked_for():
    switched_off = {"restore_faces": False, "subseed_strength": 0, "hr_prompt": "", "tiling": None}
    off = {"ADetailer": {"args": [False, {}]}, "ControlNet": {"args": [{}]}, "x": {}}
    assert requests.ignored(switched_off | {"alwayson_scripts": off}) == []
    asked = {
        "tiling": True,
        "alwayson_scripts": {"reactor": {"args": [1]}},
    }
    assert requests.ignored(asked) == ["Not done here: tiling, reactor."]


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
anything = st.recursive(
    scalars,
    lambda each: (
        st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=8), each, max_size=3)
    ),
    max_leaves=5,
)
NAMES = [*Asked.model_fields, "restore_faces", "script_name", "subseed_strength"]
ODD = st.sampled_from(["Euler", "Karras", "Latent", "ink", FILE, 1, 64, [FILE], -1, 10**400])
UNIT = {"image": FILE, "module": "canny", "model": "canny"}
scripts = st.fixed_dictionaries(
    {
        "ControlNet": anything
        | st.fixed_dictionaries(
            {
                "args": st.lists(
                    anything | st.just({"image": FILE, "module": "canny", "model": "canny"})
                )
            }
        )
    }
)


@given(
    body=st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, anything | ODD)),
    scripts=anything | scripts,
    offer=st.sampled_from([SD, BARE, SD3, KONTEXT, UNSEEN]),
)
def test_any_body_is_understood_or_refused(body, scripts, offer):
    fields = body | {"alwayson_scripts": scripts}
    try:
        told = requests.ignored(fields)
        asked = checked(Asked, fields)
        native = requests.img2img if asked.init_images else requests.txt2img
        made, more = native(asked, asked.override_settings, offer)
        found, most = controls(asked.alwayson_scripts, None, offer)
        parse(made | {"model": offer.card.name, "controls": found}, offer)
    except DarkroomError:
        return
    assert all(isinstance(each, str) for each in (*told, *more, *most))
