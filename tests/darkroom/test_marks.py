"""What files say of themselves, read as it was written; test_encoding.py has the formats."""

import io

import pytest
from PIL import Image

from darkroom.marks import MADE_BY_A_MODEL, Marks, Provenance, exif, marks_in, marks_of, xmp

FULL = Provenance("pix", 42, "a <cat> & \u732b", "a cat\nSteps: 20", '{"request": {}}')


def saved(**options: object) -> Image.Image:
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "JPEG", **options)
    return Image.open(io.BytesIO(file.getvalue()))


@pytest.mark.parametrize("told", [FULL, Provenance("pix", 0)])
def test_provenance_comes_back(told: Provenance) -> None:
    image = saved(exif=exif(told), xmp=xmp(told, with_request=True))
    marks = marks_of(image)
    assert marks.provenance == told
    assert marks.is_made_by_a_model
    assert (marks.model, marks.software.partition(" ")[0]) == ("pix", "Darkroom")


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"no xml",
        xmp(FULL).replace(b"trainedAlgorithmicMedia", b"digitalCapture"),
        xmp(FULL).replace(b">42<", b">many<"),
        xmp(FULL).replace(b"AISystemUsed", b"AISystem"),
        xmp(FULL).replace(b"<x:xmpmeta", b"<!DOCTYPE x><x:xmpmeta"),
        xmp(FULL) + b" " * 2**20,
        "\ufeff".encode("utf-16") + xmp(FULL).decode().encode("utf-16"),
        xmp(FULL)[:-40],
    ],
)
def test_what_darkroom_did_not_write_is_no_provenance(packet: bytes) -> None:
    assert marks_in({}, packet, None).provenance is None


def test_a_picture_without_marks_says_nothing() -> None:
    assert marks_of(saved()) == Marks()


def test_iptc_may_name_the_source_as_others_do() -> None:
    inner = (
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:i="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" {attribute}>'
        "{element}</rdf:Description></rdf:RDF>"
    )
    for attribute, element in (
        (f'i:DigitalSourceType="{MADE_BY_A_MODEL}"', ""),
        ("", f'<i:DigitalSourceType rdf:resource="{MADE_BY_A_MODEL}"/>'),
    ):
        packet = inner.format(attribute=attribute, element=element).encode()
        assert marks_in({}, packet, None).is_made_by_a_model


@pytest.mark.parametrize(
    ("comment", "text"),
    [
        (b"ASCII\0\0\0Steps: 1", "Steps: 1"),
        (b"UNICODE\0" + "\u732b".encode("utf-16-be"), "\u732b"),
        (b"UNICODE\0\xd8", "\ufffd"),
        (b"JIS\0\0\0\0\0x", None),
        (b"UNICODE\0", None),
        (b"", None),
    ],
)
def test_user_comments(comment: bytes, text: str | None) -> None:
    tags = Image.Exif()
    tags[0x8769] = {0x9286: comment}
    assert marks_of(saved(exif=tags.tobytes())).infotext == text
