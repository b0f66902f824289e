"""Keys of the API: what one is, what is kept of it, whether it fits; pure, knows no Redis, HTTP.

A key reads `dk_<id>_<secret>`. The id is public and names the owner of what is made with the key;
of the secret nothing but its SHA-256 is kept, which is enough for 256 drawn bits.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from darkroom.errors import DarkroomError

Scope = Literal["read", "submit", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
USUAL_SCOPES: tuple[Scope, ...] = ("submit", "read")

LONGEST_NAME = 64
LONGEST_LIFE = timedelta(days=36500)
PREFIX = "dk_"

_TOKEN = re.compile(rf"{PREFIX}([0-9a-f]{{16}})_([0-9a-f]{{64}})", re.ASCII)
_NOBODYS = hashlib.sha256(b"").hexdigest()
_LIFE = re.compile(r"([1-9][0-9]{0,5})([smhdw])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class KeyNameError(DarkroomError):
    """A name is none, is another key's, or is no key's; the message says which."""

    code = "key_name"


@dataclass(frozen=True)
class Token:
    """What a client sends. Its secret shows in no text but that of `reveal`."""

    id: str
    secret: str = field(repr=False)

    @classmethod
    def drawn(cls, key_id: str | None = None) -> Self:
        """A new one, of that key or of a new one."""
        return cls(key_id or secrets.token_hex(8), secrets.token_hex(32))

    def reveal(self) -> str:
        """The key as its client has to send it."""
        return f"{PREFIX}{self.id}_{self.secret}"

    @property
    def digest(self) -> str:
        """What is kept of the secret."""
        return hashlib.sha256(self.secret.encode()).hexdigest()


MOST = 1_000_000

MOST_WEIGHT = 100
WHOLE = 100
"""Percent."""

Limit = Annotated[int, Field(ge=1, le=MOST)] | None


class Limits(BaseModel):
    """What a key may have; None: as much as everybody together, and of turns one."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    max_active: Limit = None
    """Jobs that are queued or running."""
    max_queued: Limit = None
    """Jobs that are queued."""
    per_minute: Limit = None
    """Requests in a minute, all of which may come at once."""
    share: Annotated[int, Field(ge=1, le=WHOLE)] | None = None
    """Percent of the jobs that may be queued in all."""
    gpu_seconds_per_day: Limit = None
    """Seconds of work on devices from midnight to midnight, UTC."""
    weight: Annotated[int, Field(ge=1, le=MOST_WEIGHT)] | None = None
    """Turns in a queue where a key without a weight has one."""

    def among(self, all_queued: int) -> "Limits":
        """With `max_queued` as it follows from the share too, where so many jobs may be queued in
        all; a share is one job at least."""
        if self.share is None:
            return self
        share = max(all_queued * self.share // WHOLE, 1)
        return self.model_copy(update={"max_queued": min(self.max_queued or share, share)})

    def __str__(self) -> str:
        given = [f"{name}={value}" for name, value in self if value is not None]
        return ", ".join(given) or "none"


NO_LIMITS = Limits()


class ApiKey(BaseModel):
    """What is kept of a key."""

    model_config = ConfigDict(frozen=True)

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    name: Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
    scopes: tuple[Scope, ...]
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", repr=False)]
    """SHA-256 of the secret, in hexadecimal digits."""
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None
    """From when on it is refused; null: never."""
    limits: Limits = NO_LIMITS

    def allows(self, scope: Scope) -> bool:
        """Whether it may do what asks for this scope; `admin` may do all."""
        return scope in self.scopes or "admin" in self.scopes

    def left_s(self, now: datetime | None = None) -> float:
        """Seconds until it expires, not above 0 if it has; infinite if it never does."""
        if self.expires_at is None:
            return float("inf")
        return (self.expires_at - (now or datetime.now(UTC))).total_seconds()

    def renewed(self) -> tuple["ApiKey", Token]:
        """The same key with another secret."""
        token = Token.drawn(self.id)
        return self.model_copy(update={"digest": token.digest}), token


def new_key(
    name: str,
    scopes: Sequence[Scope] = USUAL_SCOPES,
    life: timedelta | None = None,
    limits: Limits = NO_LIMITS,
) -> tuple[ApiKey, Token]:
    """A key that was never kept yet, and what its client has to send. Raises KeyNameError."""
    token, now = Token.drawn(), datetime.now(UTC)
    key = ApiKey(
        id=token.id,
        name=_checked(name),
        scopes=tuple(scope for scope in SCOPES if scope in scopes),
        digest=token.digest,
        created_at=now,
        expires_at=now + life if life else None,
        limits=limits,
    )
    return key, token


def parse(text: str) -> Token | None:
    """The key that a text is; None if it is none."""
    found = _TOKEN.fullmatch(text)
    return Token(found[1], found[2]) if found else None


def fits(token: Token, key: ApiKey | None) -> bool:
    """Whether the secret is that of the key, which is no longer or shorter in coming for a key that
    does not exist. Whether it has expired is another question."""
    same = hmac.compare_digest(token.digest, key.digest if key else _NOBODYS)
    return same and key is not None


def scopes_of(text: str) -> tuple[Scope, ...]:
    """Scopes with commas between them. Raises ValueError."""
    names = [part.strip() for part in text.split(",")]
    for name in names:
        if name not in SCOPES:
            raise ValueError(f"{name[:20]!r} is none of {', '.join(SCOPES)}")
    return tuple(scope for scope in SCOPES if scope in names)


def life_of(text: str) -> timedelta:
    """`30d` and the like: s, m, h, d, w; a century at most. Raises ValueError."""
    found = _LIFE.fullmatch(text.strip())
    life = timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else timedelta()
    if not timedelta() < life <= LONGEST_LIFE:
        raise ValueError(f"{text[:20]!r} is no time such as 30d, 12h or 52w, of 100 years at most")
    return life


def limit_of(text: str, most: int = MOST) -> int:
    """A number from 1 to `most`; 0 for `none`. Raises ValueError."""
    text = text.strip()
    if text == "none":
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= 7 and 1 <= int(text) <= most):
        raise ValueError(f"{text[:20]!r} is no number from 1 to {most}, and not 'none'")
    return int(text)


def _checked(name: str) -> str:
    if not name.isprintable() or not 1 <= len(name) <= LONGEST_NAME or name != name.strip():
        raise KeyNameError(
            f"A key's name has 1 to {LONGEST_NAME} characters, no control characters, and no blank "
            "at its ends."
        )
    return name
