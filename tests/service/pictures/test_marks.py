"""What files say, read without decoding a pixel, however they are made."""

import random
import tracemalloc
import zlib
from contextlib import suppress

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from darkroom.encoding import encode
from darkroom.errors import InvalidImageError
from darkroom.marks import Provenance
from service.pictures.marks import LONGEST_TEXT, look
from tests.picture_files import encoded, noise

FULL = Provenance("pix", 42, "a cat", "a cat \u732b\nSteps: 20, Seed: 42", '{"seed":42}')
PLAIN = encoded(noise((8, 4)))


def chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return len(content).to_bytes(4) + kind + content + check.to_bytes(4)


def with_chunks(*chunks: bytes, at_the_end: bool = False) -> bytes:
    at = len(PLAIN) - 12 if at_the_end else 33  # before IEND, or behind IHDR
    return PLAIN[:at] + b"".join(chunks) + PLAIN[at:]


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
def test_what_darkroom_wrote(image_format):
    found = look(encode(noise((8, 4)), image_format, 90, FULL).data)
    assert (found["format"], found["width"], found["height"]) == (image_format, 8, 4)
    assert (found["infotext"], found["exact"]) == (FULL.infotext, FULL.exact)
    assert (found["is_made_by_a_model"], found["model"]) == (True, "pix")
    assert found["software"].startswith("Darkroom ")


def test_a_picture_that_says_nothing():
    found = look(PLAIN)
    assert [name for name, value in found.items() if value] == ["format", "width", "height"]


@pytest.mark.parametrize("at_the_end", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        chunk(b"tEXt", b"parameters\0a \xe4"),
        chunk(b"zTXt", b"parameters\0\0" + zlib.compress(b"a \xe4")),
        chunk(b"iTXt", b"parameters\0\0\0en\0x\0" + "a \xe4".encode()),
        chunk(b"iTXt", b"parameters\0\1\0\0\0" + zlib.compress("a \xe4".encode())),
    ],
)
def test_texts_of_a_png_wherever_they_stand(text, at_the_end):
    assert look(with_chunks(text, at_the_end=at_the_end))["infotext"] == "a \xe4"


def test_the_graph_of_comfyui():
    info = PngInfo()
    info.add_text("prompt", '{"3": {}}')
    info.add_text("workflow", "{}")
    assert look(encoded(noise(), pnginfo=info))["workflow"] == '{"3": {}}'


BOMB = zlib.compress(b"a" * (LONGEST_TEXT + 1))


@pytest.mark.parametrize(
    "hostile",
    [
        chunk(b"zTXt", b"parameters\0\0" + BOMB),
        chunk(b"iTXt", b"parameters\0\1\0\0\0" + BOMB),
        chunk(b"zTXt", b"parameters\0\0" + b"no zlib"),
        chunk(b"zTXt", b"parameters\0\0" + BOMB[:-9]),
        chunk(b"zTXt", b"parameters\0"),
        chunk(b"iTXt", b"parameters\0"),
        chunk(b"iTXt", b"parameters\0\1"),
        chunk(b"tEXt", b"parameters"),
        chunk(b"tEXt", b"parameters\0" + b"a" * (LONGEST_TEXT + 1)),
        chunk(b"iTXt", b"parameters\0\0\0\0\0" + b"a" * (LONGEST_TEXT + 1)),
        chunk(b"tEXt", b"x\0y") * 1000 + chunk(b"zTXt", b"z\0\0" + BOMB) * 1000,
    ],
)
def test_hostile_texts_are_left_out(hostile):
    assert not look(with_chunks(hostile))["infotext"]


def test_what_unpacks_to_much_is_not_unpacked():
    bomb = with_chunks(chunk(b"zTXt", b"parameters\0\0" + zlib.compress(bytes(64 * LONGEST_TEXT))))
    tracemalloc.start()
    try:
        look(bomb)
        assert tracemalloc.get_traced_memory()[1] < 16 * LONGEST_TEXT
    finally:
        tracemalloc.stop()


def test_too_many_chunks_are_refused():
    with pytest.raises(InvalidImageError, match="chunks"):
        look(with_chunks(chunk(b"tEXt", b"") * 50_001))


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
def test_torn_files_are_read_or_refused(image_format):
    """No fault but the one that is told."""
    whole, draw = bytearray(encode(noise((8, 4)), image_format, 90, FULL).data), random.Random(0)
    for _ in range(300):
        torn = bytearray(whole)
        for _ in range(draw.randint(1, 8)):
            torn[draw.randrange(len(torn))] = draw.randrange(256)
        with suppress(InvalidImageError):
            look(bytes(torn[: draw.randint(1, len(torn))]))


@pytest.mark.parametrize("data", [b"", b"junk", b"GIF89a", PLAIN[:20]])
def test_what_is_no_picture(data):
    with pytest.raises(InvalidImageError):
        look(data)


def test_a_large_picture_is_not_opened():
    assert look(encoded(Image.new("1", (30_000, 30_000))))["width"] == 30_000
