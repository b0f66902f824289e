"""What webhooks are signed with, messages that were given up, and a test of a receiver."""

from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from darkroom import logs
from darkroom.errors import FieldError, InvalidRequestError
from darkroom.field_errors import field_errors
from darkroom.fields import Fields, with_nulls
from darkroom.queue import outbox
from darkroom.queue.outbox import FailedMessage
from darkroom.webhook import MessageNotFoundError
from darkroom.webhook_messages import OVERLAP_S, new_secret
from service.bodies import read_body, require_json
from service.dependencies import Here, Place, WhoAsks
from service.parameters import WHOLE_NUMBER
from service.problems import problems
from service.responses import Listing
from service.webhooks import NO_SECRET, check_url, send_test, sender

log = logs.get("webhooks")

Body = TypeVar("Body", bound=Fields)

router = APIRouter(tags=["webhooks"])

MOST_LISTED = 100
LONGEST_OVERLAP_S = 7 * 86400
_MOST_BYTES = 8192


class Signing(BaseModel):
    """What the messages of a key are signed with, but for the secret itself."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    object: Literal["webhook_secret"] = "webhook_secret"
    """What this is."""
    created_at: datetime | None
    """When it was drawn; null: there is none yet, and jobs can have no webhooks."""
    previous_until: datetime | None
    """Until when messages are signed with the one before too."""


class NewSigning(Signing):
    """The same with the secret, which nobody can read again."""

    secret: str
    """`whsec_` and base64 of 32 bytes."""


class Rotation(Fields):
    """How to change the secret."""

    overlap_s: Annotated[float, Field(ge=0, le=LONGEST_OVERLAP_S)] = OVERLAP_S
    """For how many seconds messages are signed with the one before too."""


class Receiver(Fields):
    """Whom to send a test."""

    url: str = Field(max_length=2048)
    """Where it is posted."""


class Trial(BaseModel):
    """What came of a test."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    delivered: bool
    """Whether the receiver answered with a status from 200 to 299."""
    why: str | None
    """Why not; null if it did."""


def _body(shape: type[Fields], example: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    """What OpenAPI says of a body."""
    told = {"schema": with_nulls(shape.model_json_schema()), "example": example}
    return {"requestBody": {"required": required, "content": {"application/json": told}}}


MessageId = Annotated[
    str,
    Path(
        max_length=100,
        description="The message's id.",
        examples=["msg_019a5c6e7f1a7c3e8d2b4a6c8e0f1a2b_2"],
    ),
]
_REFUSALS = (
    "webhooks_off",
    "malformed_request",
    "invalid_parameters",
    "unsupported_media_type",
    "queue_unavailable",
)


@router.get("/webhooks/secret", responses=problems("webhooks_off", "queue_unavailable"))
async def read_webhook_secret(here: Here, asker: WhoAsks) -> Signing:
    """Whether there is a secret that your messages are signed with, and since when."""
    sender(here)
    kept = await here.client.carry_out(outbox.secrets_of(asker.owner))
    return Signing(created_at=kept and kept.created_at, previous_until=kept and kept.previous_until)


@router.post(
    "/webhooks/secret",
    status_code=201,
    responses=problems(*_REFUSALS),
    openapi_extra=_body(Rotation, {"overlap_s": 3600}, required=False),
)
async def rotate_webhook_secret(
    http: Request, here: Here, asker: WhoAsks, response: Response
) -> NewSigning:
    """Draw a secret that your messages are signed with, shown this once. Where there was one
    before, messages are signed with both for a day, or for `overlap_s` seconds."""
    sender(here)
    wanted = await _read(http, Rotation) if await http.body() else Rotation()
    secret = new_secret()
    kept = await here.client.carry_out(outbox.put_secret(asker.owner, secret, wanted.overlap_s))
    log.info("webhook_secret_drawn", key_id=asker.owner)
    response.headers["Cache-Control"] = "no-store"
    return NewSigning(secret=secret, created_at=kept.created_at, previous_until=kept.previous_until)


@router.post(
    "/webhooks/test",
    responses=problems(*_REFUSALS),
    openapi_extra=_body(Receiver, {"url": "https://app.example/darkroom"}),
    dependencies=[Place],
)
async def try_webhook(http: Request, here: Here, asker: WhoAsks) -> Trial:
    """Post a message of the type `test`, about a job that there never was, and tell what the
    receiver answered within 15 seconds. It is not sent again."""
    outbound = sender(here)
    receiver = await _read(http, Receiver)
    check_url(outbound, "/url", receiver.url)
    kept = await here.client.carry_out(outbox.secrets_of(asker.owner))
    if kept is None:
        raise InvalidRequestError([FieldError("", NO_SECRET, "invalid")])
    tried = await send_test(outbound, receiver.url, asker.owner, kept)
    return Trial(delivered=tried.outcome == "delivered", why=tried.why or None)


@router.get("/webhooks/failed", responses=problems("webhooks_off", "queue_unavailable"))
async def list_failed_messages(
    here: Here,
    asker: WhoAsks,
    limit: Annotated[
        int,
        Field(ge=1, le=MOST_LISTED),
        WHOLE_NUMBER,
        Query(description="How many at most.", examples=[20]),
    ] = MOST_LISTED,
) -> Listing[FailedMessage]:
    """Your messages that were given up, the last one first. They are kept as long as jobs are, and
    the last 1,000."""
    sender(here)
    return Listing(data=await here.client.carry_out(outbox.failed_messages(asker.owner, limit)))


@router.post(
    "/webhooks/failed/{message_id}/resend",
    status_code=202,
    responses=problems("webhooks_off", "message_not_found", "queue_unavailable"),
)
async def resend_message(here: Here, asker: WhoAsks, message_id: MessageId) -> FailedMessage:
    """Send a message that was given up again, as if it was new, under the same id."""
    sender(here)
    sent = await here.client.carry_out(outbox.send_again(message_id, asker.owner))
    if sent is None:
        raise MessageNotFoundError("No message that was given up has this id.")
    return sent


async def _read(http: Request, shape: type[Body]) -> Body:
    require_json(http)
    body, _ = await read_body(http, _MOST_BYTES)
    try:
        return shape.model_validate(body)
    except ValidationError as error:
        raise InvalidRequestError(field_errors(error, shape)) from error
