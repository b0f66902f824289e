import io
import random
import tracemalloc
import zlib
from functools import reduce

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from darkroom.errors import InvalidImageError
from service.pictures.decode import decode
from service.pictures.messages import Decoded
from tests.picture_files import encoded, files_of, looks, noise, wish


def shown(data: bytes, **given: object) -> Image.Image:
    """What is kept of a picture."""
    decoded = decode(data, wish(**given))
    image = Image.open(io.BytesIO(decoded.png))
    mode = "L" if given.get("kind") == "mask" else "RGB"
    assert (image.format, image.mode, image.size) == ("PNG", mode, decoded.size)
    return image


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
def test_d2_every_kind_of_pixel_becomes_rgb(mode, fmt):
    assert shown(encoded(Image.new(mode, (8, 6)), fmt)).size == (8, 6)


def test_lossless_pictures_keep_their_pixels():
    for fmt, options in (("PNG", {}), ("WEBP", {"lossless": True})):
        assert shown(encoded(noise(), fmt, **options)).tobytes() == noise().tobytes()


def test_g4_metadata_is_dropped():
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "s3cret")
    exif = Image.Exif()
    exif[0x010E] = "s3cret"
    data = encoded(noise(), pnginfo=text, exif=exif, icc_profile=b"s3cret", dpi=(9, 9))
    assert b"s3cret" in data
    png = decode(data, wish()).png
    assert b"s3cret" not in png
    assert not Image.open(io.BytesIO(png)).info


def test_d2_of_several_frames_the_first_is_taken():
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "lime", "blue")]
    for fmt in ("PNG", "WEBP"):
        options = {"lossless": True} if fmt == "WEBP" else {}
        data = encoded(frames[0], fmt, save_all=True, append_images=frames[1:], **options)
        assert shown(data).getpixel((0, 0)) == (255, 0, 0)


# Size


@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("kind", ["picture", "mask"])
def test_a_picture_larger_than_is_kept_is_shrunk_in_its_shape(fmt, kind):
    decoded = decode(encoded(Image.new("RGB", (300, 200), "white"), fmt), wish(kind=kind))
    assert decoded.size == (78, 52)
    assert decoded.was == (300, 200)
    assert set(Image.open(io.BytesIO(decoded.png)).convert("L").tobytes()) == {255}


def test_what_is_shrunk_shows_nothing_of_what_is_clear():
    cut_out = Image.new("RGBA", (300, 200), (0, 255, 0, 0))
    cut_out.paste((255, 0, 0, 255), (0, 0, 150, 200))
    greens = [(r, g, b) for _, (r, g, b) in shown(encoded(cut_out)).getcolors(5000) if g > b + 1]
    assert greens == []


def test_a_long_picture_is_shrunk_to_the_longest_side():
    decoded = decode(encoded(Image.new("1", (40_000, 20))), wish(max_pixels=16_000_000))
    assert decoded.size == (16_384, 8)


def test_the_size_before_is_told_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    decoded = decode(encoded(Image.new("RGB", (300, 200)), "JPEG", exif=exif), wish())
    assert (decoded.size, decoded.was) == ((52, 78), (200, 300))


def test_d1_too_many_pixels_are_refused_by_the_header():
    for fmt in ("PNG", "JPEG", "WEBP"):
        decode(encoded(Image.new("RGB", (64, 64)), fmt), wish(max_opened_pixels=4096))
        with pytest.raises(InvalidImageError, match="at most 4096 pixels"):
            decode(encoded(Image.new("RGB", (65, 64)), fmt), wish(max_opened_pixels=4096))
    bomb = encoded(Image.new("1", (13000, 13000)))
    assert len(bomb) < 50_000
    with pytest.raises(InvalidImageError, match="pixels"):
        decode(bomb, wish())


