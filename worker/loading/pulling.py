"""Downloads what models need of repositories of the Hub, and says before what that takes; worker
side, knows no jobs.

`python -m worker.loading.pulling NAME...`, for `darkroom models pull`: the only thing in Darkroom
that uses the network to get models. Everything else reads the cache.
"""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx2
import huggingface_hub
from huggingface_hub import ModelCardData
from huggingface_hub.constants import ENDPOINT, HF_HUB_CACHE
from huggingface_hub.errors import (
    GatedRepoError,
    RevisionNotFoundError,
    SafetensorsParsingError,
)
from huggingface_hub.hf_api import RepoFile

from darkroom import single_files
from darkroom.catalog import Catalog
from darkroom.errors import DarkroomError, ModelLoadError
from darkroom.model_card import ModelCard
from darkroom.model_files import COMMIT, INDEX, SAFETENSORS
from darkroom.settings import Settings
from worker.loading import downloads
from worker.loading.complaints import first_lines
from worker.loading.hub import Repository, repositories

_NUMBERS = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
"""Bytes of a number by the dtype of a card."""
_INTERRUPTED = 130
_FAULTS = (OSError, ValueError, httpx2.HTTPError)
"""What huggingface_hub raises where there is no network, no such repository, or none of its ids."""


class PullError(DarkroomError):
    """A repository cannot be downloaded."""

    code = "pull"


@dataclass(frozen=True)
class Listing:
    """What a repository holds, and what its page says."""

    source: str
    revision: str | None
    """As the Hub takes it: a branch, a tag or a whole commit."""
    commit: str
    sizes: Mapping[str, int]
    """Bytes by the names of all files."""
    licence: str | None
    is_gated: bool
    """Whether its terms have to be accepted before files can be had."""


def look_up(source: str, revision: str | None) -> Listing:
    """Ask the Hub about a repository. Raises what `_FAULTS` names."""
    api = huggingface_hub.HfApi()
    try:
        about = api.model_info(source, revision=revision)
    except RevisionNotFoundError:
        if revision is None or not COMMIT.fullmatch(revision):
            raise
        commits = [each.commit_id for each in api.list_repo_commits(source)]
        begun = [each for each in commits if each.startswith(revision)]
        if len(begun) != 1:
            raise
        about = api.model_info(source, revision=(revision := begun[0]))
    commit = about.sha or ""
    tree = api.list_repo_tree(source, recursive=True, revision=commit)
    files = [each for each in tree if isinstance(each, RepoFile)]
    # `license` reads "other" where it has a name of its own.
    data = about.card_data or ModelCardData()
    return Listing(
        source=source,
        revision=revision,
        commit=commit,
        sizes={each.path: each.lfs.size if each.lfs else each.size for each in files},
        licence=data.get("license_name") or data.get("license"),
        is_gated=bool(about.gated),
    )


def pull(card: ModelCard, repository: Repository) -> None:
    """Say what downloading a repository takes, and do it. Raises PullError."""
    source = repository.source
    print(f"{card.name}: {source} ...", flush=True)
    try:
        listing = look_up(source, repository.revision)
        sizes = {name: listing.sizes[name] for name in repository.wanted(listing.sizes)}
        for line in _told(card, repository, listing, sizes):
            print(f"      {line}", flush=True)
        _refuse_without_room(source, _missing_bytes(listing, sizes))
        folder = downloads.fetch(source, listing.revision, listing.commit, sizes)
    except GatedRepoError as error:
        page = f"{ENDPOINT}/{source}"
        raise PullError(
            f"{source} is gated: accept its terms on {page}, and set HF_TOKEN to a token of yours"
        ) from error
    except _FAULTS as error:
        raise PullError(f"{source}: {first_lines(error)}") from error
    print(f"{card.name}: {source} is in {folder}", flush=True)


