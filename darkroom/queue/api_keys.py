"""Keys of the API as Redis keeps them; used by the service and `darkroom keys`, knows no HTTP."""

from pydantic import ValidationError

from darkroom.api_keys import ApiKey
from darkroom.queue.events import CHANNEL, KEYS_CHANGED
from darkroom.queue.exchange import Exchange, Send, run, send

_KEYS = "darkroom:keys"
_SECRETS = "darkroom:webhook_secrets"


def put(key: ApiKey, *, instead_of: ApiKey | None = None) -> Exchange[bool]:
    """Keep a new key, or one `instead_of` what was kept of it. False: its name is that of another,
    or it is not kept any more, or has had another secret since."""
    digest = instead_of.digest if instead_of else ""
    done = yield from run("put_key", key.id, key.name, key.model_dump_json(), digest)
    return bool(done)


def get(key_id: str) -> Exchange[ApiKey | None]:
    """The key with this id; None if none is kept, or this version cannot read it."""
    raw: bytes | None = yield from send("HGET", _KEYS, key_id)
    return _read(raw) if raw else None


def all_keys() -> Exchange[list[ApiKey]]:
    """The keys that this version can read, oldest first."""
    raw = yield from send("HVALS", _KEYS)
    keys = [key for key in map(_read, raw) if key]
    return sorted(keys, key=lambda key: (key.created_at, key.id))


def remove(key_id: str) -> Exchange[bool]:
    """Keep a key no longer, nor what its webhooks are signed with, whose messages are then given
    up; and tell the services, which let go of who waits with it. False: there was none."""
    commands = (
        ("HDEL", _KEYS, key_id),
        ("HDEL", _SECRETS, key_id),
        ("PUBLISH", CHANNEL, KEYS_CHANGED),
    )
    removed, *_ = yield Send(commands, atomic=True)
    return bool(removed)


def _read(raw: bytes) -> ApiKey | None:
    try:
        return ApiKey.model_validate_json(raw)
    except ValidationError:
        return None
