import pytest

from darkroom.hires import Hires
from darkroom.job_options import JobOptions
from darkroom.near_names import ELSEWHERE, did_you_mean, meant_by
from darkroom.request import Output
from darkroom.request_parts import Control, Lora, Padding, Region
from darkroom.schedulers import SchedulerOptions
from darkroom.tasks import TASKS

FIELDS = {name for row in TASKS.values() for name in row.request.model_fields}
QUERY = {"limit", "cursor", "status", "wait"}
KNOWN = FIELDS | set(JobOptions.model_fields)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("steps", "num_inference_steps"),
        ("sampling_steps", "num_inference_steps"),
        ("cfg_scale", "guidance_scale"),
        ("cfgScale", "guidance_scale"),
        ("CFG Scale", "guidance_scale"),
        ("guidance", "guidance_scale"),
        ("sampler_name", "scheduler"),
        ("n", "num_images"),
        ("num_outputs", "num_images"),
        ("size", "width and height"),
        ("denoising_strength", "strength"),
        ("init_image", "image"),
        ("mask", "mask_image"),
        ("negative", "negative_prompt"),
        ("numInferenceSteps", "num_inference_steps"),
        ("num-inference-steps", "num_inference_steps"),
        ("SEED", "seed"),
        ("promt", "prompt"),
        ("heigth", "height"),
        ("tag", "tags"),
        ("format", "output.format"),
        ("karras", "scheduler_options.sigmas"),
        ("eta", "scheduler_options.eta"),
        ("enable_hr", "hires"),
        ("hr_upscaler", "hires.upscaler"),
    ],
)
def test_names_of_other_programs_and_slips_of_the_pen(name, meant):
    assert meant_by(name, KNOWN) == meant


@pytest.mark.parametrize("name", ["k1", "foo", "", "__proto__", "\0", "x" * 10_000, "steps" * 20])
def test_no_guess_is_better_than_a_wild_one(name):
    assert meant_by(name, KNOWN) is None
    assert did_you_mean(name, KNOWN) == ""


def test_what_is_meant_is_a_name_that_there_is():
    parts = (Control, Hires, Lora, Output, Padding, Region, SchedulerOptions)
    nested = {name for part in parts for name in part.model_fields}
    for their, ours in ELSEWHERE.items():
        assert their not in FIELDS - {"strength"}, "nobody is told to write what is right"
        for name in ours:
            head, _, tail = name.partition(".")
            assert head in KNOWN | nested | QUERY
            assert tail in {"", *nested}
