import base64
import io
import random

import pytest
from PIL import Image, PngImagePlugin

from darkroom.errors import InvalidImageError
from service.uploads import InputImages, decode_base64, reencode

LIMIT = 4096


def encoded(image: Image.Image, fmt: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, fmt, **options)
    return file.getvalue()


def decoded(data: bytes) -> Image.Image:
    png, size = reencode(data, LIMIT)
    image = Image.open(io.BytesIO(png))
    assert (image.format, image.mode, image.size) == ("PNG", "RGB", size)
    return image


def noise(size: tuple[int, int] = (32, 32)) -> Image.Image:
    return Image.frombytes("RGB", size, random.Random(0).randbytes(3 * size[0] * size[1]))


@pytest.mark.parametrize(
    ("mode", "fmt"),
    [
        ("1", "PNG"),
        ("L", "PNG"),
        ("P", "PNG"),
        ("LA", "PNG"),
        ("RGBA", "PNG"),
        ("CMYK", "JPEG"),
        ("L", "JPEG"),
        ("RGBA", "WEBP"),
    ],
)
def test_every_kind_of_pixel_becomes_rgb(mode, fmt):
    assert decoded(encoded(Image.new(mode, (8, 6)), fmt)).size == (8, 6)


def test_lossless_pictures_keep_their_pixels():
    for fmt, options in (("PNG", {}), ("WEBP", {"lossless": True})):
        assert decoded(encoded(noise(), fmt, **options)).tobytes() == noise().tobytes()


def test_sixteen_bits_are_scaled_and_not_clipped():
    dark = Image.new("I;16", (4, 4), 40 * 256 + 200)
    assert decoded(encoded(dark, "PNG")).getpixel((0, 0)) == (40, 40, 40)


def test_the_orientation_of_cameras_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decoded(encoded(Image.new("RGB", (10, 20)), "JPEG", exif=exif)).size == (20, 10)


def test_metadata_is_dropped():
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "s3cret")
    exif = Image.Exif()
    exif[0x010E] = "s3cret"
    data = encoded(noise(), "PNG", pnginfo=text, exif=exif, icc_profile=b"s3cret", dpi=(9, 9))
    assert b"s3cret" in data
    png, _ = reencode(data, LIMIT)
    assert b"s3cret" not in png
    assert not Image.open(io.BytesIO(png)).info


def test_of_several_frames_the_first_is_taken():
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "lime", "blue")]
    for fmt in ("PNG", "WEBP"):
        options = {"lossless": True} if fmt == "WEBP" else {}
        data = encoded(frames[0], fmt, save_all=True, append_images=frames[1:], **options)
        assert decoded(data).getpixel((0, 0)) == (255, 0, 0)


def test_too_many_pixels_are_refused_by_the_header():
    for fmt in ("PNG", "JPEG", "WEBP"):
        reencode(encoded(Image.new("RGB", (64, 64)), fmt), LIMIT)
        with pytest.raises(InvalidImageError, match="at most 4096 pixels"):
            reencode(encoded(Image.new("RGB", (65, 64)), fmt), LIMIT)
    bomb = encoded(Image.new("1", (13000, 13000)), "PNG")
    assert len(bomb) < 50_000
    with pytest.raises(InvalidImageError, match="pixels"):
        reencode(bomb, 16_000_000)


@pytest.mark.parametrize("fmt", ["GIF", "BMP", "TIFF", "EPS", "ICO"])
def test_other_formats_are_refused_whatever_they_are_called(fmt):
    with pytest.raises(InvalidImageError, match="PNG, JPEG, WEBP"):
        reencode(encoded(Image.new("RGB", (16, 16)), fmt), LIMIT)


