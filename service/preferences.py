"""What clients say in headers about the answer they would like; in the service only."""

import re
from collections.abc import Iterable, Iterator
from typing import Literal

from starlette.datastructures import Headers

LONGEST_WAIT_S = 60
"""Whoever asks to wait longer waits so long."""

EVENT_ID = r"^[0-9]{1,19}(-[0-9]{1,19})?$"
"""Ids of Redis stream entries."""

_WAIT = re.compile(r"wait\s*=\s*\"?([0-9]{1,9})\"?", re.ASCII)
_WEIGHT = re.compile(r"q=(0(\.[0-9]{0,3})?|1(\.0{0,3})?)", re.ASCII)


def wait_s(headers: Headers) -> int | None:
    """Seconds of `Prefer: wait=N` (RFC 7240), at most `LONGEST_WAIT_S`; what is not understood is
    ignored, as the standard wants."""
    for preference in _preferences(headers):
        if found := _WAIT.fullmatch(preference):
            return min(int(found[1]), LONGEST_WAIT_S)
    return None


def wants_wait(headers: Headers) -> bool:
    """Whether a client says `Prefer: wait`, without saying how long."""
    return "wait" in _preferences(headers)


def clamped(wait: float) -> float:
    """The seconds that count of those that were asked for."""
    return min(wait, LONGEST_WAIT_S)


def wants_no_wait(headers: Headers) -> bool:
    """Whether a client says `Prefer: respond-async`."""
    return "respond-async" in _preferences(headers)


def charset(content_type: str) -> str:
    """In small letters; UTF-8 where nothing is said."""
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"').lower()
    return "utf-8"


def answer(headers: Headers, image_format: str) -> Literal["picture", "job"] | None:
    """Whether a picture of that format or the job's JSON is more welcome; None where pictures are
    asked for, but not of that format, and no JSON either."""
    asked = _asked_types(headers)
    picture = _weight(asked, f"image/{image_format}", "image/*")
    job = _job_weight(asked)
    if picture > job:
        return "picture"
    other_pictures = any(kind.startswith("image/") and weight for kind, weight in asked.items())
    return None if other_pictures and not (picture or job) else "job"


def picture_format(headers: Headers, own: str, formats: Iterable[str]) -> str | None:
    """In which of `formats` to send a picture: its own where that will do, else the most welcome
    one; None where pictures are asked for and none of these. Who asks for no pictures gets one all
    the same, as it is."""
    asked = _asked_types(headers)
    weights = {each: _weight(asked, f"image/{each}", "image/*", "*/*") for each in formats}
    if weights[own]:
        return own
    best = max(weights, key=lambda each: weights[each])
    if weights[best]:
        return best
    return None if any(kind.startswith("image/") for kind in asked) else own


def takes_job(headers: Headers) -> bool:
    """Whether the job's JSON is welcome at all."""
    return _job_weight(_asked_types(headers)) > 0


def applied(headers: Headers) -> dict[str, str]:
    """Tells which wait counts, where one was asked for (RFC 7240, section 3)."""
    asked_s = wait_s(headers)
    return {} if asked_s is None else {"Preference-Applied": f"wait={asked_s}"}


def wants_page(headers: Headers) -> bool:
    """Whether a page is more welcome than JSON: a person with a browser."""
    asked = _asked_types(headers)
    page = asked.get("text/html", 0.0)
    return page > _weight(asked, "application/json", "application/*", "*/*")


def takes_gzip(headers: Headers) -> bool:
    """Whether an answer may be packed by gzip (RFC 9110, 12.5.3)."""
    asked = _weights(headers, "accept-encoding")
    return asked.get("gzip", asked.get("*", 0.0)) > 0


def _preferences(headers: Headers) -> Iterator[str]:
    for preference in ",".join(headers.getlist("prefer")).lower().split(","):
        yield preference.partition(";")[0].strip()


def _asked_types(headers: Headers) -> dict[str, float]:
    """The media ranges of `Accept` (RFC 9110, 12.5.1) with their weights."""
    return _weights(headers, "accept")


def _weights(headers: Headers, name: str) -> dict[str, float]:
    """What a header of preferences names, with their weights."""
    asked = {}
    for entry in ",".join(headers.getlist(name)).lower().split(","):
        kind, *parameters = (part.strip() for part in entry.split(";"))
        asked[kind] = _q(parameters)
    return asked


def _job_weight(asked: dict[str, float]) -> float:
    """A browser that is led to a job asks for a page, though pictures would do too."""
    as_json = _weight(asked, "application/json", "application/*", "*/*")
    return max(as_json, asked.get("text/html", 0.0))


def _weight(asked: dict[str, float], *ranges: str) -> float:
    """Of the first of `ranges`, the most exact one first, that was asked for."""
    return next((asked[each] for each in ranges if each in asked), 0.0)


def _q(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            found = _WEIGHT.fullmatch(parameter)
            return float(found[1]) if found else 0.0
    return 1.0
