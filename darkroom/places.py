"""Where the files of models are on this machine, or why they are of no use; asked by workers and by
the command line, knows neither torch nor diffusers."""

from pathlib import Path

from darkroom import model_files, single_files
from darkroom.catalog import Catalog
from darkroom.errors import ModelLoadError
from darkroom.families import refusal
from darkroom.file_kinds import refuse_file
from darkroom.model_card import ModelCard
from darkroom.model_files import INDEX, PICKLES, SAFETENSORS, ModelFiles

FILES = (SAFETENSORS, *PICKLES, ".gguf")
"""Endings of sources that mean files, and no repositories."""


def files_of(card: ModelCard, catalog: Catalog) -> ModelFiles:
    """The model's files. Raises ModelLoadError if they are not on this machine, are no model, or of
    a pipeline that cannot be run: before anything is read of the weights."""
    files = single_files.files_of(
        card, catalog.locate, lambda source, revision: folder_of(source, catalog, INDEX, revision)
    )
    if why := refusal(files.pipeline):
        raise ModelLoadError(why)
    return files


def folder_of(source: str, catalog: Catalog, landmark: str, revision: str | None = None) -> Path:
    """The folder that a card means, which holds a file named `landmark` if it is a repository.
    Raises ModelLoadError."""
    if (place := catalog.locate(source)) is None:
        return cached_folder(source, revision, landmark)
    refuse_file(place)
    return place


def cached_folder(source: str, revision: str | None, landmark: str) -> Path:
    """The folder of a repository that was pulled, which holds a file named `landmark`.

    Raises ModelLoadError if it is not there."""
    if folder := model_files.cached_folder(source, revision, landmark):
        return folder
    if Path(source).suffix in FILES or Path(source).is_absolute() or source.startswith("."):
        raise ModelLoadError(f"{source} is missing: there is no such file or folder")
    at = f" at {revision}" if revision else ""
    raise ModelLoadError(
        f"{source} is no folder, and not in the Hugging Face cache{at}; "
        "`darkroom models pull` downloads repositories"
    )
