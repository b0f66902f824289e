"""Pictures that clients upload once and name as often as they like."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from darkroom.fields import Colour
from darkroom.kept_file import FileKind, KeptFile
from service.dependencies import Here, IfNoneMatch, Range, TheirFiles
from service.filters import Cursor, Limit, page_response
from service.negotiation import unless_known
from service.pictures.intake import WHITE
from service.problems import Responses, problems
from service.responses import PICTURE, FilePage, ImageFile, last_modified
from service.uploads import PICTURE_BODY, read_picture

router = APIRouter(tags=["files"])

FileId = Annotated[
    str,
    Path(description="The `id` of a file.", examples=[f"file_{'0f343b0931126a20' * 4}"]),
]
_KEPT: Responses = {
    200: {"model": KeptFile, "description": "You keep this picture already; it is kept anew."}
}
_CONTENT: Responses = {
    200: {"description": "The picture.", "content": PICTURE},
    206: {"description": "The parts of it that `Range` asks for.", "content": PICTURE},
    304: {"description": "You have it: the content of a file never changes."},
}
_AWAY = ("file_not_found", "queue_unavailable")


@router.post(
    "/files",
    status_code=201,
    response_model=KeptFile,
    responses=_KEPT
    | problems(
        "malformed_request",
        "files_full",
        "payload_too_large",
        "unsupported_media_type",
        "invalid_input_image",
        "invalid_parameters",
        "busy",
        "decoders_busy",
        "queue_unavailable",
        "store_unavailable",
    ),
    openapi_extra=PICTURE_BODY,
)
async def upload_file(
    http: Request,
    files: TheirFiles,
    kind: Annotated[
        FileKind,
        Query(description="How to read it: by its colours, or as a mask.", examples=["picture"]),
    ] = "picture",
    background: Annotated[
        Colour,
        Query(description="The colour that shows where it is transparent.", examples=[WHITE]),
    ] = WHITE,
) -> Response:
    """Upload a picture, to name its `id` wherever a request takes a picture.

    It is read as pictures in requests are, and kept as a PNG without notes, once for each of its
    kind, whoever sends it. The same picture again is the same file, kept anew."""
    data = await read_picture(http)
    file, is_new = await files.put(data, kind, background)
    headers = {"Location": file.urls.self_, "Cache-Control": "private, no-store"}
    body = file.model_dump_json(by_alias=True)
    return Response(body, 201 if is_new else 200, headers, "application/json")


@router.get(
    "/files",
    response_model=FilePage,
    responses=problems("invalid_parameters", "queue_unavailable"),
)
async def list_files(
    http: Request,
    files: TheirFiles,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Response:
    """Files, newest first. `Link` with `rel="next"` leads to the next page."""
    page = await files.page(limit=limit, cursor=cursor)
    body = FilePage(data=page.files, next_cursor=page.next_cursor, has_more=bool(page.next_cursor))
    return page_response(http, body, page.next_cursor)


@router.get("/files/{file_id}", response_model=KeptFile, responses=problems(*_AWAY))
async def read_file(files: TheirFiles, file_id: FileId) -> Response:
    """What a file is, and until when it is kept."""
    file = await files.find(file_id)
    headers = {"Cache-Control": "private, no-store"}
    return Response(file.model_dump_json(by_alias=True), 200, headers, "application/json")


@router.get(
    "/files/{file_id}/content",
    response_class=Response,
    responses=_CONTENT
    | problems(*_AWAY, "precondition_failed", "range_not_satisfiable", "store_unavailable"),
)
async def read_file_content(
    http: Request,
    here: Here,
    files: TheirFiles,
    file_id: FileId,
    if_none_match: IfNoneMatch = None,  # noqa: ARG001
    asked_range: Range = None,  # noqa: ARG001
) -> Response:
    """The picture of a file, as it is kept: a PNG, upright, in sRGB, without notes. Also one that
    a job of yours began with, whose id its `request` tells."""
    image = await files.find_content(file_id)
    return unless_known(http, ImageFile(here.store, image), last_modified(image))


@router.delete("/files/{file_id}", status_code=204, responses=problems(*_AWAY))
async def delete_file(files: TheirFiles, file_id: FileId) -> None:
    """Delete a file. Jobs that have it keep it as long as they are kept, also those that wait."""
    await files.delete(file_id)
