import pytest
from jsonschema import Draft202012Validator

from darkroom.cards import Limits
from darkroom.draft import load_request, stored
from darkroom.errors import InvalidRequestError, UnsupportedError
from darkroom.forms import form
from darkroom.model_card import ModelCard
from darkroom.model_record import ModelRecord
from darkroom.offers import Offer, _fields
from darkroom.request import MAX_SEED
from darkroom.tasks import TASKS
from darkroom.validation import completed, parse

CARD = ModelCard(
    name="pix", source="x", limits=Limits(max_size=512, max_pixels=256 * 256, max_steps=100)
)
RECORD = ModelRecord(name="pix", pipeline="StableDiffusionPipeline")
TASKS_HERE = ("text-to-image", "image-to-image")
OFFER = Offer(
    card=CARD,
    fields=tuple((task, _fields(TASKS[task], RECORD)) for task in TASKS_HERE),
    schedulers=("DDIMScheduler", "EulerDiscreteScheduler"),
    scheduler="DDIMScheduler",
    width=64,
    height=64,
    limits=CARD.limits,
    steps=25,
    guidance=7.5,
)
CAT = {"prompt": "a cat"}
IMAGE = {"prompt": "a cat", "image": "file_" + "0" * 64}


def wrong(body: dict) -> list[str]:
    with pytest.raises(InvalidRequestError) as caught:
        parse(body, OFFER)
    return [error.pointer for error in caught.value.errors]


def test_what_is_left_out_is_filled_in():
    request = completed(parse(CAT, OFFER), OFFER, None)
    assert stored(request, OFFER) == {
        "task": "text-to-image",
        "model": "pix",
        "prompt": "a cat",
        "negative_prompt": "",
        "width": 64,
        "height": 64,
        "num_inference_steps": 25,
        "guidance_scale": 7.5,
        "scheduler": "DDIMScheduler",
        "seed": request.seed,
        "num_images": 1,
        "scheduler_options": {
            "sigmas": None,
            "timestep_spacing": None,
            "eta": None,
            "original_inference_steps": None,
        },
        "output": {"format": "png", "quality": 90, "metadata": "full"},
        "deterministic": False,
        "guidance_rescale": 0.0,
        "clip_skip": 0,
    }
    assert 0 <= request.seed < 2**32


def test_a_completed_request_posted_back_stays_as_it_is():
    request = completed(parse(IMAGE, OFFER), OFFER, (100, 50))
    kept = stored(request, OFFER)
    again = completed(parse(kept, OFFER), OFFER, (100, 50))
    assert again == request


def test_an_image_means_image_to_image_and_gives_the_shape():
    request = completed(parse(IMAGE, OFFER), OFFER, (400, 200))
    assert (request.task, request.width, request.height) == ("image-to-image", 88, 64)


@pytest.mark.parametrize("value", [0, -1, 10**9, 2.5, "20", float("nan"), float("inf"), True])
def test_steps_that_are_no_number_of_steps(value):
    assert wrong(CAT | {"num_inference_steps": value}) == ["/num_inference_steps"]


@pytest.mark.parametrize("value", [0, 7, 8193, 100, -64, 64.5, "64", True])
def test_sizes_that_cannot_be(value):
    assert wrong(CAT | {"width": value}) == ["/width"]
    assert wrong(IMAGE | {"height": value})[0].startswith("/height")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("guidance_scale", -1),
        ("guidance_scale", 1000),
        ("guidance_scale", float("nan")),
        ("guidance_scale", float("inf")),
        ("seed", -2),
        ("seed", MAX_SEED + 1),
        ("seed", 1.0),
        ("num_images", 0),
        ("num_images", 9),
        ("scheduler", "Euler?"),
        ("prompt", "x" * 10_000),
        ("prompt", "nul\0"),
        ("prompt", "\x1b[2J"),
        ("prompt", 5),
        ("negative_prompt", "\x85"),
        ("priority", "urgent"),
        ("tags", "cat"),
        ("deadline_s", 0),
        ("metadata", {"a": 1}),
        ("steps", 20),
    ],
)
def test_a_wrong_value_is_named(field, value):
    assert wrong(CAT | {field: value})[0].split("/")[1] == field


def test_the_scheduler_error_lists_the_valid_ones():
    with pytest.raises(InvalidRequestError, match="It has: DDIM, Euler"):
        parse(CAT | {"scheduler": "Foo"}, OFFER)


def test_all_wrong_fields_are_reported_at_once_without_their_values():
    with pytest.raises(InvalidRequestError) as caught:
        parse({"prompt": 5, "seed": "s3cret", "tags": 1, "x~/y": "s3cret"}, OFFER)
    pointers = {error.pointer for error in caught.value.errors}
    assert pointers == {"/prompt", "/seed", "/tags", "/x~0~1y"}
    assert "s3cret" not in str(caught.value)


