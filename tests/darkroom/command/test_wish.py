"""From options to a request, and where pictures are written."""

import base64
from pathlib import Path

import pytest
from PIL import Image

from darkroom.command.wish import Wish
from darkroom.encoding import encode
from darkroom.errors import InvalidImageError
from darkroom.job import ImageRecord
from darkroom.provenance import describe


def test_what_is_left_out_is_left_to_the_service() -> None:
    assert Wish.of("cat", seed=None, num_images=1).body == {"prompt": "cat", "num_images": 1}


@pytest.mark.parametrize(
    ("size", "width", "height"), [("64x32", 64, 32), ("48", 48, 48), ("8X16", 8, 16)]
)
def test_size(size: str, width: int, height: int) -> None:
    body = Wish.of("cat", size=size).body
    assert (body["width"], body["height"]) == (width, height)


@pytest.mark.parametrize("size", ["", "x", "64x", "x64", "64*64", "-1x4", "6.5", "64x64x64", "٤"])
def test_wrong_size(size: str) -> None:
    with pytest.raises(ValueError, match="--size"):
        Wish.of("cat", size=size)


def test_image_is_read_or_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"bytes")
    body = Wish.of("x", images=[str(tmp_path / "a.png")]).body
    assert base64.b64decode(body["image"]) == b"bytes"
    for named in ("file_" + "0" * 64, "img_" + "0" * 32, "https://host/a.png"):
        assert Wish.of("x", images=[named]).body["image"] == named


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("A cat, sleeping", "a-cat-sleeping"),
        ("../../etc/passwd", "etc-passwd"),
        ("猫", "猫"),
        ("!?", "picture"),
        ("word " * 100, "word-" * 12),
    ],
)
def test_chosen_names_stay_in_the_folder(prompt: str, name: str, tmp_path: Path) -> None:
    [file] = Wish.of(prompt, output=str(tmp_path)).files(made(5))
    assert file == tmp_path / f"{name}-5.png"


def test_files_of_several_pictures_are_numbered(tmp_path: Path) -> None:
    wish = Wish.of("cat", output=str(tmp_path / "cat.png"))
    assert [f.name for f in wish.files(made(1, 2))] == ["cat-1.png", "cat-2.png"]
    assert wish.files(made(1)) == [tmp_path / "cat.png"]


def test_chosen_names_end_as_their_format_does(tmp_path: Path) -> None:
    wish = Wish.of("cat", output=str(tmp_path), image_format="jpeg")
    assert wish.body["output"] == {"format": "jpeg"}
    files = wish.files(made(1, image_format="jpeg") + made(2, image_format="webp"))
    assert [f.name for f in files] == ["cat-1.jpg", "cat-2.webp"]
    numbered = Wish.of("cat", output=str(tmp_path / "cat")).files(made(1, 2, image_format="webp"))
    assert [f.name for f in numbered] == ["cat-1.webp", "cat-2.webp"]


@pytest.mark.parametrize(
    ("output", "image_format"),
    [("a.jpg", "jpeg"), ("b/A.JPEG", "jpeg"), ("a.webp", "webp"), ("a.png", "png")],
)
def test_a_file_has_the_format_of_its_name(output: str, image_format: str) -> None:
    assert Wish.of("cat", output=output).body["output"] == {"format": image_format}
    other = "webp" if image_format == "png" else "png"
    with pytest.raises(ValueError, match=f"is to hold {image_format}, but the format is {other}"):
        Wish.of("cat", output=output, image_format=other)


@pytest.mark.parametrize("output", [None, "-", "folder/", "folder.b/", "cat"])
def test_a_name_without_a_format_asks_for_none(output: str | None) -> None:
    assert "output" not in Wish.of("cat", output=output).body


