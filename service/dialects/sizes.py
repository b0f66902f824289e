"""Sizes as texts, like 512x512; in the service, knows no dialect."""

import re
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

_SIDES = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", re.ASCII)


def sides_in(text: str) -> dict[str, int]:
    """`width` and `height` in pixels; none of `auto`."""
    sides = _SIDES.fullmatch(text)
    return {"width": int(sides[1]), "height": int(sides[2])} if sides else {}


def _size(text: str) -> str:
    if text != "auto" and not sides_in(text):
        raise PydanticCustomError("malformed", "Must be auto, or width and height like 512x512.")
    return text


SizeText = Annotated[str, AfterValidator(_size)]
"""Width and height like 512x512, or `auto`."""
