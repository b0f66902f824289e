"""Signed addresses: made for who has a key, and read in requests that bring none; in the service
only."""

import time
from datetime import datetime
from typing import Annotated, Literal
from urllib.parse import parse_qsl, urlencode

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError
from starlette.datastructures import MutableHeaders
from starlette.types import Message, Scope, Send

from darkroom.api_keys import ApiKey
from darkroom.errors import UnauthenticatedError
from darkroom.fields import Fields, at_most
from darkroom.queue.exchange import AsyncClient
from darkroom.queue.shared_read import SharedRead
from darkroom.queue.url_secrets import url_secrets
from darkroom.signing import (
    LONGEST_LIFE_S,
    MOST_PATHS,
    PARAMETERS,
    SIGNABLE,
    SIGNATURE,
    USUAL_LIFE_S,
    Signed,
    fits,
    may_be_signed,
    read,
    sign,
)
from service.known_keys import Keys

READ_EVERY_S = 1.0
"""How old may be what is known of the secrets."""


def _signable(path: str) -> str:
    if not may_be_signed(path):
        raise PydanticCustomError(
            "malformed",
            "Must be the path of a picture, of the events of a job or of the content of a file, "
            "without a query.",
        )
    return path


class SigningWish(Fields):
    """What shall be signed."""

    paths: Annotated[
        list[
            Annotated[
                str, AfterValidator(_signable), Field(json_schema_extra={"pattern": SIGNABLE})
            ]
        ],
        Field(min_length=1, json_schema_extra={"maxItems": MOST_PATHS}),
        at_most(MOST_PATHS),
    ]
    """Paths of pictures (`/api/v1/images/img_...`), of the events of jobs, of the content of files,
    at most 100."""
    expires_s: Annotated[int, Field(ge=1, le=LONGEST_LIFE_S)] = USUAL_LIFE_S
    """Seconds from now on; a week at most."""


class SignedUrl(BaseModel):
    """An address that lets in whoever has it."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    object: Literal["signed_url"] = "signed_url"
    """What this is."""
    path: str
    """What was asked for."""
    url: str
    """Path and query, below this service; the path alone where no keys are asked for."""
    expires_at: datetime | None
    """From when on it is refused; null where no keys are asked for."""


class Signatures:
    """Raises QueueUnavailableError."""

    def __init__(self, client: AsyncClient, keys: Keys) -> None:
        self._keys = keys
        self._secrets = SharedRead(lambda: client.carry_out(url_secrets()), lasts_s=READ_EVERY_S)

    async def sign(self, paths: list[str], key_id: str, life_s: int) -> list[Signed]:
        """Addresses for a key; none of them outlives it. Raises UnauthenticatedError."""
        key = await self._keys.known(key_id)
        if key is None:
            raise refused()
        expires = int(time.time() + min(life_s, key.left_s()))
        secret = (await self._secrets.value()).current
        return [sign(path, expires, key.id, key.digest, secret) for path in paths]

    async def whose(self, signed: Signed) -> ApiKey:
        """The key that signed an address. Raises UnauthenticatedError."""
        key = await self._keys.known(signed.key_id)
        if not await self._fits(signed, key):
            self._secrets.outdate()  # there may be a new one since
            if not await self._fits(signed, key):
                raise refused()
        if key is None or key.left_s() <= 0:
            raise refused()
        if signed.expires <= time.time():
            raise UnauthenticatedError("This signed URL has expired.")
        return key

    async def left_s(self, signed: Signed) -> float:
        """For how many seconds more it is valid. Raises UnauthenticatedError."""
        key = await self.whose(signed)
        return min(key.left_s(), signed.expires - time.time())

    async def _fits(self, signed: Signed, key: ApiKey | None) -> bool:
        return fits(signed, key.digest if key else "", await self._secrets.value())


def refused() -> UnauthenticatedError:
    """In the same words whatever is wrong with it."""
    return UnauthenticatedError("This signed URL is not valid here.")


def taken_from(scope: Scope) -> Signed | None:
    """The signature of a request, whose address reads afterwards as if it had none; None where it
    has none. Raises UnauthenticatedError for what is no signature."""
    query = scope["query_string"].decode("latin-1")
    if scope["method"] not in ("GET", "HEAD") or f"{SIGNATURE}=" not in query:
        return None
    if not may_be_signed(scope["path"]):
        return None
    pairs = parse_qsl(query, keep_blank_values=True)
    signing = [pair for pair in pairs if pair[0] in PARAMETERS]
    others = [pair for pair in pairs if pair[0] not in PARAMETERS]
    scope["query_string"] = urlencode(others).encode()
    signed = read(scope["path"], dict(signing))
    if signed is None or len(signing) != len(PARAMETERS):
        raise refused()
    return signed


def embeddable(send: Send) -> Send:
    """Sends an answer that pages of other sites may show: who has the address was meant to."""

    async def send_open(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message["headers"])
            headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        await send(message)

    return send_open
