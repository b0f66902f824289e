import pytest
from PIL import Image

from darkroom.input_images import IMAGE, MASK, control
from darkroom.request import ImageToImage, Inpaint, TextToImage
from worker.making.shapes import stretched

USUAL = {
    "model": "any",
    "prompt": "",
    "width": 64,
    "height": 64,
    "num_inference_steps": 1,
    "scheduler": "DDIMScheduler",
    "seed": 1,
    "num_images": 1,
}
CLASSES = {"text-to-image": TextToImage, "image-to-image": ImageToImage, "inpaint": Inpaint}


def told(task, sizes, **fields):
    """The fields that something is told of."""
    given = {"image": ""} if task != "text-to-image" else {}
    request = CLASSES[task].model_validate(USUAL | {"task": task} | given | fields)
    inputs = {place: Image.new("L", size) for place, size in sizes.items()}
    return [each.partition(":")[0] for each in stretched(request, inputs)]


def test_a_picture_of_other_proportions_is_told_of():
    request = ImageToImage.model_validate(USUAL | {"task": "image-to-image", "image": ""})
    sentence = "image: its 128 x 64 pixels are stretched to the proportions of 64 x 64."
    assert stretched(request, {IMAGE: Image.new("RGB", (128, 64))}) == (sentence,)


@pytest.mark.parametrize("size", [(64, 64), (7, 7), (1000, 1000), (100, 104)])
def test_nothing_is_told_of_proportions_that_stay(size):
    assert told("image-to-image", {IMAGE: size}) == []
    assert told("inpaint", {IMAGE: size, MASK: size}) == []
    assert told("text-to-image", {control(0): size}) == []


def test_masks_are_brought_to_their_picture_and_controls_to_what_is_made():
    assert told("inpaint", {IMAGE: (64, 64), MASK: (64, 128)}) == ["mask_image"]
    assert told("inpaint", {IMAGE: (128, 64), MASK: (256, 128)}) == ["image"]
    flat = {control(0): (9, 9), control(1): (64, 32)}
    assert told("text-to-image", flat) == ["controls/1/image"]


def test_of_a_part_the_whole_picture_counts_and_of_a_padded_one_the_mask_alone():
    wide = {IMAGE: (128, 64), MASK: (128, 64), control(0): (128, 64), control(1): (64, 64)}
    assert told("inpaint", wide, padding_mask_crop=4) == ["controls/1/image"]
    padding = {"left": 64, "right": 0, "top": 0, "bottom": 0}
    assert told("inpaint", {IMAGE: (64, 64)}, width=128, padding=padding) == []
