from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from darkroom.errors import InvalidOutputError, UnsupportedError
from darkroom.request import ImageToImage, Request, TextToImage
from tests import tiny
from tests.gathering import run_all, values
from worker import tasks
from worker.gather import Gather
from worker.pipelines import LoadedModel
from worker.schedulers import Schedulers


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LoadedModel]:
    return {
        family: tiny.load(family, tmp_path_factory.mktemp(family), Gather())
        for family in tiny.FAMILIES
    }


@pytest.fixture
def model(models: dict[str, LoadedModel]) -> LoadedModel:
    return models["sd15"]


@pytest.fixture
def photo() -> Image.Image:
    values = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (20, 30, 3), generator=values, dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


def request(model: LoadedModel, **fields: Any) -> Request:
    cls = ImageToImage if "strength" in fields else TextToImage
    asked = {
        "task": "image-to-image" if cls is ImageToImage else "text-to-image",
        "model": model.record.name,
        "prompt": "a cat",
        "negative_prompt": "",
        "width": 16,
        "height": 16,
        "num_inference_steps": 3,
        "guidance_scale": 5.0,
        "scheduler": model.schedulers.own,
        "seed": 1,
        "num_images": 1,
        **fields,
    }
    if cls is ImageToImage:
        asked.setdefault("image", "file_" + "0" * 64)
    return cls(**asked)


def made(model: LoadedModel, photo: Image.Image | None = None, **fields: Any) -> tasks.Outcome:
    inputs = {"image": photo} if photo else {}
    with torch.no_grad():
        return tasks.run(request(model, **fields), model, inputs, on_step=lambda *_: None)


