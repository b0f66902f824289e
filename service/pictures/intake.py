"""The pictures of a request on their way into the store; on the event loop of the service.

Each becomes `file_<sha256>`, a PNG that was written here: nothing of a client's own bytes is kept,
and workers open no others.
"""

import asyncio
import re
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Self

from anyio import CancelScope, to_thread

from darkroom.draft import Draft
from darkroom.errors import (
    DarkroomError,
    FieldError,
    ImageNotFoundError,
    InvalidImageError,
    InvalidRequestError,
    StoreUnavailableError,
)
from darkroom.field_errors import pointer
from darkroom.images import ImageStore, StoredImage, StoredInput
from darkroom.input_images import MASK, Place, first_of, input_images, with_images
from darkroom.job import IMAGE_ID
from darkroom.settings import Settings
from darkroom.sizes import Sides
from service.pictures.messages import Decoded, Wish
from service.pictures.pool import Decoders

WHITE = "#ffffff"

_BLANKS = "\t\n\v\f\r \x85\xa0\xad\u1680\u180e\u2028\u2029\u202f\u205f\u2060\u3000\ufeff" + "".join(
    map(chr, range(0x2000, 0x2010))
)
"""What comes along with a text that was copied from a page or a file, and cannot be seen."""
_FINISHED = re.compile(rf"(?:/api/v1/images/)?({IMAGE_ID.pattern})", re.ASCII)
_AN_ID = re.compile(r"(?:/api/v1/(?:images|jobs)/)?(img|job)_", re.ASCII)
_NO_PICTURE = {
    "img": "Is not the id of a picture, which is img_ and 32 characters of 0-9 and a-f.",
    "job": "Is the id of a job; give that of one of its pictures, img_...",
}
"""No base64 of a picture begins so."""
_PNG_SIZE = struct.Struct(">16xII")

FindImage = Callable[[str], Awaitable[StoredImage]]
"""Finds a finished picture that the asker may have. Raises ImageNotFoundError."""


@dataclass(frozen=True)
class Taken:
    """A draft whose pictures are in the store."""

    draft: Draft
    image_size: Sides | None
    """Of the picture that it begins with."""
    written: tuple[StoredInput, ...]
    """What was not there before."""


@dataclass(frozen=True)
class _Kept:
    """One picture in the store."""

    input: StoredInput
    size: Sides
    was: Sides
    notes: tuple[str, ...] = ()


class InputImages:
    """Takes in the pictures of requests. To be used from one event loop, as a context manager."""

    def __init__(
        self, store: ImageStore, decoders: Decoders, *, max_pixels: int, max_opened_pixels: int
    ) -> None:
        """`max_pixels`: larger pictures are shrunk; `max_opened_pixels`: larger ones refused."""
        self._store = store
        self._decoders = decoders
        self._limits = {"max_pixels": max_pixels, "max_opened_pixels": max_opened_pixels}

    @classmethod
    def of(cls, settings: Settings, store: ImageStore) -> Self:
        max_opened = max(settings.max_opened_pixels, settings.max_image_pixels)
        return cls(
            store,
            Decoders(settings.decoders, max_opened),
            max_pixels=settings.max_image_pixels,
            max_opened_pixels=max_opened,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._decoders.close()

    async def take(self, draft: Draft, find_image: FindImage) -> Taken:
        """Put each picture into the store, or leave nothing behind.

        Raises InvalidRequestError that points at the field, DecodersBusyError."""
        kept: dict[Place, _Kept] = {}
        try:
            for place, text in input_images(draft.values).items():
                kept[place] = await self._take(place, text, draft.values, find_image)
        except (DarkroomError, asyncio.CancelledError):
            with CancelScope(shield=True), suppress(StoreUnavailableError):
                await self.give_up(tuple(each.input for each in kept.values()))
            raise
        return _taken(draft, kept)

    async def give_up(self, written: tuple[StoredInput, ...]) -> None:
        """Delete what was written for a request that was refused, unless somebody else uses it."""
        await to_thread.run_sync(self._store.delete_unused, written)

    async def _take(
        self, place: Place, text: str, values: Mapping[str, Any], find_image: FindImage
    ) -> _Kept:
        text = text.strip(_BLANKS)
        try:
            if text.startswith("file_"):
                return await to_thread.run_sync(self._known, text)
            data, is_text = await self._bytes(text, find_image)
            wish = Wish(
                kind="mask" if place == MASK else "picture",
                is_text=is_text,
                background=values.get("background") or WHITE,
                **self._limits,
            )
            return await self._put(await self._decoders.decode(data, wish))
        except (InvalidImageError, ImageNotFoundError) as error:
            code = InvalidImageError.code
            field = FieldError(pointer(*place.path), str(error), code)
            raise InvalidRequestError([field]) from error

    def _known(self, input_id: str) -> _Kept:
        with self._store.open_input(input_id) as file:
            head = file.read(_PNG_SIZE.size)
        if len(head) < _PNG_SIZE.size:
            raise StoreUnavailableError(f"{input_id} cannot be read.")
        size = _PNG_SIZE.unpack(head)
        return _Kept(StoredInput(input_id), size, size)

    async def _bytes(self, text: str, find_image: FindImage) -> tuple[bytes, bool]:
        """What to decode, and whether it is a text."""
        if finished := _FINISHED.fullmatch(text):
            image = await find_image(finished[1])
            return await to_thread.run_sync(self._read, image), False
        if begun := _AN_ID.match(text):
            raise InvalidImageError(_NO_PICTURE[begun[1]])
        try:
            return text.encode("ascii"), True
        except UnicodeEncodeError as error:
            raise InvalidImageError("Must be base64 or a data URI, which are ASCII.") from error

    def _read(self, image: StoredImage) -> bytes:
        with self._store.open(image) as file:
            return file.read()

    async def _put(self, picture: Decoded) -> _Kept:
        with CancelScope(shield=True):  # or nobody would know what was written
            stored = await to_thread.run_sync(self._store.put_input, picture.png)
        return _Kept(stored, picture.size, picture.was, picture.notes)


def _taken(draft: Draft, kept: Mapping[Place, _Kept]) -> Taken:
    values = with_images(draft.values, {place: each.input.id for place, each in kept.items()})
    image = first_of(kept)
    if image and image.size != image.was and "padding" in values:
        values["padding"] = _shrunk(values["padding"], image)
    notes = tuple(f"{place} {note}." for place, each in kept.items() for note in each.notes)
    return Taken(
        replace(draft, values=values, warnings=(*draft.warnings, *notes)),
        image.size if image else None,
        tuple(each.input for each in kept.values() if each.input.written_ns),
    )


def _shrunk(padding: Mapping[str, int], image: _Kept) -> dict[str, int]:
    """Padding counts in pixels of the picture, which became fewer."""
    across, down = (now / before for now, before in zip(image.size, image.was, strict=True))
    scales = {"left": across, "right": across, "top": down, "bottom": down}
    return {side: round(pixels * scales[side]) for side, pixels in padding.items()}
