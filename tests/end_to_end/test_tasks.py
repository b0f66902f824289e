"""Every task through HTTP, Redis and a worker, the picture held to what the task promises.

The demo models where they do the task, tiny random ones for the rest.
"""

import base64
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import Image, ImageDraw

from darkroom.provenance import request_of
from tests import tiny, tiny_adapters, tiny_edits, tiny_families
from tests.chaos.spawn import Zygote
from tests.deployment import ROOT, Deployment

FAMILIES = (
    "sd15",
    "sd15-inpaint",
    "sdxl",
    "sdxl-turbo",
    "sd35",
    "flux",
    "kontext",
    "pix2pix",
    "gligen",
    "dit",
    "ldm",
    "upscaler",
)
EDITORS = ("keen-klein", "qwen-layered")
SMALL = "limits = { min_size = 8, max_size = 256, size_multiple = 4 }"


@pytest.fixture(scope="module")
def models_toml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    names = (*FAMILIES, *EDITORS, "kolors")
    cards = [f'[[models]]\nname = "{name}"\nsource = "{name}"\n{SMALL}\n' for name in names]
    for name in FAMILIES:
        tiny.write(name, folder / name)
    for name in EDITORS:
        tiny_edits.write(name, folder / name)
    (folder / "words").mkdir()
    tiny_families.kolors(folder / "words").save_pretrained(folder / "kolors")
    for number, name in enumerate(("ink", "soft")):
        tiny_adapters.write_lora("sd15", folder / name, number)
    tiny_adapters.write_ip_adapter("sd15", folder / "reference", 0)
    tiny_adapters.write_embedding("sd15", folder / "word", 0)
    tiny_adapters.write_controlnet(folder / "net", 0)
    cards[0] += f"""
loras = [{{ name = "ink", source = "ink" }}, {{ name = "soft", source = "soft" }}]
controlnets = [{{ name = "net", source = "net" }}, {{ name = "net2", source = "net" }}]
embeddings = [{{ token = "<word>", source = "word" }}]

[models.ip_adapter]
source = "reference"
weight_name = "{tiny_adapters.IP_ADAPTER}"
image_encoder = "image_encoder"
"""
    cards += [
        f'[[models]]\nname = "{name}"\nsource = "{ROOT / "models" / name}"\n{more}\n'
        for name, more in (
            (
                "emoji",
                f'controlnets = [{{ name = "canny", source = "{ROOT}/models/emoji-canny" }}]\n'
                "defaults = { guidance_scale = 3.0 }\n"
                "limits = { min_size = 32, max_size = 256 }",
            ),
            ("emoji-upscale", "limits = { min_size = 8 }"),
        )
    ]
    (folder / "models.toml").write_text("\n".join(cards))
    return folder / "models.toml"


@pytest.fixture(scope="module")
def darkroom(
    tmp_path_factory: pytest.TempPathFactory, models_toml: Path, zygote: Zygote
) -> Iterator[Deployment]:
    with Deployment(tmp_path_factory.mktemp("tasks"), models_toml, zygote) as deployment:
        deployment.start_api()
        deployment.start_worker()
        yield deployment


