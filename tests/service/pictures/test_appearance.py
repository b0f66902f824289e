import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from service.pictures.appearance import PROFILE_IGNORED
from service.pictures.decode import decode
from tests.picture_files import encoded, noise, wish

WHITE = (255, 255, 255)


def colours(data: bytes, **given: object) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(decode(data, wish(**given)).png)))


def first(data: bytes, **given: object) -> tuple[int, ...]:
    return tuple(colours(data, **given)[0, 0].tolist())


# Transparency


def half_clear(mode: str) -> Image.Image:
    """Its left half is clear with something beneath, its right half red, or grey."""
    image = Image.new("RGBA", (8, 8), (1, 2, 3, 0))
    image.paste((200, 0, 0, 255), (4, 0, 8, 8))
    return image.convert(mode)


@pytest.mark.parametrize(
    "data",
    [
        encoded(half_clear("RGBA")),
        encoded(half_clear("LA")),
        encoded(half_clear("RGBA"), "WEBP", lossless=True, exact=True),
        encoded(half_clear("RGBA"), "WEBP", quality=100, exact=True),
        encoded(half_clear("RGB").quantize(4), transparency=bytes([255, 0, 255, 255])),
        encoded(half_clear("RGB").quantize(4), transparency=1),
    ],
    ids=["RGBA", "LA", "WEBP lossless", "WEBP", "palette", "one of a palette"],
)
def test_what_is_clear_shows_the_ground_and_not_what_lies_beneath(data):
    shown = colours(data)
    clear = (shown == 255).all(axis=2)
    assert clear.sum() == 32
    assert (shown[~clear][:, 1] < 90).all()
    assert (colours(data, background="#102030")[clear] == (0x10, 0x20, 0x30)).all()


def png(kind: int, depth: int, clear: bytes, *rows: bytes) -> bytes:
    """A grey (0) or RGB (2) picture of one pixel a row in which one colour is transparent."""

    def chunk(name: bytes, content: bytes) -> bytes:
        check = zlib.crc32(name + content)
        return len(content).to_bytes(4) + name + content + check.to_bytes(4)

    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", 1, len(rows), depth, kind, 0, 0, 0)),
            chunk(b"tRNS", clear),
            chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))),
            chunk(b"IEND", b""),
        ]
    )


@pytest.mark.parametrize(
    ("data", "grey"),
    [
        (png(0, 1, b"\0\1", b"\x80", b"\0"), 0),
        (png(0, 2, b"\0\2", b"\x80", b"\x40"), 85),
        (png(0, 4, b"\0\x0e", b"\xe0", b"\x30"), 51),
        (png(0, 8, b"\0\x07", b"\x07", b"\x08"), 8),
        (png(0, 16, b"\x12\x34", b"\x12\x34", b"\x12\x35"), 0x12),
        (png(2, 8, b"\0\1\0\2\0\3", b"\1\2\3", b"\7\7\7"), 7),
        (png(2, 16, b"\1\1\2\2\3\3", b"\1\1\2\2\3\3", b"\7\7\7\7\7\7"), 7),
    ],
)
def test_one_colour_can_be_clear_at_any_depth(data, grey):
    assert colours(data)[:, 0].tolist() == [[255] * 3, [grey] * 3]


@pytest.mark.parametrize("clear", [b"", b"\1", b"\1\2\3\4\5"])
def test_a_clear_colour_of_too_few_bytes_is_none(clear):
    assert first(png(2, 8, clear, b"\1\2\3")) == (1, 2, 3)


def test_half_clear_is_half_the_ground():
    image = Image.new("RGBA", (2, 2), (200, 100, 0, 128))
    expected = np.array([200, 100, 0]) * 128 / 255 + 255 * 127 / 255
    assert np.abs(np.array(first(encoded(image))) - expected).max() <= 0.5


@given(st.binary(min_size=48, max_size=48), st.integers(0, 255), st.sampled_from(["PNG", "WEBP"]))
def test_files_that_look_alike_become_the_same_picture(hidden, alpha, fmt):
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[1:3, 1:3] = (90, 160, 20, alpha)
    other = pixels.copy()
    other[pixels[..., 3] == 0, :3] = np.frombuffer(hidden, np.uint8).reshape(4, 4, 3)[
        pixels[..., 3] == 0
    ]
    options = {"lossless": True, "exact": True} if fmt == "WEBP" else {}
    one, two = (colours(encoded(Image.fromarray(p), fmt, **options)) for p in (pixels, other))
    assert (one == two).all()
    flat = Image.alpha_composite(Image.new("RGBA", (4, 4), WHITE), Image.fromarray(pixels))
    assert np.abs(one.astype(int) - np.asarray(flat.convert("RGB"))).max() <= 1


def test_sixteen_bits_are_scaled_and_not_clipped():
    dark = Image.new("I;16", (4, 4), 40 * 256 + 200)
    assert first(encoded(dark)) == (40, 40, 40)


# Orientation

