"""What clients say in headers about the answer they would like; in the service only."""

import re
from typing import Literal

EVENT_ID = r"^[0-9]{1,19}(-[0-9]{1,19})?$"
"""Ids of Redis stream entries."""

_WAIT = re.compile(r"wait\s*=\s*\"?([0-9]{1,6})\"?", re.ASCII)


def wait_s(prefer: str | None, longest: int) -> int | None:
    """Seconds of `Prefer: wait=N` (RFC 7240), at most `longest`; what is not understood is ignored,
    as the standard wants."""
    for preference in (prefer or "").lower().split(","):
        if found := _WAIT.fullmatch(preference.partition(";")[0].strip()):
            return min(int(found[1]), longest)
    return None


def answer(accept: str | None, image_format: str) -> Literal["picture", "job"] | None:
    """Whether a picture of that format or the job's JSON is more welcome; None where pictures are
    asked for, but not of that format, and no JSON either."""
    asked = _asked_types(accept)
    picture = _weight(asked, f"image/{image_format}", "image/*")
    job = _weight(asked, "application/json", "application/*", "*/*")
    if picture > job:
        return "picture"
    other_pictures = any(kind.startswith("image/") and weight for kind, weight in asked.items())
    return None if other_pictures and not (picture or job) else "job"


def _asked_types(accept: str | None) -> dict[str, float]:
    """The media ranges of `Accept` (RFC 9110, 12.5.1) with their weights."""
    asked = {}
    for entry in (accept or "").lower().split(","):
        kind, *parameters = (part.strip() for part in entry.split(";"))
        asked[kind] = _q(parameters)
    return asked


def _weight(asked: dict[str, float], *ranges: str) -> float:
    """Of the first of `ranges`, the most exact one first, that was asked for."""
    return next((asked[each] for each in ranges if each in asked), 0.0)


def _q(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0
