"""Where a store keeps a picture: for tests that age, damage or look at its file."""

from pathlib import Path

from darkroom.images import ImageStore


def file_of(store: ImageStore, picture_id: str) -> Path:
    """The file of a finished or an input picture that is there."""
    (path,) = (p for p in Path(str(store)).rglob(f"{picture_id}.*") if p.suffix != ".tmp")
    return path
