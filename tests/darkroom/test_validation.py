"""Requests of every task against what their models take."""

from dataclasses import replace

import pytest
from jsonschema import Draft202012Validator

from darkroom.draft import load_request, stored
from darkroom.forms import form
from darkroom.request import Request
from darkroom.validation import completed, parse
from tests.offers import (
    BARE,
    BOX,
    CAT,
    CONTROL,
    DIT,
    FILE,
    FLUX2,
    GLIGEN,
    KONTEXT,
    LDM,
    PIX2PIX,
    SD,
    SD_UPSCALER,
    UPSCALER,
    USUAL,
    offered,
    wrong,
)

BODIES = [
    ("text-to-image", SD, CAT),
    ("text-to-image", SD, CAT | {"loras": [{"name": "ink"}], "controls": [CONTROL]}),
    ("text-to-image", SD, CAT | {"reference_images": [FILE], "reference_scale": 1}),
    ("image-to-image", SD, CAT | {"image": FILE, "controls": [CONTROL]}),
    ("inpaint", SD, CAT | {"image": FILE, "mask_image": FILE}),
    ("inpaint", SD, CAT | {"image": FILE, "padding": {"left": 16}}),
    ("edit", FLUX2, CAT | {"images": [FILE, FILE]}),
    ("edit", KONTEXT, CAT | {"images": [FILE], "mask_image": FILE}),
    ("edit", PIX2PIX, CAT | {"images": [FILE], "image_guidance_scale": 2.0}),
    ("upscale", UPSCALER, {"image": FILE}),
    ("upscale", SD_UPSCALER, {"image": FILE}),
    ("upscale", SD_UPSCALER, CAT | {"image": FILE, "noise_level": 5}),
    ("layout-to-image", GLIGEN, CAT | {"regions": [BOX]}),
    ("class-to-image", DIT, {"class_label": 3}),
    ("unconditional", LDM, {}),
]


@pytest.mark.parametrize(("task", "terms", "body"), BODIES)
def test_each_task_is_known_by_its_fields_and_comes_back_as_it_was(task, terms, body):
    request = completed(parse(body, terms), terms, (32, 32))
    assert request.task == task
    assert isinstance(request, Request)
    kept = stored(request, terms)
    assert load_request(kept) == request
    again = completed(parse(kept, terms), terms, (32, 32))
    assert stored(again, terms) == kept
    Draft202012Validator(form(task, terms).model_json_schema()).validate(body | kept)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"loras": [{"name": "unknown"}]}, "/loras/0/name"),
        ({"loras": [{"name": "ink", "scale": "1"}]}, "/loras/0/scale"),
        ({"loras": [{"name": "ink", "weight": 1}]}, "/loras/0/weight"),
        ({"loras": "ink"}, "/loras"),
        ({"loras": [{"name": "ink"}] * 9}, "/loras"),
        ({"controls": [CONTROL | {"name": "depth"}]}, "/controls/0/name"),
        ({"controls": [{"name": "canny"}]}, "/controls/0/image"),
        ({"controls": [CONTROL | {"preprocess": "pose"}]}, "/controls/0/preprocess"),
        ({"controls": [CONTROL | {"start": 0.6, "end": 0.5}]}, "/controls/0/end"),
        ({"reference_images": [FILE] * 5}, "/reference_images"),
        ({"reference_scale": 1.1}, "/reference_scale"),
        ({"clip_skip": -1}, "/clip_skip"),
        ({"clip_skip": True}, "/clip_skip"),
        ({"guidance_rescale": float("nan")}, "/guidance_rescale"),
        ({"output": {"format": "gif"}}, "/output/format"),
        ({"output": {"quality": 0}}, "/output/quality"),
        ({"output": "png"}, "/output"),
        ({"deterministic": 1}, "/deterministic"),
        ({"scheduler": "Euler Karras b"}, "/scheduler"),
        ({"scheduler": ["Euler"]}, "/scheduler"),
        ({"scheduler_options": {"sigmas": "linear"}}, "/scheduler_options/sigmas"),
        (
            {"scheduler_options": {"sigmas": "karras"}, "scheduler": "DDIM"},
            "/scheduler_options/sigmas",
        ),
        ({"image": FILE, "mask_image": FILE, "mask_blur": -1}, "/mask_blur"),
        ({"image": FILE, "padding": {"left": 0}}, "/mask_image"),
        (
            {"image": FILE, "mask_image": FILE, "padding": {"top": 8}, "padding_mask_crop": 8},
            "/padding_mask_crop",
        ),
        ({"image": FILE, "padding": {"left": 5000}}, "/padding/left"),
        ({"image": FILE, "padding": {"middle": 1}}, "/padding/middle"),
    ],
)
def test_what_is_wrong_inside_a_field_is_pointed_at(body, pointer):
    assert list(wrong(CAT | body)) == [pointer]


@pytest.mark.parametrize(
    "box", [[0, 0, 1], [0, 0, 0, 1], [0.5, 0, 0.4, 1], [0, 0, 1, 1.1], ["0", 0, 1, 1], "0011"]
)
def test_a_box_that_is_none(box):
    [pointer] = {
        p[: len("/regions/0/box")] for p in wrong(CAT | {"regions": [BOX | {"box": box}]}, GLIGEN)
    }
    assert pointer == "/regions/0/box"


