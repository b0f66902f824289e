"""The messages of webhooks as Standard Webhooks 1.0 has them: bodies, signatures, and when to try
again; in the keeper and, for tests of a receiver, the service. Sends nothing."""

import json
import random
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from secrets import token_bytes
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict
from standardwebhooks import Webhook as Signing

from darkroom.job import Job, JobStatus
from darkroom.predictions import deleted, prediction

RETRY_S = (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
"""Seconds after which a message that was not taken is sent again, about three days in all, as the
specification recommends; then it is given up."""
JITTER = 0.2
"""By what share of it a time may be longer, so that what failed together comes apart."""
LONGEST_WAIT_S = 86400.0
"""That a receiver may ask for with `Retry-After`."""
OVERLAP_S = 86400
"""For how long messages are signed with the secret before too, if nothing else is asked for."""


class Secrets(BaseModel):
    """What an owner's messages are signed with."""

    model_config = ConfigDict(frozen=True)

    current: str
    """`whsec_` and base64 of 32 drawn bytes."""
    created_at: AwareDatetime
    previous: str | None = None
    previous_until: AwareDatetime | None = None

    def at(self, now: datetime) -> list[str]:
        """Those that count at this time, the newest first."""
        older = self.previous and self.previous_until and now < self.previous_until
        return [self.current, self.previous] if older and self.previous else [self.current]


@dataclass(frozen=True)
class Message:
    """One message of the outbox, as somebody may send it now."""

    id: str
    """`msg_`, constant over all attempts."""
    token: str
    """Who may send it."""
    type: str
    job_id: str
    url: str
    owner: str
    status: str
    """That the job had when this was written."""
    attempts: int
    """That were made before."""
    at: datetime
    """When it happened."""
    job: Job | None
    """As it is now; None if it is no longer kept."""
    secrets: Secrets | None
    root: str = ""
    """See `Webhook.prediction_root`; empty: it tells of a job."""
    signed: Mapping[str, str] = field(default_factory=dict)
    """For paths in a prediction those with signatures."""

    def body(self) -> bytes:
        """What is sent and signed; of a job the same in each attempt while the job is the same."""
        if self.root and self.job:
            return as_json(prediction(self.job, self.root, self.signed))
        if self.root:
            return as_json(deleted(self.job_id, JobStatus(self.status), self.root))
        gone = {"id": self.job_id, "object": "job", "status": self.status}
        data = self.job.model_dump(mode="json") if self.job else gone
        return body(self.type, self.at, data)


def new_secret() -> str:
    return f"whsec_{b64encode(token_bytes(32)).decode()}"


def body(kind: str, at: datetime, data: Mapping[str, Any]) -> bytes:
    """A message as JSON."""
    told = {"type": kind, "timestamp": at.isoformat().replace("+00:00", "Z"), "data": data}
    return as_json(told)


def as_json(told: Mapping[str, Any]) -> bytes:
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()


def headers(message_id: str, sent: bytes, secrets: Secrets, now: datetime) -> dict[str, str]:
    """What goes with a body: by `webhook-id` a receiver knows a message that it had before."""
    text = sent.decode()
    signatures = (Signing(each).sign(message_id, now, text) for each in secrets.at(now))
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def next_try_s(attempts: int, retry_after: str | None, now: datetime) -> float | None:
    """In how many seconds to send again what has failed so often, 1 the first time; None: never.
    A receiver that overflows may ask for more time."""
    if attempts > len(RETRY_S):
        return None
    waits_s = RETRY_S[attempts - 1] * (1 + JITTER * random.random())
    return max(waits_s, min(_seconds(retry_after or "", now), LONGEST_WAIT_S))


def _seconds(retry_after: str, now: datetime) -> float:
    """RFC 9110, section 10.2.3: a number, or a date."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:9])
    try:
        moment = parsedate_to_datetime(retry_after)
        return (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
    except (ValueError, OverflowError):
        return 0.0
