"""How listings are asked for: filters, pages; in the service only, for routes."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import Query, Request, Response
from pydantic import BaseModel, Field

from darkroom.batch import BATCH_ID
from darkroom.errors import ModelNotFoundError
from service.access import Jobs
from service.dependencies import Darkroom
from service.parameters import TRUE_OR_FALSE, WHOLE_NUMBER

ByModel = Annotated[
    str | None,
    Query(min_length=1, max_length=200, description="Name or alias.", examples=["emoji"]),
]
ByTag = Annotated[
    str | None,
    Query(min_length=1, max_length=64, description="Only jobs so tagged.", examples=["poster"]),
]
ByBatch = Annotated[
    str | None,
    Query(
        pattern=rf"^{BATCH_ID.pattern}$",
        description="Only jobs of this batch.",
        examples=["batch_019a5c6e7f1a7c3e8d2b4a6c8e0f1a2d"],
    ),
]
ByStar = Annotated[
    bool | None,
    TRUE_OR_FALSE,
    Query(description="Only jobs that are starred, or are not.", examples=[True]),
]
ByText = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=200,
        description="Only jobs of yours whose prompt holds this text, in large or small letters.",
        examples=["apple"],
    ),
]
Limit = Annotated[
    int,
    Field(ge=1, le=100),
    WHOLE_NUMBER,
    Query(description="How many on a page.", examples=[20]),
]
Cursor = Annotated[
    str | None,
    Query(
        pattern=r"^[1-9][0-9]{0,14}$",
        description="`next_cursor` of the page before.",
        examples=["1763724543000"],
    ),
]
ImageCursor = Annotated[
    str | None,
    Query(
        pattern=r"^[1-9][0-9]{0,14}(\.[0-9]{1,3})?$",
        description="`next_cursor` of the page before.",
        examples=["1763724543000.3"],
    ),
]


def own_name(here: Darkroom, model: str | None) -> str | None:
    """A model's own name for an alias; jobs of models no longer on offer can still be listed."""
    try:
        return model and here.catalog.find(model).name
    except ModelNotFoundError:
        return model


async def require_model(here: Darkroom, jobs: Jobs, name: str) -> None:
    """Raises ModelNotFoundError for a name that no model has and no job: one that was mistyped."""
    try:
        here.catalog.find(name)
    except ModelNotFoundError:
        theirs = await jobs.page(model=name, limit=1, cursor=None)
        if not (theirs.jobs or theirs.next_cursor):
            raise


def page_response(http: Request, page: BaseModel, next_cursor: str | None) -> Response:
    """A page, and where the next one is."""
    headers = {"Cache-Control": "private, no-store"}
    if next_cursor:
        asked = {k: v for k, v in http.query_params.items() if k != "cursor"}
        query = urlencode(asked | {"cursor": next_cursor})
        headers["Link"] = f'<{http.scope["path"]}?{query}>; rel="next"'
    return Response(page.model_dump_json(by_alias=True), 200, headers, "application/json")
