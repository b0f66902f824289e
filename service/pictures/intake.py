"""The pictures of a request on their way into the store; on the event loop of the service.

Each becomes `file_<sha256>`, a PNG that was written here: nothing of a client's own bytes is kept,
and workers open no others.
"""

import asyncio
import re
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

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
from darkroom.input_images import IMAGE, MASK, Place, first_of, input_images, with_images
from darkroom.job import IMAGE_ID
from darkroom.settings import Settings
from darkroom.sizes import Sides
from service.pictures.fetching import Fetcher, is_url
from service.pictures.messages import AS_SENT, ControlMap, Fit, Kind, Reading, Wish
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
_PNG_HEAD = struct.Struct(">16xIIxB")
"""Width, height and the kind of colours."""
_GREY = 0
_NO_ALPHA = "Is a stored picture, which has no transparency any more; send the mask itself."


class Whose(Protocol):
    """Who asks."""

    @property
    def owner(self) -> str:
        """The id of their key; empty where none are asked for."""


class Rights(Protocol):
    """Which pictures that are in the store already the asker may have."""

    @property
    def asker(self) -> Whose: ...

    async def find_image(self, image_id: str) -> StoredImage:
        """A finished picture. Raises ImageNotFoundError."""

    async def require_input(self, input_id: str) -> None:
        """Raises InvalidImageError for an input picture that is not theirs to name."""


@dataclass(frozen=True)
class Taken:
    """A draft whose pictures are in the store."""

    draft: Draft
    image_size: Sides | None
    """Of the picture that it begins with."""
    sizes: Mapping[Place, Sides]
    """Of all."""
    written: tuple[StoredInput, ...]
    """What was not there before."""


@dataclass(frozen=True)
class Kept:
    """One picture in the store."""

    input: StoredInput
    size: Sides
    was: Sides
    """Its size before it was shrunk."""
    bytes: int
    notes: tuple[str, ...] = ()
    """What to tell of it."""


Known = dict[tuple[str, Kind, str, Fit | None], Kept]
"""Pictures that were taken for other drafts: by what was sent, as what, before which background,
and brought to which size."""


