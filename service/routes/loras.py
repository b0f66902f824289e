"""LoRAs that clients upload for a model, beside those that its card names."""

import hashlib
import secrets
from datetime import UTC, datetime
from pathlib import Path as FilePath
from typing import Annotated, Literal

from anyio import open_file, to_thread
from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from darkroom.cards import LoraCard, Name
from darkroom.catalog import ModelCard
from darkroom.errors import (
    FieldError,
    InvalidRequestError,
    LoraNotFoundError,
    ModelLoadError,
    StoreUnavailableError,
    UploadsOffError,
)
from darkroom.lora_folder import LoraFolder
from darkroom.model_families import family_of, family_of_class
from darkroom.named_loras import with_uploads
from service.dependencies import Darkroom, Here
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
_OFF = ("uploads_off", "model_not_found", "invalid_parameters", "store_unavailable")


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
    responses=_ADDED | problems(*_OFF, "payload_too_large", "unsupported_media_type"),
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
    that run keep what they have.

    The file is judged by its header before it is taken: it has to be a whole safetensors file with
    the weights of a LoRA, for models of this one's family where both are known. Whether each layer
    fits a worker finds out; a job that names one that does not fails with the reason."""
    folder = _uploads(here)
    card = _changeable(here, model_id, lora_name)
    _require_bytes(http)
    uploaded = {each.name for each in folder.cards(card.name)}
    if lora_name not in uploaded and len(uploaded) >= here.settings.max_loras:
        detail = f"{len(uploaded)} LoRAs are uploaded for this model, which is all that may be."
        raise InvalidRequestError([FieldError("/path/lora_name", detail, "too_many")])
    try:
        received = folder.begin(card.name, secrets.token_hex(8))
        try:
            digest = await _receive(http, received)
            family = await _family(here, card)
            replaced = await to_thread.run_sync(folder.keep, received, card.name, lora_name, family)
        finally:
            received.unlink(missing_ok=True)
    except ModelLoadError as error:
        told = str(error).replace(received.name, "The file")
        raise InvalidRequestError([FieldError("", f"{told}.", "malformed")]) from None
    except OSError as error:
        raise StoreUnavailableError(str(error)) from error
    response.status_code = 200 if replaced else 201
    made = LoraCard(name=lora_name, source=str(folder.file(card.name, lora_name)))
    return UploadedLora(**dict(_shown(here, card, made, None)), sha256=digest)


@router.delete(
    "/models/{model_id:path}/loras/{lora_name}",
    status_code=204,
    responses=problems(*_OFF, "lora_not_found"),
)
async def delete_lora(here: Here, model_id: ModelId, lora_name: LoraName) -> None:
    """Delete an uploaded LoRA. Jobs that run keep it; those that wait and name it will fail."""
    folder = _uploads(here)
    card = _changeable(here, model_id, lora_name)
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
    card = here.catalog.find(model_id)
    record = (await here.records()).get(card.name)
    faults = record.faults if record else {}
    loras = await to_thread.run_sync(lambda: with_uploads(here.catalog, card).loras)
    return [_shown(here, card, each, faults.get(f"lora:{each.name}")) for each in loras]


def _uploads(here: Darkroom) -> LoraFolder:
    """Raises UploadsOffError."""
    if here.catalog.uploads is None:
        raise UploadsOffError("Nobody may upload LoRAs here; DARKROOM_LORA_UPLOADS would allow it.")
    return here.catalog.uploads


def _changeable(here: Darkroom, model_id: str, lora_name: str) -> ModelCard:
    """The model's card. Raises ModelNotFoundError, InvalidRequestError for a LoRA that it names."""
    card = here.catalog.find(model_id)
    if any(each.name == lora_name for each in card.loras):
        detail = "The operator named this LoRA in models.toml; it cannot be changed here."
        raise InvalidRequestError([FieldError("/path/lora_name", detail, "duplicate")])
    return card


def _require_bytes(http: Request) -> None:
    """Raises HTTPException 415 for a form, and for what is compressed."""
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
