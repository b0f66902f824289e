"""LoRAs that clients upload for a model, beside those that its card names."""

import hashlib
import secrets
from datetime import UTC, datetime
from functools import partial
from pathlib import Path as FilePath
from typing import Annotated, Literal

from anyio import open_file, to_thread
from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from darkroom import named_loras
from darkroom.cards import LoraCard, Name
from darkroom.errors import (
    FieldError,
    InvalidRequestError,
    LoraNotFoundError,
    ModelLoadError,
    ModelNotFoundError,
    StoreUnavailableError,
    UploadsOffError,
)
from darkroom.lora_folder import LoraFolder
from darkroom.model_card import ModelCard
from darkroom.model_families import family_of, family_of_class
from service.conditions import changed, require_presence, wants_none
from service.dependencies import Darkroom, ForAdmins, Here
from service.problems import Responses, problems
from service.responses import Listing

router = APIRouter(tags=["models"])


class LoraFile(BaseModel):
    """A LoRA that requests for the model may name."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    """What requests call it."""
    object: Literal["lora"] = "lora"
    """What this is."""
    model: str
    """The model it is for."""
    licence: str | None
    """Its licence, as the operator names it; null of an uploaded one."""
    error: str | None
    """Why it cannot be used; null if it can, as far as is known."""
    uploaded: bool
    """Whether a client uploaded it; others are the operator's and stay as they are."""
    bytes: int | None
    """Size of an uploaded file."""
    updated_at: datetime | None
    """When it was uploaded."""


class UploadedLora(LoraFile):
    """A LoRA as it was received."""

    sha256: str
    """Of the file, in hexadecimal digits."""


ModelId = Annotated[
    str, Path(max_length=200, description="The model's name, alias or source.", examples=["sd15"])
]
LoraName = Annotated[
    Name,
    Path(
        description="What requests are to call it: letters, digits, dots, hyphens and underscores; "
        "at most 64, no sign first.",
        examples=["ink"],
    ),
]
_ADDED: Responses = {
    201: {"model": UploadedLora, "description": "It is new; 200 if it replaced another."}
}
_OFF = (
    "forbidden",
    "uploads_off",
    "model_not_found",
    "precondition_failed",
    "invalid_parameters",
    "queue_unavailable",
    "store_unavailable",
)


@router.get(
    "/models/{model_id:path}/loras", responses=problems("model_not_found", "queue_unavailable")
)
async def list_loras(here: Here, model_id: ModelId) -> Listing[LoraFile]:
    """The LoRAs of a model, those of its card first."""
    return Listing(data=await _all_of(here, model_id))


@router.get(
    "/models/{model_id:path}/loras/{lora_name}",
    responses=problems("model_not_found", "lora_not_found", "queue_unavailable"),
)
async def read_lora(here: Here, model_id: ModelId, lora_name: LoraName) -> LoraFile:
    """One LoRA of a model: of its card, or uploaded."""
    for each in await _all_of(here, model_id):
        if each.name == lora_name:
            return each
    raise LoraNotFoundError(f"This model has no LoRA {lora_name!r}.")


@router.put(
    "/models/{model_id:path}/loras/{lora_name}",
    response_model=UploadedLora,
    responses=_ADDED
    | problems(*_OFF, "malformed_request", "payload_too_large", "unsupported_media_type"),
    dependencies=[ForAdmins],
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "The file itself, in the format safetensors.",
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
            },
        }
    },
)
async def upload_lora(
    http: Request, here: Here, response: Response, model_id: ModelId, lora_name: LoraName
) -> UploadedLora:
    """Upload a LoRA, or put another in its place. Workers read it when a job first names it; jobs
    that run keep what they have. Where keys are asked for, this takes one with the scope `admin`.

    The file is judged by its header before it is taken: it has to be a whole safetensors file with
    all that belongs to a LoRA, for models of this one's family where both are known. The model has
    to take LoRAs, and to be one that can be loaded. Whether each layer fits a worker finds out; a
    job that names one that does not fails with the reason. With `If-None-Match: *` nothing takes
    another's place."""
    folder = _uploads(here)
    card = _changeable(here, model_id, lora_name)
    _require_bytes(http)
    uploaded = {each.name for each in folder.cards(card.name)}
    require_presence(http.headers, is_there=lora_name in uploaded)
    if lora_name not in uploaded and len(uploaded) >= here.settings.max_loras:
        detail = f"{len(uploaded)} LoRAs are uploaded for this model, which is all that may be."
        raise InvalidRequestError([FieldError("/path/lora_name", detail, "too_many")])
    await _require_use(here, card)
    try:
        received = folder.begin(card.name, secrets.token_hex(8))
        try:
            digest = await _receive(http, received)
            written = await to_thread.run_sync(received.stat)
            family = await _family(here, card)
            keep = partial(folder.keep, family=family, only_new=wants_none(http.headers))
            replaced = await to_thread.run_sync(keep, received, card.name, lora_name)
        finally:
            received.unlink(missing_ok=True)
    except ModelLoadError as error:
        told = str(error).replace(received.name, "The file")
        raise InvalidRequestError([FieldError("", f"{told}.", "malformed")]) from None
    except FileExistsError:  # somebody was faster
        raise changed() from None
    except OSError as error:
        raise StoreUnavailableError(str(error)) from error
    response.status_code = 200 if replaced else 201
    # Of this file, also if another one has taken its place by now.
    return UploadedLora(
        name=lora_name,
        model=card.name,
        licence=None,
        error=None,
        uploaded=True,
        bytes=written.st_size,
        updated_at=datetime.fromtimestamp(written.st_mtime, UTC),
        sha256=digest,
    )