@pytest.mark.parametrize("output", ["a.b", "cat.gif", "x/cat.tiff", "cat.png.txt"])
def test_the_ending_of_no_format_is_refused(output: str) -> None:
    with pytest.raises(ValueError, match=r"pictures end in \.jpeg, \.jpg, \.png, \.webp"):
        Wish.of("cat", output=output)


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
def test_a_picture_can_be_asked_for_again(image_format: str, tmp_path: Path) -> None:
    request = {
        "prompt": "猫",
        "model": "pix",
        "width": 8,
        "height": 8,
        "num_inference_steps": 3,
        "scheduler": "DDIMScheduler",
        "seed": 4,
        "num_images": 2,
        "output": {"format": image_format, "quality": 90, "metadata": "full"},
    }
    file = tmp_path / "picture"
    image, told = Image.new("RGB", (8, 8)), describe(request, 1, "full")
    file.write_bytes(encode(image, image_format, 90, told).data)
    again = request | {"seed": 5, "num_images": 1}
    assert Wish.of(None, replay=str(file)).body == again
    changed = Wish.of("dog", replay=str(file), size="16", output="x.webp", num_inference_steps=4)
    assert changed.body == again | {
        "prompt": "dog",
        "width": 16,
        "height": 16,
        "num_inference_steps": 4,
        "output": {"format": "webp", "quality": 90, "metadata": "full"},
    }


def test_what_does_not_say_how_it_was_made_cannot_be_asked_for_again(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no picture")
    with pytest.raises(InvalidImageError):
        Wish.of(None, replay=str(tmp_path / "text"))
    with pytest.raises(ValueError, match="--replay"):
        Wish.of(None, replay=str(tmp_path / "missing"))


def made(*seeds: int, image_format: str = "png") -> list[ImageRecord]:
    about = {"url": "/", "width": 8, "height": 8, "bytes": 1, "sha256": "0"}
    return [ImageRecord(id="i", seed=seed, format=image_format, **about) for seed in seeds]


def test_every_picture_of_a_request_comes_from_a_file(tmp_path: Path) -> None:
    files = {name: str(tmp_path / f"{name}.png") for name in ("mask", "edges", "style")}
    for name, file in files.items():
        Path(file).write_text(name)
    wish = Wish.of(
        "cat",
        images=["file_" + "0" * 64],
        mask=files["mask"],
        controls=[f"canny={files['edges']}"],
        preprocess="canny",
        references=[files["style"]],
    )
    assert base64.b64decode(wish.body["mask_image"]) == b"mask"
    [control] = wish.body["controls"]
    assert (control["name"], control["preprocess"]) == ("canny", "canny")
    assert base64.b64decode(control["image"]) == b"edges"
    assert base64.b64decode(wish.body["reference_images"][0]) == b"style"


def test_several_pictures_are_edited_and_one_where_that_is_asked_for() -> None:
    first, second = (f"file_{digit * 64}" for digit in "01")
    assert Wish.of("cat", images=[first, second]).body["images"] == [first, second]
    asked = Wish.of("cat", images=[first], mask=second, task="edit").body
    assert asked == {"prompt": "cat", "task": "edit", "images": [first], "mask_image": second}


def test_any_field_can_be_set() -> None:
    fields = ["clip_skip=1", "scheduler_options.sigmas=karras", 'tags=["a"]', "output.quality=80"]
    body = Wish.of("cat", loras=["ink:0.5", "soft"], image_format="webp", fields=fields).body
    assert body == {
        "prompt": "cat",
        "loras": [{"name": "ink", "scale": 0.5}, {"name": "soft"}],
        "clip_skip": 1,
        "scheduler_options": {"sigmas": "karras"},
        "tags": ["a"],
        "output": {"format": "webp", "quality": 80},
    }


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"controls": ["canny"]}, "--control"),
        ({"controls": ["canny=nowhere.png"]}, "--control nowhere.png"),
        ({"loras": ["ink:much"]}, "--lora"),
        ({"fields": ["clip_skip"]}, "--field"),
        ({"mask": "nowhere.png"}, "--mask"),
        ({"references": ["nowhere.png"]}, "--reference"),
        ({"preprocess": "canny"}, "--preprocess needs --control"),
        ({"images": ["ftp://host/a.png"]}, "nothing is fetched from such a URL; name a file$"),
        ({"images": [f"http://host/api/v1/images/img_{'0' * 32}"]}, "its id: img_00000"),
    ],
)
def test_a_wrong_option_is_named(options: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Wish.of("cat", **options)
