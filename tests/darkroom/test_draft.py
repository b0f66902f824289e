"""Drafts and requests as jobs keep them."""

import json

import pytest

from darkroom.draft import Draft, load_request, stored
from darkroom.errors import InvalidRequestError, UnsupportedError
from darkroom.request import Request
from darkroom.validation import completed, parse
from tests.offers import BARE, CAT, FILE, SD, UPSCALER

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
        {"prompt": None},
    ],
)
def test_what_a_draft_does_have_is_checked_before_anything_looks_at_it(change):
    known = stored(parse(IMAGE, SD), SD)
    assert isinstance(load_request(known), Draft)
    with pytest.raises(InvalidRequestError):
        load_request(known | change)
