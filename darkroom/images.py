"""The image store: finished pictures and input pictures; used by all processes, knows no HTTP.

Nobody else knows where pictures lie. Every file name is made here from an id that was checked, and
every file appears whole or not at all: it is written under a temporary name, synced and renamed.
"""

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from darkroom.errors import ImageNotFoundError, InvalidImageError, StoreUnavailableError
from darkroom.job import IMAGE_ID, INPUT_ID
from darkroom.private import FILE, FOLDER, SHARED_FILE, SHARED_FOLDER, make_folder, open_file
from darkroom.settings import Settings

_INPUTS = "inputs/*/file_*.png"

SUFFIXES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}
"""What names of files end with, by format."""

_ABSENT = (FileNotFoundError, NotADirectoryError)

_FORMATS = {suffix: image_format for image_format, suffix in SUFFIXES.items()}


@dataclass(frozen=True)
class StoredImage:
    """What is known of a finished picture without reading it."""

    id: str
    format: str
    """png, jpeg or webp."""
    size: int
    """Bytes."""
    modified: float
    """When it was stored; seconds since 1970."""

    @property
    def file_name(self) -> str:
        """What to call it when it is saved."""
        return self.id + SUFFIXES[self.format]


@dataclass(frozen=True)
class StoredInput:
    """An input picture in the store."""

    id: str
    """`file_<sha256>`."""
    written_ns: int | None = None
    """When, in ns since 1970, if it was not there before."""


