"""A picture in two parts against two calls of plain diffusers, and in the company of others."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoPipelineForImage2Image, DiffusionPipeline, EulerDiscreteScheduler
from PIL import Image

from darkroom.errors import Canceled, UnsupportedError
from darkroom.input_images import IMAGE, Place
from darkroom.request import ImageToImage, TextToImage, Upscale
from tests import tiny
from tests import tiny_adapters as shelf
from tests.adapter_kit import control, lora, loras, photo
from tests.gathering import run_all, tick, values
from worker.gathering.gather import Gather
from worker.loading.pipelines import LoadedModel
from worker.loading.schedulers import NOBODY, Look, StepListener
from worker.making import tasks
from worker.making.hires import _enlarge_latents

FAMILIES = ("sd15", "sdxl", "sd3", "flux")
STEPS, STRENGTH, SEED, GUIDANCE = 3, 0.7, 7, 5.0


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[LoadedModel, Path, Gather]]:
    root = tmp_path_factory.mktemp("models")
    made = {}
    for family in FAMILIES:
        gather = Gather()
        made[family] = (tiny.load(family, root / family, gather), root / family, gather)
    return made


def request(model: LoadedModel, **fields: Any) -> TextToImage:
    usual = {
        "task": "text-to-image",
        "model": model.record.name,
        "prompt": "a cat",
        "width": 24,
        "height": 16,
        "num_inference_steps": STEPS,
        "guidance_scale": GUIDANCE,
        "scheduler": model.schedulers.own,
        "seed": SEED,
        "num_images": 2,
        "hires": {"strength": STRENGTH},
    }
    return TextToImage.model_validate(usual | fields)


def made(
    model: LoadedModel, listener: StepListener = NOBODY, **fields: Any
) -> tuple[np.ndarray, ...]:
    with torch.no_grad():
        return tasks.run(request(model, **fields), model, {}, listener).pictures


def generators() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(SEED + index) for index in range(2)]


def by_hand(folder: Path, upscaler: str) -> np.ndarray:
    """Both calls as a person writes them, with diffusers alone."""
    more = {"text_encoder_3": None, "tokenizer_3": None} if folder.name == "sd3" else {}
    first = DiffusionPipeline.from_pretrained(folder, **more)
    if folder.name == "sd15":  # it comes with PLMS, which we mend
        first.scheduler = EulerDiscreteScheduler.from_config(first.scheduler.config)
    second = AutoPipelineForImage2Image.from_pipe(first)
    usual = {
        "prompt": ["a cat"] * 2,
        "num_inference_steps": STEPS,
        "guidance_scale": GUIDANCE,
    }
    size = {"width": 24, "height": 16}
    kind = "latent" if upscaler == "latent" else "pil"
    small = first(**usual, **size, generator=generators(), output_type=kind).images
    if upscaler == "lanczos":
        large: Any = [each.resize((48, 32), Image.Resampling.LANCZOS) for each in small]
    else:
        if small.ndim == 3:
            small = first._unpack_latents(small, 16, 24, first.vae_scale_factor)
        large = torch.nn.functional.interpolate(small, scale_factor=2, mode="bilinear")
    final = {"width": 48, "height": 32} if folder.name in ("sd3", "flux") else {}
    pictures = second(
        **usual,
        **final,
        image=large,
        strength=STRENGTH,
        generator=generators(),
        output_type="np",
    ).images
    return np.round(pictures * 255).astype(np.uint8)


@pytest.mark.parametrize("upscaler", ["latent", "lanczos"])
@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_what_two_calls_of_diffusers_make(family: str, upscaler: str, models: Any) -> None:
    model, folder, _ = models[family]
    more = {"scheduler": "EulerDiscreteScheduler"} if family == "sd15" else {}
    pictures = made(model, hires={"strength": STRENGTH, "upscaler": upscaler}, **more)
    assert [each.shape for each in pictures] == [(32, 48, 3)] * 2
    assert np.abs(np.stack(pictures).astype(int) - by_hand(folder, upscaler)).max() <= 1


class Heard:
    def __init__(self) -> None:
        self.told: list[tuple[int, int]] = []
        self.parts: list[int] = []

    def step(self, i: int, n: int, _: Look, /) -> None:
        self.told.append((i, n))

    def begins(self, part: int, /) -> None:
        self.parts.append(part)


def test_steps_are_told_as_steps_of_both_parts(models: Any) -> None:
    model, *_ = models["sd15"]
    heard = Heard()
    made(model, heard, hires={"strength": 0.5, "num_inference_steps": 4})
    assert heard.told == [(step, 5) for step in range(1, 6)]
    assert heard.parts == [0, 1]
    again = Heard()
    made(model, again, deterministic=True)
    assert again.told == [(step, 10) for step in range(1, 11)]
    assert again.parts == [0, 1] * 2


def test_its_parts_are_joined_with_others_and_its_bits_are_its_seed_s(models: Any) -> None:
    model, _, gather = models["sd15"]
    jobs = {
        "one": request(model, num_images=1),
        "another": request(model, num_images=1, seed=8, scheduler="EulerDiscreteScheduler"),
        "large": request(model, num_images=1, seed=9, width=48, height=32, hires=None),
    }

    def run(name: str) -> tuple[np.ndarray, ...]:
        return tasks.run(jobs[name], model, {}).pictures

    before, joined = gather.forwards, gather.joined_calls
    together = values(run_all(gather, {name: lambda name=name: run(name) for name in jobs}))
    # Steps of the first part, then those of the second, with the job of that size from its second.
    assert gather.joined_calls - joined >= 4
    assert gather.forwards > before
    with torch.no_grad():
        for name in jobs:
            assert np.abs(together[name][0].astype(int) - run(name)[0]).max() <= 1
    sole = {"num_images": 1, "deterministic": True}
    assert np.array_equal(made(model, **sole)[0], made(model, **sole | {"num_images": 2})[0])


@pytest.mark.parametrize("after", [2, 5])
def test_it_is_canceled_in_either_part(after: int, models: Any) -> None:
    model, _, gather = models["sd15"]
    heard = Heard()
    gather.start("mine", lambda: tasks.run(request(model), model, {}, heard))
    while len(heard.told) < after - 1:
        tick(gather)
    gather.throw("mine", Canceled())
    [ended] = gather.take_ended()
    assert isinstance(ended.error, Canceled)
    assert (len(heard.parts) == 2) == (after > STEPS)


def test_controls_and_loras_hold_in_both_parts(tmp_path: Path) -> None:
    shelf.write_lora("sd15", tmp_path / "ink", 0)
    shelf.write_controlnet(tmp_path / "edges", 1)
    adapters = {
        "loras": [lora(tmp_path / "ink", "ink")],
        "controlnets": [{"name": "edges", "source": str(tmp_path / "edges")}],
    }
    model = tiny.load("sd15", tmp_path / "model", Gather(), **adapters)
    one = {"width": 16, "num_images": 1}
    with_edges = request(model, controls=control(), **one)
    with_ink = request(model, loras=loras(ink=1.0), **one)
    pictures = []
    for asked, places in ((with_edges, {Place("controls", 0): photo(3)}), (with_ink, {})):
        for each in (asked, asked.model_copy(update={"controls": (), "loras": ()})):
            with torch.no_grad():
                [picture] = tasks.run(each, model, places).pictures
            pictures.append(picture.tobytes())
    assert pictures[1] == pictures[3]
    assert len(set(pictures)) == 3


@pytest.mark.parametrize("family", ["super-resolution", "upscaler"])
def test_a_model_for_that_enlarges_what_the_first_part_made(
    family: str, models: Any, tmp_path: Path
) -> None:
    model, *_ = models["sd15"]
    larger = tiny.load(family, tmp_path / family, Gather())
    words = {"prompt": "a cat"} if family == "upscaler" else {}
    asked = Upscale(
        task="upscale",
        model=family,
        image="",
        width=96,
        height=64,
        num_inference_steps=2,
        scheduler=larger.schedulers.own,
        seed=SEED,
        num_images=2,
        **words,
    )
    upscaler = tasks.Upscaler(larger, asked)
    heard = Heard()
    hires = {"strength": STRENGTH, "upscaler": family}

    def pictures(**more: Any) -> tuple[np.ndarray, ...]:
        with torch.no_grad():
            wanted = request(model, hires=hires, **more)
            return tasks.run(wanted, model, {}, heard, upscaler=upscaler).pictures

    made_so = pictures()
    assert heard.parts == [0, 1, 2]
    assert heard.told == [(step, 7) for step in range(1, 8)]
    small = made(model, hires=None)
    for index, each in enumerate(made_so):
        alone = asked.model_copy(update={"seed": SEED + index, "num_images": 1})
        begin = {IMAGE: Image.fromarray(small[index])}
        with torch.no_grad():
            [large] = tasks.run(alone, larger, begin).pictures
            assert large.shape == (64, 96, 3)
            final = {"width": 48, "height": 32, "seed": SEED + index, "num_images": 1}
            values = {**request(model, **final).model_dump(), "strength": STRENGTH}
            del values["hires"]
            again = ImageToImage(**values | {"task": "image-to-image", "image": ""})
            begin = {IMAGE: Image.fromarray(large).resize((48, 32), Image.Resampling.LANCZOS)}
            [by_parts] = tasks.run(again, model, begin).pictures
        assert np.abs(each.astype(int) - by_parts).max() <= 1
    one_by_one = pictures(deterministic=True)
    assert np.abs(np.stack(one_by_one).astype(int) - np.stack(made_so)).max() <= 1
    with pytest.raises(UnsupportedError, match="is not there to enlarge"):
        made(model, hires=hires)


def test_a_size_that_no_latents_have_is_unsupported() -> None:
    with pytest.raises(UnsupportedError, match="no multiples of 8"):
        _enlarge_latents(torch.zeros(1, 4, 8, 8), None, (64, 64), (100, 100))
