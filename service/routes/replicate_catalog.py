"""What clients of Replicate's API ask for beside predictions: models, files, the account, hardware,
what webhooks are signed with."""

import json
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from darkroom import named_loras
from darkroom.errors import FieldError, ForbiddenError, InvalidRequestError
from darkroom.foreign_names import told_of_guess
from darkroom.predictions import OWNER, PREFIX
from service.bodies import in_thread_if_large, require_uncompressed
from service.dependencies import Darkroom, Here, TheirFiles, WhoAsks
from service.dialects import replicate_answers as answers
from service.dialects import replicate_requests as requests
from service.dialects.pictures import root_of
from service.filters import Cursor
from service.forms import is_form, parts_in
from service.pictures.intake import WHITE
from service.webhooks import secret_of, sender

router = APIRouter(prefix=PREFIX, include_in_schema=False)

_PAGE = 100
_CONTENT = "content"
"""What the field of a form with a file is called."""


@router.get("/models")
async def list_models(http: Request, here: Here) -> Response:
    """All models."""
    offers, root = await here.all_offers(), root_of(http)
    told = [answers.model_body(offer.card.name, offer, root) for offer in offers]
    return reply({"previous": None, "next": None, "results": told})


@router.get("/models/{owner}/{name}")
async def read_model(http: Request, here: Here, owner: str, name: str) -> Response:
    """A model, by any name that it can be asked by. Clients read one before they run it, so that a
    name that the wildcard leads on is led on here too, which the description says."""
    return reply(await _model(http, here, f"{owner}/{name}"))


@router.get("/models/{owner}/{name}/versions")
async def list_versions(http: Request, here: Here, owner: str, name: str) -> Response:
    """The one version that each model has."""
    model = await _model(http, here, f"{owner}/{name}")
    return reply({"previous": None, "next": None, "results": [model["latest_version"]]})


@router.get("/models/{owner}/{name}/versions/{version}")
async def read_version(http: Request, here: Here, owner: str, name: str, version: str) -> Response:
    """The version of a model; clients ask for it before they run one."""
    model = await _model(http, here, f"{owner}/{name}", version)
    return reply(model["latest_version"])


@router.post("/files", status_code=201)
async def upload_file(http: Request, files: TheirFiles) -> Response:
    """Keep a picture, which comes as the field `content` of a form."""
    kind = http.headers.get("content-type", "")
    if not is_form(kind):
        raise HTTPException(415, "Send a form, multipart/form-data, with the file as `content`.")
    require_uncompressed(http)
    raw = await http.body()
    parts = await in_thread_if_large(len(raw), lambda: parts_in(raw, kind))
    content = next((part.content for part in parts if part.name == _CONTENT), None)
    if content is None:
        raise InvalidRequestError([FieldError("/content", "This field is required.", "missing")])
    file, _ = await files.put(content, "picture", WHITE)
    return reply(answers.file_body(file, root_of(http)), 201)


@router.get("/files")
async def list_files(http: Request, files: TheirFiles, cursor: Cursor = None) -> Response:
    """Their files, newest first."""
    page = await files.page(limit=_PAGE, cursor=cursor)
    root = root_of(http)
    told = [answers.file_body(file, root) for file in page.files]
    return reply(page_of(told, f"{root}{PREFIX}/files", page.next_cursor))


@router.get("/files/{file_id}")
async def read_file(http: Request, files: TheirFiles, file_id: str) -> Response:
    """What a file is."""
    return reply(answers.file_body(await files.find(file_id), root_of(http)))


@router.delete("/files/{file_id}", status_code=204)
async def delete_file(files: TheirFiles, file_id: str) -> None:
    """Delete a file; predictions that have it keep it."""
    await files.delete(file_id)


@router.get("/account")
async def read_account(asker: WhoAsks) -> Response:
    """Who asks, by the name of the key."""
    name = asker.key.name if asker.key else OWNER
    return reply({"type": "user", "username": name, "name": name, "github_url": None})


@router.get("/hardware")
async def list_hardware(here: Here) -> Response:
    """The devices of the living workers."""
    devices = sorted({worker.device for worker in await here.workers()})
    return reply([{"sku": device, "name": device} for device in devices])


@router.get("/webhooks/default/secret")
async def read_secret(here: Here, asker: WhoAsks) -> Response:
    """What their messages are signed with; drawn where there is none. Whoever has it can pose as
    this service, so that reading alone is not enough."""
    sender(here)
    if asker.key and not asker.key.allows("submit"):
        raise ForbiddenError("This needs an API key with the scope submit.")
    return reply({"key": await secret_of(here, asker.owner)})


def page_of(results: list[Any], path: str, cursor: str | None) -> dict[str, Any]:
    """A page of `path`, an address; `cursor` leads to the next one."""
    following = f"{path}?{urlencode({'cursor': cursor})}" if cursor else None
    return {"previous": None, "next": following, "results": results}


def reply(told: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer in JSON."""
    usual = {"Cache-Control": "private, no-store"}
    return Response(json.dumps(told), status, usual | (headers or {}), "application/json")


async def _model(
    http: Request, here: Darkroom, name: str, version: str | None = None
) -> dict[str, Any]:
    found = requests.model_meant(here.catalog, name, version)
    card, loras = named_loras.find(here.catalog, found.model)
    offer = await here.offer(card, (await here.records()).get(card.name))
    told = told_of_guess(found, name)
    return answers.model_body("+".join((card.name, *loras)), offer, root_of(http), told)
