"""Pictures on disk; used by all processes, knows no HTTP, no torch.

Every file name is made here from an id that was checked, and every file appears whole or not at
all: it is written under a temporary name, synced and renamed.
"""

import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager, suppress
from pathlib import Path

from darkroom.errors import ImageNotFoundError, InvalidImageError, StoreUnavailableError
from darkroom.job import INPUT_ID

_INPUTS = "inputs/*/file_*.png"
_IMAGE_ID = re.compile(r"img_[0-9a-f]{32}", re.ASCII)

SUFFIXES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}
"""What names of files end with, by format."""


class ImageStore:
    """A folder of finished pictures and of input pictures, shared by API, workers and keeper."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, image_id: str, data: bytes, image_format: str = "png") -> None:
        """Store a finished picture. Raises StoreUnavailableError, leaving nothing behind."""
        self._write(self._image(image_id, image_format), data)

    def path(self, image_id: str) -> Path:
        """Where a finished picture lies; its suffix is that of its format. Raises
        ImageNotFoundError, StoreUnavailableError."""
        for path in self._images(image_id):
            with _translated():
                if path.is_file():
                    return path
        raise ImageNotFoundError(f"No image has the id {image_id[:50]!r}.")

    def delete(self, image_ids: Iterable[str]) -> int:
        """Delete pictures; those already gone do not matter. Returns how many were there."""
        gone = 0
        for path in (path for image_id in image_ids for path in self._images(image_id)):
            with _translated(), suppress(FileNotFoundError):
                path.unlink()
                gone += 1
        return gone

    def put_input(self, data: bytes) -> str:
        """Store an input picture under the hash of its bytes; returns `file_<sha256>`."""
        input_id = f"file_{hashlib.sha256(data).hexdigest()}"
        path = self._input(input_id)
        with _translated():
            try:
                os.utime(path)
            except FileNotFoundError:
                self._write(path, data)
        return input_id

    def input_path(self, input_id: str) -> Path:
        """Where an input picture lies. Raises InvalidImageError, StoreUnavailableError."""
        path = self._input(input_id)
        with _translated():
            exists = path.is_file()
        if not exists:
            raise InvalidImageError(f"No input image has the id {input_id[:80]!r}; send it again.")
        return path

    def read_input(self, input_id: str) -> bytes:
        """An input picture of an accepted job, and a sign that it is still needed.

        Raises InvalidImageError, StoreUnavailableError."""
        path = self.input_path(input_id)
        with _translated():
            os.utime(path)
            return path.read_bytes()

    def image_ids(self, older_than_s: float = 0.0) -> Iterator[str]:
        """Ids of all finished pictures stored at least so many seconds ago."""
        files = self._files("images/*/img_*", older_than_s)
        yield from (path.stem for path in files if path.suffix in SUFFIXES.values())

    def delete_unfinished(self, older_than_s: float) -> int:
        """Delete temporary files that a killed process left, if so many seconds old."""
        return self._unlink(self._files("*/*/*.tmp", older_than_s))

    def input_ids(self, older_than_s: float) -> Iterator[str]:
        """Ids of input pictures that nobody sent or read for so many seconds."""
        return (path.stem for path in self._files(_INPUTS, older_than_s))

    def delete_inputs(self, older_than_s: float, keep: Set[str] = frozenset()) -> int:
        """Delete input pictures that nobody sent or read for so many seconds, but those to keep."""
        old = self._files(_INPUTS, older_than_s)
        return self._unlink(path for path in old if path.stem not in keep)

    def check(self, size: int = 5) -> None:
        """Write and delete a file of `size` bytes. Raises StoreUnavailableError."""
        probe = self.root / "images" / "probe" / f"{secrets.token_hex(8)}.png"
        self._write(probe, bytes(size))
        with _translated():
            probe.unlink(missing_ok=True)

    def _image(self, image_id: str, image_format: str) -> Path:
        if not _IMAGE_ID.fullmatch(image_id):
            raise ImageNotFoundError(f"{image_id[:50]!r} is not an image id.")
        return self.root / "images" / image_id[-2:] / f"{image_id}{SUFFIXES[image_format]}"

    def _images(self, image_id: str) -> list[Path]:
        """Where it may lie: only its file knows the format of an id."""
        return [self._image(image_id, image_format) for image_format in SUFFIXES]

    def _input(self, input_id: str) -> Path:
        if not INPUT_ID.fullmatch(input_id):
            raise InvalidImageError(f"{input_id[:80]!r} is not the id of an input image.")
        return self.root / "inputs" / input_id[-2:] / f"{input_id}.png"

    def _files(self, pattern: str, older_than_s: float) -> Iterator[Path]:
        latest = time.time() - older_than_s
        for path in self.root.glob(pattern):
            try:
                if path.stat().st_mtime <= latest:
                    yield path
            except FileNotFoundError:
                continue

    @staticmethod
    def _unlink(paths: Iterable[Path]) -> int:
        gone = 0
        for path in paths:
            path.unlink(missing_ok=True)
            gone += 1
        return gone

    @staticmethod
    def _write(path: Path, data: bytes) -> None:
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
        with _translated():
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with temporary.open("xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
            except OSError:
                with suppress(OSError):
                    temporary.unlink()
                raise


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what the file system refuses into StoreUnavailableError; its text holds no path."""
    try:
        yield
    except OSError as error:
        what = error.strerror or type(error).__name__
        raise StoreUnavailableError(f"The image store cannot be used: {what}.") from error
