import zlib

import pytest
from PIL import Image, PngImagePlugin

from darkroom.errors import InvalidImageError
from service.pictures.decode import decode
from service.pictures.files import MAX_CHUNKS, MAX_PROFILE, opened
from tests.picture_files import encoded, noise, wish

SCAN, COMMENT = b"\xff\xda", b"\xff\xfe"


def read(data: bytes, **given: object) -> tuple[int, int]:
    return decode(data, wish(**given)).size


# JPEGs of many scans


def progressive(scans: int, size: tuple[int, int] = (32, 32), before: bytes = b"") -> bytes:
    """A picture of so many scans, `before` put in front of each that is added."""
    data = encoded(Image.new("RGB", size), "JPEG", progressive=True, quality=1)
    last = before + data[data.rindex(SCAN) : -2]
    return data[:-2] + last * (scans - data.count(SCAN)) + data[-2:]


def test_a_thousand_scans_of_a_large_picture_are_refused():
    with pytest.raises(InvalidImageError, match="at most 100 scans"):
        opened(progressive(1000, (4000, 4000)))


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
@pytest.mark.parametrize("restarts", [0, 1])
def test_usual_jpegs_are_taken(options, restarts):
    data = encoded(noise(), "JPEG", restart_marker_blocks=restarts, **options)
    assert data.count(SCAN) == (10 if options else 1)
    assert read(data) == (32, 32)


def test_as_many_scans_as_may_be_are_taken():
    assert read(progressive(100)) == (32, 32)
    with pytest.raises(InvalidImageError, match="scans"):
        opened(progressive(101))


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
        opened(progressive(101, before=before))


def test_scans_before_the_picture_breaks_off_count():
    for length in (b"", b"\0", b"\xff\xff"):
        with pytest.raises(InvalidImageError, match="scans"):
            opened(progressive(101)[:-2] + COMMENT + length)
        with pytest.raises(InvalidImageError, match="undamaged"):
            read(progressive(99)[:-2] + COMMENT + length)


def test_what_is_not_of_the_picture_does_not_count():
    data = encoded(noise(), "JPEG", progressive=True, comment=SCAN * 200)
    assert read(data + bytes(2) + progressive(200)) == (32, 32)
    album = encoded(noise(), "MPO", save_all=True, append_images=[noise()] * 100)
    assert album.count(SCAN) == 101
    assert read(album) == (32, 32)


def test_a_jpeg_of_countless_segments_is_refused():
    data = encoded(noise(), "JPEG")
    for segment in (COMMENT + b"\0\x02", b"\xff\x01"):
        with pytest.raises(InvalidImageError, match="10000 segments"):
            opened(data[:2] + segment * 10_000 + data[2:])


# PNGs with much beside their pixels

HEADER_END = 33


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    check = zlib.crc32(kind + content)
    return len(content).to_bytes(4) + kind + content + check.to_bytes(4)


def with_chunks(*chunks: bytes) -> bytes:
    data = encoded(noise())
    return data[:HEADER_END] + b"".join(chunks) + data[HEADER_END:]


@pytest.mark.parametrize("kind", ["zTXt", "iTXt", "tEXt", "iCCP"])
def test_notes_and_profiles_that_unpack_to_megabytes_harm_nothing(kind):
    text, options = PngImagePlugin.PngInfo(), {}
    if kind == "iTXt":
        text.add_itxt("workflow", "x" * 2_000_000, zip=True)
    elif kind == "iCCP":
        options = {"icc_profile": bytes(2_000_000)}
    else:
        text.add_text("workflow", "x" * 2_000_000, zip=kind == "zTXt")
    data = encoded(noise(), pnginfo=text, **options)
    assert kind.encode() in data
    assert read(data) == (32, 32)


def test_notes_are_never_unpacked():
    packed = b"workflow\0\0" + zlib.compress(bytes(10**8), 9)
    data = with_chunks(*[chunk(b"zTXt", packed)] * 100)
    assert opened(data).data == encoded(noise())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"name",
        b"name\0\0",
        b"name\0\0no zlib",
        b"name\0\0" + zlib.compress(bytes(100))[:-6],
        b"name\0\0" + zlib.compress(bytes(MAX_PROFILE + 1)),
    ],
)
def test_a_profile_that_cannot_be_unpacked_is_none_at_all(content):
    file = opened(with_chunks(chunk(b"iCCP", content)))
    assert file.profile == b""
    assert file.data == encoded(noise())


def test_a_png_of_a_million_chunks_is_refused():
    for kind in (b"tEXt", b"abCd", b"IDAT"):
        with pytest.raises(InvalidImageError, match=f"at most {MAX_CHUNKS} chunks"):
            opened(with_chunks(chunk(kind) * 1_000_000))


def test_pixels_in_many_chunks_are_read():
    parts = encoded(noise()).partition(b"IDAT")
    length = int.from_bytes(parts[0][-4:])
    pixels = [chunk(b"IDAT", parts[2][at : at + 1]) for at in range(length)]
    data = parts[0][:-4] + b"".join(pixels) + parts[2][length + 4 :]
    assert read(data) == (32, 32)


def test_a_chunk_longer_than_the_file_is_damage():
    data = with_chunks(b"\xff\xff\xff\xffIDAT")
    with pytest.raises(InvalidImageError, match="undamaged"):
        read(data)
    with pytest.raises(InvalidImageError, match="undamaged"):
        read(data[:HEADER_END])