def test_a_class_that_the_model_does_not_know():
    assert list(wrong({"class_label": 10}, DIT)) == ["/class_label"]
    assert list(wrong({}, DIT)) == ["/class_label"]


@pytest.mark.parametrize(
    ("name", "scheduler", "sigmas"),
    [
        ("Euler", "EulerDiscreteScheduler", None),
        ("euler karras", "EulerDiscreteScheduler", "karras"),
        ("DPM++ 2M Karras", "DPMSolverMultistepScheduler", "karras"),
        ("dpmpp_2m", "DPMSolverMultistepScheduler", None),
        ("DDIMScheduler", "DDIMScheduler", None),
    ],
)
def test_schedulers_have_short_names(name, scheduler, sigmas):
    values = parse(CAT | {"scheduler": name}, SD).values
    assert (values["scheduler"], values["scheduler_options"]["sigmas"]) == (scheduler, sigmas)


def test_options_stand_above_what_a_schedulers_name_implies():
    body = CAT | {"scheduler": "Euler Karras", "scheduler_options": {"sigmas": "exponential"}}
    assert parse(body, SD).values["scheduler_options"]["sigmas"] == "exponential"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("loras", [{"name": "ink"}]),
        ("controls", [CONTROL]),
        ("reference_images", [FILE]),
    ],
)
def test_a_field_that_only_another_model_takes_names_that_model(field, value):
    other = replace(SD, card=SD.card.model_copy(update={"name": "able"}))
    [(pointer, detail)] = wrong(CAT | {field: value}, BARE, (BARE, other)).items()
    assert pointer == f"/{field}"
    assert "'stablediffusionpipeline'" in detail
    assert detail.endswith("able.")
    [detail] = wrong(CAT | {field: value}, BARE, (BARE,)).values()
    assert "No model" in detail


def test_a_task_that_only_another_model_does_names_that_model():
    [(pointer, detail)] = wrong({"image": FILE, "task": "upscale"}, SD, (SD, UPSCALER)).items()
    assert pointer == "/task"
    assert detail.endswith("ldmsuperresolutionpipeline.")


@pytest.mark.parametrize("body", [CAT, {"negative_prompt": "x"}, {"guidance_scale": 2.0}])
def test_an_upscaler_without_a_text_encoder_takes_no_words(body):
    assert list(wrong({"image": FILE} | body, UPSCALER)) == [f"/{next(iter(body))}"]


def test_a_field_of_another_task_names_that_task():
    [(pointer, detail)] = wrong(CAT | {"strength": 0.5}).items()
    assert pointer == "/strength"
    assert "image-to-image" in detail
    assert list(wrong(CAT | {"mask_image": FILE})) == ["/image"]


FLOW = offered(
    "StableDiffusion3Pipeline",
    ("text-to-image", "image-to-image"),
    ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler", *USUAL[1:2]),
)


def test_solvers_of_a_flow_take_what_makes_sense_with_them() -> None:
    spacing = {"scheduler": "DPM++ 2M", "scheduler_options": {"timestep_spacing": "trailing"}}
    detail = "DPMSolverMultistepScheduler has no timestep_spacing."
    assert wrong(CAT | spacing, FLOW) == {"/scheduler_options/timestep_spacing": detail}
    assert parse(CAT | spacing, SD).warnings == ()
    heun = {"scheduler": "Flow match Heun", "image": FILE}
    assert "at strength 1" in wrong(CAT | heun, FLOW)["/scheduler"]
    assert parse(CAT | heun | {"strength": 1.0}, FLOW).warnings == ()


def test_solvers_of_a_flow_are_not_judged_by_what_they_do_with_diffusion() -> None:
    few = CAT | {"scheduler": "DPM++ 2M", "num_inference_steps": 1}
    assert parse(few, SD).warnings != ()
    assert parse(few, FLOW).warnings == ()


def test_an_edit_has_at_least_one_picture_and_no_more_than_the_model_works_from():
    assert wrong(CAT | {"images": [FILE] * 2}, KONTEXT) == {
        "/images": "May have at most 1 entry for the model 'fluxkontextpipeline'."
    }
    assert "at most 16 entries" in wrong(CAT | {"images": [FILE] * 17}, FLUX2)["/images"]
    assert list(wrong({"task": "edit"} | CAT, FLUX2)) == ["/images"]
    assert list(wrong(CAT | {"images": []}, FLUX2)) == ["/images"]
    assert list(wrong({"images": [FILE]}, FLUX2)) == ["/prompt"]


def test_a_model_that_edits_says_where_it_wants_its_pictures():
    assert wrong(CAT | {"image": FILE}, KONTEXT)["/task"].endswith("`images`, a list.")
    assert "`images`" not in wrong(CAT | {"image": FILE, "task": "upscale"}, KONTEXT)["/task"]


def test_models_that_could_not_be_loaded_are_not_named_as_those_that_can() -> None:
    broken = replace(SD, error="damaged")
    asked = CAT | {"task": "inpaint", "image": FILE}
    assert "These do: stablediffusionpipeline." in wrong(asked, DIT, (SD, DIT))["/task"]
    assert "No model on offer does." in wrong(asked, DIT, (broken, DIT))["/task"]
