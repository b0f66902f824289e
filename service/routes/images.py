"""Finished pictures: listed, fetched, and in other sizes and formats; and what a file says."""

from collections.abc import Mapping
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field
from starlette.exceptions import HTTPException

from darkroom.errors import InvalidImageError, UnsupportedError
from darkroom.images import SUFFIXES, ImageStore, StoredImage
from darkroom.request import PictureFormat
from service import preferences
from service.dependencies import Darkroom, Here, IfNoneMatch, Range, TheirJobs
from service.filters import (
    ByBatch,
    ByModel,
    ByStar,
    ByTag,
    ByText,
    ImageCursor,
    Limit,
    own_name,
    page_response,
    require_model,
)
from service.gallery import ImagePage, image_page
from service.inspection import Inspection, inspected
from service.negotiation import unless_known
from service.parameters import WHOLE_NUMBER
from service.pictures.messages import CopyWish
from service.problems import Responses, problems
from service.responses import PICTURE, ImageFile, image_headers, last_modified
from service.uploads import PICTURE_BODY, read_picture

router = APIRouter(tags=["images"])

LEAST_WIDTH, LARGEST_WIDTH = 16, 2048
"""Pixels of a copy that is made smaller."""

_IMAGE: Responses = {
    200: {"description": "The picture.", "content": PICTURE},
    206: {
        "description": "The parts of it that `Range` asks for; several as `multipart/byteranges`.",
        "content": PICTURE,
    },
    304: {"description": "You have it: pictures never change."},
}


@router.get(
    "/images",
    response_model=ImagePage,
    responses=problems("invalid_parameters", "model_not_found", "queue_unavailable"),
)
async def list_images(
    http: Request,
    here: Here,
    jobs: TheirJobs,
    model: ByModel = None,
    tag: ByTag = None,
    batch: ByBatch = None,
    starred: ByStar = None,
    q: ByText = None,
    limit: Limit = 20,
    cursor: ImageCursor = None,
) -> Response:
    """Finished pictures, those of the newest jobs first, each with what to know of its job. `Link`
    with `rel="next"` leads to the next page."""
    page = await image_page(
        jobs,
        limit=limit,
        cursor=cursor,
        model=own_name(here, model),
        tag=tag,
        batch=batch,
        starred=starred,
        text=q,
    )
    if model and not (cursor or page.data):
        await require_model(here, jobs, model)
    return page_response(http, page, page.next_cursor)


@router.get(
    "/images/{image_id}",
    response_class=Response,
    responses=_IMAGE
    | problems(
        "image_not_found",
        "not_acceptable",
        "precondition_failed",
        "range_not_satisfiable",
        "invalid_parameters",
        "unsupported",
        "decoders_busy",
        "queue_unavailable",
        "store_unavailable",
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
    w: Annotated[
        Annotated[int, Field(ge=LEAST_WIDTH, le=LARGEST_WIDTH)] | None,
        WHOLE_NUMBER,
        Query(
            description="No wider than so many pixels; a picture that is not is as it is.",
            examples=[256],
        ),
    ] = None,
    image_format: Annotated[
        PictureFormat | None,
        Query(alias="format", description="In this format.", examples=["webp"]),
    ] = None,
    if_none_match: IfNoneMatch = None,  # noqa: ARG001
    asked_range: Range = None,  # noqa: ARG001
) -> Response:
    """A picture, in the format that its job asked for or in another. It says how it was made.

    A PNG's text chunk `parameters`, or the EXIF user comment of a JPEG or WebP, holds what A1111
    and its readers know; the text chunk `darkroom`, or the XMP field of that name, the exact
    request, which makes the picture again; XMP also that a model made it, in IPTC's terms. With
    `output.metadata` at `minimal` only software, model, seed and that remain; at `none` nothing. A
    copy that `w` or `format` asks for says the same.

    Without `format`, `Accept` decides where it takes other pictures and not this one's format.
    """
    image = await jobs.find_image(image_id)
    vary = {} if image_format else {"Vary": "Accept"}
    wanted = image_format or preferences.picture_format(http.headers, image.format, SUFFIXES)
    if wanted is None:
        detail = f"The picture can be had as {', '.join(SUFFIXES)}: accept one of these."
        raise HTTPException(406, detail, vary)
    if w or wanted != image.format:
        return await _copy(http, here, image, CopyWish(wanted, w), vary)
    return unless_known(http, ImageFile(here.store, image, **vary), last_modified(image))


@router.post(
    "/inspect",
    response_model=Inspection,
    responses=problems(
        "malformed_request",
        "payload_too_large",
        "unsupported_media_type",
        "invalid_input_image",
        "invalid_parameters",
        "busy",
        "decoders_busy",
    ),
    openapi_extra=PICTURE_BODY,
)
async def inspect(http: Request, here: Here) -> Response:
    """What the file of a picture says of how it was made, and the request that follows from it:
    exactly where a Darkroom made it, as far as it is told where A1111 or ComfyUI did.

    Nothing is kept. Anybody can write into a file what they like: what it says is no proof."""
    marks = await here.inputs.decoders.marks(await read_picture(http))
    found = await to_thread.run_sync(inspected, marks, here.catalog)
    headers = {"Cache-Control": "private, no-store"}
    return Response(found.model_dump_json(), 200, headers, "application/json")


async def _copy(
    http: Request, here: Darkroom, image: StoredImage, wish: CopyWish, more: Mapping[str, str]
) -> Response:
    """A copy, unless the client has it. Raises UnsupportedError, DecodersBusyError."""
    name = f"{image.id}-{wish.max_width or 'full'}"
    headers = image_headers(f"{name}-{wish.format}") | {
        "Content-Disposition": f'inline; filename="{name}{SUFFIXES[wish.format]}"',
        **more,
    }
    known = unless_known(http, Response(headers=headers), last_modified(image))
    if known.status_code == 304:
        return known
    data = await to_thread.run_sync(_read, here.store, image)
    try:
        copy = await here.inputs.decoders.copy(data, wish)
    except InvalidImageError as error:
        raise UnsupportedError(str(error)) from error
    return Response(copy, 200, headers, f"image/{wish.format}")


def _read(store: ImageStore, image: StoredImage) -> bytes:
    with store.open(image) as file:
        return file.read()
