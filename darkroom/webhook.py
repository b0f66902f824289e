"""Who is told of a job: the URL and the events that a client names; used by all processes, knows
neither Redis nor HTTP."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from darkroom.errors import DarkroomError, NotFoundError
from darkroom.fields import Fields, at_most

MessageType = Literal["job.started", "job.succeeded", "job.failed", "job.canceled"]
TEST = "test"
"""The type of a message that tries a receiver."""
ENDS: tuple[MessageType, ...] = ("job.succeeded", "job.failed", "job.canceled")

MOST_TO_HOST = 4
"""Messages of one owner that are sent to one host at once, by all keepers together."""
MOST_MESSAGES = 10_000
"""Of one owner that wait to be sent; beyond, the oldest is given up."""
MOST_FAILED = 1_000
"""Of one owner that were given up and are kept, for as long as jobs are."""
SENDING_S = 30
"""Seconds that a keeper has to send a message and to tell of it; then another one sends it."""


class WebhooksOffError(DarkroomError):
    """The operator allows no webhooks."""

    code = "webhooks_off"


class MessageNotFoundError(NotFoundError):
    """No message that was given up has this id, of this owner."""

    code = "message_not_found"


_ROOT = re.compile(r"^https?://[^\s?#]+$", re.ASCII)


def _root(text: str | None) -> str | None:
    if text is not None and not _ROOT.fullmatch(text):
        raise PydanticCustomError("malformed", "Must be the address of this service.")
    return text


class Webhook(Fields):
    """Who is told of a job, and of what."""

    url: str = Field(max_length=2048)
    """Where messages are posted: `https://HOST/PATH`."""
    events: Annotated[
        list[MessageType], Field(min_length=1), at_most(len(get_args(MessageType)))
    ] = Field(list(ENDS))
    """Of what: `job.started`, `job.succeeded`, `job.failed`, `job.canceled`; left out: of how it
    ends."""

    prediction_root: Annotated[
        str | None,
        Field(max_length=300, json_schema_extra={"pattern": _ROOT.pattern}),
        AfterValidator(_root),
    ] = None
    """Tell of it as Replicate's API tells of a prediction, for receivers that know that: without
    an envelope, with addresses that begin so, such as `https://darkroom.example`; null: as a
    job."""

    def kept(self) -> dict[str, Any]:
        """As Redis keeps it, with the host, by which messages are kept apart."""
        host = urlsplit(self.url).netloc.lower()
        root = {"prediction_root": self.prediction_root} if self.prediction_root else {}
        return {"url": self.url, "events": self.events, "host": host, **root}

    @classmethod
    def of_kept(cls, kept: Mapping[str, Any]) -> Self:
        """Raises ValueError."""
        root = kept.get("prediction_root")
        return cls(url=kept["url"], events=kept["events"], prediction_root=root)
