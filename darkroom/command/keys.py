"""`darkroom keys`: makes, lists, limits, revokes, rotates keys of the API; asks Redis, no service.

A key goes to standard output, once and alone on its line; words and the log to standard error.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any, TypeVar

import typer

from darkroom import logs
from darkroom.api_keys import (
    MOST,
    MOST_WEIGHT,
    NO_LIMITS,
    WHOLE,
    ApiKey,
    KeyNameError,
    Limits,
    Scope,
    Token,
    life_of,
    limit_of,
    new_key,
    scopes_of,
)
from darkroom.command.first_key import renew_first_key
from darkroom.command.flags import with_redis, with_settings
from darkroom.command.terminal import AsJson, err, faults, print_json, print_rows
from darkroom.queue import api_keys
from darkroom.queue.connection import connect
from darkroom.queue.exchange import Client
from darkroom.queue.lua import PLAIN_RULES, scripts
from darkroom.settings import Settings
from darkroom.text import plain

Value = TypeVar("Value")

keys = typer.Typer(
    help="Make, list, limit, revoke and rotate keys of the API.",
    no_args_is_help=True,
    epilog="With the Redis that the API uses, or the state directory of a running `darkroom up`.",
)
log = logs.get("keys")

_needs_redis = with_settings("redis_url", "state_dir", "log_format", "log_level")


def _parsed(parse: Callable[[str], Value]) -> Callable[[str], Value]:
    def parser(text: str) -> Value:
        try:
            return parse(text)
        except ValueError as error:
            raise typer.BadParameter(f"{error}.") from None

    return parser


Name = Annotated[str, typer.Argument(metavar="NAME", help="The key's name.")]
Scopes = Annotated[
    Any,
    typer.Option(
        "--scope",
        metavar="SCOPES",
        parser=_parsed(scopes_of),
        help="With commas: read (own jobs and pictures, models, the queue), submit (make, cancel "
        "and delete own jobs), admin (all, of everybody).",
    ),
]
Expires = Annotated[
    Any,
    typer.Option(
        metavar="TIME",
        parser=_parsed(life_of),
        help="After which time it is refused, such as 30d; left out: never.",
    ),
]


def _limit(what: str, most: int = MOST, none: str = "as many as there may be of all keys") -> Any:
    parser = _parsed(partial(limit_of, most=most))
    return typer.Option(metavar="N", parser=parser, help=f"{what}, or none: {none}.")


MaxActive = Annotated[Any, _limit("How many of its jobs may be queued or running")]
MaxQueued = Annotated[Any, _limit("How many of its jobs may be queued")]
PerMinute = Annotated[Any, _limit("How many requests it may make in a minute")]
Share = Annotated[Any, _limit("Percent of the jobs that may be queued in all", WHOLE, "all of it")]
GpuSeconds = Annotated[
    Any, _limit("Seconds of work on GPUs that its jobs of a day (UTC) may take", MOST, "any")
]
Weight = Annotated[
    Any, _limit("Turns in a queue where other keys have one", MOST_WEIGHT, "one as well")
]


@keys.command("create")
@_needs_redis
def keys_create(
    settings: Settings,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it.")],
    scope: Scopes = "submit,read",
    expires: Expires = None,
    max_active: MaxActive = None,
    max_queued: MaxQueued = None,
    per_minute: PerMinute = None,
    share: Share = None,
    gpu_seconds_per_day: GpuSeconds = None,
    weight: Weight = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, this once.

    Nobody can read it again: nothing but a hash of it is kept."""
    limits = Limits(
        max_active=max_active or None,
        max_queued=max_queued or None,
        per_minute=per_minute or None,
        share=share or None,
        gpu_seconds_per_day=gpu_seconds_per_day or None,
        weight=weight or None,
    )
    with _redis(settings) as client:
        key, token = create(client, name, scope, expires, limits)
    _print(key, token, as_json=as_json)


@keys.command("limit")
@_needs_redis
def keys_limit(
    settings: Settings,
    name: Name,
    max_active: MaxActive = None,
    max_queued: MaxQueued = None,
    per_minute: PerMinute = None,
    share: Share = None,
    gpu_seconds_per_day: GpuSeconds = None,
    weight: Weight = None,
    as_json: AsJson = False,
) -> None:
    """Set limits of a key; those that are left out stay as they are.

    They hold within a second. Jobs that are there already stay."""
    given = {
        "max_active": max_active,
        "max_queued": max_queued,
        "per_minute": per_minute,
        "share": share,
        "gpu_seconds_per_day": gpu_seconds_per_day,
        "weight": weight,
    }
    changes = {field: value or None for field, value in given.items() if value is not None}
    with _redis(settings) as client:
        was = _find(client, name)
        key = was.model_copy(update={"limits": was.limits.model_copy(update=changes)})
        _replace(client, was, key)
        log.info("key_limited", key_id=key.id, name=key.name, **key.limits.model_dump())
    if as_json:
        print_json(_told(key))
    else:
        err.print(plain(f"Limits of {key.name!r}: {key.limits}."))