AS_SEEN = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
TURNED = {
    1: AS_SEEN,
    2: AS_SEEN[:, ::-1],
    3: AS_SEEN[::-1, ::-1],
    4: AS_SEEN[::-1],
    5: AS_SEEN.T,
    6: np.rot90(AS_SEEN),
    7: np.rot90(AS_SEEN, 2).T,
    8: np.rot90(AS_SEEN, -1),
}
"""How a camera stores the same picture, by its EXIF tag."""


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("kind", ["picture", "mask"])
@pytest.mark.parametrize("fmt", ["PNG", "WEBP"])
def test_the_orientation_of_cameras_is_applied(orientation, kind, fmt):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(TURNED[orientation])).convert("RGB")
    options = {"lossless": True} if fmt == "WEBP" else {}
    shown = colours(encoded(stored, fmt, exif=exif, **options), kind=kind)
    assert (shown.reshape(3, 4, -1)[..., 0] == AS_SEEN).all()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("exif", [b"", b"junk", b"Exif\0\0", b"Exif\0\0MM\0*\0\0\xff\xff" * 9])
def test_broken_notes_of_a_camera_harm_nothing(exif):
    for fmt in ("PNG", "JPEG", "WEBP"):
        assert colours(encoded(noise(), fmt, exif=exif)).shape == (32, 32, 3)


# Colour profiles


def profile(*primaries: tuple[float, float], gamma: float, space: bytes = b"RGB ") -> bytes:
    """A matrix profile (ICC.1:2001) of colours whose x and y are given, white D50, or of greys."""
    if space == b"GRAY":
        tags = {b"kTRC": _curve(gamma)}
    else:
        xyz = np.array([(x / y, 1, (1 - x - y) / y) for x, y in primaries]).T
        white = np.array([0.9642, 1, 0.8249])
        d65 = np.array([0.3127 / 0.329, 1, (1 - 0.3127 - 0.329) / 0.329])
        bradford = np.array(
            [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
        )
        adapt = np.linalg.inv(bradford) @ np.diag(bradford @ white / (bradford @ d65)) @ bradford
        matrix = adapt @ (xyz * np.linalg.solve(xyz, d65))
        tags = {name: _xyz(matrix[:, i]) for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
        tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(gamma))
    tags[b"wtpt"] = _xyz((0.9642, 1, 0.8249))
    tags[b"desc"] = b"desc" + bytes(4) + struct.pack(">I", 2) + b"x\0" + bytes(78)
    return _file(space, tags)


def _xyz(values: object) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(struct.pack(">i", round(v * 65536)) for v in values)


def _curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)


def _file(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    at, table, body = 132 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", at + len(body), len(content))
        body += content
    head = struct.pack(">I4sI4s4s4s", at + len(body), b"lcms", 0x02400000, b"mntr", space, b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28)
    head += b"".join(struct.pack(">i", round(v * 65536)) for v in (0.9642, 1, 0.8249))
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
DISPLAY_P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE_RGB = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))


@pytest.mark.parametrize(
    ("primaries", "gamma", "expected"),
    [(ADOBE_RGB, 2.19921875, (231, 57, 34)), (DISPLAY_P3, 2.2, (219, 38, 14))],
)
@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "WEBP"])
def test_colours_are_converted_to_srgb(primaries, gamma, expected, fmt):
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}
    data = encoded(
        Image.new("RGB", (16, 16), (200, 60, 40)),
        fmt,
        icc_profile=profile(*primaries, gamma=gamma),
        **options.get(fmt, {}),
    )
    assert np.abs(np.array(first(data)) - expected).max() <= 2
    assert decode(data, wish()).notes == ()


def test_a_palette_and_what_is_half_clear_have_profiles_too():
    wide = profile(*ADOBE_RGB, gamma=2.2)
    plain = Image.new("RGB", (4, 4), (200, 60, 40))
    whole = first(encoded(plain, icc_profile=wide))
    assert first(encoded(plain.quantize(2), icc_profile=wide)) == whole
    plain.putalpha(255)
    plain.putpixel((3, 3), (0, 0, 0, 0))
    shown = colours(encoded(plain, icc_profile=wide))
    assert tuple(shown[0, 0]) == whole
    assert tuple(shown[3, 3]) == WHITE


def test_greys_are_converted_as_their_profile_says():
    linear = profile(gamma=1.0, space=b"GRAY")
    lighter = first(encoded(Image.new("L", (4, 4), 55), icc_profile=linear))
    assert np.abs(np.array(lighter) - 128).max() <= 2


@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_what_is_srgb_already_keeps_every_bit(mode):
    image = noise().convert(mode)
    tagged = encoded(image, icc_profile=SRGB)
    assert (colours(tagged) == colours(encoded(image))).all()


@pytest.mark.parametrize(
    "broken",
    [
        b"junk",
        SRGB[:200],
        SRGB[:-100],
        profile(gamma=2.2, space=b"GRAY"),
        profile(*DISPLAY_P3, gamma=2.2, space=b"CMYK"),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),
    ],
)
@pytest.mark.parametrize("fmt", ["PNG", "JPEG"])
def test_a_profile_that_cannot_be_used_is_told_and_harms_nothing(broken, fmt):
    data = encoded(noise(), fmt, icc_profile=broken)
    assert decode(data, wish()).notes == (PROFILE_IGNORED,)
    assert (colours(data) == colours(encoded(noise(), fmt))).all()


def test_ink_of_printers_is_read_as_adobe_writes_it():
    data = encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100)
    assert np.abs(np.array(first(data)) - (255, 0, 0)).max() <= 3
