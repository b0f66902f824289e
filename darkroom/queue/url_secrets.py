"""The secrets that addresses are signed with, one set for all services; sends nothing itself."""

import secrets
import time
from collections.abc import Iterable

from darkroom.queue import api_keys
from darkroom.queue.exchange import Exchange, run
from darkroom.signing import LONGEST_LIFE_S, UrlSecrets, sign

REPLACED_AFTER_S = LONGEST_LIFE_S
"""So that what was signed with one has expired when the one after it is replaced."""


def signed_paths(paths: Iterable[str], owner: str, life_s: float) -> Exchange[dict[str, str]]:
    """By paths that can be signed, those that let in whoever has them, by the key that is called
    `owner`; none where there is no such key."""
    key = (yield from api_keys.get(owner)) if owner else None
    if key is None:
        return {}
    expires = int(time.time() + min(life_s, key.left_s()))
    secret = (yield from url_secrets()).current
    return {path: sign(path, expires, key.id, key.digest, secret).url for path in paths}


def url_secrets() -> Exchange[UrlSecrets]:
    """Made at the first call, replaced by themselves."""
    fresh = (secrets.token_hex(32), secrets.token_hex(32))
    current, earlier = yield from run("url_secrets", REPLACED_AFTER_S, *fresh)
    return UrlSecrets(current.decode(), earlier.decode())
