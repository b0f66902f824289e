"""Copies say what the picture says, in each format, and are no larger than it."""

import io

import pytest
from PIL import Image

from darkroom.encoding import encode
from darkroom.errors import InvalidImageError, UnsupportedError
from darkroom.marks import Marks, Provenance, marks_of
from service.pictures.copies import copied
from service.pictures.messages import CopyWish
from tests.picture_files import encoded, noise

FORMATS = ("png", "jpeg", "webp")
FULL = Provenance("pix", 42, "a cat \u732b", "a cat \u732b\nSteps: 20, Seed: 42", '{"seed":42}')
MINIMAL = Provenance("pix", 42)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("before", FORMATS)
@pytest.mark.parametrize("after", FORMATS)
@pytest.mark.parametrize("told", [FULL, MINIMAL, None], ids=["full", "minimal", "none"])
def test_each_conversion_keeps_what_is_told(before, after, told):
    data = encode(noise((40, 20)), before, 90, told).data
    with opened(copied(data, CopyWish(after, 16))) as copy:
        assert (copy.format, copy.size) == (after.upper(), (16, 8))
        marks = marks_of(copy)
    assert marks.provenance == told
    assert marks.is_made_by_a_model == (told is not None)
    if told is None:
        assert marks == Marks()


def test_a_picture_that_is_no_wider_is_itself():
    data = encode(noise((40, 20)), "jpeg", 50, FULL).data
    assert copied(data, CopyWish("jpeg", 40)) == data
    assert copied(data, CopyWish("jpeg", 2048)) == data
    with opened(copied(data, CopyWish("png", 2048))) as copy:
        assert copy.size == (40, 20)
        assert copy.tobytes() == opened(data).convert("RGB").tobytes()


def test_a_high_picture_keeps_a_row():
    assert opened(copied(encoded(noise((400, 3))), CopyWish("png", 16))).size == (16, 1)


def test_a_jpeg_shows_white_where_a_picture_is_clear():
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert opened(copied(encoded(clear), CopyWish("jpeg", None))).getpixel((4, 4)) == (255,) * 3
    assert opened(copied(encoded(clear), CopyWish("webp", None))).mode == "RGBA"


def test_no_note_is_taken_over_that_darkroom_did_not_write():
    data = encoded(noise(), "JPEG", comment=b"s3cret", dpi=(300, 300), xmp=b"<s3cret/>")
    for after in FORMATS:
        assert b"s3cret" not in copied(data, CopyWish(after, 16))


def test_what_cannot_be_copied():
    with pytest.raises(InvalidImageError, match="damaged"):
        copied(b"junk", CopyWish("png", 16))
    with pytest.raises(UnsupportedError, match="at most 16383"):
        copied(encoded(Image.new("L", (16_384, 1)).convert("RGB")), CopyWish("webp", None))


def test_how_much_is_to_be_done_is_told_first():
    expected: list[int] = []
    copied(encoded(noise((40, 20))), CopyWish("webp", None), expected.append)
    assert expected == [1600]
