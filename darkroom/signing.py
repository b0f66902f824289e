"""Addresses that let in whoever has them, for a while: what is signed, and how; pure, knows neither
Redis nor HTTP.

A key signs the path of one thing to read, until a moment: HMAC-SHA256 (RFC 2104) with a secret that
all services share. What is kept of the key's own secret is signed too, so that a signature ends
with it. Other parameters are free: whoever has the address of a picture may ask for it smaller.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

LONGEST_LIFE_S = 7 * 86400
USUAL_LIFE_S = 3600
MOST_PATHS = 100

EXPIRES, KEY, SIGNATURE = PARAMETERS = ("expires", "key", "signature")

SIGNABLE = (
    "^/api/v1/(?:images/img_[0-9a-f]{32}|jobs/job_[0-9a-f]{32}/events"
    "|files/file_[0-9a-f]{64}/content)$"
    "|^/replicate/v1/predictions/job_[0-9a-f]{32}/stream$"
)
"""A regular expression: paths that browsers fetch by themselves."""
_SIGNED = re.compile(SIGNABLE, re.ASCII)
_MOMENT = re.compile(r"[1-9][0-9]{0,10}", re.ASCII)
_KEY_ID = re.compile(r"[0-9a-f]{16}", re.ASCII)
_DIGITS = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True)
class UrlSecrets:
    """What signatures are made with, in hexadecimal digits. One that was replaced is good for as
    long as an address made with it can live."""

    current: str = field(repr=False)
    earlier: str = field(repr=False)


@dataclass(frozen=True)
class Signed:
    """What stands in a signed address."""

    path: str
    expires: int
    """From when on it is refused; Unix time."""
    key_id: str
    signature: str = field(repr=False)

    @property
    def url(self) -> str:
        values = (self.expires, self.key_id, self.signature)
        return f"{self.path}?{urlencode(dict(zip(PARAMETERS, values, strict=True)))}"


def may_be_signed(path: str) -> bool:
    return _SIGNED.fullmatch(path) is not None


def sign(path: str, expires: int, key_id: str, digest: str, secret: str) -> Signed:
    """`digest`: what is kept of the key's secret."""
    said = "\n".join(("GET", path, str(expires), key_id, digest))
    signature = hmac.new(bytes.fromhex(secret), said.encode(), hashlib.sha256).hexdigest()
    return Signed(path, expires, key_id, signature)


def fits(signed: Signed, digest: str, secrets: UrlSecrets) -> bool:
    """Whether the signature is right, in the same time whether it is nearly so or not at all."""
    right = False
    for secret in (secrets.current, secrets.earlier):
        again = sign(signed.path, signed.expires, signed.key_id, digest, secret)
        right |= hmac.compare_digest(again.signature, signed.signature)
    return right


def read(path: str, parameters: Mapping[str, str]) -> Signed | None:
    """What a request for a path says of a signature; None where that can be none."""
    expires, key_id, signature = (parameters.get(name, "") for name in PARAMETERS)
    known = (
        _MOMENT.fullmatch(expires) and _KEY_ID.fullmatch(key_id) and _DIGITS.fullmatch(signature)
    )
    return Signed(path, int(expires), key_id, signature) if known and may_be_signed(path) else None
