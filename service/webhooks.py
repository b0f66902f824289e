"""Whether a job may have a webhook, and a message that tries a receiver; in the service only."""

from datetime import UTC, datetime

from uuid_utils import uuid7

from darkroom.errors import FieldError, InvalidRequestError
from darkroom.messenger import Tried, attempt
from darkroom.outbound.client import Outbound
from darkroom.outbound.policy import OutboundError
from darkroom.queue.outbox import put_secret, secrets_of
from darkroom.webhook import TEST, Webhook, WebhooksOffError
from darkroom.webhook_messages import OVERLAP_S, Message, Secrets, new_secret
from service.dependencies import Darkroom

NO_SECRET = "There is no secret to sign messages with: POST /api/v1/webhooks/secret draws one."
_OFF = "There are no webhooks here; DARKROOM_WEBHOOKS would allow them."


def sender(here: Darkroom) -> Outbound:
    """Raises WebhooksOffError."""
    if here.outbound is None:
        raise WebhooksOffError(_OFF)
    return here.outbound


async def check_webhook(here: Darkroom, owner: str, webhook: Webhook | None) -> None:
    """Raises InvalidRequestError, QueueUnavailableError."""
    if webhook is None:
        return
    if here.outbound is None:
        raise _refused("/webhook", _OFF, "unsupported_field")
    check_url(here.outbound, "/webhook/url", webhook.url)
    if await here.client.carry_out(secrets_of(owner)) is None:
        raise _refused("/webhook", NO_SECRET, "invalid")


async def secret_of(here: Darkroom, owner: str) -> str:
    """What an owner's messages are signed with; drawn where there is none. Raises
    QueueUnavailableError."""
    kept = await here.client.carry_out(secrets_of(owner))
    if kept is None:
        kept = await here.client.carry_out(put_secret(owner, new_secret(), OVERLAP_S))
    return kept.current


def check_url(outbound: Outbound, pointer: str, url: str) -> None:
    """Judge the form of a URL; nobody is asked. Raises InvalidRequestError."""
    try:
        outbound.policy.target(url)
    except OutboundError as error:
        raise _refused(pointer, str(error), "malformed") from error


async def send_test(outbound: Outbound, url: str, owner: str, secrets: Secrets) -> Tried:
    """Post a message that tells of no job, once."""
    about = uuid7().hex
    message = Message(
        id=f"msg_test_{about}",
        token="",
        type=TEST,
        job_id=f"job_{about}",
        url=url,
        owner=owner,
        status="queued",
        attempts=0,
        at=datetime.now(UTC),
        job=None,
        secrets=secrets,
    )
    return await attempt(outbound, message)


def _refused(pointer: str, detail: str, code: str) -> InvalidRequestError:
    return InvalidRequestError([FieldError(pointer, detail, code)])
