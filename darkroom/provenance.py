"""What pictures say about how they were made, and how it is read back; used by worker and command
line, knows neither HTTP nor torch.

Three readers: people's tools, which know A1111's line of settings; archives and search engines,
which know IPTC's fields in an XMP packet; and this service, which takes the exact request back.
"""

import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from PIL import Image

from darkroom import __version__
from darkroom.errors import InvalidImageError
from darkroom.hires import upscale_model
from darkroom.request import MetadataLevel
from darkroom.schedulers import SCHEDULE_TYPES, short

SOFTWARE = f"Darkroom {__version__}"
MADE_BY_A_MODEL = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"

XMP_CHUNK = "XML:com.adobe.xmp"
"""The PNG text chunk that holds the XMP packet."""
EXACT_CHUNK = "darkroom"

_NAMESPACES = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "darkroom": "urn:darkroom:xmp/",
}
_LABEL = re.compile(
    r"(negative\s+prompt|steps|sampler|schedule\s+type|cfg\s+scale|seed|size|model|"
    r"denoising\s+strength|clip\s+skip|version)\s*:",
    re.IGNORECASE,
)
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Provenance:
    """How one picture was made, as far as it is to be told; None is not told."""

    model: str
    seed: int
    prompt: str | None = None
    infotext: str | None = None
    """A1111's description."""
    exact: str | None = None
    """JSON that holds the whole request."""


def least(*levels: MetadataLevel) -> MetadataLevel:
    """The one that tells least."""
    return max(levels, key=get_args(MetadataLevel).index)


def describe(request: Mapping[str, Any], index: int, level: MetadataLevel) -> Provenance | None:
    """What picture `index` of a job says of itself, from the request as it was stored."""
    model, seed = request["model"], request["seed"] + index
    if level == "none":
        return None
    if level == "minimal":
        return Provenance(model, seed)
    exact = {"version": __version__, "request": request, "index": index, "seed": seed}
    return Provenance(
        model,
        seed,
        prompt=request.get("prompt") or None,
        infotext=infotext(request, seed),
        exact=json.dumps(exact, ensure_ascii=True, separators=(",", ":")),
    )


def request_of(data: bytes) -> dict[str, Any]:
    """The request that makes the picture in the file `data` again, and no other picture of its
    job. Raises InvalidImageError."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as image:
            exact = getattr(image, "text", {}).get(EXACT_CHUNK)
            packet = image.info.get("xmp", b"")
    except (OSError, SyntaxError, ValueError) as error:
        raise InvalidImageError("Not a whole picture in PNG, JPEG or WebP.") from error
    try:
        made = json.loads(exact or _exact_in_xmp(packet))
        one = {"num_images": 1} if "num_images" in made["request"] else {}
        return {**made["request"], "seed": made["seed"], **one}
    except (ElementTree.ParseError, ValueError, TypeError, KeyError) as error:
        raise InvalidImageError("The picture does not hold the request that made it.") from error


def text_chunks(provenance: Provenance) -> dict[str, str]:
    """PNG text chunks: `parameters` as A1111 and its readers know it, and the exact request."""
    chunks = {
        "Software": SOFTWARE,
        "parameters": provenance.infotext,
        EXACT_CHUNK: provenance.exact,
    }
    return {name: text for name, text in chunks.items() if text is not None}


def xmp(provenance: Provenance, *, with_request: bool = False) -> bytes:
    """An XMP packet (ISO 16684-1) with IPTC's fields for pictures that a model made."""
    fields = {
        "xmp:CreatorTool": SOFTWARE,
        "Iptc4xmpExt:DigitalSourceType": MADE_BY_A_MODEL,
        "Iptc4xmpExt:AISystemUsed": provenance.model,
        "Iptc4xmpExt:AIPromptInformation": provenance.prompt,
        "darkroom:seed": provenance.seed,
        "darkroom:request": provenance.exact if with_request else None,
    }
    told = "".join(
        f"<{name}>{escape(_NOT_IN_XML.sub('?', str(value)))}</{name}>"
        for name, value in fields.items()
        if value is not None
    )
    names = {prefix: f' xmlns:{prefix}="{uri}"' for prefix, uri in _NAMESPACES.items()}
    about = names["xmp"] + names["Iptc4xmpExt"] + names["darkroom"]
    packet = (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        f"<x:xmpmeta{names['x']}><rdf:RDF{names['rdf']}>"
        f'<rdf:Description rdf:about=""{about}>{told}</rdf:Description>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    )
    return packet.encode()


def _exact_in_xmp(packet: bytes) -> str:
    """Raises ElementTree.ParseError, KeyError."""
    if b"<!DOCTYPE" in packet:  # no packet has one, and entities could grow without end
        raise KeyError(EXACT_CHUNK)
    name = f"{{{_NAMESPACES['darkroom']}}}request"
    for description in ElementTree.fromstring(packet).iter(f"{{{_NAMESPACES['rdf']}}}Description"):
        # Other programs may write a simple value as an attribute instead.
        if exact := description.findtext(name) or description.get(name):
            return exact
    raise KeyError(EXACT_CHUNK)


def infotext(request: Mapping[str, Any], seed: int) -> str:
    """A1111's description of a picture: prompt, negative prompt, one line of settings."""
    options, hires = request.get("scheduler_options") or {}, request.get("hires") or {}
    clip_skip = request.get("clip_skip")
    settings = {
        "Steps": request["num_inference_steps"],
        "Sampler": short(request["scheduler"]),
        "Schedule type": SCHEDULE_TYPES.get(options.get("sigmas") or ""),
        "CFG scale": request.get("guidance_scale"),
        "Seed": seed,
        "Size": f"{request['width']}x{request['height']}",
        "Model": request["model"],
        "Denoising strength": request.get("strength", hires.get("strength")),
        "Hires upscale": hires.get("scale"),
        "Hires steps": hires.get("num_inference_steps"),
        "Hires upscaler": upscale_model(request) or str(hires.get("upscaler", "")).title(),
        "Mask blur": request.get("mask_blur"),
        "Clip skip": clip_skip + 1 if clip_skip else None,  # A1111 counts the layer it stops at
        "Class": request.get("class_label"),
        "Lora": _names_and_scales(request.get("loras", ())),
        "ControlNet": _names_and_scales(request.get("controls", ())),
        "Version": f"darkroom-{__version__}",
    }
    line = ", ".join(f"{k}: {_quote(v)}" for k, v in settings.items() if v not in (None, ""))
    prompt, negative = (_on_one_line(request.get(f) or "") for f in ("prompt", "negative_prompt"))
    parts = [prompt, f"Negative prompt: {negative}" if negative else "", line]
    return "\n".join(part for part in parts if part)


def _on_one_line(text: str) -> str:
    """A prompt that no reader takes for settings or for the other prompt: some look for their names
    anywhere."""
    return _LABEL.sub(r"\1 :", " ".join(text.splitlines()).strip())


def _names_and_scales(adapters: Iterable[Mapping[str, Any]]) -> str:
    """`one:0.8; other:1.0`. Without commas: many readers split there, quoted or not."""
    return "; ".join(f"{each['name']}:{each['scale']}" for each in adapters)


def _quote(value: Any) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if re.search(r"[,:\n]", text) else text