@router.delete(
    "/models/{model_id:path}/loras/{lora_name}",
    status_code=204,
    responses=problems(*_OFF, "lora_not_found"),
    dependencies=[ForAdmins],
)
async def delete_lora(http: Request, here: Here, model_id: ModelId, lora_name: LoraName) -> None:
    """Delete an uploaded LoRA. Jobs that run keep it; those that wait and name it will fail."""
    folder = _uploads(here)
    card = _changeable(here, model_id, lora_name)
    is_there = any(each.name == lora_name for each in folder.cards(card.name))
    require_presence(http.headers, is_there=is_there)
    try:
        await to_thread.run_sync(folder.delete, card.name, lora_name)
    except FileNotFoundError:
        raise LoraNotFoundError(f"No LoRA {lora_name!r} was uploaded for this model.") from None
    except OSError as error:
        raise StoreUnavailableError(str(error)) from error


async def _family(here: Darkroom, card: ModelCard) -> str | None:
    """The model's family, as far as its files here or its record tell. Raises
    QueueUnavailableError."""
    if family := await to_thread.run_sync(family_of, here.catalog, card):
        return family
    record = (await here.records()).get(card.name)
    return family_of_class(record.pipeline) if record else None


async def _all_of(here: Darkroom, model_id: str) -> list[LoraFile]:
    """Raises ModelNotFoundError, QueueUnavailableError."""
    card, _ = named_loras.find(here.catalog, model_id)
    record = (await here.records()).get(card.name)
    terms = await here.offer(card, record)
    return [
        _shown(here, card, each, terms.faults.get(f"lora:{each.name}")) for each in terms.card.loras
    ]


def _uploads(here: Darkroom) -> LoraFolder:
    """Raises UploadsOffError."""
    if here.catalog.uploads is None:
        raise UploadsOffError("Nobody may upload LoRAs here; DARKROOM_LORA_UPLOADS would allow it.")
    return here.catalog.uploads


def _changeable(here: Darkroom, model_id: str, lora_name: str) -> ModelCard:
    """The model's card. Raises ModelNotFoundError, InvalidRequestError for a LoRA that it names."""
    card, behind = named_loras.find(here.catalog, model_id)
    if behind:
        because = f"LoRAs are uploaded for the model {card.name!r} itself"
        raise ModelNotFoundError(model_id, [card.name], because=because)
    if any(each.name == lora_name for each in card.loras):
        detail = "The operator named this LoRA in models.toml; it cannot be changed here."
        raise InvalidRequestError([FieldError("/path/lora_name", detail, "duplicate")])
    return card


async def _require_use(here: Darkroom, card: ModelCard) -> None:
    """Raises InvalidRequestError for a model that can use no LoRA, QueueUnavailableError."""
    terms = await here.offer(card, (await here.records()).get(card.name))
    if fault := terms.refused or terms.error:
        detail = f"The model {card.name!r} cannot be used: {fault}."
    elif not terms.takes_loras:
        detail = f"The model {card.name!r} takes no LoRAs; it does {', '.join(terms.tasks)}."
    else:
        return
    raise InvalidRequestError([FieldError("/path/model_id", detail, "unsupported_field")])


def _require_bytes(http: Request) -> None:
    """Raises HTTPException 400 for a part of a file, 415 for a form and for what is compressed."""
    if "content-range" in http.headers:
        raise HTTPException(400, "Send the whole file, without the header Content-Range.")
    declared = http.headers.get("content-type", "").partition(";")[0].strip().lower()
    if declared.startswith(("multipart/", "text/")) or declared.endswith(("json", "urlencoded")):
        raise HTTPException(415, "Send the file itself as the body: application/octet-stream.")
    if http.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise HTTPException(415, "Send the file as it is, without the header Content-Encoding.")


async def _receive(http: Request, path: FilePath) -> str:
    """Write the body into a new file; its SHA-256. Raises OSError, ClientDisconnect."""
    digest = hashlib.sha256()
    async with await open_file(path, "xb") as file:
        await to_thread.run_sync(path.chmod, 0o600)
        async for part in http.stream():
            digest.update(part)
            await file.write(part)
    return digest.hexdigest()


def _shown(here: Darkroom, card: ModelCard, lora: LoraCard, error: str | None) -> LoraFile:
    uploaded = not any(each.name == lora.name for each in card.loras)
    found = None
    if uploaded and here.catalog.uploads is not None:
        file = here.catalog.uploads.file(card.name, lora.name)
        found = file.stat() if file.exists() else None
    return LoraFile(
        name=lora.name,
        model=card.name,
        licence=lora.licence,
        error=error,
        uploaded=uploaded,
        bytes=found and found.st_size,
        updated_at=found and datetime.fromtimestamp(found.st_mtime, UTC),
    )
