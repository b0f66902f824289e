"""The one way from routes to the files that clients keep, told who asks; in the service only."""

from contextlib import suppress
from dataclasses import dataclass

from anyio import to_thread

from darkroom.errors import (
    DarkroomError,
    DependencyError,
    InvalidImageError,
    StoreUnavailableError,
)
from darkroom.images import ImageStore, StoredImage
from darkroom.job import INPUT_ID
from darkroom.kept_file import AboutFile, FileKind, KeptFile
from darkroom.queue import files
from darkroom.queue.exchange import AsyncClient
from darkroom.queue.owned_pictures import has_sent, is_loose
from service.access import Asker
from service.pictures.intake import InputImages


@dataclass(frozen=True)
class Files:
    """The files of who asks; those of others are as if they were not there.

    Methods raise QueueUnavailableError, and those about pictures StoreUnavailableError."""

    asker: Asker
    client: AsyncClient
    store: ImageStore
    inputs: InputImages
    max_bytes: int

    async def put(self, data: bytes, kind: FileKind, background: str) -> tuple[KeptFile, bool]:
        """Keep a picture, and whether it is new. Raises InvalidImageError, DecodersBusyError,
        FilesFullError."""
        kept = await self.inputs.keep(data, kind, background)
        width, height = kept.size
        about = AboutFile(
            kind=kind,
            width=width,
            height=height,
            bytes=kept.bytes,
            warnings=[f"The picture: {note}." for note in kept.notes],
        )
        put = files.put(kept.input.id, about, owner=self.asker.owner, max_bytes=self.max_bytes)
        try:
            return await self.client.carry_out(put)
        except DependencyError:  # perhaps it is kept all the same
            raise
        except DarkroomError:
            with suppress(StoreUnavailableError):
                await self.inputs.give_up((kept.input,))
            raise

    async def find(self, file_id: str) -> KeptFile:
        """Raises NoSuchFileError."""
        if not INPUT_ID.fullmatch(file_id):
            raise files.no_file(file_id)
        return await self.client.carry_out(files.get(file_id, owner=self.asker.sees))

    async def find_content(self, file_id: str) -> StoredImage:
        """The picture of a file, or one that a job of theirs began with. Raises NoSuchFileError."""
        if not (INPUT_ID.fullmatch(file_id) and await self._may_read(file_id)):
            raise files.no_file(file_id)
        try:
            return await to_thread.run_sync(self.store.find_input, file_id)
        except InvalidImageError as error:
            raise files.no_file(file_id) from error

    async def _may_read(self, file_id: str) -> bool:
        """Who sees all reads what is anybody's, but not what was just deleted."""
        if await self.client.carry_out(has_sent(file_id, self.asker.owner)):
            return True
        return self.asker.sees is None and not await self.client.carry_out(is_loose(file_id))

    async def page(self, *, limit: int, cursor: str | None) -> files.FilePage:
        """Files, newest first."""
        asked = files.page(limit=limit, cursor=cursor, owner=self.asker.sees)
        return await self.client.carry_out(asked)

    async def delete(self, file_id: str) -> None:
        """Raises NoSuchFileError."""
        if not INPUT_ID.fullmatch(file_id):
            raise files.no_file(file_id)
        await self.client.carry_out(files.drop(file_id, owner=self.asker.sees))