def test_too_many_pixels():
    assert wrong(CAT | {"width": 512, "height": 512}) == ["/width"]
    parse(CAT | {"width": 512, "height": 128}, OFFER)


def test_a_task_the_model_cannot_do():
    assert wrong(CAT | {"task": "inpaint"}) == ["/task"]
    assert wrong(CAT | {"task": 7}) == ["/task"]


def test_high_guidance_is_accepted_with_a_warning():
    assert "saturated" in parse(CAT | {"guidance_scale": 15.5}, OFFER).warnings[0]
    assert parse(CAT | {"guidance_scale": 15}, OFFER).warnings == ()


def test_a_worker_reads_what_was_stored_and_checks_it_again():
    request = completed(parse(IMAGE, OFFER), OFFER, (64, 64))
    assert load_request(request.model_dump(mode="json")) == request
    with pytest.raises(UnsupportedError):
        load_request({"task": "os.system"})
    with pytest.raises(InvalidRequestError):
        load_request(request.model_dump() | {"seed": "none"})


def test_the_schema_says_what_the_check_does():
    schema = form("text-to-image", OFFER).model_json_schema()
    check = Draft202012Validator(schema)
    assert check.is_valid(CAT)
    assert not check.is_valid(CAT | {"num_inference_steps": 101})
    assert not check.is_valid(CAT | {"scheduler": "Foo"})
    assert not check.is_valid(CAT | {"foo": 1})
    assert schema["properties"]["width"]["default"] == 64
    assert all(field.get("description") for field in schema["properties"].values())


def test_the_side_that_follows_the_image_counts_its_pixels_too():
    wide = parse(IMAGE | {"width": 512}, OFFER)
    tall = Offer(**{**vars(OFFER), "height": 256})
    with pytest.raises(InvalidRequestError, match="65536 pixels"):
        completed(wide, tall, (400, 200))


@pytest.mark.parametrize("field", ["task", "model", "seed", "width", "output", "tags", "loras"])
def test_null_is_the_same_as_left_out(field):
    filled, plain = (parse(body, OFFER) for body in (CAT | {field: None}, CAT))
    assert filled == plain


@pytest.mark.parametrize("field", ["loras", "controls", "reference_images", "tags"])
def test_an_empty_list_is_the_same_as_left_out(field):
    assert parse(CAT | {field: []}, OFFER) == parse(CAT, OFFER)


@pytest.mark.parametrize("seed", [-1, None])
def test_a_seed_that_is_to_be_drawn_is_drawn(seed):
    body = CAT | {"seed": seed}
    drawn = {completed(parse(body, OFFER), OFFER, None).seed for _ in range(5)}
    assert len(drawn) == 5


@pytest.mark.parametrize("seed", [2**31 - 1, 2**31, 2**32 - 1, 2**32, MAX_SEED - 3])
def test_every_picture_has_a_seed_that_can_be_asked_for_again(seed):
    request = completed(parse(CAT | {"seed": seed, "num_images": 4}, OFFER), OFFER, None)
    assert parse(CAT | {"seed": request.seed + 3}, OFFER).values["seed"] == seed + 3


def test_a_seed_from_which_the_last_picture_would_leave_the_range_is_refused():
    assert wrong(CAT | {"seed": MAX_SEED - 2, "num_images": 4}) == ["/seed"]
    assert wrong(CAT | {"seed": 2**63}) == ["/seed"]
    parse(CAT | {"seed": MAX_SEED}, OFFER)


def test_line_breaks_of_all_kinds_are_one_kind():
    values = parse({"prompt": "a\r\nb\rc", "metadata": {"a": "x\r\ny"}}, OFFER)
    assert values.values["prompt"] == "a\nb\nc"
    assert values.options.metadata == {"a": "x\ny"}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"tags": ["a\u202eb"]}, "/tags/0"),
        ({"tags": ["a\nb"]}, "/tags/0"),
        ({"metadata": {"a\u2066": "b"}}, "/metadata/a\u2066"),
        ({"metadata": {"a": "\x9b"}}, "/metadata/a"),
        ({"metadata": {"a": None}}, "/metadata/a"),
    ],
)
def test_tags_and_names_hide_nothing(body, pointer):
    assert wrong(CAT | body) == [pointer]


@pytest.mark.parametrize(
    ("body", "pointer", "most"),
    [
        ({"prompt": "x" * 4001}, "/prompt", 4000),
        ({"tags": ["x" * 65]}, "/tags/0", 64),
        ({"metadata": {"x" * 65: "x"}}, "/metadata/" + "x" * 65, 64),
        ({"metadata": {"a": "\0" * 513}}, "/metadata/a", 512),
    ],
)
def test_text_is_measured_in_characters_before_it_is_read(body, pointer, most):
    with pytest.raises(InvalidRequestError) as caught:
        parse(CAT | body, OFFER)
    [error] = caught.value.errors
    assert (error.pointer, error.code) == (pointer, "too_long")
    assert error.detail == f"May have at most {most} characters."