@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "WEBP"])
def test_truncated_pictures_are_refused(fmt):
    data = encoded(noise(), fmt)
    for part in (0, 1, 20, len(data) // 2):
        with pytest.raises(InvalidImageError):
            reencode(data[:part], LIMIT)


@pytest.mark.filterwarnings("ignore")
def test_damage_anywhere_is_refused_or_harmless():
    draw = random.Random(1)
    originals = [encoded(noise(), fmt) for fmt in ("PNG", "JPEG", "WEBP")]
    outcomes = set()
    for _ in range(600):
        data = bytearray(draw.choice(originals))
        for _ in range(draw.randint(1, 4)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        try:
            outcomes.add(reencode(bytes(data), LIMIT)[1])
        except InvalidImageError:
            outcomes.add("refused")
    assert {"refused", (32, 32)} <= outcomes


# JPEGs of many scans

SCAN, COMMENT = b"\xff\xda", b"\xff\xfe"


def progressive(scans: int, size: tuple[int, int] = (32, 32), before: bytes = b"") -> bytes:
    """A picture of so many scans, `before` put in front of each that is added."""
    data = encoded(Image.new("RGB", size), "JPEG", progressive=True, quality=1)
    last = before + data[data.rindex(SCAN) : -2]
    return data[:-2] + last * (scans - data.count(SCAN)) + data[-2:]


def test_a_thousand_scans_of_a_large_picture_are_refused():
    with pytest.raises(InvalidImageError, match="at most 100 scans"):
        reencode(progressive(1000, (4000, 4000)), 16_000_000)


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
@pytest.mark.parametrize("restarts", [0, 1])
def test_usual_jpegs_are_taken(options, restarts):
    data = encoded(noise(), "JPEG", restart_marker_blocks=restarts, **options)
    assert data.count(SCAN) == (10 if options else 1)
    assert decoded(data).size == (32, 32)


def test_as_many_scans_as_may_be_are_taken():
    assert decoded(progressive(100)).size == (32, 32)
    with pytest.raises(InvalidImageError, match="scans"):
        reencode(progressive(101), LIMIT)


@pytest.mark.parametrize(
    "before",
    [
        b"\xff" * 50,  # fill bytes
        b"junk",
        b"\xff\xd3",  # a restart
        b"\xff\xd8",  # a start of image, of which there may be one
        b"\xff\x01",  # a marker without a length
        b"\xff\x00\xff\xff\x00",  # stuffed zeros
        COMMENT + b"\0\x04\xff\xd9",  # what looks like the end of the image
        COMMENT + b"\0\0",  # a length that does not count itself
    ],
)
def test_scans_do_not_hide_behind(before):
    with pytest.raises(InvalidImageError, match="scans"):
        reencode(progressive(101, before=before), LIMIT)


def test_scans_before_the_picture_breaks_off_count():
    for length in (b"", b"\0", b"\xff\xff"):
        with pytest.raises(InvalidImageError, match="scans"):
            reencode(progressive(101)[:-2] + COMMENT + length, LIMIT)
        with pytest.raises(InvalidImageError, match="undamaged"):
            reencode(progressive(99)[:-2] + COMMENT + length, LIMIT)


def test_what_is_not_of_the_picture_does_not_count():
    data = encoded(noise(), "JPEG", progressive=True, comment=SCAN * 200)
    assert decoded(data + bytes(2) + progressive(200)).size == (32, 32)
    album = encoded(noise(), "MPO", save_all=True, append_images=[noise()] * 100)
    assert album.count(SCAN) == 101
    assert decoded(album).size == (32, 32)


def test_a_jpeg_of_countless_segments_is_refused():
    data = encoded(noise(), "JPEG")
    for segment in (COMMENT + b"\0\x02", b"\xff\x01"):
        with pytest.raises(InvalidImageError, match="10000 segments"):
            reencode(data[:2] + segment * 10_000 + data[2:], LIMIT)


def test_text_that_inflates_without_end_is_refused():
    text = PngImagePlugin.PngInfo()
    for number in range(100):
        text.add_text(f"k{number}", "x" * 900_000, zip=True)
    with pytest.raises(InvalidImageError):
        reencode(encoded(noise(), "PNG", pnginfo=text), LIMIT)


def test_base64_and_data_uris_are_read():
    text = base64.b64encode(b"picture!").decode()
    assert decode_base64(text) == b"picture!"
    assert decode_base64(text[:4] + "\r\n" + text[4:] + "\n") == b"picture!"
    assert decode_base64("DATA:image/png;base64," + text) == b"picture!"


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "????",
        "a b=",
        "cGljdHVyZQ",
        "ünïcödé",
        "data:image/png,abc",
        "data:text/html;base64,cGljdHVyZSE=",
        "data:image/png;base64",
        "https://example.org/cat.png",
        "file:///etc/passwd",
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(InvalidImageError, match="data"):
        decode_base64(text)


def test_the_limit_on_decoding_is_given_back(here):
    images = InputImages(here.store, LIMIT)
    for _ in range(5):
        with pytest.raises(InvalidImageError):
            images._store_picture(base64.b64encode(b"no picture").decode())