def encoded(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def half(mode: str, size: tuple[int, int], left: Any, right: Any) -> Image.Image:
    image = Image.new(mode, size, left)
    ImageDraw.Draw(image).rectangle((size[0] // 2, 0, *size), fill=right)
    return image


def disc() -> Image.Image:
    image = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(image).ellipse((14, 14, 50, 50), fill="red")
    return image


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB")).astype(float)


def made(darkroom: Deployment, body: dict[str, Any]) -> list[Image.Image]:
    job = darkroom.finished(darkroom.submit(**body)["id"])
    assert job["status"] == "succeeded", job["error"]
    pictures = []
    for record in job["images"]:
        pictures.append(Image.open(io.BytesIO(png(darkroom, record))))
        assert pictures[-1].size == (record["width"], record["height"])
    return pictures


def png(darkroom: Deployment, record: dict[str, Any]) -> bytes:
    data: bytes = darkroom.http.get(record["url"]).raise_for_status().content
    return data


Images = list[Image.Image]
Check = Callable[[Images, Images], None]


def of_size(width: int, height: int) -> Check:
    def check(pictures: Images, _: Images) -> None:
        assert {picture.size for picture in pictures} == {(width, height)}

    return check


def anything(pictures: Images, _: Images) -> None:
    """Noise in, something out: a tiny random network promises no more."""
    assert pixels(pictures[0]).std() > 0


def changes(pictures: Images, without: Images) -> None:
    """The field under test makes a difference."""
    assert np.abs(pixels(pictures[0]) - pixels(without[0])).mean() > 0.5


def blue_around(pictures: Images, _: Images) -> None:
    corner = pixels(pictures[0])[:4, :4].mean((0, 1))
    assert corner[2] > corner[0] + 50, corner


def keeps_the_left(pictures: Images, _: Images) -> None:
    left = slice(0, 24), slice(0, 24)
    assert np.array_equal(pixels(pictures[0])[left], pixels(disc())[left])
    assert np.abs(pixels(pictures[0])[:, 40:] - pixels(disc())[:, 40:]).mean() > 20


def keeps_the_middle(pictures: Images, _: Images) -> None:
    middle = pixels(pictures[0])[20:44, 56:72]
    assert pictures[0].size == (128, 64)
    assert np.array_equal(middle, pixels(disc())[20:44, 24:40])


def has_the_edges(pictures: Images, without: Images) -> None:
    """More of the disc's outline than without control."""
    wanted = edges(disc())

    def overlap(picture: Image.Image) -> float:
        return float((edges(picture) & wanted).sum() / wanted.sum())

    assert overlap(pictures[0]) > overlap(without[0])


def edges(image: Image.Image) -> np.ndarray:
    from darkroom.control_maps import canny

    found = pixels(canny(image))[..., 0] > 127
    grown = found.copy()
    for shift in (-1, 1):
        grown |= np.roll(found, shift, 0) | np.roll(found, shift, 1)
    return grown


def enlarges(pictures: Images, _: Images) -> None:
    picture, small = pictures[0], disc().resize((32, 32))
    assert picture.size == (128, 128)
    again = picture.resize((32, 32), Image.Resampling.BOX)
    assert np.abs(pixels(again) - pixels(small)).mean() < 25


DISC = encoded(disc())
SMALL_DISC = encoded(disc().resize((32, 32)))
RIGHT = encoded(half("L", (64, 64), 0, 255))
TINY = encoded(half("RGB", (16, 16), "red", "blue"))
TINY_MASK = encoded(half("L", (16, 16), 0, 255))
CAT = {"prompt": "a cat", "seed": 3, "num_inference_steps": 4}
SQUARE = {"width": 16, "height": 16}
APPLE = {
    "model": "emoji",
    "prompt": "large red apple on a blue background",
    "seed": 1,
    "num_inference_steps": 10,
}
BOX = {"phrase": "a cat", "box": [0.1, 0.1, 0.6, 0.7]}
CANNY = {"name": "canny", "image": DISC, "preprocess": "canny"}
NETS = [{"name": name, "image": TINY, "scale": 1.0} for name in ("net", "net2")]

# task, body, fields to leave out for comparison, what must hold
TABLE: list[tuple[str, dict[str, Any], tuple[str, ...], Check]] = [
    ("text-to-image", APPLE, (), blue_around),
    ("text-to-image", APPLE | {"width": 128, "height": 128}, (), of_size(128, 128)),
    ("text-to-image", APPLE | {"hires": {"upscaler": "lanczos"}}, (), blue_around),
    (
        "text-to-image",
        APPLE | {"width": 32, "height": 32, "hires": {"upscaler": "emoji-upscale"}},
        (),
        blue_around,
    ),
    *(
        ("text-to-image", CAT | SQUARE | {"model": name, "hires": {}}, (), of_size(32, 32))
        for name in ("sd15", "sdxl", "sd35", "flux")
    ),
    *(
        (
            "text-to-image",
            CAT | SQUARE | {"model": name, "scheduler": scheduler},
            ("scheduler",),
            changes,
        )
        for name, scheduler in (("sdxl", "LCM"), ("sd15", "TCD"), ("flux", "UniPC"))
    ),
    *(
        ("text-to-image", CAT | SQUARE | {"model": name}, (), of_size(16, 16))
        for name in ("sd15", "sdxl", "sd35", "flux", "kolors")
    ),
    (
        "text-to-image",
        CAT | {"model": "sdxl-turbo", "num_inference_steps": 1, "guidance_scale": 0.0},
        (),
        of_size(16, 16),
    ),
    ("image-to-image", APPLE | {"image": DISC, "strength": 0.9}, (), blue_around),
    *(
        (
            "image-to-image",
            CAT | {"model": name, "image": TINY, "strength": 0.5},
            ("image", "strength"),
            changes,
        )
        for name in ("sd15", "sdxl", "sd35", "kolors")
    ),
    (
        "inpaint",
        APPLE | {"image": DISC, "mask_image": RIGHT, "mask_blur": 2, "strength": 1.0},
        (),
        keeps_the_left,
    ),
    (
        "inpaint",
        APPLE | {"image": DISC, "padding": {"left": 32, "right": 32}, "width": 128, "height": 64},
        (),
        keeps_the_middle,
    ),
    *(
        (
            "inpaint",
            CAT | {"model": name, "image": TINY, "mask_image": TINY_MASK},
            (),
            of_size(16, 16),
        )
        for name in ("sd15", "sd15-inpaint", "sdxl", "sd35")
    ),
    *(
        (
            "edit",
            CAT | {"model": name, "images": [DISC], "mask_image": RIGHT, "mask_blur": 2},
            (),
            keeps_the_left,
        )
        for name in ("kontext", "keen-klein")
    ),
    (
        "edit",
        CAT | {"model": "pix2pix", "images": [TINY], "image_guidance_scale": 9.0},
        ("image_guidance_scale",),
        changes,
    ),
    ("text-to-image", APPLE | {"controls": [CANNY]}, ("controls",), has_the_edges),
    ("text-to-image", CAT | {"model": "sd15", "controls": NETS}, ("controls",), changes),
    (
        "image-to-image",
        CAT | {"model": "sd15", "image": TINY, "controls": NETS[:1]},
        ("controls",),
        changes,
    ),
    (
        "inpaint",
        CAT | {"model": "sd15", "image": TINY, "mask_image": TINY_MASK, "controls": NETS[:1]},
        ("controls",),
        changes,
    ),
    (
        "text-to-image",
        CAT | {"model": "sd15", "reference_images": [TINY], "reference_scale": 1.0},
        ("reference_images", "reference_scale"),
        changes,
    ),
    (
        "text-to-image",
        CAT | {"model": "sd15", "loras": [{"name": "ink"}, {"name": "soft", "scale": 0.5}]},
        ("loras",),
        changes,
    ),
    ("text-to-image", CAT | {"model": "sd15", "clip_skip": 1}, ("clip_skip",), changes),
    ("text-to-image", CAT | {"model": "sd15", "prompt": "a (cat:1.6)"}, (), of_size(16, 16)),
    ("text-to-image", CAT | {"model": "sd15", "prompt": "a <word> cat"}, (), of_size(16, 16)),
    ("text-to-image", CAT | {"model": "sd15", "prompt": "a cat " * 40}, (), of_size(16, 16)),
    (
        "text-to-image",
        CAT | {"model": "sd15", "scheduler": "DPM++ 2M Karras"},
        ("scheduler",),
        changes,
    ),
    ("upscale", {"model": "emoji-upscale", "image": SMALL_DISC, "seed": 1}, (), enlarges),
    (
        "upscale",
        CAT | {"model": "upscaler", "image": TINY, "noise_level": 5},
        (),
        of_size(64, 64),
    ),
    ("layout-to-image", CAT | {"model": "gligen", "regions": [BOX]}, ("regions",), changes),
    (
        "class-to-image",
        {"model": "dit", "class_label": 3, "seed": 1, "num_inference_steps": 4},
        (),
        anything,
    ),
    (
        "unconditional",
        {"model": "ldm", "seed": 1, "num_inference_steps": 4},
        (),
        anything,
    ),
]


@pytest.mark.parametrize(
    ("task", "body", "left_out", "holds"),
    TABLE,
    ids=[f"{task}-{body['model']}-{i}" for i, (task, body, *_) in enumerate(TABLE)],
)
def test_a_task_keeps_its_promise(
    darkroom: Deployment, task: str, body: dict[str, Any], left_out: tuple[str, ...], holds: Check
) -> None:
    job = darkroom.submit(**body)
    assert job["request"]["task"] == task
    pictures = made(darkroom, body)
    without = pictures
    if left_out:
        without = made(darkroom, {k: v for k, v in body.items() if k not in left_out})
    holds(pictures, without)


def test_a_model_says_how_many_pictures_it_edits_and_refuses_more(darkroom: Deployment) -> None:
    model = darkroom.http.get("/api/v1/models/kontext").raise_for_status().json()
    assert model["max_edited"] == 1
    assert model["schemas"]["edit"]["properties"]["images"]["maxItems"] == 1
    assert darkroom.http.get("/api/v1/models/sd15").json()["max_edited"] is None
    body = {"model": "kontext", "prompt": "a cat", "images": [DISC, "damaged"]}
    answer = darkroom.http.post("/api/v1/jobs", json=body)
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["pointer"] == "/images"
    assert error["detail"] == "May have at most 1 entry for the model 'kontext'."
    answer = darkroom.http.post("/api/v1/jobs", json=body | {"images": ["damaged"]})
    assert answer.status_code == 422
    assert [each["pointer"] for each in answer.json()["errors"]] == ["/images/0"]


def test_an_edit_works_from_each_of_its_pictures_in_their_order(
    darkroom: Deployment, models_toml: Path
) -> None:
    colours = ("red", "blue", "green")
    red, blue, green = (Image.new("RGB", (64, 64), colour) for colour in colours)

    def edit(*images: Image.Image) -> np.ndarray:
        sent = [encoded(image) for image in images]
        return pixels(made(darkroom, CAT | {"model": "keen-klein", "images": sent})[0])

    two = edit(red, blue)
    for others in ((blue, red), (red,), (red, green), (red, blue, green)):
        assert np.abs(edit(*others) - two).mean() > 1
    [plain] = (
        DiffusionPipeline.from_pretrained(models_toml.parent / "keen-klein")(
            image=[red, blue],
            prompt=CAT["prompt"],
            num_inference_steps=CAT["num_inference_steps"],
            generator=torch.Generator().manual_seed(CAT["seed"]),
            width=64,
            height=64,
        )
    ).images
    assert np.abs(pixels(plain) - two).mean() < 0.1


def test_a_picture_is_taken_apart_into_transparent_layers(darkroom: Deployment) -> None:
    body = CAT | {"model": "qwen-layered", "images": [DISC], "layers": 2, "num_images": 2}
    job = darkroom.submit(**body)
    assert job["request"]["layers"] == 2
    layers = made(darkroom, body)
    assert [(each.mode, each.size) for each in layers] == [("RGBA", (64, 64))] * 4
    records = darkroom.finished(job["id"])["images"]
    assert [each["seed"] for each in records] == [3, 3, 4, 4]
    [one, two] = made(darkroom, request_of(png(darkroom, records[2])))
    assert np.array_equal(np.asarray(layers[2]), np.asarray(one))
    assert np.array_equal(np.asarray(layers[3]), np.asarray(two))
    for field, wrong in (("output", {"format": "jpeg"}), ("mask_image", RIGHT)):
        answer = darkroom.http.post("/api/v1/jobs", json=body | {field: wrong})
        assert answer.status_code == 422
        assert "layers" in answer.json()["errors"][0]["detail"]


def test_pictures_of_one_job_are_those_of_its_seeds(darkroom: Deployment) -> None:
    """For tasks whose pipelines know no pictures per prompt."""
    for body in (
        {"model": "dit", "class_label": 3, "num_inference_steps": 4},
        {"model": "ldm", "num_inference_steps": 4},
        {"model": "emoji-upscale", "image": SMALL_DISC, "num_inference_steps": 4},
    ):
        both = made(darkroom, body | {"seed": 5, "num_images": 2})
        [second] = made(darkroom, body | {"seed": 6})
        assert np.abs(pixels(both[1]) - pixels(second)).max() <= tiny.ROUNDING
        assert np.abs(pixels(both[0]) - pixels(second)).max() > tiny.ROUNDING


def test_each_class_is_another_picture(darkroom: Deployment) -> None:
    body = {"model": "dit", "seed": 5, "num_inference_steps": 4, "guidance_scale": 4.0}
    [one], [other] = (made(darkroom, body | {"class_label": label}) for label in (3, 4))
    changes([one], [other])


def test_all_tasks_of_one_model_share_passes(darkroom: Deployment) -> None:
    before = darkroom.worker("worker")["joined_passes"]
    body = CAT | {"model": "sd15", "num_inference_steps": 30}
    bodies = [
        body,
        body | {"image": TINY, "strength": 0.9},
        body | {"image": TINY, "mask_image": TINY_MASK},
        body | {"scheduler": "Euler a", "guidance_scale": 1.0},
    ]
    jobs = [darkroom.submit(**each)["id"] for each in bodies]
    assert {darkroom.finished(job)["status"] for job in jobs} == {"succeeded"}
    darkroom.until(
        lambda: darkroom.worker("worker")["joined_passes"] > before, "the worker has told of them"
    )


def test_what_a_model_cannot_do_is_refused_with_who_can(darkroom: Deployment) -> None:
    for body, pointer, able in (
        ({"model": "flux", "prompt": "x", "controls": NETS[:1]}, "/controls", "sd15"),
        ({"model": "sdxl", "prompt": "x", "loras": [{"name": "ink"}]}, "/loras", "sd15"),
        ({"model": "dit", "task": "inpaint"}, "/task", "emoji"),
        ({"model": "emoji-upscale", "image": TINY, "prompt": "x"}, "/prompt", "upscaler"),
    ):
        answer = darkroom.http.post("/api/v1/jobs", json=body)
        [error] = answer.json()["errors"]
        assert (answer.status_code, error["pointer"]) == (422, pointer)
        assert able in error["detail"]
