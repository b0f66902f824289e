"""Addresses that browsers can fetch without a key."""

from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from darkroom.errors import InvalidRequestError
from darkroom.field_errors import field_errors
from service.bodies import read_body, require_json
from service.dependencies import Here, WhoAsks
from service.documentation import SIGNING_BODY
from service.problems import problems
from service.responses import Listing
from service.signatures import SignedUrl, SigningWish

router = APIRouter(tags=["signed URLs"])


@router.post(
    "/signed-urls",
    response_model=Listing[SignedUrl],
    responses=problems(
        "malformed_request",
        "payload_too_large",
        "unsupported_media_type",
        "invalid_parameters",
        "queue_unavailable",
    ),
    openapi_extra=SIGNING_BODY,
)
async def sign_urls(http: Request, here: Here, asker: WhoAsks) -> Response:
    """Addresses for `<img>` and `EventSource`, which send no key: of pictures, of the events of
    jobs, of the content of files.

    Whoever has one may read that one thing, as you may, until it expires, or until your key is
    revoked, rotated or expires. Whether the thing exists is not looked for."""
    require_json(http)
    body, _ = await read_body(http, int(here.settings.max_json_kb * 2**10))
    try:
        wish = SigningWish.model_validate(body)
    except ValidationError as error:
        raise InvalidRequestError(field_errors(error, SigningWish)) from None
    if not here.settings.asks_for_keys:
        found = [SignedUrl(path=path, url=path, expires_at=None) for path in wish.paths]
    else:
        signed = await here.signatures.sign(wish.paths, asker.owner, wish.expires_s)
        found = [
            SignedUrl(path=each.path, url=each.url, expires_at=_moment(each.expires))
            for each in signed
        ]
    headers = {"Cache-Control": "private, no-store"}
    listing = Listing[SignedUrl](data=found)
    return Response(listing.model_dump_json(), 200, headers, "application/json")


def _moment(unix: int) -> datetime:
    return datetime.fromtimestamp(unix, UTC)
