"""Input pictures by their places."""

from darkroom.input_images import IMAGE, MASK, control, input_images, reference, with_images
from darkroom.validation import parse
from tests.offers import CAT, CONTROL, FILE, SD


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
