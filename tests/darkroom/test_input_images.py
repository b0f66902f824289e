"""Input pictures by their places."""

from darkroom.input_images import (
    IMAGE,
    MASK,
    control,
    edited,
    first_of,
    input_images,
    reference,
    with_images,
)
from darkroom.validation import parse
from tests.offers import CAT, CONTROL, FILE, FLUX2, SD


def test_every_picture_of_a_request_is_found_and_put_back():
    body = CAT | {
        "image": FILE,
        "mask_image": FILE,
        "controls": [CONTROL, CONTROL],
        "reference_images": [FILE],
    }
    values = parse(body, SD).values
    places = [IMAGE, MASK, control(0), control(1), reference(0)]
    assert list(input_images(values)) == places
    changed = with_images(values, {place: str(place) for place in places})
    assert input_images(changed) == {place: str(place) for place in places}
    assert changed["controls"][1] == values["controls"][1] | {"image": "controls/1/image"}


def test_a_place_says_where_it_is():
    assert [str(place) for place in (IMAGE, control(2), reference(1))] == [
        "image",
        "controls/2/image",
        "reference_images/1",
    ]


def test_a_request_without_pictures_has_no_places():
    values = parse(CAT, SD).values
    assert input_images(values) == {}
    assert with_images(values, {}) == values


def test_pictures_to_edit_have_places_and_the_first_leads():
    values = parse(CAT | {"images": [FILE, FILE], "mask_image": FILE}, FLUX2).values
    assert set(input_images(values)) == {MASK, edited(0), edited(1)}
    changed = with_images(values, {place: str(place) for place in input_images(values)})
    assert changed["images"] == ["images/0", "images/1"]
    assert first_of(input_images(changed)) == "images/0"
    assert first_of({IMAGE: "image", MASK: "mask"}) == "image"
    assert first_of({MASK: "mask"}) is None
