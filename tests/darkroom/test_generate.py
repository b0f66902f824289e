"""From options to a request, and where pictures are written."""

import base64
from pathlib import Path

import pytest

from darkroom.generate import Wish


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
    assert base64.b64decode(Wish.of("x", image=str(tmp_path / "a.png")).body["image"]) == b"bytes"
    sent_before = "file_" + "0" * 64
    assert Wish.of("x", image=sent_before).body["image"] == sent_before


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
    [file] = Wish.of(prompt, output=str(tmp_path)).files([5])
    assert file == tmp_path / f"{name}-5.png"


def test_files_of_several_pictures_are_numbered(tmp_path: Path) -> None:
    wish = Wish.of("cat", output=str(tmp_path / "cat.png"))
    assert [f.name for f in wish.files([1, 2])] == ["cat-1.png", "cat-2.png"]
    assert wish.files([1]) == [tmp_path / "cat.png"]