def with_chunks(data: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG with more chunks before its pixels."""
    more = b"".join(
        len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)
        for kind, content in chunks
    )
    at = data.index(b"IDAT") - 4
    return data[:at] + more + data[at:]


def test_d1_notes_and_profiles_that_unpack_to_much_are_not_unpacked():
    packed = zlib.compress(bytes(50_000_000))
    bombs = [
        with_chunks(encoded(noise()), *[(b"zTXt", b"a%d\0\0" % n + packed) for n in range(100)]),
        with_chunks(encoded(noise()), (b"iTXt", b"a\0\1\0\0\0" + packed)),
        with_chunks(encoded(noise()), (b"iCCP", b"a\0\0" + packed)),
    ]
    plain = decode(encoded(noise()), wish()).png
    tracemalloc.start()
    try:
        assert [decode(bomb, wish()).png for bomb in bombs] == [plain] * 3
        assert tracemalloc.get_traced_memory()[1] < 40_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "WEBP"])
def test_d2_of_a_file_that_is_two_nothing_is_kept_but_the_picture(fmt):
    html = b"<script>alert(1)</script>"
    png = decode(encoded(noise(), fmt) + html, wish()).png
    assert html not in png
    assert png.endswith(b"IEND\xaeB`\x82")
    with pytest.raises(InvalidImageError):
        decode(html + encoded(noise(), fmt), wish())


def test_pixels_are_announced_before_they_are_decoded():
    announced = []

    def expect(pixels: int) -> None:
        announced.append(pixels)
        raise MemoryError

    with pytest.raises(MemoryError):
        decode(encoded(noise()), wish(), expect)
    assert announced == [1024]


# Damage


@pytest.mark.parametrize("fmt", ["GIF", "BMP", "TIFF", "EPS", "ICO"])
def test_d1_other_formats_are_refused_whatever_they_are_called(fmt):
    with pytest.raises(InvalidImageError, match="PNG, JPEG, WEBP"):
        decode(encoded(Image.new("RGB", (16, 16)), fmt), wish())


@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "WEBP"])
def test_truncated_pictures_are_refused(fmt):
    data = encoded(noise(), fmt)
    for part in (0, 1, 20, len(data) // 2):
        with pytest.raises(InvalidImageError):
            decode(data[:part], wish())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["picture", "mask"])
def test_damage_anywhere_is_refused_or_harmless(kind):
    draw = random.Random(1)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    clear = noise()
    clear.putalpha(Image.linear_gradient("L").resize((32, 32)))
    exif = Image.Exif()
    exif[0x0112] = 6
    originals = [
        *(encoded(noise(), fmt, exif=exif) for fmt in ("PNG", "JPEG", "WEBP")),
        encoded(clear, icc_profile=profile),
        encoded(noise().quantize(16), transparency=3),
        encoded(noise().convert("L"), transparency=3),
        encoded(noise().convert("CMYK"), "JPEG", icc_profile=profile),
    ]
    outcomes = set()
    for _ in range(700):
        data = bytearray(draw.choice(originals))
        for _ in range(draw.randint(1, 4)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        try:
            outcomes.add(decode(bytes(data), wish(kind=kind)).size)
        except InvalidImageError:
            outcomes.add("refused")
    assert {"refused", (32, 32)} <= outcomes


def test_texts_are_read():
    data = encoded(noise())
    text = reduce(bytes.__add__, (b"data:image/png,", *(b"%%%02x" % each for each in data)))
    assert isinstance(decode(text, wish(is_text=True)), Decoded)


# Files that look alike


def outcome(data: bytes, kind: str) -> object:
    try:
        decoded = decode(data, wish(kind=kind))
    except InvalidImageError as error:
        return str(error)
    return decoded.png, decoded.notes


@pytest.mark.parametrize("kind", ["picture", "mask"])
@settings(max_examples=200)
@given(data=st.data())
def test_whatever_program_wrote_it_what_looks_alike_is_the_same(data, kind):
    seen = data.draw(looks(grey=kind == "mask"))
    one, two = (data.draw(files_of(seen)) for _ in range(2))
    assert outcome(one, kind) == outcome(two, kind)


@given(looks().filter(lambda seen: len(set(map(tuple, seen.reshape(-1, 4)))) > 1), st.data())
def test_what_looks_otherwise_is_another_picture(seen, data):
    """Or all could be the same."""
    opaque = seen.copy()
    opaque[..., 3] = 255
    other = opaque.copy()
    other[..., 1] ^= 8
    assert outcome(data.draw(files_of(opaque)), "picture") != outcome(
        data.draw(files_of(other)), "picture"
    )
