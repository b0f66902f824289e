"""From the head of a request to who asks, before a body is read or a route looked for; service.

Plain ASGI around all there is, so that no route can be forgotten: whatever the path, it takes a
key, but for those of `OPEN`. It knows no job; what an asker may see of them is access.py's to say.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable, Iterator, Sequence

from fastapi import Request
from starlette.datastructures import Headers, QueryParams
from starlette.types import ASGIApp, Receive, Scope, Send

from darkroom import logs
from darkroom.api_keys import ApiKey, Token, parse
from darkroom.api_keys import Scope as Grant
from darkroom.errors import (
    DarkroomError,
    ForbiddenError,
    QueueUnavailableError,
    UnauthenticatedError,
)
from darkroom.queue import api_keys
from darkroom.queue.connection import connect
from darkroom.queue.exchange import Client
from darkroom.queue.request_rates import Rate
from darkroom.queue.use import Use
from darkroom.settings import Settings
from darkroom.signing import Signed
from service.access import EVERYBODY, NOBODY, Asker
from service.errors import answer, fault_of
from service.known_keys import Keys, refused
from service.page_files import page_paths
from service.rates import note, require, telling
from service.signatures import Signatures, embeddable, taken_from

log = logs.get("auth")

OPEN = frozenset(
    (
        *("/", "/livez", "/readyz", "/openapi.json", "/docs", "/docs/", "/docs/start.js"),
        *("/docs/favicon-32x32.png", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css"),
    )
)
"""What is read without a key: signs of life, the page, whose files come on top, and the description
of the API with all it loads."""

_TELL_MORE = frozenset(("/readyz",))
"""Those of them that tell more to who has a key. The others need not know, and so never wait for
Redis."""

LONGEST_HEADER = 512

_READING = ("GET", "HEAD", "OPTIONS")
_CHANGE_NOTHING = frozenset(("/api/v1/inspect", "/api/v1/signed-urls", "/sdapi/v1/png-info"))
"""What is posted to these is read and answered."""
_BARE_SCHEMES = ("bearer", "token", "key")
_BARE_HEADERS = ("x-api-key", "x-goog-api-key")
_IN_QUERY = "/google/"
"""Clients of Google's API may write the key into the address, `?key=`. Nowhere else it is looked
for there, where logs of proxies have it."""


class NoKeysError(DarkroomError):
    """Keys are asked for and nobody has one; the message says what to do."""

    code = "no_keys"


class Guard:
    """Tells who asks, in `scope["asker"]`, and lets nobody else pass, and no key more often than it
    may.

    `GET` and `HEAD` take the scope `read`, all else `submit`; what takes `admin` says so itself."""

    def __init__(
        self, app: ASGIApp, settings: Settings, keys: Keys, signatures: Signatures
    ) -> None:
        self.app = app
        self._signatures = signatures
        self._keys = keys if settings.asks_for_keys else None
        self._max_queued = settings.max_queued
        self._open = OPEN | page_paths() | ({"/metrics"} if settings.open_metrics else set())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        try:
            if signed := taken_from(scope):
                send = embeddable(send)
            scope["asker"] = asker = await self._asker(scope, signed)
            if rate := await self._take_request(scope):
                note(scope, rate)
            send = telling(send, scope, asker.limits, lambda: self._use(asker))
            require(rate)
        except DarkroomError as error:
            if isinstance(error, UnauthenticatedError):
                client = scope["client"] and scope["client"][0]
                log.warning("key_refused", client=client, reason=str(error))
            response = answer(Request(scope), fault_of(error))
            if scope["method"] not in _READING:  # its body is not worth reading
                response.headers["Connection"] = "close"
            await response(scope, receive, send)
            return
        await self.app(scope, receive, send)

    async def _asker(self, scope: Scope, signed: Signed | None) -> Asker:
        if self._keys is None:
            return EVERYBODY
        if self._is_open(scope) and scope["path"] not in _TELL_MORE:
            return NOBODY
        try:
            return await self._with_key(self._keys, scope, signed)
        except DarkroomError:
            if self._is_open(scope):
                return NOBODY
            raise

    async def _use(self, asker: Asker) -> Use:
        assert self._keys is not None  # who has no key has no limits
        return await self._keys.use(asker.owner)

    def _is_open(self, scope: Scope) -> bool:
        return scope["method"] in _READING and scope["path"] in self._open

    async def _with_key(self, keys: Keys, scope: Scope, signed: Signed | None) -> Asker:
        token = token_in(Headers(scope=scope), _in_query(scope))
        if token is None and signed:
            return await self._with_signature(signed)
        if token is None:
            raise UnauthenticatedError(
                "An API key is missing: send `Authorization: Bearer dk_...` or `X-API-Key`."
            )
        key = await keys.whose(token)
        wanted: Grant = "read" if _only_reads(scope) else "submit"
        if not key.allows(wanted):
            raise ForbiddenError(f"This needs an API key with the scope {wanted}.")

        async def left_s() -> float:
            return (await keys.whose(token)).left_s()

        return self._asker_of(key, left_s)

    async def _with_signature(self, signed: Signed) -> Asker:
        key = await self._signatures.whose(signed)
        if not key.allows("read"):
            raise ForbiddenError("This needs an API key with the scope read.")
        return self._asker_of(key, lambda: self._signatures.left_s(signed))

    def _asker_of(self, key: ApiKey, left_s: Callable[[], Awaitable[float]]) -> Asker:
        is_admin = key.allows("admin")
        sees = None if is_admin else key.id
        limits = key.limits.among(self._max_queued)
        return Asker(key.id, sees, is_admin=is_admin, left_s=left_s, limits=limits, key=key)

    async def _take_request(self, scope: Scope) -> Rate | None:
        """None where requests are not counted."""
        asker: Asker = scope["asker"]
        if self._keys is None or self._is_open(scope):
            return None
        return await self._keys.take_request(asker.owner, asker.limits)


def _only_reads(scope: Scope) -> bool:
    return scope["method"] in _READING or scope["path"].removesuffix("/") in _CHANGE_NOTHING


def token_in(headers: Headers, query: Sequence[str] = ()) -> Token | None:
    """The key that a request brings, in whichever form; None without one. `query`: what its
    address says in its place. Raises UnauthenticatedError for what is no key, and for more than
    one."""
    given = headers.getlist("authorization")
    bare = [*(headers.getlist(name) for name in _BARE_HEADERS), query]
    if not given and not any(bare):
        return None
    texts = {text for value in given for text in _credentials(value)}.union(*bare)
    if max(map(len, (given, *bare))) > 1 or len(texts) != 1:
        raise refused()
    token = parse(texts.pop())
    if token is None:
        raise refused()
    return token


def _in_query(scope: Scope) -> list[str]:
    """The keys in an address, where one may stand."""
    if not scope["path"].startswith(_IN_QUERY):
        return []
    return QueryParams(scope["query_string"]).getlist("key")


def require_key(settings: Settings) -> None:
    """Raises NoKeysError where keys are asked for and nobody has one. Redis may be away: then
    nobody is let in before it comes, and who runs this can make one later."""
    if not settings.asks_for_keys:
        if not settings.is_private:
            log.warning("keys_off", host=settings.published or settings.host)
        return
    try:
        with connect(settings.redis_url or "") as redis:
            kept = Client(redis).carry_out(api_keys.all_keys())
    except QueueUnavailableError as error:
        log.warning("queue_unavailable", reason=str(error))
        return
    if not any(key.left_s() > 0 for key in kept):
        raise NoKeysError(
            f"The API would listen on {settings.published or settings.host}, but there is no API "
            "key. Make one: darkroom keys create NAME (docker compose run --rm api darkroom keys "
            "create NAME). Or let in whoever reaches it: --no-keys, DARKROOM_KEYS=off"
        )


def _credentials(value: str) -> Iterator[str]:
    """What may be a key in an `Authorization`: one text, or of user and password what is one."""
    scheme, _, rest = value.strip(" \t").partition(" ")
    rest = rest.strip(" \t")
    if len(value) > LONGEST_HEADER:
        yield ""
    elif scheme.lower() in _BARE_SCHEMES:
        yield rest
    elif scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(rest, validate=True).decode("ascii").partition(":")
        except (binascii.Error, UnicodeDecodeError, ValueError):
            user = password = ""
        yield from {text for text in (user, password) if parse(text)} or {""}
    else:
        yield ""
