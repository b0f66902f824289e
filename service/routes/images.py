"""Finished pictures."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from service.dependencies import Here, IfNoneMatch, Range, TheirJobs
from service.negotiation import unless_known
from service.problems import Responses, problems
from service.responses import PICTURE, ImageFile, last_modified

router = APIRouter(tags=["images"])

_IMAGE: Responses = {
    200: {"description": "The picture.", "content": PICTURE},
    206: {
        "description": "The parts of it that `Range` asks for; several as `multipart/byteranges`.",
        "content": PICTURE,
    },
    304: {"description": "You have it: pictures never change."},
}


@router.get(
    "/images/{image_id}",
    response_class=Response,
    responses=_IMAGE
    | problems(
        "image_not_found", "precondition_failed", "range_not_satisfiable", "store_unavailable"
    ),
)
async def read_image(
    http: Request,
    here: Here,
    jobs: TheirJobs,
    image_id: Annotated[
        str,
        Path(
            description="The `id` of a picture of a job.",
            examples=["img_019a5c6e7f1a7c3e8d2b4a6c8e0f1a2b"],
        ),
    ],
    if_none_match: IfNoneMatch = None,  # noqa: ARG001
    asked_range: Range = None,  # noqa: ARG001
) -> Response:
    """A picture, in the format that its job asked for. It says itself how it was made.

    A PNG's text chunk `parameters`, or the EXIF user comment of a JPEG or WebP, holds what A1111
    and its readers know; the text chunk `darkroom`, or the XMP field of that name, the exact
    request, which makes the picture again; XMP also that a model made it, in IPTC's terms. With
    `output.metadata` at `minimal` only software, model, seed and that remain; at `none` nothing.
    """
    image = await jobs.find_image(image_id)
    return unless_known(http, ImageFile(here.store, image), last_modified(image))