def _told(
    card: ModelCard, repository: Repository, listing: Listing, sizes: Mapping[str, int]
) -> Iterator[str]:
    """What is to be known before the download begins."""
    licences = [f"its page says {listing.licence}"] if listing.licence else []
    if repository.is_model and card.licence:
        licences.insert(0, card.licence)
    yield f"commit {listing.commit} of {ENDPOINT}/{listing.source}"
    yield f"licence: {'; '.join(licences) or 'its page names none'}"
    if listing.is_gated:
        yield "gated: its terms have to be accepted on that page, and HF_TOKEN set"
    whole, missing = sum(sizes.values()), _missing_bytes(listing, sizes)
    there = f", of which {_gb(whole - missing)} are here" if missing < whole else ""
    yield f"files: {_gb(whole)} in {len(sizes)}{there}; {_gb(_free())} of disk are free"
    if repository.is_model and missing and (numbers := _numbers(listing, sizes)):
        yield f"its weights take {_memory(card, numbers)}"


def _memory(card: ModelCard, numbers: int) -> str:
    if width := _NUMBERS.get(card.dtype):
        return f"{_gb(numbers * width)} of memory as {card.dtype}"
    return f"{_gb(numbers * 2)} of memory on a GPU, {_gb(numbers * 4)} on a CPU"


def _numbers(listing: Listing, sizes: Mapping[str, int]) -> int:
    """How many numbers the weights are, by the headers of their files; 0: one cannot be read."""
    api = huggingface_hub.HfApi()
    count = 0
    for name in sizes:
        if name.endswith(SAFETENSORS):
            try:
                header = api.parse_safetensors_file_metadata(
                    listing.source, name, revision=listing.commit
                )
            except GatedRepoError:
                raise
            except (*_FAULTS, SafetensorsParsingError):
                return 0
            count += sum(header.parameter_count.values())
    return count


def _missing_bytes(listing: Listing, sizes: Mapping[str, int]) -> int:
    """Bytes that have still to come."""
    missing = 0
    for name, size in sizes.items():
        found = huggingface_hub.try_to_load_from_cache(
            listing.source, name, revision=listing.commit
        )
        missing += 0 if isinstance(found, str) else size
    return max(missing - downloads.begun(listing.source), 0)


def _refuse_without_room(source: str, missing: int) -> None:
    if missing > _free():
        raise PullError(
            f"{source} needs {_gb(missing)} of disk, and {_gb(_free())} are free in "
            f"{HF_HUB_CACHE}: HF_HOME names another folder"
        )


def _free() -> int:
    """Bytes of disk that are left where the cache is, or is going to be."""
    place = Path(HF_HUB_CACHE).absolute()
    return shutil.disk_usage(next(each for each in (place, *place.parents) if each.exists())).free


def _gb(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size < 1e10 else f"{size / 1e9:.0f} GB"


def _refuse_others(card: ModelCard, catalog: Catalog) -> None:
    """Raises PullError if the card's source is a file or folder of this machine, and no model."""
    place = catalog.locate(card.source)
    if place is not None and place.is_dir() and not (place / INDEX).is_file():
        raise PullError(
            f"{card.name}: the folder {place} is no model, it has no {INDEX}: move it away, and "
            f"{card.source} is downloaded, or name another folder as the source"
        )
    if place is not None and not place.is_dir():
        try:
            single_files.checkpoint(place, None, None) if card.config is None else None
        except ModelLoadError as error:
            raise PullError(f"{card.name}: {error}") from None


def main(names: list[str]) -> None:
    catalog = Catalog.read(Settings().models)
    for name in catalog.names(names):
        card = catalog.cards[name]
        _refuse_others(card, catalog)
        sources = list(repositories(card, catalog))
        for each in sources:
            pull(card, each)
        if not sources:
            tried = f"`darkroom models check {name}` tries it"
            print(f"{name}: nothing to do, {card.source} is on this machine; {tried}")


def _end(said: str, status: int) -> None:
    """End at once: other files may still be on their way, and are kept as far as they came."""
    print(said, file=sys.stderr, flush=True)
    os._exit(status)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except DarkroomError as fault:
        _end(f"Error: {fault}", 1)
    except KeyboardInterrupt:
        _end("Stopped. The same command goes on from here.", _INTERRUPTED)