class InputImages:
    """Takes in the pictures of requests. To be used from one event loop, as a context manager."""

    def __init__(
        self,
        store: ImageStore,
        decoders: Decoders,
        fetcher: Fetcher | None = None,
        *,
        max_pixels: int,
        max_opened_pixels: int,
    ) -> None:
        """`max_pixels`: larger pictures are shrunk; `max_opened_pixels`: larger ones refused.
        Without a `fetcher` none is taken by its URL."""
        self._store = store
        self.decoders = decoders
        self._fetcher = fetcher
        self._max_pixels, self._max_opened_pixels = max_pixels, max_opened_pixels

    @classmethod
    def of(cls, settings: Settings, store: ImageStore) -> Self:
        """Raises SettingsError."""
        max_opened = max(settings.max_opened_pixels, settings.max_image_pixels)
        return cls(
            store,
            Decoders(settings.decoders, max_opened),
            Fetcher.of(settings),
            max_pixels=settings.max_image_pixels,
            max_opened_pixels=max_opened,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.decoders.close()

    async def take(
        self,
        draft: Draft,
        rights: Rights,
        known: Known | None = None,
        reading: Reading = AS_SENT,
    ) -> Taken:
        """Put each picture into the store, or leave nothing behind. Those that are `known` are not
        looked at again, others are known from now on. `reading`: what becomes of picture and mask.

        Raises InvalidRequestError that points at the field, BusyError."""
        known = {} if known is None else known
        kept: dict[Place, Kept] = {}
        try:
            for place, text in input_images(draft.values).items():
                kind = reading.mask if place == MASK else "picture"
                background = draft.values.get("background") or WHITE
                size = reading.fit if place in (IMAGE, MASK) else None
                sent = (text, kind, background, size)
                if sent not in known:
                    known[sent] = await self._take(place, sent, rights)
                kept[place] = known[sent]
        except (DarkroomError, asyncio.CancelledError):
            with CancelScope(shield=True), suppress(StoreUnavailableError):
                await self.give_up(tuple(each.input for each in kept.values()))
            raise
        return _taken(draft, kept)

    async def keep(self, data: bytes, kind: Kind, background: str) -> Kept:
        """Put one picture into the store. Raises InvalidImageError, DecodersBusyError."""
        return await self._decode(data, kind, background, is_text=False)

    async def control_map(
        self, text: str, background: str, control: ControlMap, rights: Rights
    ) -> bytes:
        """A PNG of what a ControlNet would see of a picture in a job; nothing is kept.

        Raises InvalidRequestError that points at the field `image`, BusyError."""
        text = text.strip(_BLANKS)
        try:
            if text.startswith("file_"):
                await rights.require_input(text)
            async with self._bytes(text, rights) as (data, is_text):
                wish = self._wish("picture", is_text, background, control=control)
                return (await self.decoders.decode(data, wish)).png
        except (InvalidImageError, ImageNotFoundError) as error:
            raise _at(IMAGE, error) from error

    async def give_up(self, written: tuple[StoredInput, ...]) -> None:
        """Delete what was written for a request that was refused, unless somebody else uses it."""
        await to_thread.run_sync(self._store.delete_unused, written)

    async def _take(
        self, place: Place, sent: tuple[str, Kind, str, Fit | None], rights: Rights
    ) -> Kept:
        text, kind, background, fit = sent
        text = text.strip(_BLANKS)
        try:
            if text.startswith("file_"):
                await rights.require_input(text)
                known, is_mask = await to_thread.run_sync(self._known, text)
                as_it_is = kind == "picture" or (is_mask and kind != "inverted drawn mask")
                if as_it_is and fit is None:
                    return known
                if kind == "alpha mask":
                    raise InvalidImageError(_NO_ALPHA)
            async with self._bytes(text, rights) as (data, is_text):
                return await self._decode(data, kind, background, is_text, fit)
        except (InvalidImageError, ImageNotFoundError) as error:
            raise _at(place, error) from error

    def _known(self, input_id: str) -> tuple[Kept, bool]:
        """An input picture, and whether it is one of grey, as masks are kept."""
        with self._store.open_input(input_id) as file:
            head = file.read(_PNG_HEAD.size)
            length = file.seek(0, 2)
        if len(head) < _PNG_HEAD.size:
            raise StoreUnavailableError(f"{input_id} cannot be read.")
        width, height, colours = _PNG_HEAD.unpack(head)
        size = width, height
        return Kept(StoredInput(input_id), size, size, length), colours == _GREY

    @asynccontextmanager
    async def _bytes(self, text: str, rights: Rights) -> AsyncIterator[tuple[bytes, bool]]:
        """What to decode, and whether it is a text."""
        if self._fetcher and is_url(text):
            async with self._fetcher.fetched(text, rights.asker.owner) as data:
                yield data, False
        elif text.startswith("file_"):
            yield await to_thread.run_sync(self._store.read_input, text), False
        elif finished := _FINISHED.fullmatch(text):
            image = await rights.find_image(finished[1])
            yield await to_thread.run_sync(self._read, image), False
        else:
            yield _written_out(text), True

    def _read(self, image: StoredImage) -> bytes:
        with self._store.open(image) as file:
            return file.read()

    def _wish(self, kind: Kind, is_text: bool, background: str, **more: Any) -> Wish:
        return Wish(
            kind=kind,
            is_text=is_text,
            background=background,
            max_pixels=self._max_pixels,
            max_opened_pixels=self._max_opened_pixels,
            **more,
        )

    async def _decode(
        self, data: bytes, kind: Kind, background: str, is_text: bool, fit: Fit | None = None
    ) -> Kept:
        wish = self._wish(kind, is_text, background, fit=fit)
        picture = await self.decoders.decode(data, wish)
        with CancelScope(shield=True):  # or nobody would know what was written
            stored = await to_thread.run_sync(self._store.put_input, picture.png)
        return Kept(stored, picture.size, picture.was, len(picture.png), picture.notes)


def _at(place: Place, error: DarkroomError) -> InvalidRequestError:
    field = FieldError(pointer(*place.path), str(error), InvalidImageError.code)
    return InvalidRequestError([field])


def _written_out(text: str) -> bytes:
    if begun := _AN_ID.match(text):
        raise InvalidImageError(_NO_PICTURE[begun[1]])
    try:
        return text.encode("ascii")
    except UnicodeEncodeError as error:
        raise InvalidImageError("Must be base64 or a data URI, which are ASCII.") from error


def _taken(draft: Draft, kept: Mapping[Place, Kept]) -> Taken:
    values = with_images(draft.values, {place: each.input.id for place, each in kept.items()})
    image = first_of(kept)
    if image and image.size != image.was and "padding" in values:
        values["padding"] = _shrunk(values["padding"], image)
    notes = tuple(f"{place} {note}." for place, each in kept.items() for note in each.notes)
    return Taken(
        replace(draft, values=values, warnings=(*draft.warnings, *notes)),
        image.size if image else None,
        {place: each.size for place, each in kept.items()},
        tuple(each.input for each in kept.values() if each.input.written_ns),
    )


def _shrunk(padding: Mapping[str, int], image: Kept) -> dict[str, int]:
    """Padding counts in pixels of the picture, which became fewer."""
    across, down = (now / before for now, before in zip(image.size, image.was, strict=True))
    scales = {"left": across, "right": across, "top": down, "bottom": down}
    return {side: round(pixels * scales[side]) for side, pixels in padding.items()}
