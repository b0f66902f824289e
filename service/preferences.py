"""What clients say in headers about the answer they would like; in the service only."""

import re

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


def wants_png(accept: str | None) -> bool:
    """Whether a PNG would be more welcome than JSON."""
    weights = {"image": 0.0, "json": 0.0}
    for entry in (accept or "").lower().split(","):
        kind, *parameters = (part.strip() for part in entry.split(";"))
        if kind in ("image/png", "image/*"):
            weights["image"] = max(weights["image"], _weight(parameters))
        elif kind in ("application/json", "application/*"):
            weights["json"] = max(weights["json"], _weight(parameters))
    return weights["image"] > weights["json"]


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0
