"""From what stands in a body to the bytes of a picture; in a decoder process, knows no pictures."""

import binascii
import re

from darkroom.errors import InvalidImageError

LONGEST_HEADER = 1000
"""Bytes from `data:` to the comma; some writers put a file's name in."""
MOST_ESCAPES = 2_000_000
"""Each takes as long as a hundred bytes of base64."""

_HEADER = re.compile(rb'data:((?:[^",]|"[^"]*")*),', re.IGNORECASE)
"""Its parameters may be quoted, with commas inside (RFC 2045)."""
_IS_BASE64 = re.compile(rb"(?:^|;)\s*base64\s*$", re.IGNORECASE)
_URL = re.compile(rb"(?:https?|ftp|file|blob):", re.IGNORECASE)
_OF_A_DARKROOM = re.compile(rb"/api/v1/images/(img_[0-9a-f]{32})$")
"""Spelled out: darkroom/job.py, which has the pattern too, would bring pydantic into a decoder."""
_ESCAPE = re.compile(rb"%([0-9a-fA-F]{2})")
_BLANKS = b" \t\n\v\f\r"
_STANDARD = bytes.maketrans(b"-_", b"+/")


def read(text: bytes) -> bytes:
    """The bytes that a data URI (RFC 2397) or base64 (RFC 4648) stands for: either alphabet, padded
    or not, blanks and line breaks anywhere. Takes time in proportion to its length.

    Raises InvalidImageError."""
    text = text.strip(_BLANKS)
    if text[:5].lower() != b"data:":
        if _URL.match(text):
            raise InvalidImageError(_not_fetched(text))
        return _base64(text)
    header = _HEADER.match(text, 0, LONGEST_HEADER)
    if header is None:
        raise InvalidImageError("A data URI must have a comma after its header: data:...;base64, .")
    content = text[header.end() :]
    if (escapes := content.count(b"%")) > MOST_ESCAPES:
        raise InvalidImageError(
            f"A data URI may have at most {MOST_ESCAPES} percent escapes; send it in base64."
        )
    if escapes:
        content = _ESCAPE.sub(_byte, content)
    return _base64(content) if _IS_BASE64.search(header[1]) else content


def _not_fetched(url: bytes) -> str:
    said = "Nothing is fetched from such a URL here; send the picture itself"
    if made := _OF_A_DARKROOM.search(url):
        return f"{said}, or the id of one that this service made, as it stands: {made[1].decode()}."
    return f"{said}."


def _base64(text: bytes) -> bytes:
    digits = text.translate(_STANDARD, _BLANKS).rstrip(b"=")
    try:
        return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4), strict_mode=True)
    except binascii.Error as error:
        raise InvalidImageError(
            "Must be base64, a data URI, file_<sha256> of an earlier input, or img_... of a "
            "finished picture."
        ) from error


_BYTES = {b"%02x" % each: bytes([each]) for each in range(256)}


def _byte(escape: re.Match[bytes]) -> bytes:
    return _BYTES[escape[1].lower()]
