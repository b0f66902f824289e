"""What OpenAPI says of API keys: in which forms they come, and what is refused; the service."""

from typing import Any

from service.auth import OPEN
from service.problems import PROBLEM, of_codes

SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, `dk_...`. `Token`, `Key` and `Basic` (the key as user or as "
        "password) are taken as well.",
    },
    "header": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "The same key.",
    },
}

REFUSED = {"401": "unauthenticated", "403": "forbidden", "429": "rate_limited"}

_FORMS: list[dict[str, list[str]]] = [{name: []} for name in SCHEMES]


def tell_keys(document: dict[str, Any], *, asks_for_keys: bool) -> None:
    """Let each operation say whether it takes a key; where none are asked for, it may."""
    document["components"]["securitySchemes"] = SCHEMES
    for path, operations in document["paths"].items():
        for operation in operations.values():
            needs = asks_for_keys and path not in OPEN
            operation["security"] = _FORMS if needs else [{}, *_FORMS]
            if path in OPEN:
                continue
            told = operation["responses"]
            refused = {
                status: of_codes([code, *_codes(told.get(status, {}))])
                for status, code in REFUSED.items()
            }
            operation["responses"] = dict(sorted((told | refused).items()))


def _codes(answer: dict[str, Any]) -> list[str]:
    """Those that a route itself gives with this status."""
    return [] if not answer else list(answer["content"][PROBLEM]["examples"])
