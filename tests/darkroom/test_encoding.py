import io

import numpy as np
import pytest
from PIL import Image
from sd_parsers import ParserManager

from darkroom import __version__, encoding
from darkroom.encoding import Encoded
from darkroom.errors import InvalidImageError, UnsupportedError
from darkroom.marks import Provenance
from darkroom.provenance import describe, request_of
from darkroom.request import Output
from tests.darkroom.test_provenance import IPTC, MADE_BY_A_MODEL, REQUEST, fields


def encode(pixels: np.ndarray, output: Output, provenance: Provenance | None) -> Encoded:
    image = Image.fromarray(pixels)
    return encoding.encode(image, output.format, output.quality, provenance)


FORMATS = ("png", "jpeg", "webp")
NOISE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
SMOOTH = np.linspace(0, 255, 48 * 64 * 3).reshape(48, 64, 3).astype(np.uint8)
AGAIN = REQUEST | {"seed": 42, "num_images": 1}


def encoded(image_format: str, request: dict = REQUEST, level: str = "full", **output: object):
    told = describe(request, 1, level)
    return encode(SMOOTH, Output(format=image_format, **output), told)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def test_a_png_keeps_every_bit():
    image = opened(encode(NOISE, Output(), None).data)
    assert (image.format, image.mode, image.size) == ("PNG", "RGB", (64, 48))
    assert np.array_equal(np.asarray(image), NOISE)


@pytest.mark.parametrize("image_format", ["jpeg", "webp"])
def test_better_quality_is_nearer_and_larger(image_format):
    files = [encode(NOISE, Output(format=image_format, quality=q), None).data for q in (10, 60, 95)]
    faults = [np.abs(np.asarray(opened(data), float) - NOISE).mean() for data in files]
    assert opened(files[0]).format == image_format.upper()
    assert faults[0] > faults[1] > faults[2]
    assert len(files[0]) < len(files[1]) < len(files[2])


@pytest.mark.parametrize(("quality", "sampling"), [(89, (2, 2)), (90, (1, 1))])
def test_a_fine_jpeg_keeps_colour_in_full_resolution(quality, sampling):
    image = opened(encode(SMOOTH, Output(format="jpeg", quality=quality), None).data)
    assert image.layer[0][1:3] == sampling


@pytest.mark.parametrize("image_format", FORMATS)
def test_pictures_of_nothing_but_noise_fit_every_format(image_format):
    noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    told = describe(REQUEST, 0, "full")
    data = encode(noise, Output(format=image_format, quality=100), told).data
    assert opened(data).size == (512, 512)


@pytest.mark.parametrize("image_format", FORMATS)
def test_other_tools_read_the_settings(image_format):
    found = ParserManager().parse(opened(encoded(image_format).data))
    assert [p.value for p in found.prompts] == [REQUEST["prompt"].replace("\n", " ")]
    assert [p.value for p in found.negative_prompts] == [REQUEST["negative_prompt"]]
    (sampler,) = found.samplers
    assert (sampler.name, sampler.model.name) == ("DPM++ 2M", "pix")
    told = {"scheduler": "Karras", "seed": "42", "cfg_scale": "7.5", "steps": "20"}
    assert sampler.parameters == told


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("level", ["full", "minimal"])
def test_every_format_says_that_a_model_made_it(image_format, level):
    image = opened(encoded(image_format, level=level).data)
    told = fields(image.info["xmp"])
    assert told[f"{IPTC}DigitalSourceType"] == MADE_BY_A_MODEL
    assert (told[f"{IPTC}AISystemUsed"], told["{urn:darkroom:xmp/}seed"]) == ("pix", "42")
    assert told.get(f"{IPTC}AIPromptInformation") == (
        REQUEST["prompt"] if level == "full" else None
    )


@pytest.mark.parametrize("image_format", FORMATS)
def test_the_exact_request_comes_back(image_format):
    assert request_of(encoded(image_format).data) == AGAIN


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("level", ["minimal", "none"])
def test_less_than_full_holds_no_prompt(image_format, level):
    data = encoded(image_format, level=level).data
    for text in ("sitting", "second line", "blur"):
        assert text.encode() not in data
        assert text.encode("utf-16-be") not in data
    with pytest.raises(InvalidImageError, match="does not hold the request"):
        request_of(data)


@pytest.mark.parametrize("image_format", FORMATS)
def test_none_holds_nothing_but_the_picture(image_format):
    data = encoded(image_format, level="none").data
    assert b"arkroom" not in data
    assert b"xmp" not in data.lower()
    assert not opened(data).getexif()
    assert not getattr(opened(data), "text", {})


@pytest.mark.parametrize("image_format", FORMATS)
def test_programs_that_rewrite_the_packet_do_not_harm_the_request(image_format):
    """Fields may become attributes, and white space may be added."""
    image = opened(encoded(image_format).data)
    exact = fields(image.info["xmp"]).get("{urn:darkroom:xmp/}request") or image.text["darkroom"]
    escaped = exact.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    packet = f"""<x:xmpmeta xmlns:x="adobe:ns:meta/">
      <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
        <rdf:Description xmlns:dr="urn:darkroom:xmp/" dr:request="{escaped}"/>
      </rdf:RDF></x:xmpmeta>"""
    file = io.BytesIO()
    Image.fromarray(SMOOTH).save(file, "JPEG", xmp=packet.encode())
    assert request_of(file.getvalue()) == AGAIN


def test_a_packet_with_entities_is_not_read():
    packet = opened(encoded("jpeg").data).info["xmp"].decode()
    entity = f'<!DOCTYPE x [<!ENTITY grows "{__version__}">]>'
    packet = packet.replace("<x:xmpmeta", f"{entity}<x:xmpmeta")
    packet = packet.replace(f'"{__version__}"', '"&grows;"')
    file = io.BytesIO()
    Image.fromarray(SMOOTH).save(file, "JPEG", xmp=packet.encode())
    with pytest.raises(InvalidImageError):
        request_of(file.getvalue())


@pytest.mark.parametrize(
    ("prompt", "lost", "comes_back"),
    [
        ("cat " * 5_000, [], True),
        ("cat " * 8_500, ["A1111", "IPTC"], True),
        ("cat " * 15_900, ["A1111", "IPTC"], True),
        ("猫" * 11_000, ["request"], False),
        ("猫" * 30_000, ["IPTC", "request"], False),
        ("猫" * 40_000, ["A1111", "IPTC", "request"], False),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_a_jpeg_cannot_hold_is_left_out_and_said(prompt, lost, comes_back):
    request = REQUEST | {"prompt": prompt}
    result = encoded("jpeg", request)
    warning = " ".join(result.warnings)
    assert [what for what in ("A1111", "IPTC", "request") if what in warning] == lost
    assert fields(opened(result.data).info["xmp"])[f"{IPTC}DigitalSourceType"] == MADE_BY_A_MODEL
    if comes_back:
        assert request_of(result.data) == AGAIN | {"prompt": prompt}
    for other in ("png", "webp"):
        assert encoded(other, request).warnings == ()
        assert request_of(encoded(other, request).data) == AGAIN | {"prompt": prompt}


@pytest.mark.parametrize("most", [16383, 16384])
def test_a_webp_has_a_largest_side(most):
    line = np.zeros((1, most, 3), np.uint8)
    if most == 16383:
        assert opened(encode(line, Output(format="webp"), None).data).width == most
    else:
        with pytest.raises(UnsupportedError, match="16383 pixels"):
            encode(line, Output(format="webp"), None)