class ImageStore:
    """A folder of finished pictures and of input pictures, shared by API, workers and keeper.

    Methods raise StoreUnavailableError where the folder cannot be used."""

    def __init__(self, root: Path, *, shared: bool = False) -> None:
        """`shared`: the folder's group may read and write what is in it."""
        self._root = root
        self._modes = (SHARED_FOLDER, SHARED_FILE) if shared else (FOLDER, FILE)

    @classmethod
    def of(cls, settings: Settings) -> "ImageStore":
        """The store that the settings name; all processes have to agree on it."""
        return cls(settings.store_dir, shared=settings.store_shared)

    def __str__(self) -> str:
        """Where it is, for the operator; clients are not told."""
        return str(self._root.resolve())

    # Finished pictures

    def put(self, image_id: str, data: bytes, image_format: str = "png") -> None:
        """Store a finished picture, or leave nothing behind."""
        self._write(self._image(image_id, image_format), data)

    def find(self, image_id: str) -> StoredImage:
        """Look for a finished picture. Raises ImageNotFoundError."""
        for path in self._images(image_id):
            with _translated(), suppress(*_ABSENT):
                stat = path.stat()
                return StoredImage(image_id, _FORMATS[path.suffix], stat.st_size, stat.st_mtime)
        raise no_image(image_id)

    def open(self, image: StoredImage) -> BinaryIO:
        """A picture that was found, to be read from any position. Raises ImageNotFoundError."""
        is_input = INPUT_ID.fullmatch(image.id)
        path = self._input(image.id) if is_input else self._image(image.id, image.format)
        with _translated():
            try:
                return path.open("rb")
            except FileNotFoundError as error:  # deleted this moment
                raise no_image(image.id) from error

    def delete(self, image_ids: Iterable[str]) -> int:
        """Delete pictures; those already gone do not matter. Returns how many were there."""
        gone = 0
        for path in (path for image_id in image_ids for path in self._images(image_id)):
            with _translated(), suppress(FileNotFoundError):
                path.unlink()
                gone += 1
        return gone

    def image_ids(self, older_than_s: float = 0.0) -> Iterator[str]:
        """Ids of all finished pictures stored at least so many seconds ago."""
        files = self._files("images/*/img_*", older_than_s)
        yield from (path.stem for path in files if path.suffix in SUFFIXES.values())

    def delete_unfinished(self, older_than_s: float) -> int:
        """Delete temporary files that a killed process left, if so many seconds old."""
        return self._unlink(self._files("*/*/*.tmp", older_than_s))

    # Input pictures

    def put_input(self, data: bytes) -> StoredInput:
        """Store an input picture under the hash of its bytes."""
        input_id = f"file_{hashlib.sha256(data).hexdigest()}"
        path = self._input(input_id)
        with _translated():
            try:
                _touch(path)
                return StoredInput(input_id)
            except FileNotFoundError:
                self._write(path, data)
            return StoredInput(input_id, path.stat().st_mtime_ns)

    def delete_unused(self, written: Iterable[StoredInput]) -> int:
        """Delete input pictures that nobody sent or read since they were written."""
        gone = 0
        for each in written:
            path = self._input(each.id)
            with _translated(), suppress(FileNotFoundError):
                if path.stat().st_mtime_ns == each.written_ns:
                    path.unlink()
                    gone += 1
        return gone

    def open_input(self, input_id: str) -> BinaryIO:
        """An input picture, and a sign that it is still needed. Raises InvalidImageError."""
        path = self._input(input_id)
        with _translated():
            try:
                _touch(path)
                return path.open("rb")
            except _ABSENT as error:
                raise no_input(input_id) from error

    def find_input(self, input_id: str) -> StoredImage:
        """Look for an input picture. Raises InvalidImageError."""
        with _translated(), suppress(*_ABSENT):
            stat = self._input(input_id).stat()
            return StoredImage(input_id, "png", stat.st_size, stat.st_mtime)
        raise no_input(input_id)

    def read_input(self, input_id: str) -> bytes:
        """The bytes of an input picture, as `open_input` has them."""
        with self.open_input(input_id) as file, _translated():
            return file.read()

    def input_ids(self, older_than_s: float) -> Iterator[str]:
        """Ids of input pictures that nobody sent or read for so many seconds."""
        return (path.stem for path in self._files(_INPUTS, older_than_s))

    def delete_inputs(self, older_than_s: float, keep: Set[str] = frozenset()) -> int:
        """Delete input pictures that nobody sent or read for so many seconds, but those to keep."""
        old = self._files(_INPUTS, older_than_s)
        return self._unlink(path for path in old if path.stem not in keep)

    def delete_untouched(self, input_ids: Iterable[str], for_s: float) -> set[str]:
        """Delete these input pictures, but those that somebody sent or read within so many seconds;
        returns those of them that are no more."""
        latest, gone = time.time() - for_s, set()
        for input_id in input_ids:
            path = self._input(input_id)
            with _translated():
                with suppress(*_ABSENT):
                    if path.stat().st_mtime > latest:
                        continue
                    path.unlink()
                gone.add(input_id)
        return gone

    # The store itself

    def check(self, size: int = 5) -> None:
        """Write and delete a file of `size` bytes."""
        probe = self._root / "images" / "probe" / f"{secrets.token_hex(8)}.png"
        self._write(probe, bytes(size))
        with _translated():
            probe.unlink(missing_ok=True)

    def free_bytes(self) -> int:
        """How much more it can hold, as far as it can be known."""
        folder = self._root.resolve()
        with _translated():
            while not folder.exists():
                folder = folder.parent
            return shutil.disk_usage(folder).free

    def mark(self) -> str | None:
        """Whose it is, as `set_mark` noted; None if nothing is noted."""
        with _translated(), suppress(FileNotFoundError):
            return self._mark.read_bytes().decode(errors="replace")
        return None

    def set_mark(self, mark: str) -> bool:
        """Note whose it is. False: nothing is stored yet, there is nothing to note it at."""
        with _translated():
            if not self._root.is_dir():
                return False
        self._write(self._mark, mark.encode())
        return True

    @property
    def _mark(self) -> Path:
        return self._root / "store-id"

    def _image(self, image_id: str, image_format: str) -> Path:
        if not IMAGE_ID.fullmatch(image_id):
            raise ImageNotFoundError(f"{image_id[:50]!r} is not an image id.")
        return self._root / "images" / image_id[-2:] / f"{image_id}{SUFFIXES[image_format]}"

    def _images(self, image_id: str) -> list[Path]:
        """Where it may lie: only its file knows the format of an id."""
        return [self._image(image_id, image_format) for image_format in SUFFIXES]

    def _input(self, input_id: str) -> Path:
        if not INPUT_ID.fullmatch(input_id):
            raise InvalidImageError(f"{input_id[:80]!r} is not the id of an input image.")
        return self._root / "inputs" / input_id[-2:] / f"{input_id}.png"

    def _files(self, pattern: str, older_than_s: float) -> Iterator[Path]:
        latest = time.time() - older_than_s
        with _translated():
            for path in self._root.glob(pattern):
                with suppress(FileNotFoundError):
                    if path.stat().st_mtime <= latest:
                        yield path

    @staticmethod
    def _unlink(paths: Iterable[Path]) -> int:
        gone = 0
        with _translated():
            for path in paths:
                path.unlink(missing_ok=True)
                gone += 1
        return gone

    def _write(self, path: Path, data: bytes) -> None:
        folder_mode, file_mode = self._modes
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
        with _translated():
            try:
                make_folder(path.parent, folder_mode)
                with open_file(temporary, "xb", file_mode) as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
            except OSError:
                with suppress(OSError):
                    temporary.unlink()
                raise


def _touch(path: Path) -> None:
    """Sign that somebody needs it, as exactly as the clock goes: a file's own time has steps."""
    now = time.time_ns()
    os.utime(path, ns=(now, now))


def no_image(image_id: str) -> ImageNotFoundError:
    """What is told of a finished picture that is not there, or is not for who asks."""
    return ImageNotFoundError(f"No image has the id {image_id[:50]!r}.")


def no_input(input_id: str) -> InvalidImageError:
    """The same of an input picture."""
    return InvalidImageError(f"No input image has the id {input_id[:80]!r}; send it again.")


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what the file system refuses into StoreUnavailableError; its text holds no path."""
    try:
        yield
    except OSError as error:
        what = error.strerror or type(error).__name__
        raise StoreUnavailableError(f"The image store cannot be used: {what}.") from error
