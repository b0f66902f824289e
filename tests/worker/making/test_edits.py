"""Pictures edited by an instruction."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from diffusers import Flux2KleinInpaintPipeline
from diffusers.pipelines.longcat_image import pipeline_longcat_image_edit
from diffusers.pipelines.qwenimage import pipeline_qwenimage_layered
from PIL import Image

from darkroom.errors import UnsupportedError
from darkroom.input_images import IMAGE, MASK, edited
from darkroom.request import Edit, Inpaint
from tests import tiny, tiny_edits
from tests.gathering import run_all, values
from worker.gathering.gather import Gather
from worker.loading.pipelines import LoadedModel
from worker.making import edits, sizes, tasks

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


def plain(model: LoadedModel, request: Edit, task: str = "edit", **call: Any) -> np.ndarray:
    """What the pipeline makes of `call` by itself."""
    pipeline = model.view(task, request.scheduler)
    if hasattr(pipeline, "resolutions"):
        pipeline.resolutions = [(request.width, request.height)]
    given = {
        "prompt": request.prompt,
        "num_inference_steps": request.num_inference_steps,
        "generator": torch.Generator().manual_seed(request.seed),
        "output_type": "np",
    }
    [pictures] = pipeline(**given | call).values()
    return (pictures[0] * 255).round().astype(np.uint8)


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
    model, photo = models["pix2pix"], noise()
    mask = Image.new("L", photo.size)
    mask.paste(255, (8, 8, 16, 16))
    [whole] = made(model, asked(model), [photo])
    [partly] = made(model, asked(model, mask_image=NOWHERE, mask_blur=0), [photo], mask)
    hidden = np.asarray(mask) == 0
    assert np.array_equal(partly[hidden], np.asarray(photo)[hidden])
    assert np.array_equal(partly[~hidden], whole[~hidden])


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("family", ["kontext", "qwen-edit"])
def test_a_mask_is_for_the_network_to_see_where_it_can(models, family):
    model, photo = models[family], noise()
    mask = Image.new("L", photo.size)
    mask.paste(255, (8, 8, 16, 16))
    request = asked(model, mask_image=NOWHERE, mask_blur=0, num_images=2)
    partly = made(model, request, [photo], mask)
    hidden = np.asarray(mask) == 0
    for picture in partly:
        assert np.array_equal(picture[hidden], np.asarray(photo)[hidden])
    [whole] = made(model, asked(model), [photo])
    assert not np.array_equal(partly[0][~hidden], whole[~hidden])
    same = request.model_dump(exclude={"images", "image_guidance_scale", "layers"})
    inpaint = Inpaint.model_validate(same | {"task": "inpaint", "image": NOWHERE})
    pictures = tasks.run(inpaint, model, {IMAGE: photo, MASK: mask}).pictures
    assert np.array_equal(partly, pictures)


def test_kontext_edits_within_a_mask_as_diffusers_does(models):
    model, photo = models["kontext"], noise()
    mask = Image.new("L", photo.size)
    mask.paste(255, (8, 8, 16, 16))
    [picture] = made(model, asked(model, mask_image=NOWHERE, mask_blur=0), [photo], mask)
    size = {"width": 32, "height": 24, "max_area": 32 * 24, "_auto_resize": False}
    told = {"image": photo, "mask_image": mask, "guidance_scale": 4.0, **size}
    painted = plain(model, asked(model), "inpaint", **told)
    assert np.array_equal(picture[8:16, 8:16], painted[8:16, 8:16])
    with pytest.raises(UnsupportedError, match="one of the images"):
        made(model, asked(model, 2, mask_image=NOWHERE), [photo, photo], mask)


def test_klein_edits_one_picture_within_a_mask_as_diffusers_does(models):
    model, photo, size = models["keen-klein"], noise(32, 32), {"width": 32, "height": 32}
    mask = Image.new("L", photo.size)
    mask.paste(255, (8, 8, 24, 24))
    request = asked(model, mask_image=NOWHERE, mask_blur=0, **size)
    [picture] = made(model, request, [photo], mask)
    told = {"image": photo, "mask_image": mask, "strength": 1.0, "guidance_scale": 4.0, **size}
    painted = plain(model, request, "inpaint", **told)
    hidden = np.asarray(mask) == 0
    assert np.array_equal(picture[~hidden], painted[~hidden])
    assert np.array_equal(picture[hidden], np.asarray(photo)[hidden])


def test_klein_begins_with_latents_where_it_would_make_the_picture_smaller(models, monkeypatch):
    """As large as that, a tiny network takes minutes: so the bound is moved."""
    assert "raw_h * raw_w > 1024 * 1024" in inspect.getsource(Flux2KleinInpaintPipeline.__call__)
    model, photo, size = models["keen-klein"], noise(32, 32), {"width": 32, "height": 32}
    mask = Image.new("L", photo.size, 255)
    request = asked(model, mask_image=NOWHERE, num_images=2, **size)
    shown = made(model, request, [photo], mask)
    monkeypatch.setattr(sizes, "MOST_SHOWN", 32 * 32 - 1)
    assert np.array_equal(made(model, request, [photo], mask), shown)


def test_a_mask_is_laid_over_what_klein_makes_of_several(models):
    model, photos = models["klein"], [noise(64, 64), noise(64, 64, seed=2)]
    mask = Image.new("L", (64, 64))
    mask.paste(255, (16, 16, 32, 32))
    size = {"width": 64, "height": 64}
    [whole] = made(model, asked(model, 2, **size), photos)
    masked = asked(model, 2, mask_image=NOWHERE, mask_blur=0, **size)
    [partly] = made(model, masked, photos, mask)
    hidden = np.asarray(mask) == 0
    assert np.array_equal(partly[hidden], np.asarray(photos[0])[hidden])
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


@pytest.mark.parametrize("family", ["klein", "flux2", "z-image-omni"])
def test_small_pictures_are_edited_as_large_ones_where_the_result_is_large_enough(models, family):
    """At least 64 pixels on each side is what their pipelines want of what is brought to them."""
    model = models[family]
    [picture] = made(model, asked(model, width=64, height=64), [noise(8, 8)])
    assert picture.shape == (64, 64, 3)
    for size, (width, height) in {(64, 64): (16, 32), (128, 128): (10, 90)}.items():
        request = asked(model, width=size[0], height=size[1])
        with pytest.raises(UnsupportedError, match="would be brought to"):
            made(model, request, [noise(width, height)])


def test_pix2pix_of_sdxl_edits_as_diffusers_does(models):
    model, photo = models["sdxl-pix2pix"], noise()
    request = asked(model)
    size = {"width": 32, "height": 24}
    [picture] = made(model, request, [photo])
    assert np.array_equal(picture, plain(model, request, image=photo, guidance_scale=4.0, **size))


class Call(NamedTuple):
    """How a pipeline is called to do what a request asks for."""

    size: tuple[int, int]
    pictures: int
    arguments: Callable[[list[Image.Image]], dict[str, Any]]


def one(**more: Any) -> Callable[[list[Image.Image]], dict[str, Any]]:
    return lambda photos: {"image": photos[0], **more}


def several(**more: Any) -> Callable[[list[Image.Image]], dict[str, Any]]:
    return lambda photos: {"image": photos, **more}


TRUE = {"true_cfg_scale": 4.0, "negative_prompt": " "}
SCALE = {"guidance_scale": 4.0}
MARKS = "<img><|image_1|></img> <img><|image_2|></img> a cat"
CALLS = {
    "qwen-edit": Call((32, 24), 1, one(**TRUE)),
    "qwen-edit-plus": Call((32, 24), 2, several(**TRUE)),
    "longcat-edit": Call((32, 24), 1, one(**SCALE)),
    "kandinsky5-edit": Call((48, 32), 1, one(**SCALE)),
    "fibo-edit": Call((48, 32), 2, several(**SCALE, prompt='{"edit_instruction": "a cat"}')),
    "z-image-omni": Call((80, 64), 2, several(**SCALE)),
    "omnigen": Call((48, 32), 2, lambda photos: {"input_images": photos, "prompt": MARKS} | SCALE),
}

SLOW = {"z-image-omni"}
EACH = [pytest.param(name, marks=pytest.mark.long if name in SLOW else ()) for name in CALLS]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_edits.keep_small(monkeypatch)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("family", CALLS)
def test_today_s_editors_edit_as_diffusers_does(models, family, monkeypatch):
    model, (size, count, arguments) = models[family], CALLS[family]
    asks = {"width": size[0], "height": size[1]}
    photos = [noise(*size, seed=seed) for seed in range(1, count + 1)]
    request = asked(model, count, **asks)
    [picture] = made(model, request, photos)
    [other] = made(model, request, [*photos[:-1], noise(*size, seed=9)])
    assert not np.array_equal(picture, other)
    [unguided] = made(model, asked(model, count, guidance_scale=1.0, **asks), photos)
    assert not np.array_equal(picture, unguided)
    if family == "longcat-edit":  # which chooses a size of its own
        monkeypatch.setattr(pipeline_longcat_image_edit, "calculate_dimensions", lambda *_: size)
        asks = {}
    assert np.array_equal(picture, plain(model, request, **asks | arguments(photos)))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("family", EACH)
def test_today_s_editors_make_the_size_that_is_asked_and_each_picture_by_its_seed(models, family):
    model, (size, *_) = models[family], CALLS[family]
    asks = {"width": size[1], "height": size[0]}
    photo = noise(90, 70)
    both = made(model, asked(model, num_images=2, **asks), [photo])
    [second] = made(model, asked(model, seed=4, **asks), [photo])
    assert both[0].shape == second.shape == (size[0], size[1], 3)
    assert np.abs(both[1].astype(int) - second).max() <= 1
    assert not np.array_equal(both[0], both[1])


@pytest.mark.long
def test_qwen_image_edit_makes_the_size_that_is_asked_of_the_real_one(models):
    model = models["qwen-edit-8"]
    asks = {"width": 1024, "height": 1024, "num_inference_steps": 1, "guidance_scale": 1.0}
    [picture] = made(model, asked(model, **asks), [noise(640, 480)])
    assert picture.shape == (1024, 1024, 3)


def test_a_picture_is_taken_apart_into_layers_as_diffusers_does(models, monkeypatch):
    model, photo = models["qwen-layered"], noise(90, 70)
    request = asked(model, layers=3)
    layers = made(model, request, [photo])
    assert [each.shape for each in layers] == [(24, 32, 4)] * 3
    assert len({each.tobytes() for each in layers}) == 3
    monkeypatch.setattr(pipeline_qwenimage_layered, "calculate_dimensions", lambda *_: (32, 24))
    rgba = photo.resize((32, 24), Image.Resampling.LANCZOS).convert("RGBA")
    assert np.array_equal(layers, plain(model, request, image=rgba, layers=3, **TRUE))
    both = made(model, asked(model, layers=3, num_images=2), [photo])
    assert np.array_equal(both[:3], layers)
    assert np.array_equal(both[3:], made(model, asked(model, layers=3, seed=4), [photo]))
    assert len(made(model, asked(model), [photo])) == 4


def test_omnigen_follows_pictures_as_strongly_as_is_asked(models):
    model, size = models["omnigen"], {"width": 48, "height": 32}
    photo, prompt = noise(48, 32), "like <img><|image_1|></img>"
    request = asked(model, prompt=prompt, image_guidance_scale=3.0, **size)
    [picture] = made(model, request, [photo])
    told = {"input_images": [photo], "img_guidance_scale": 3.0, "guidance_scale": 4.0}
    assert np.array_equal(picture, plain(model, request, **size, **told))
    [usual] = made(model, asked(model, prompt=prompt, **size), [photo])
    assert not np.array_equal(picture, usual)


@pytest.mark.parametrize(
    ("family", "prompt", "size", "reason"),
    [
        ("qwen-edit", "a <|image_pad|> cat", (32, 24), "cannot be read beside the pictures"),
        ("kandinsky5-edit", "cat " * 300, (48, 32), "cannot be read beside the pictures"),
        ("omnigen", "like <|image_3|>", (48, 32), "cannot be read beside the pictures"),
        ("longcat-edit", f'say "{"a" * 508}"', (32, 24), "514 tokens; this model reads 512"),
        ("qwen-edit", "a cat", (303, 3), "picture of 303 x 3 is no use"),
    ],
)
def test_what_a_model_cannot_read_is_refused_in_words(models, family, prompt, size, reason):
    model, (width, height) = models[family], CALLS[family].size
    request = asked(model, prompt=prompt, width=width, height=height)
    with pytest.raises(UnsupportedError, match=reason):
        made(model, request, [noise(*size)])


def test_an_instruction_is_made_an_edit_as_json_where_that_is_what_a_model_reads(models):
    model, size = models["fibo-edit"], {"width": 48, "height": 32}
    given = {edited(0): noise(48, 32)}
    plain_words = tasks.run(asked(model, **size), model, given)
    assert any("trained on prompts that are JSON" in each for each in plain_words.warnings)
    as_json = asked(model, prompt='{"edit_instruction": "a cat"}', **size)
    whole = tasks.run(as_json, model, given)
    assert not any("JSON" in each for each in whole.warnings)
    assert np.array_equal(whole.pictures[0], plain_words.pictures[0])


@pytest.mark.usefixtures("small")
def test_nothing_is_said_of_the_end_of_a_prompt_that_is_read_as_a_whole(models):
    model = models["qwen-edit"]
    begun = tasks.run(asked(model, prompt="a" * 600), model, {edited(0): noise()})
    ended = tasks.run(asked(model, prompt="a" * 599 + "b"), model, {edited(0): noise()})
    assert not begun.warnings
    assert not np.array_equal(begun.pictures[0], ended.pictures[0])
