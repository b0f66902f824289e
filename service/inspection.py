"""What the file of a picture says, as an answer; in the service only."""

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from darkroom.catalog import Catalog
from darkroom.errors import (
    InvalidRequestError,
    MalformedRequestError,
    ModelNotFoundError,
    PayloadTooLargeError,
)
from darkroom.others_requests import LONGEST_INFOTEXT, Understood, of_infotext, of_workflow
from darkroom.provenance import exact_request
from service.bodies import read_object

MOST_TEXT = 2**18
"""Bytes of a request without its pictures that is read."""


class Inspection(BaseModel):
    """What the file of a picture says of how it was made; no proof, as anybody can write that."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    object: Literal["inspection"] = "inspection"
    """What this is."""
    format: Literal["png", "jpeg", "webp"]
    """Of the file."""
    width: int
    """Pixels, as they are stored."""
    height: int
    """Pixels."""
    made_by_a_model: bool
    """Whether it says, in IPTC's terms (trainedAlgorithmicMedia), that a model made it."""
    software: str | None
    """The program that wrote it, as XMP tells."""
    model: str | None
    """The model, as IPTC's field tells."""
    source: Literal["darkroom", "a1111", "comfyui"] | None
    """Whose description the request was read from; null if there is none that can be read."""
    request: dict[str, Any] | None
    """A body for `POST /api/v1/jobs`: the exact one where a Darkroom wrote it."""
    parameters: str | None
    """The description in words and settings that A1111 and others write, as it stands there."""
    warnings: list[str]
    """Sentences on what was not taken over, or will not act here."""


def inspected(marks: Mapping[str, Any], catalog: Catalog) -> Inspection:
    """What a decoder found in a file, understood."""
    source, found = _understood(marks)
    warnings = []
    if found and found.left_out:
        warnings.append(f"Not taken over: {'; '.join(found.left_out)}.")
    if found and (model := found.request.get("model")):
        warnings += _doubts(str(model), catalog)
    told = {
        **{name: marks[name] for name in ("format", "width", "height", "software", "model")},
        "made_by_a_model": marks["is_made_by_a_model"],
        "source": source if found else None,
        "request": found and found.request,
        "parameters": _short(marks["infotext"]),
        "warnings": warnings,
    }
    # JSON in a file can write half of a surrogate pair, which no answer can hold.
    whole = json.dumps(told, ensure_ascii=False).encode(errors="replace")
    return Inspection.model_validate_json(whole)


def _short(text: str | None) -> str | None:
    return text if text is not None and len(text) <= LONGEST_INFOTEXT else None


Source = Literal["darkroom", "a1111", "comfyui"]


def _understood(marks: Mapping[str, Any]) -> tuple[Source | None, Understood | None]:
    """The first description that can be read, the most exact one first."""
    if marks["exact"] and (found := _exact(marks["exact"])):
        return "darkroom", found
    if marks["infotext"] and (found := of_infotext(marks["infotext"])):
        return "a1111", found
    if marks["workflow"] and (found := of_workflow(marks["workflow"])):
        return "comfyui", found
    return None, None


def _exact(text: str) -> Understood | None:
    try:
        request = exact_request(read_object(text.encode(), MOST_TEXT))
        json.dumps(request, allow_nan=False)
    except (InvalidRequestError, MalformedRequestError, PayloadTooLargeError):
        return None
    except (ValueError, TypeError, KeyError):
        return None
    return Understood(request)


def _doubts(model: str, catalog: Catalog) -> list[str]:
    try:
        catalog.find(model)
    except ModelNotFoundError as error:
        return [str(error)]
    return []
