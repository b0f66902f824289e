import io
from typing import Any

import pytest
import torch
from diffusers import FluxPipeline
from PIL import Image

from darkroom.model_record import ModelRecord
from darkroom.request import TextToImage
from tests import tiny
from worker.gathering.gather import Gather
from worker.loading.pipelines import LoadedModel
from worker.loading.preview_colours import colours
from worker.making import tasks
from worker.previews import LONGEST, Previews, previews_of, unpacked

RED_IS_THE_FIRST = ((1.0, 0.0, 0.0, 0.0, 0.0), (0.0,) * 5, (0.0, 0.0, 0.0, 0.0, 0.5))


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    assert image.format == "WEBP"
    return image.convert("RGB")


def test_colours_follow_from_the_latents_of_the_first_picture():
    latents = torch.zeros(2, 4, 8, 8)
    latents[0, 0, :, 4:] = 1.0
    latents[1] = 1.0
    previews = Previews(RED_IS_THE_FIRST, (64, 64), every=1)
    assert previews.take() is None
    previews.see(1, 4, lambda: latents)
    early = previews.take()
    assert (early.step, early.steps, early.size) == (1, 4, (64, 64))
    image = opened(early.data)
    assert image.size == (64, 64)
    left, right = image.getpixel((8, 32)), image.getpixel((56, 32))
    assert max(abs(a - b) for a, b in zip(left, (0, 0, 128), strict=True)) < 24
    assert max(abs(a - b) for a, b in zip(right, (255, 0, 128), strict=True)) < 24


@pytest.mark.parametrize(
    ("size", "shown"), [((2048, 1024), (256, 128)), ((512, 768), (171, 256)), ((64, 32), (64, 32))]
)
def test_no_side_is_longer_than_may_be(size, shown):
    previews = Previews(RED_IS_THE_FIRST, size, every=1)
    latents = torch.rand(1, 4, size[1] // 4, size[0] // 4)
    previews.see(1, 2, lambda: latents)
    early = previews.take()
    assert early.size == opened(early.data).size == shown
    assert max(early.size) <= LONGEST
    assert len(early.data) < 48 * 1024


def test_steps_between_and_the_last_one_are_not_looked_at():
    looked: list[int] = []

    def look(step: int) -> torch.Tensor:
        looked.append(step)
        return torch.zeros(1, 4, 4, 4)

    previews = Previews(RED_IS_THE_FIRST, (32, 32), every=3)
    for step in range(1, 13):
        previews.see(step, 12, lambda step=step: look(step))
        previews.take()
    assert looked == [3, 6, 9]


def test_no_other_is_taken_while_one_is_on_its_way():
    previews = Previews(RED_IS_THE_FIRST, (32, 32), every=1)
    previews.see(1, 4, lambda: torch.zeros(1, 4, 4, 4))
    previews.see(2, 4, lambda: pytest.fail("it waits for who takes it"))
    assert previews.take().step == 1
    assert previews.take() is None
    previews.see(3, 4, lambda: torch.zeros(1, 4, 4, 4))
    assert previews.take().step == 3


@pytest.mark.parametrize(("height", "width"), [(8, 8), (6, 14), (30, 10)])
def test_latents_in_blocks_are_unpacked(height, width):
    latents = torch.rand(2, 16, height, width)
    packed = FluxPipeline._pack_latents(latents, 2, 16, height, width)
    assert torch.equal(unpacked(packed, 16, (8 * width, 8 * height)), latents[0])


def test_latents_that_are_laid_out_otherwise_are_not_shown():
    for shape in ((1, 16, 3, 8, 8), (1, 8, 8, 8), (1, 7, 64), (1, 16, 32), (1, 64)):
        assert unpacked(torch.zeros(shape), 16, (64, 64)) is None, shape
    previews = Previews(RED_IS_THE_FIRST, (64, 64), every=1)
    previews.see(1, 4, lambda: torch.zeros(1, 4, 3, 8, 8))
    assert previews.take() is None


class Showing:
    """Hears of the steps of a job that shows early pictures."""

    def __init__(self, previews: Previews) -> None:
        self.previews, self.seen = previews, []

    def step(self, i: int, n: int, look: Any) -> None:
        self.previews.see(i, n, look)
        if early := self.previews.take():
            self.seen.append(early.step)

    def begins(self, part: int) -> None:
        """It has one."""


@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_the_bits_of_the_picture_are_the_same_with_and_without(family, tmp_path):
    model = tiny.load(family, tmp_path, Gather())
    found = colours(model.components["vae"], "cpu")
    request = TextToImage(
        task="text-to-image",
        model=family,
        prompt="a cat",
        width=32,
        height=16,
        num_inference_steps=4,
        guidance_scale=3.0,
        scheduler=model.schedulers.own,
        seed=1,
        num_images=1,
    )
    listener = Showing(Previews(found, (32, 16), every=1))
    with torch.no_grad():
        plain = tasks.run(request, model, {})
        shown = tasks.run(request, model, {}, listener)
    assert listener.seen == [1, 2, 3]
    assert [each.tobytes() for each in plain.pictures] == [
        each.tobytes() for each in shown.pictures
    ]


def loaded(**known: Any) -> LoadedModel:
    record = ModelRecord(name="pix", preview=RED_IS_THE_FIRST)
    about = {"components": {}, "pipelines": {}, "schedulers": None, "options": {}}
    return LoadedModel(**{"record": record, **about, **known})


@pytest.mark.parametrize(
    ("asked", "shown", "known", "every", "told"),
    [
        (None, "asked", {}, None, None),
        (None, "all", {}, 1, None),
        (0, "all", {}, None, None),
        (3, "asked", {}, 3, None),
        (1, "off", {}, None, "switched off"),
        (None, "off", {}, None, None),
        (1, "asked", {"safety": "a checker"}, None, "checked before"),
        (1, "asked", {"record": ModelRecord(name="pix")}, None, "do not tell colours"),
        (None, "all", {"record": ModelRecord(name="pix")}, None, None),
    ],
)
def test_who_shows_early_pictures_and_who_says_why_not(asked, shown, known, every, told):
    warnings: list[str] = []
    previews = previews_of(asked, (64, 64), loaded(**known), shown, warnings.extend)
    assert (previews and previews._every) == every
    assert [told in each for each in warnings] == ([True] if told else [])
