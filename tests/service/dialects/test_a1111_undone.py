"""What A1111 would do and Darkroom does not."""

import pytest

from service.dialects.a1111_requests import Asked, Options
from service.dialects.a1111_undone import of_extras, of_pictures, of_unit

CHANGE_PICTURES = {
    "restore_faces": True,
    "tiling": True,
    "script_name": "X/Y/Z plot",
    "subseed_strength": 0.5,
    "seed_resize_from_h": 512,
    "seed_resize_from_w": 512,
    "eta": 0.5,
    "s_min_uncond": 1.5,
    "s_churn": 3,
    "s_noise": 1.01,
    "refiner_checkpoint": "refiner",
    "disable_extra_networks": True,
    "firstpass_image": "iVBOR",
    "firstphase_width": 64,
    "firstphase_height": 64,
    "hr_scale": 1.5,
    "hr_upscaler": "Latent",
    "hr_second_pass_steps": 3,
    "hr_resize_x": 128,
    "hr_resize_y": 128,
    "hr_checkpoint_name": "other",
    "hr_sampler_name": "DDIM",
    "hr_scheduler": "Karras",
    "hr_prompt": "a dog",
    "hr_negative_prompt": "a cat",
    "infotext": "a cat\nSteps: 3",
    "init_images": ["iVBOR"],
    "resize_mode": 3,
    "image_cfg_scale": 2,
    "mask": "iVBOR",
    "mask_blur": 3,
    "mask_round": False,
    "inpainting_fill": 2,
    "inpaint_full_res": False,
    "inpaint_full_res_padding": 3,
    "inpainting_mask_invert": 1,
    "initial_noise_multiplier": 1.1,
    "latent_mask": "iVBOR",
    **dict.fromkeys(("prompt", "negative_prompt", "sampler_name", "sampler_index"), "x"),
    **dict.fromkeys(("seed", "batch_size", "n_iter", "steps", "cfg_scale", "width", "height"), 8),
    **{"styles": ["ink"], "scheduler": "Karras", "denoising_strength": 0.5, "enable_hr": True},
}
"""All fields of modules/api/models.py of 1.10 that change a picture there, with such a value.
Left out are those that say how another one is meant (`subseed`, `refiner_switch_at`, `s_tmin`,
`s_tmax`, `script_args`), and `mask_blur_x` and `_y`, for which there is `mask_blur`."""


def told(**fields):
    return of_pictures(fields, ("controlnet",), Options.names())


@pytest.mark.parametrize("name", CHANGE_PICTURES)
def test_a_field_that_changes_pictures_there_is_heeded_or_told(name):
    """The tests of requests say what comes of those that are heeded."""
    around = {"enable_hr": True, "mask": "iVBOR"}
    is_told = told(**(around | {name: CHANGE_PICTURES[name]})) == [f"Not done here: {name}."]
    assert is_told is (name not in Asked.model_fields)


def test_what_changes_nothing_there_either_is_not_told():
    assert told(subseed_strength=0.0, seed_resize_from_w=-1, s_noise=1, tiling=False) == []
    assert told(hr_prompt="a dog", mask_round=False, script_name="None") == []
    same = {"hr_sampler_name": "Use same sampler", "hr_scheduler": "Use same scheduler"}
    assert told(enable_hr=True, mask="x", mask_blur_x=4, mask_blur_y=4, **same) == []


def test_sides_of_a_blur_that_differ():
    assert told(mask="x", mask_blur_x=4, mask_blur_y=9) == ["Not done here: mask_blur_y."]
    assert told(mask="x", mask_blur_x=4, mask_blur_y=9, mask_blur=4) == []


def test_settings_that_are_overridden_in_vain_and_scripts_that_are_switched_on():
    over = {"sd_model_checkpoint": "pix", "sd_vae": "vae.pt", "eta_noise_seed_delta": 0}
    scripts = {"ADetailer": {"args": [True]}, "other": {"args": [False]}, "ControlNet": {"args": 1}}
    assert told(override_settings=over, alwayson_scripts=scripts | {"x" * 99: {"args": {}}}) == [
        "Not done here: override_settings/sd_vae, ADetailer."
    ]
    assert told(override_settings=[1], alwayson_scripts="x") == []


def test_of_larger_pictures_and_of_units():
    assert of_extras({"upscaler_2": "None", "gfpgan_visibility": 0}) == []
    assert of_extras({"upscaler_2": "Lanczos"}) == ["Not done here: upscaler_2."]
    assert of_unit({"control_mode": "Balanced", "mask": None, "hr_option": "Both"}) == []
    assert of_unit({"control_mode": 2}) == ["Not done here: ControlNet/control_mode."]