@keys.command("ls")
@_needs_redis
def keys_ls(settings: Settings, as_json: AsJson = False) -> None:
    """List the keys."""
    with _redis(settings) as client:
        found = client.carry_out(api_keys.all_keys())
    if as_json:
        print_json([_told(key) for key in found])
    elif found:
        print_rows([("name", "id", "scopes", "limits", "created", "expires"), *map(_row, found)])
    else:
        err.print("No keys.")


@keys.command("revoke")
@_needs_redis
def keys_revoke(settings: Settings, name: Name, as_json: AsJson = False) -> None:
    """Refuse a key from now on.

    Who waits or follows events with it is let go within seconds. What was made with it stays, and
    only keys with the scope admin see it."""
    with _redis(settings) as client:
        key = _find(client, name)
        client.carry_out(api_keys.remove(key.id))
        log.info("key_revoked", key_id=key.id, name=key.name)
    for said in renew_first_key(settings.state_dir, key.id, None):
        err.print(plain(said))
    if as_json:
        print_json(_told(key))


@keys.command("rotate")
@_needs_redis
def keys_rotate(settings: Settings, name: Name, as_json: AsJson = False) -> None:
    """Give a key another secret and print it, this once.

    The old one is refused at once. Jobs and pictures stay its own, and so do scopes and time."""
    with _redis(settings) as client:
        was = _find(client, name)
        key, token = was.renewed()
        _replace(client, was, key)
        log.info("key_rotated", key_id=key.id, name=key.name)
    _print(key, token, as_json=as_json)
    for said in renew_first_key(settings.state_dir, key.id, token):
        err.print(plain(said))


def create(
    client: Client,
    name: str,
    scopes: tuple[Scope, ...],
    life: timedelta | None = None,
    limits: Limits = NO_LIMITS,
) -> tuple[ApiKey, Token]:
    """A new key, kept. Raises KeyNameError, QueueUnavailableError."""
    key, token = new_key(name, scopes, life, limits)
    if not client.carry_out(api_keys.put(key)):
        raise KeyNameError(f"There is a key {name!r} already: revoke or rotate it.")
    log.info("key_created", key_id=key.id, name=key.name, scopes=",".join(key.scopes))
    return key, token


@contextmanager
def _redis(settings: Settings) -> Iterator[Client]:
    """The Redis of the settings; what goes wrong ends the program with a sentence."""
    settings = with_redis(settings)
    logs.setup(settings, process="keys")
    with faults(), connect(settings.redis_url or "") as redis:
        yield Client(redis, scripts(PLAIN_RULES))


def _find(client: Client, name: str) -> ApiKey:
    found = client.carry_out(api_keys.all_keys())
    for key in found:
        if key.name == name:
            return key
    names = ", ".join(key.name for key in found) or "none"
    raise KeyNameError(f"No key is called {plain(name[:100])!r}. There are: {plain(names)}.")


def _replace(client: Client, was: ApiKey, key: ApiKey) -> None:
    if not client.carry_out(api_keys.put(key, instead_of=was)):
        raise KeyNameError(f"The key {key.name!r} was revoked or rotated this moment.")


def _print(key: ApiKey, token: Token, *, as_json: bool) -> None:
    if as_json:
        _show(json.dumps({**_told(key), "key": token.reveal()}), key.name)
        return
    until = f" until {_moment(key.expires_at)}" if key.expires_at else ""
    may = ", ".join(key.scopes)
    err.print(plain(f"The key of {key.name!r}, for {may}{until}; it is shown this once:"))
    _show(token.reveal(), key.name)


def _show(text: str, name: str) -> None:
    try:
        print(text, flush=True)
    except OSError as error:
        # Or Python tries again at its end, and complains.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        err.print(
            f"Error: The key {plain(name)!r} is kept, but could not be shown ({error.strerror}). "
            f"Make it another secret: darkroom keys rotate {plain(name)!r}"
        )
        raise typer.Exit(1) from None


def _told(key: ApiKey) -> dict[str, Any]:
    return key.model_dump(mode="json", exclude={"digest"})


def _row(key: ApiKey) -> tuple[str, ...]:
    expires = _moment(key.expires_at) if key.expires_at else "never"
    if key.left_s() <= 0:
        expires = f"expired {expires}"
    may = ", ".join(key.scopes), str(key.limits)
    return key.name, key.id, *may, _moment(key.created_at), expires


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
