"""What a picture's file says of how it was made, in the places where readers look; written and read
back. Used by all processes, also by those that decode pictures: imports little, knows no request.

Three readers: people's tools, which know A1111's line of settings; archives and search engines,
which know IPTC's fields in an XMP packet; and this service, which takes the exact request back.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from PIL import ExifTags, Image

from darkroom import __version__

SOFTWARE = f"Darkroom {__version__}"
MADE_BY_A_MODEL = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"

XMP_CHUNK = "XML:com.adobe.xmp"
"""The PNG text chunk that holds the XMP packet."""
EXACT_CHUNK = "darkroom"
INFOTEXT_CHUNK = "parameters"
WORKFLOW_CHUNK = "prompt"
"""Where ComfyUI writes what it ran."""

LONGEST_PACKET = 2**20
"""Bytes of an XMP packet that is read; beyond are thumbnails and histories."""

_NAMESPACES = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "darkroom": "urn:darkroom:xmp/",
}
_SOFTWARE = "xmp:CreatorTool"
_SOURCE = "Iptc4xmpExt:DigitalSourceType"
_MODEL = "Iptc4xmpExt:AISystemUsed"
_PROMPT = "Iptc4xmpExt:AIPromptInformation"
_SEED = "darkroom:seed"
_REQUEST = "darkroom:request"
_RESOURCE = f"{{{_NAMESPACES['rdf']}}}resource"

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_COMMENTS = {b"UNICODE\0": "utf-16-be", b"ASCII\0\0\0": "ascii"}


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


@dataclass(frozen=True)
class Marks:
    """What a file says, whoever wrote it; nothing of it is checked."""

    infotext: str | None = None
    exact: str | None = None
    workflow: str | None = None
    """JSON of ComfyUI's graph."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Of the XMP packet, by the names that are written here."""

    @property
    def is_made_by_a_model(self) -> bool:
        """Whether it says so, in IPTC's terms."""
        return self.fields.get(_SOURCE) == MADE_BY_A_MODEL

    @property
    def software(self) -> str | None:
        return self.fields.get(_SOFTWARE)

    @property
    def model(self) -> str | None:
        return self.fields.get(_MODEL)

    @property
    def provenance(self) -> Provenance | None:
        """What Darkroom wrote; None of what it did not, or where nothing was to be told."""
        seed = self.fields.get(_SEED, "")
        if not self.is_made_by_a_model or self.model is None or not seed.isdecimal():
            return None
        prompt = self.fields.get(_PROMPT)
        return Provenance(self.model, int(seed), prompt, self.infotext, self.exact)


def text_chunks(provenance: Provenance) -> dict[str, str]:
    """PNG text chunks: `parameters` as A1111 and its readers know it, and the exact request."""
    chunks = {
        "Software": SOFTWARE,
        INFOTEXT_CHUNK: provenance.infotext,
        EXACT_CHUNK: provenance.exact,
    }
    return {name: text for name, text in chunks.items() if text is not None}


def xmp(provenance: Provenance, *, with_request: bool = False) -> bytes:
    """An XMP packet (ISO 16684-1) with IPTC's fields for pictures that a model made."""
    fields = {
        _SOFTWARE: SOFTWARE,
        _SOURCE: MADE_BY_A_MODEL,
        _MODEL: provenance.model,
        _PROMPT: provenance.prompt,
        _SEED: provenance.seed,
        _REQUEST: provenance.exact if with_request else None,
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


def exif(provenance: Provenance) -> bytes:
    """Software and, as A1111 and its readers do, the infotext as a user comment in UTF-16."""
    tags = Image.Exif()
    tags[ExifTags.Base.Software] = SOFTWARE
    if provenance.infotext is not None:
        comment = b"UNICODE\0" + provenance.infotext.encode("utf-16-be")
        tags[ExifTags.IFD.Exif] = {ExifTags.Base.UserComment: comment}
    return tags.tobytes()


def marks_of(image: Image.Image) -> Marks:
    """What an opened picture says. Loads a PNG, whose texts may stand at its end. Raises what
    Pillow raises for a damaged one."""
    texts = getattr(image, "text", {})
    return marks_in(texts, image.info.get("xmp") or b"", _comment(image))


def marks_in(texts: Mapping[str, str], packet: bytes, comment: str | None) -> Marks:
    """What texts of a PNG, an XMP packet and an EXIF user comment say."""
    fields = _fields(packet)
    return Marks(
        infotext=texts.get(INFOTEXT_CHUNK) or comment,
        exact=texts.get(EXACT_CHUNK) or fields.get(_REQUEST),
        workflow=texts.get(WORKFLOW_CHUNK),
        fields=fields,
    )


def _comment(image: Image.Image) -> str | None:
    """A picture's EXIF user comment, which names its encoding first."""
    raw = image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
    if not isinstance(raw, bytes) or raw[:8] not in _COMMENTS:
        return None
    return raw[8:].decode(_COMMENTS[raw[:8]], "replace").strip("\0 ") or None


def _fields(packet: bytes) -> dict[str, str]:
    """What a packet says in the fields that are written here; nothing where it cannot be read."""
    text = packet[: LONGEST_PACKET + 1].decode(errors="replace").strip("\0")
    if len(packet) > LONGEST_PACKET or "<!DOCTYPE" in text:  # entities could grow without end
        return {}
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError):
        return {}
    names = {_qualified(name): name for name in (_SOFTWARE, _SOURCE, _MODEL, _PROMPT)}
    names |= {_qualified(name): name for name in (_SEED, _REQUEST)}
    found: dict[str, str] = {}
    for description in root.iter(_qualified("rdf:Description")):
        # Other programs may write a simple value as an attribute instead.
        found |= {names[name]: value for name, value in description.items() if name in names}
        for each in description:
            if value := each.text or each.get(_RESOURCE):
                found |= {names[each.tag]: value} if each.tag in names else {}
    return found


def _qualified(name: str) -> str:
    prefix, _, local = name.partition(":")
    return f"{{{_NAMESPACES[prefix]}}}{local}"
