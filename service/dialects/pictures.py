"""Finished pictures as compatible APIs hand them on, as bytes, text or addresses; in the service,
knows no dialect."""

import base64
from collections.abc import Iterable

from anyio import to_thread
from fastapi import Request

from darkroom.images import ImageStore
from darkroom.job import ImageRecord
from darkroom.signing import USUAL_LIFE_S
from service.access import Asker, Jobs
from service.dependencies import Darkroom

_IMAGES = "/api/v1/images/"


async def in_bytes(store: ImageStore, jobs: Jobs, image: ImageRecord) -> bytes:
    """The file of a picture. Raises ImageNotFoundError, StoreUnavailableError,
    QueueUnavailableError."""
    found = await jobs.find_image(image.id)

    def read() -> bytes:
        with store.open(found) as file:
            return file.read()

    return await to_thread.run_sync(read)


async def in_base64(store: ImageStore, jobs: Jobs, image: ImageRecord) -> str:
    """The same as text. Raises what `in_bytes` does."""
    return base64.b64encode(await in_bytes(store, jobs, image)).decode()


def root_of(http: Request) -> str:
    """The address of this service, as the client wrote it, before all paths."""
    return str(http.base_url).rstrip("/")


async def signed(here: Darkroom, asker: Asker, paths: Iterable[str]) -> dict[str, str]:
    """By paths that can be signed, those that let in whoever has them, for an hour; as they are
    where no keys are asked for. Raises UnauthenticatedError, QueueUnavailableError."""
    listed = list(dict.fromkeys(paths))
    if not here.settings.asks_for_keys:
        return dict(zip(listed, listed, strict=True))
    made = await here.signatures.sign(listed, asker.owner, USUAL_LIFE_S)
    return {each.path: each.url for each in made}


async def url_of(http: Request, here: Darkroom, asker: Asker, image: ImageRecord) -> str:
    """Where a picture can be had, without a key for an hour. Raises what `signed` does."""
    path = image.url or ""
    return f"{root_of(http)}{(await signed(here, asker, [path]))[path]}"


def own(http: Request, text: str) -> str:
    """What names a picture: the address of one that this service made without the part that leads
    here and what it was signed with, anything else as it is."""
    path = text.removeprefix(root_of(http))
    return path.partition("?")[0] if path.startswith(_IMAGES) else path
