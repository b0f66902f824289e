"""Requests of every task against what their models take."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from darkroom.catalog import ModelCard, Models
from darkroom.errors import InvalidRequestError
from darkroom.offers import ModelRecord, Offer, offer
from darkroom.request import TASKS, input_images, load_request, with_images
from darkroom.validation import completed, parse, request_class

FILE = "file_" + "0" * 64
SMALL = {"min_size": 8, "max_size": 512, "max_pixels": 256 * 256}


def offered(pipeline: str, tasks: tuple[str, ...], **record: Any) -> Offer:
    card = ModelCard(name=pipeline.lower(), source="x", limits=SMALL)
    known = ModelRecord(
        name=card.name,
        pipeline=pipeline,
        tasks=tasks,
        schedulers=("DDIMScheduler", "DPMSolverMultistepScheduler", "EulerDiscreteScheduler"),
        width=64,
        height=64,
        **record,
    )
    return offer(Models([card], card.name, Path()), card, known)


PROMPTED = ("text-to-image", "image-to-image", "inpaint")
SD = offered(
    "StableDiffusionPipeline",
    PROMPTED,
    loras=("ink", "soft"),
    controlnets=("canny",),
    reference=True,
)
BARE = offered("StableDiffusionPipeline", PROMPTED)
SD3 = offered("StableDiffusion3Pipeline", PROMPTED)
UPSCALER = offered("LDMSuperResolutionPipeline", ("upscale",))
SD_UPSCALER = offered("StableDiffusionUpscalePipeline", ("upscale",))
GLIGEN = offered("StableDiffusionGLIGENPipeline", ("layout-to-image", "text-to-image"))
DIT = offered("DiTPipeline", ("class-to-image",), classes=10)
LDM = offered("LDMPipeline", ("unconditional",))

CAT = {"prompt": "a cat"}
CONTROL = {"name": "canny", "image": FILE, "preprocess": "canny"}
BOX = {"phrase": "a cat", "box": [0.1, 0.1, 0.5, 0.6]}

BODIES = [
    ("text-to-image", SD, CAT),
    ("text-to-image", SD, CAT | {"loras": [{"name": "ink"}], "controls": [CONTROL]}),
    ("text-to-image", SD, CAT | {"reference_images": [FILE], "reference_scale": 1}),
    ("image-to-image", SD, CAT | {"image": FILE, "controls": [CONTROL]}),
    ("inpaint", SD, CAT | {"image": FILE, "mask_image": FILE}),
    ("inpaint", SD, CAT | {"image": FILE, "padding": {"left": 16}}),
    ("upscale", UPSCALER, {"image": FILE}),
    ("upscale", SD_UPSCALER, {"image": FILE}),
    ("upscale", SD_UPSCALER, CAT | {"image": FILE, "noise_level": 5}),
    ("layout-to-image", GLIGEN, CAT | {"regions": [BOX]}),
    ("class-to-image", DIT, {"class_label": 3}),
    ("unconditional", LDM, {}),
]


def wrong(body: dict, terms: Offer = SD, others: tuple[Offer, ...] = ()) -> dict[str, str]:
    with pytest.raises(InvalidRequestError) as caught:
        completed(parse(body, terms, lambda: others).request, terms, (32, 32))
    return {error.pointer: error.detail for error in caught.value.errors}


@pytest.mark.parametrize(("task", "terms", "body"), BODIES)
def test_each_task_is_known_by_its_fields_and_comes_back_as_it_was(task, terms, body):
    request = completed(parse(body, terms).request, terms, (32, 32))
    assert request.task == task
    kept = request.model_dump(mode="json", exclude_unset=True)
    assert load_request(kept) == request
    again = completed(parse(kept, terms).request, terms, (32, 32))
    assert again.model_dump(mode="json", exclude_unset=True) == kept
    Draft202012Validator(request_class(task, terms).model_json_schema()).validate(body | kept)


def test_every_picture_of_a_request_is_found_and_put_back():
    body = CAT | {
        "image": FILE,
        "mask_image": FILE,
        "controls": [CONTROL, CONTROL],
        "reference_images": [FILE],
    }
    request = parse(body, SD).request
    places = [
        "image",
        "mask_image",
        "controls/0/image",
        "controls/1/image",
        "reference_images/0",
    ]
    assert list(input_images(request)) == places
    changed = with_images(request, {place: place for place in places})
    assert input_images(changed) == {place: place for place in places}
    assert changed.controls[1].preprocess == "canny"


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
    request = parse(CAT | {"scheduler": name}, SD).request
    assert (request.scheduler, request.scheduler_options.sigmas) == (scheduler, sigmas)


def test_options_stand_above_what_a_schedulers_name_implies():
    body = CAT | {"scheduler": "Euler Karras", "scheduler_options": {"sigmas": "exponential"}}
    assert parse(body, SD).request.scheduler_options.sigmas == "exponential"


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


def test_an_upscaled_picture_is_four_times_as_large():
    request = completed(parse({"image": FILE}, UPSCALER).request, UPSCALER, (33, 20))
    assert (request.width, request.height) == (132, 80)
    assert list(wrong({"image": FILE, "width": 64}, UPSCALER)) == ["/width"]
    with pytest.raises(InvalidRequestError, match="/image"):
        completed(parse({"image": FILE}, UPSCALER).request, UPSCALER, (129, 1))


def test_a_field_of_another_task_names_that_task():
    [(pointer, detail)] = wrong(CAT | {"strength": 0.5}).items()
    assert pointer == "/strength"
    assert "image-to-image" in detail
    assert list(wrong(CAT | {"mask_image": FILE})) == ["/image"]


def test_padding_counts_to_the_shape():
    body = CAT | {"image": FILE, "padding": {"left": 20, "right": 44}}
    request = completed(parse(body, SD).request, SD, (64, 32))
    assert request.width > 3 * request.height


@pytest.mark.parametrize(("terms", "body"), [(DIT, {"class_label": 1}), (LDM, {})])
def test_models_of_one_size_refuse_another(terms, body):
    request = completed(parse(body, terms).request, terms, None)
    assert (request.width, request.height) == (64, 64)
    assert list(wrong(body | {"width": 128}, terms)) == ["/width"]


# Classes for models


@pytest.fixture
def at_once():
    """Runs a function in twenty threads that begin together; what each call returned."""
    together = threading.Barrier(20)

    def run(function):
        with ThreadPoolExecutor(20) as pool:
            calls = [pool.submit(lambda: (together.wait(20), function())[1]) for _ in range(20)]
            return [call.result() for call in calls]

    return run


def test_threads_that_come_first_share_one_class(at_once):
    for width in range(64, 224, 8):
        fresh = replace(SD, width=width)
        assert len(set(at_once(lambda terms=fresh: request_class("inpaint", terms)))) == 1


def test_what_the_fields_do_not_depend_on_makes_no_other_class():
    usual = request_class("text-to-image", SD)
    moved = SD.card.model_copy(update={"source": "y", "licence": "MIT", "pinned": True})
    fewer = tuple(entry for entry in SD.fields if entry[0] != "inpaint")
    assert request_class("text-to-image", replace(SD, card=moved, fields=fewer)) is usual


@pytest.mark.parametrize("change", [{"width": 128}, {"schedulers": ("DDIMScheduler",)}])
def test_what_they_depend_on_makes_another(change):
    usual = request_class("text-to-image", SD)
    assert request_class("text-to-image", replace(SD, **change)) is not usual


@pytest.mark.parametrize(
    ("terms", "task"),
    [(terms, task) for terms in (SD, SD_UPSCALER, GLIGEN, DIT, LDM) for task in terms.tasks],
)
def test_fields_are_described_as_in_the_task(terms, task):
    shown, whole = (cls.model_json_schema() for cls in (request_class(task, terms), TASKS[task]))
    parts = [(part, whole["$defs"][name]) for name, part in shown.get("$defs", {}).items()]
    for here, there in [(shown, whole), *parts]:
        assert here["description"] == there["description"]
        for name, field in here["properties"].items():
            assert field.get("description") == there["properties"][name].get("description")
