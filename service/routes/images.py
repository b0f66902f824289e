"""Finished pictures."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from service.dependencies import Here, IfNoneMatch
from service.responses import ImageFile, image_headers, matches, problems

router = APIRouter(tags=["images"])

_IMAGE = {
    200: {
        "description": "The picture; the whole file, or with `Range` a part of it (206).",
        "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
    },
    304: {"description": "You have it: pictures never change."},
}


@router.head("/images/{image_id}", include_in_schema=False)
@router.get("/images/{image_id}", response_class=Response, responses=_IMAGE | problems(404))
def read_image(
    here: Here,
    image_id: Annotated[str, Path(examples=["img_019a5c6e7f1a7c3e8d2b4a6c8e0f1a2b"])],
    if_none_match: IfNoneMatch = None,
) -> Response:
    """A picture, as PNG. Its text chunks say how it was made.

    `parameters` holds what A1111 and its readers know; `darkroom` the exact request, which makes
    the picture again.
    """
    image = ImageFile(here.store, image_id)
    if matches(if_none_match, image.headers["ETag"]):
        return Response(status_code=304, headers=image_headers(image_id))
    return image
