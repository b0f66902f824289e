"""The messages of webhooks that were not delivered, and what they are signed with; sends nothing.

The scripts that change a job write them, with the change or not at all. Each function is an
exchange (`exchange.py`).
"""

import contextlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import ConfigDict

from darkroom.errors import ExpiredError, JobNotFoundError
from darkroom.job import Job
from darkroom.queue.exchange import Exchange, run, send
from darkroom.queue.job_hash import read_fields, read_job
from darkroom.webhook import MessageType
from darkroom.webhook_messages import Message, Secrets

BELL = "darkroom:bell:outbox"
"""Rings when a message is written, or is to be sent again."""

_SECRETS = "darkroom:webhook_secrets"

Outcome = Literal["delivered", "again", "failed", "gone"]


@dataclass(frozen=True)
class FailedMessage:
    """A message that was given up."""

    __pydantic_config__ = ConfigDict(use_attribute_docstrings=True)

    id: str
    """`msg_`; what its receiver saw as `webhook-id`."""
    type: MessageType
    """What it tells."""
    job_id: str
    """Of which job."""
    url: str
    """Where it was sent."""
    attempts: int
    """How often."""
    why: str | None
    """What came of the last attempt; null once it is to be sent again."""
    created_at: datetime
    """When that happened which it tells."""
    failed_at: datetime | None
    """When it was given up; null once it is to be sent again."""


def take_messages(token: str, most: int, busy: Collection[str] = ()) -> Exchange[list[Message]]:
    """Messages that are due, for the asker to send within `SENDING_S` seconds; none of `busy`
    owners."""
    rows = yield from run("take_messages", token, most, *busy)
    return [_message(token, *row) for row in rows]


def report(
    message: Message, outcome: Outcome, why: str = "", again_s: float = 0.0
) -> Exchange[bool]:
    """Say what came of a message; `gone`: its receiver wants no more of the job either. False: it
    was another's to send by then, and nothing was changed."""
    return bool(
        (yield from run("report_message", message.id, message.token, outcome, again_s, why))
    )


def failed_messages(owner: str, most: int) -> Exchange[list[FailedMessage]]:
    """Those of an owner that were given up, the last one first."""
    rows = yield from run("failed_messages", owner, most)
    return [_failed(name.decode(), flat) for name, flat in rows]


def send_again(message_id: str, owner: str) -> Exchange[FailedMessage | None]:
    """Let a message that was given up be sent again; None: the owner has none with this id."""
    flat = yield from run("send_again", message_id, owner)
    return _failed(message_id, flat) if flat else None


def secrets_of(owner: str) -> Exchange[Secrets | None]:
    """What an owner's messages are signed with; None if nothing was drawn yet."""
    kept = yield from send("HGET", _SECRETS, owner)
    return Secrets.model_validate_json(kept) if kept else None


def put_secret(owner: str, secret: str, overlap_s: float) -> Exchange[Secrets]:
    """Sign an owner's messages with a new secret, and for so many seconds with the one before."""
    kept = yield from run("put_secret", owner, secret, overlap_s)
    return Secrets.model_validate_json(kept)


def _message(
    token: str, name: bytes, flat: list[Any], job: list[Any], kept: bytes | None
) -> Message:
    fields = read_fields(flat)
    return Message(
        id=name.decode(),
        token=token,
        type=fields["type"],
        job_id=fields["job"],
        url=fields["url"],
        owner=fields["owner"],
        status=fields["status"],
        attempts=int(fields["attempts"]),
        at=_moment(fields["at"]),
        job=_job(job),
        secrets=Secrets.model_validate_json(kept) if kept else None,
        root=fields.get("root", ""),
    )


def _job(view: list[Any]) -> Job | None:
    with contextlib.suppress(JobNotFoundError, ExpiredError):
        return read_job(view)
    return None


def _failed(name: str, flat: list[bytes]) -> FailedMessage:
    fields = read_fields(flat)
    return FailedMessage(
        id=name,
        type=fields["type"],  # type: ignore[arg-type]  # a script wrote it
        job_id=fields["job"],
        url=fields["url"],
        attempts=int(fields["attempts"]),
        why=fields.get("why"),
        created_at=_moment(fields["at"]),
        failed_at=_moment(fields["failed"]) if "failed" in fields else None,
    )


def _moment(text: str) -> datetime:
    return datetime.fromtimestamp(float(text), UTC)
