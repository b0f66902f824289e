"""What a ControlNet would see of a picture, before any job is made."""

from collections.abc import Iterator

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from darkroom.errors import FieldError, InvalidRequestError
from darkroom.field_errors import field_errors
from darkroom.request_parts import Preprocess
from service.bodies import read_body, require_json
from service.departure import unless_gone
from service.dependencies import Here, TheirJobs
from service.documentation import CONTROL_BODY, CONTROL_PICTURE
from service.negotiation import check_format
from service.pictures.messages import ControlMap
from service.problems import problems

router = APIRouter(tags=["images"])


@router.post(
    "/controls/preprocess",
    response_class=Response,
    responses=CONTROL_PICTURE
    | problems(
        "malformed_request",
        "not_acceptable",
        "payload_too_large",
        "unsupported_media_type",
        "invalid_parameters",
        "decoders_busy",
        "queue_unavailable",
        "store_unavailable",
    ),
    openapi_extra=CONTROL_BODY,
)
async def preprocess(http: Request, here: Here, jobs: TheirJobs) -> Response:
    """The map that `preprocess` of a job's `controls` makes of a picture, as a PNG: the same pixels
    that the ControlNet would see in a job of this size. Nothing is kept. Sent as the `image` of a
    control without `preprocess`, it leads to the same picture."""
    require_json(http)
    check_format(http, "png")
    body, _ = await read_body(http, int(here.settings.max_json_kb * 2**10))
    try:
        asked = Preprocess.model_validate(body)
    except ValidationError as error:
        raise InvalidRequestError(field_errors(error, Preprocess)) from None
    if errors := list(_disagreements(asked, here.settings.max_image_pixels)):
        raise InvalidRequestError(errors)
    size = (asked.width, asked.height) if asked.width and asked.height else None
    control = ControlMap(asked.preprocess, size)
    png = await unless_gone(http, jobs.control_map(asked.image, asked.background, control))
    return Response(png, headers={"Cache-Control": "private, no-store"}, media_type="image/png")


def _disagreements(asked: Preprocess, max_pixels: int) -> Iterator[FieldError]:
    """Sides that are right one by one and wrong together."""
    if asked.width and asked.height:
        if asked.width * asked.height > max_pixels:
            detail = f"width x height must be at most {max_pixels} pixels."
            yield FieldError("", detail, "too_many_pixels")
    elif asked.width or asked.height:
        lacking = "height" if asked.width else "width"
        yield FieldError(f"/{lacking}", "Width and height go together.", "missing")
