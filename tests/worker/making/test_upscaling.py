"""Pictures that models for that make four times larger."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from darkroom.errors import UnsupportedError
from darkroom.input_images import IMAGE
from darkroom.request import Upscale
from tests import tiny
from worker.gathering.gather import Gather
from worker.loading.pipelines import LoadedModel
from worker.loading.schedulers import NOBODY
from worker.making import tasks
from worker.making.upscaling import enlarge
from worker.making.work import Work

MULTIPLES = {"super-resolution": 2, "upscaler": 4}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LoadedModel]:
    root = tmp_path_factory.mktemp("models")
    return {family: tiny.load(family, root / family, Gather()) for family in MULTIPLES}


def noise(width: int, height: int, seed: int = 1) -> Image.Image:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (height, width, 3), generator=generator, dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


def request(model: LoadedModel, image: Image.Image, **fields: Any) -> Upscale:
    usual = {
        "task": "upscale",
        "model": model.record.name,
        "image": "",
        "width": 4 * image.width,
        "height": 4 * image.height,
        "num_inference_steps": 3,
        "guidance_scale": 5.0,
        "scheduler": model.schedulers.own,
        "seed": 1,
        "num_images": 1,
    }
    return Upscale.model_validate(usual | fields)


def pictures(
    model: LoadedModel, image: Image.Image | None = None, **fields: Any
) -> tuple[np.ndarray, ...]:
    image = image or noise(7, 5)
    with torch.no_grad():
        return tasks.run(request(model, image, **fields), model, {IMAGE: image}).pictures


def apart(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


@pytest.mark.parametrize("family", MULTIPLES)
def test_a_picture_of_any_size_becomes_four_times_larger(
    family: str, models: dict[str, LoadedModel]
) -> None:
    def enlarged(image: Image.Image) -> np.ndarray:
        [large] = pictures(models[family], image)
        assert large.shape == (4 * image.height, 4 * image.width, 3)
        return large

    large = enlarged(noise(7, 5))
    more = ((0, -5 % MULTIPLES[family]), (0, -7 % MULTIPLES[family]), (0, 0))
    repeated = enlarged(Image.fromarray(np.pad(np.asarray(noise(7, 5)), more, mode="edge")))
    assert apart(repeated[:20, :28], large) == 0
    assert apart(enlarged(noise(7, 5, seed=2)), large) > 1


@pytest.mark.parametrize("family", MULTIPLES)
def test_several_pictures_each_become_larger(family: str, models: dict[str, LoadedModel]) -> None:
    model, images = models[family], [noise(7, 5, seed=1), noise(7, 5, seed=2)]
    with torch.no_grad():
        work = Work(request(model, images[0], num_images=2), model, {}, NOBODY)
        larger = enlarge(work, images).pictures
    for index, image in enumerate(images):
        [alone] = pictures(model, image, seed=1 + index)
        assert apart(larger[index], alone) <= 1


def test_prompt_guidance_and_noise_steer_one_that_reads(models: dict[str, LoadedModel]) -> None:
    model = models["upscaler"]
    asked: list[dict[str, Any]] = [
        {"prompt": "a cat"},
        {"prompt": ""},
        {"negative_prompt": "dark"},
        {"prompt": "a (cat:1.4)"},
        {"prompt": "a cat", "guidance_scale": 1.0},
        {"prompt": "a cat", "noise_level": 300},
    ]
    made = [pictures(model, **fields)[0].tobytes() for fields in asked]
    assert len(set(made)) == len(asked)
    weighted = {"prompt": "a (cat:1.4)", "seed": 7}
    both = pictures(model, **weighted, num_images=2)
    assert apart(both[1], pictures(model, **weighted | {"seed": 8})[0]) <= 1


def test_more_noise_than_it_knows_is_unsupported(models: dict[str, LoadedModel]) -> None:
    model = models["upscaler"]
    few = replace(model, options={**model.options, "max_noise_level": 100})
    with pytest.raises(UnsupportedError, match="noise_level"):
        pictures(few, noise_level=101)
