"""Drafts and requests as jobs keep them."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.draft import Draft, load_request, stored
from darkroom.errors import InvalidRequestError, UnsupportedError
from darkroom.input_images import input_images
from darkroom.request import Inpaint, Request, Upscale
from darkroom.tasks import TASKS
from darkroom.validation import completed, filled_in, parse
from tests.offers import BARE, CAT, DIT, FILE, SD, SD3, UNSEEN, UPSCALER

IMAGE = CAT | {"image": FILE}


def through_json(kept):
    return json.loads(json.dumps(kept))


@pytest.mark.parametrize(("body", "terms"), [(CAT, BARE), (IMAGE, SD), ({"image": FILE}, UPSCALER)])
def test_a_draft_comes_back_and_can_be_completed_elsewhere(body, terms):
    draft = parse(body | {"seed": 5}, terms)
    here = completed(draft, terms, (40, 20))
    again = load_request(through_json(stored(draft, terms)))
    if isinstance(again, Draft):
        again = completed(again, terms, (40, 20))
    assert again == here


def test_a_draft_lacks_the_seed_and_what_follows_an_input_picture():
    draft = parse(IMAGE, SD)
    assert isinstance(load_request(through_json(stored(draft, SD))), Draft)
    assert {k for k in ("seed", "width", "height") if draft.values[k] is None} == {
        "seed",
        "width",
        "height",
    }


def test_a_request_keeps_just_the_fields_that_the_model_takes():
    request = completed(parse(CAT, BARE), BARE, None)
    kept = stored(request, BARE)
    assert isinstance(request, Request)
    assert "clip_skip" in kept
    assert not {"loras", "controls", "reference_images", "noise_level"} & kept.keys()
    assert load_request(through_json(kept)) == request


def test_what_is_left_open_is_filled_from_the_model_that_is_known_later():
    early = parse(CAT | {"seed": 1}, BARE)
    open_ = Draft(early.task, early.values | {"num_inference_steps": None, "scheduler": None})
    request = completed(load_request(stored(open_, BARE)), BARE, None)
    assert (request.num_inference_steps, request.scheduler) == (BARE.steps, BARE.scheduler)


def test_a_draft_for_a_model_that_nobody_knows_holds_what_was_given_and_no_guess():
    draft = filled_in(parse(CAT | {"clip_skip": 1, "num_images": 2}, UNSEEN), UNSEEN, None)
    kept = through_json(stored(draft, UNSEEN))
    told = {name: value for name, value in kept.items() if value is not None}
    plain = {"scheduler_options", "output", "deterministic", "num_inference_steps"}
    assert told.keys() - plain == {"task", "model", "prompt", "clip_skip", "num_images", "seed"}
    assert {"width", "height", "scheduler", "guidance_scale"} <= kept.keys()
    request = completed(load_request(kept), SD, None)
    assert (request.width, request.scheduler) == (SD.width, SD.scheduler)
    assert (request.clip_skip, request.num_images, request.seed) == (1, 2, kept["seed"])
    assert request.guidance_scale == SD.guidance


@pytest.mark.parametrize(
    ("body", "image", "open_"),
    [
        (CAT, None, {"width", "height", "scheduler"}),
        (CAT | {"width": 64}, None, {"height", "scheduler"}),
        (IMAGE, (40, 20), {"width", "height", "scheduler"}),
        (IMAGE | {"width": 64, "height": 32, "scheduler": "Euler"}, (40, 20), set()),
        ({"image": FILE, "task": "upscale"}, (40, 20), {"scheduler"}),
        ({"class_label": 5000}, None, {"width", "height", "scheduler"}),
    ],
)
def test_just_what_can_be_known_without_the_model_is_filled_in(body, image, open_):
    draft = filled_in(parse(body, UNSEEN), UNSEEN, image)
    assert isinstance(draft, Draft)
    null = {name for name in ("width", "height", "scheduler") if draft.values[name] is None}
    assert null == open_
    assert draft.values["seed"] is not None
    assert isinstance(load_request(through_json(stored(draft, UNSEEN))), Draft)


def test_fields_that_change_nothing_are_no_hindrance_where_they_are_not_taken():
    request = completed(parse(CAT, SD), SD, None)
    kept = Draft(request.task, through_json(stored(request, SD)))
    assert completed(kept, BARE, None) == request
    with pytest.raises(InvalidRequestError, match="takes no guidance_rescale"):
        completed(parse(CAT | {"guidance_rescale": 0.5}, UNSEEN), SD3, None)


@pytest.mark.parametrize(
    "planted",
    [
        {"width": 100_000, "height": 100_000},
        {"num_inference_steps": 10**9},
        {"num_images": 10**6},
        {"prompt": "x" * 10**6},
        {"scheduler": "os.system"},
        {"scheduler": "FlowMatchEulerDiscreteScheduler"},
        {"guidance_scale": 1e300},
        {"controls": [{"name": "none", "image": FILE}]},
    ],
)
def test_a_whole_request_is_held_to_the_bounds_of_its_model_once_more(planted):
    whole = through_json(stored(completed(parse(CAT, SD), SD, None), SD))
    asked = load_request(whole | planted)
    assert isinstance(asked, Request)
    with pytest.raises(InvalidRequestError) as caught:
        completed(Draft(asked.task, whole | planted), SD, None)
    assert len(str(caught.value)) < 2000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.just(FILE),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)


@given(
    st.sampled_from([*TASKS, "nonsense"]),
    st.dictionaries(
        st.sampled_from([*Inpaint.model_fields, *Upscale.model_fields, "regions", "nonsense"]),
        JSON,
        max_size=4,
    ),
    st.sampled_from([SD, UPSCALER, DIT, BARE]),
)
def test_whatever_is_planted_becomes_a_request_or_an_error_of_ours(task, planted, terms):
    whole = (
        {name: TASKS[task].example.get(name) for name in terms.takes(task)}
        if (task in terms.tasks)
        else {}
    )
    values = {**whole, "model": "m", "width": 64, "height": 64, **planted, "task": task}
    with contextlib.suppress(InvalidRequestError, UnsupportedError):
        asked = load_request(values)
        input_images(values)
        assert isinstance(completed(Draft(asked.task, values), terms, (32, 32)), Request)


@pytest.mark.parametrize("change", [{"seed": "none"}, {"width": 0.5}, {"nonsense": 1}])
def test_what_was_never_written_by_us_is_refused(change):
    request = completed(parse(CAT, BARE), BARE, None)
    with pytest.raises(InvalidRequestError):
        load_request(stored(request, BARE) | change)


def test_a_planted_draft_is_refused_before_it_can_be_completed():
    with pytest.raises(UnsupportedError):
        load_request({"task": "os.system", "seed": None})
    with pytest.raises(InvalidRequestError):
        load_request({"task": "text-to-image", "seed": None, "model": 5})
    with pytest.raises(InvalidRequestError):
        load_request({"task": "text-to-image", "model": "x", "prompt": "a cat"})
    known = stored(parse(CAT, BARE), BARE)
    draft = load_request(known | {"width": 10**9})
    with pytest.raises(InvalidRequestError):
        completed(draft, BARE, None)
    missing = {name: value for name, value in known.items() if name != "height"}
    with pytest.raises(InvalidRequestError):
        load_request(missing)


@pytest.mark.parametrize(
    "change",
    [
        {"controls": 5},
        {"controls": [{"name": "canny"}]},
        {"reference_images": [7]},
        {"image": {"a": 1}},
        {"prompt": 7},
    ],
)
def test_what_a_draft_does_have_is_checked_before_anything_looks_at_it(change):
    known = stored(parse(IMAGE, SD), SD)
    assert isinstance(load_request(known), Draft)
    with pytest.raises(InvalidRequestError):
        load_request(known | change)