def apart(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_every_family_makes_pictures_of_the_size_and_number_asked_for(
    family: str, models: dict[str, LoadedModel], photo: Image.Image
) -> None:
    asked = {"num_images": 2, "width": 24, "height": 16}
    for outcome in (
        made(models[family], **asked),
        made(models[family], photo, strength=0.7, **asked),
    ):
        assert [picture.shape for picture in outcome.pictures] == [(16, 24, 3)] * 2
        assert all(picture.dtype == np.uint8 for picture in outcome.pictures)
        assert apart(*outcome.pictures) > 0
        assert outcome.warnings == ()


@pytest.mark.parametrize("name", Schedulers(tiny.sd15().scheduler).names)
def test_a_seed_makes_the_same_picture_again_with_every_scheduler(
    name: str, model: LoadedModel, photo: Image.Image
) -> None:
    for fields in ({}, {"photo": photo, "strength": 0.7}):
        torch.manual_seed(1)
        first = made(model, scheduler=name, seed=7, **fields)
        torch.manual_seed(2)
        again = made(model, scheduler=name, seed=7, **fields)
        other = made(model, scheduler=name, seed=8, **fields)
        assert apart(first.pictures[0], again.pictures[0]) == 0
        assert apart(first.pictures[0], other.pictures[0]) > 0


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_few_steps_work_with_every_scheduler(
    family: str, steps: int, models: dict[str, LoadedModel]
) -> None:
    for name in models[family].schedulers.names:
        assert made(models[family], scheduler=name, num_inference_steps=steps).pictures


def test_each_picture_of_a_job_is_the_one_its_own_seed_makes(model: LoadedModel) -> None:
    both = made(model, seed=7, num_images=2, scheduler="EulerAncestralDiscreteScheduler")
    second = made(model, seed=8, scheduler="EulerAncestralDiscreteScheduler")
    assert apart(both.pictures[1], second.pictures[0]) <= 1


def test_prompt_negative_prompt_and_guidance_matter(model: LoadedModel) -> None:
    asked = [
        {},
        {"prompt": "a dog"},
        {"negative_prompt": "dark"},
        {"guidance_scale": 9.0},
        {"guidance_scale": 1.0},
    ]
    pictures = [made(model, **fields).pictures[0].tobytes() for fields in asked]
    assert len(set(pictures)) == len(asked)


def test_strength_says_how_much_of_the_picture_stays(
    model: LoadedModel, photo: Image.Image
) -> None:
    start = np.asarray(photo.resize((16, 16), Image.Resampling.LANCZOS))
    kept = made(model, photo, strength=0.0, num_images=2)
    assert [apart(picture, start) for picture in kept.pictures] == [0, 0]
    assert "no step" in kept.warnings[0]
    weak, strong = (
        made(model, photo, strength=strength, num_inference_steps=10).pictures[0]
        for strength in (0.1, 1.0)
    )
    assert apart(weak, strong) > 0


@pytest.mark.parametrize(
    ("name", "fields", "steps"),
    [
        ("DDIMScheduler", {"num_inference_steps": 4}, 4),
        ("PNDMScheduler", {"num_inference_steps": 4}, 4),
        ("HeunDiscreteScheduler", {"num_inference_steps": 4}, 4),
        ("DDIMScheduler", {"num_inference_steps": 10, "strength": 0.35}, 3),
        ("HeunDiscreteScheduler", {"num_inference_steps": 10, "strength": 0.35}, 3),
    ],
)
def test_steps_are_told_one_by_one_up_to_those_that_are_made(
    name: str, fields: dict[str, Any], steps: int, model: LoadedModel, photo: Image.Image
) -> None:
    seen: list[tuple[int, int]] = []
    with torch.no_grad():
        tasks.run(
            request(model, scheduler=name, **fields),
            model,
            {"image": photo},
            on_step=lambda step, of: seen.append((step, of)),
        )
    assert seen == [(step, steps) for step in range(1, steps + 1)]


def test_jobs_run_in_company_on_their_own_schedulers(tmp_path: Path, photo: Image.Image) -> None:
    gather = Gather()
    model = tiny.load("sd15", tmp_path, gather)
    asked = [
        request(model, seed=3, num_inference_steps=4),
        request(model, seed=4, scheduler="HeunDiscreteScheduler", guidance_scale=1.0),
        request(model, seed=5, strength=0.6, num_inference_steps=6, num_images=2),
    ]

    def job(index: int) -> tasks.Outcome:
        return tasks.run(asked[index], model, {"image": photo}, on_step=lambda *_: None)

    with torch.no_grad():
        alone = [job(index) for index in range(3)]
    together = values(run_all(gather, {index: lambda i=index: job(i) for index in range(3)}))
    assert gather.joined_calls >= 3
    for index in range(3):
        pairs = zip(together[index].pictures, alone[index].pictures, strict=True)
        assert all(apart(one, other) <= 1 for one, other in pairs)


def test_a_prompt_longer_than_the_model_reads_is_cut_with_a_warning(model: LoadedModel) -> None:
    long = "cats " * 10
    [warning] = made(model, prompt=long).warnings
    assert warning.startswith("prompt has ")
    assert f"reads the first {tiny.MAX_TOKENS} " in warning
    assert "cats" not in warning
    assert len(made(model, prompt=long, negative_prompt=long).warnings) == 2


def test_what_a_pipeline_does_not_take_is_unsupported(models: dict[str, LoadedModel]) -> None:
    with pytest.raises(UnsupportedError, match="negative_prompt"):
        made(models["lcm"], negative_prompt="dark")


def test_a_size_that_a_pipeline_refuses_is_unsupported(model: LoadedModel) -> None:
    with pytest.raises(UnsupportedError, match="divisible by 8"):
        made(model, width=20)


def test_a_task_that_the_model_does_not_do_is_unsupported(tmp_path: Path) -> None:
    whole = tiny.load("sd15", tmp_path, Gather())
    only = LoadedModel(whole.record, whole.components, {}, whole.schedulers, whole.options)
    with pytest.raises(UnsupportedError, match="text-to-image"):
        made(only)


def test_values_that_are_not_numbers_make_no_picture(tmp_path: Path) -> None:
    broken = tiny.load("sd15", tmp_path, Gather())
    torch.nn.init.constant_(broken.components["unet"].conv_out.weight, torch.nan)
    with pytest.raises(InvalidOutputError, match="not numbers"):
        made(broken)
