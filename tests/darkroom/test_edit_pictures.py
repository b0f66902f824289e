import pytest

from darkroom.edit_pictures import alike, refusals, unfit
from darkroom.input_images import MASK, edited
from tests.offers import FILE, FLUX2, KONTEXT, UNSEEN, offered

SQUARE = {"task": "edit", "width": 64, "height": 64}


def test_a_picture_is_brought_to_as_many_pixels_in_its_own_shape() -> None:
    assert alike((200, 50), (64, 64), 16) == (128, 32)
    assert alike((1, 100), (64, 64), 16) == (16, 640)


@pytest.mark.parametrize(
    ("picture", "size", "words"),
    [
        ((16, 16), (64, 64), None),  # it is made larger before the pipeline sees it
        ((640, 640), (64, 64), None),
        ((64, 128), (64, 64), "would be brought to 48 x 96, the pixels of the one that is made"),
        ((64, 128), (128, 128), None),
        ((100, 900), (512, 512), "would be brought to 176 x 1536; this model takes sides of at m"),
        ((3, 303), (512, 512), "is no use: one side is more than 100 times the other"),
    ],
)
def test_flux2_takes_what_it_is_brought_to(picture, size, words) -> None:
    told = unfit(picture, size, 16, FLUX2.edit_rules)
    assert told is words or words in told


def test_pictures_are_judged_as_far_as_the_model_is_known() -> None:
    pictures = {edited(0): (64, 64), edited(1): (8, 64), MASK: (1, 900)}
    [error] = refusals(SQUARE, pictures, FLUX2)
    assert (error.pointer, error.code) == ("/images/1", "unfit_picture")
    assert [*refusals(SQUARE, pictures, KONTEXT)] == []
    assert [each.pointer for each in refusals(SQUARE, {edited(2): (1, 900)}, KONTEXT)] == [
        "/images/2"
    ]
    assert [*refusals(SQUARE, {edited(0): (1, 900)}, UNSEEN)] == []
    assert [*refusals(SQUARE | {"width": None}, pictures, FLUX2)] == []
    assert [*refusals({"task": "image-to-image"}, pictures, FLUX2)] == []


def test_a_single_picture_with_a_mask_is_judged_by_the_call_that_paints_within_it() -> None:
    klein = offered("Flux2KleinPipeline", ("text-to-image", "inpaint", "edit"))
    narrow, masked = {edited(0): (8, 70), MASK: (8, 70)}, SQUARE | {"mask_image": FILE}
    assert [*refusals(masked | {"images": [FILE]}, narrow, klein)] == []
    [error] = refusals(masked | {"images": [FILE]}, narrow, FLUX2)
    assert error.pointer == "/images/0"
    assert [*refusals(masked | {"images": [FILE, FILE]}, narrow, klein)] == [error]
    assert [*refusals(SQUARE | {"images": [FILE], "mask_image": None}, narrow, klein)] == [error]
    assert [*refusals(masked | {"images": [FILE]}, {edited(0): (1, 900)}, klein)]
