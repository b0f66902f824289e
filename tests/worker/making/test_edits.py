"""Pictures edited by an instruction."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from darkroom.errors import UnsupportedError
from darkroom.input_images import MASK, edited
from darkroom.request import Edit
from tests import tiny, tiny_edits
from tests.gathering import run_all, values
from worker.gathering.gather import Gather
from worker.loading.pipelines import LoadedModel
from worker.making import edits, tasks

NOWHERE = "file_" + "0" * 64


class Loaded(dict[str, LoadedModel]):
    """Models by family, each loaded when it is first asked for."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root, self.gathers = root, dict[str, Gather]()

    def __missing__(self, family: str) -> LoadedModel:
        self.gathers[family] = Gather()
        if family in tiny_edits.FAMILIES:
            tiny_edits.write(family, self.root / family)
        self[family] = tiny.load(family, self.root / family, self.gathers[family])
        return self[family]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    with torch.no_grad():
        yield Loaded(tmp_path_factory.mktemp("models"))


def noise(width: int = 32, height: int = 24, seed: int = 1) -> Image.Image:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (height, width, 3), generator=generator, dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


def asked(model: LoadedModel, count: int = 1, **fields: Any) -> Edit:
    usual = {
        "task": "edit",
        "model": model.record.name,
        "prompt": "a cat",
        "width": 32,
        "height": 24,
        "num_inference_steps": 2,
        "guidance_scale": 4.0,
        "scheduler": model.schedulers.own,
        "seed": 3,
        "num_images": 1,
        "images": [NOWHERE] * count,
    }
    return Edit.model_validate(usual | fields)


def made(
    model: LoadedModel,
    request: Edit,
    images: Sequence[Image.Image],
    mask: Image.Image | None = None,
) -> tuple[np.ndarray, ...]:
    given = {edited(index): image for index, image in enumerate(images)}
    if mask is not None:
        given[MASK] = mask
    return tasks.run(request, model, given).pictures


def plain(model: LoadedModel, request: Edit, **call: Any) -> np.ndarray:
    """What the pipeline makes of `call` by itself."""
    pipeline = model.view("edit", request.scheduler)
    generator = torch.Generator().manual_seed(request.seed)
    result = pipeline(
        prompt=request.prompt,
        num_inference_steps=request.num_inference_steps,
        generator=generator,
        output_type="np",
        **call,
    ).images[0]
    return (result * 255).round().astype(np.uint8)


def test_kontext_edits_as_diffusers_does(models):
    model = models["kontext"]
    request = asked(model)
    photo = noise()
    size = {"width": 32, "height": 24, "max_area": 32 * 24, "_auto_resize": False}
    [picture] = made(model, request, [photo])
    assert np.array_equal(picture, plain(model, request, image=photo, guidance_scale=4.0, **size))
    assert not np.array_equal(picture, made(model, request, [noise(seed=2)])[0])


@pytest.mark.parametrize("scale", [None, 3.0])
def test_pix2pix_edits_as_diffusers_does(models, scale):
    model = models["pix2pix"]
    request = asked(model, image_guidance_scale=scale)
    photo = noise()
    [picture] = made(model, request, [photo])
    told = {"image": photo, "guidance_scale": 4.0, "image_guidance_scale": scale or 1.5}
    assert np.array_equal(picture, plain(model, request, **told))


def test_the_picture_has_the_size_that_was_asked_for_whatever_went_in(models):
    for family in ("kontext", "pix2pix"):
        model = models[family]
        [picture] = made(model, asked(model, width=40, height=16), [noise(30, 50)])
        assert picture.shape == (16, 40, 3)


def test_each_picture_of_several_is_what_its_seed_makes_alone(models):
    for family in ("kontext", "pix2pix"):
        model, photo = models[family], noise()
        both = made(model, asked(model, num_images=2, deterministic=True), [photo])
        [second] = made(model, asked(model, seed=4), [photo])
        assert np.array_equal(both[1], second)
        together = made(model, asked(model, num_images=2), [photo])
        assert np.abs(together[1].astype(int) - second).max() <= 1


@pytest.mark.parametrize(("family", "passes"), [("kontext", 2), ("pix2pix", 3)])  # of PNDM
def test_edits_share_passes_and_keep_their_bits(models, family, passes):
    model, gather = models[family], models.gathers[family]
    photos = [noise(seed=seed) for seed in range(3)]

    def job(index):
        return lambda: made(model, asked(model, seed=index), [photos[index]])[0]

    alone = [values(run_all(gather, {0: job(index)}))[0] for index in range(3)]
    before = gather.joined_calls
    together = values(run_all(gather, {index: job(index) for index in range(3)}))
    assert gather.joined_calls - before == passes
    assert all(np.array_equal(together[index], alone[index]) for index in range(3))


def test_what_the_mask_hides_stays_as_it_is(models):
    model, photo = models["kontext"], noise()
    mask = Image.new("L", photo.size)
    mask.paste(255, (8, 8, 16, 16))
    [whole] = made(model, asked(model), [photo])
    [partly] = made(model, asked(model, mask_image=NOWHERE, mask_blur=0), [photo], mask)
    hidden = np.asarray(mask) == 0
    assert np.array_equal(partly[hidden], np.asarray(photo)[hidden])
    assert np.array_equal(partly[~hidden], whole[~hidden])


def test_more_pictures_than_the_model_takes_are_refused(models):
    model = models["kontext"]
    with pytest.raises(UnsupportedError, match="one of the images"):
        made(model, asked(model, 2), [noise(), noise()])


def test_a_picture_of_another_shape_is_brought_to_as_many_pixels(models):
    model = models["kontext"]
    pipeline = model.view("edit", model.schedulers.own)
    told = edits.arguments(asked(model), pipeline, [noise(90, 30)], 4)
    assert told["image"].size == (48, 16)


@pytest.mark.parametrize("family", ["klein", "flux2"])
def test_flux2_edits_several_pictures_as_diffusers_does(models, family):
    model = models[family]
    size = {"width": 64, "height": 64}
    photos = [noise(64, 64), noise(64, 64, seed=2)]
    request = asked(model, 2, **size)
    [picture] = made(model, request, photos)
    assert np.array_equal(picture, plain(model, request, image=photos, guidance_scale=4.0, **size))
    [fewer] = made(model, asked(model, **size), photos[:1])
    assert not np.array_equal(picture, fewer)


def test_pictures_of_a_shape_that_flux2_does_not_take_are_refused_in_its_words(models):
    model = models["klein"]
    with pytest.raises(UnsupportedError, match="at least 64px"):
        made(model, asked(model), [noise()])


def test_pix2pix_of_sdxl_edits_as_diffusers_does(models):
    model, photo = models["sdxl-pix2pix"], noise()
    request = asked(model)
    size = {"width": 32, "height": 24}
    [picture] = made(model, request, [photo])
    assert np.array_equal(picture, plain(model, request, image=photo, guidance_scale=4.0, **size))
