"""Where repositories lie in the Hugging Face cache, and what fills it; worker side, knows no jobs.

`python -m worker.loading.hub NAME...` downloads what cards name, for `darkroom models pull`: the
only thing in Darkroom that uses the network. Everything else reads the cache.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub

from darkroom import model_files, single_files
from darkroom.catalog import Catalog, ModelCard
from darkroom.errors import DarkroomError, ModelLoadError
from darkroom.model_files import PEFT_CONFIG, PEFT_FILE, PICKLES, SAFETENSORS, WEIGHTS
from darkroom.settings import Settings
from worker.loading.complaints import first_lines

TEXTS = ("*.json", "*.txt", "*.model")
"""Configurations, vocabularies, and sentencepiece models."""

FILES = (SAFETENSORS, *PICKLES, ".gguf")
"""Endings of sources that mean files, and no repositories."""


class PullError(DarkroomError):
    """A repository cannot be downloaded."""

    code = "pull"


@dataclass(frozen=True)
class Repository:
    """What is needed of one repository: names of files, with `*` for anything."""

    source: str
    revision: str | None
    files: tuple[str, ...]
    besides: tuple[str, ...] = ()
    """Files to leave out although `files` names them."""


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


def repositories(card: ModelCard, catalog: Catalog) -> Iterator[Repository]:
    """What a card needs to be pulled; its folders need no download."""
    for each in _sources(card):
        if catalog.locate(each.source) is None:
            yield each


def pull(repository: Repository) -> Path:
    """Download a repository's files into the cache. Raises PullError."""
    try:
        folder = huggingface_hub.snapshot_download(
            repository.source,
            revision=repository.revision,
            allow_patterns=list(repository.files),
            ignore_patterns=list(repository.besides) or None,
        )
    except (OSError, ValueError) as error:  # no network, no such repository, not a repository's id
        raise PullError(f"{repository.source}: {first_lines(error)}") from error
    return Path(folder)


def _sources(card: ModelCard) -> Iterator[Repository]:
    # What is called otherwise, or lies in the root, is the same once more for other programs.
    variant = f".{card.variant}*" if card.variant else ""
    weights = [f"*/{name}*{variant}{SAFETENSORS}" for name in WEIGHTS]
    others = () if card.variant else ("*.fp16*", "*.bf16*", "*.non_ema*")
    without = () if card.text_encoders else ("text_encoder_3/*", "tokenizer_3/*")
    network = ("transformer/*.safetensors", "unet/*.safetensors") if card.transformer else ()
    yield Repository(card.source, card.revision, (*TEXTS, *weights), (*others, *without, *network))
    if card.config:
        yield Repository(card.config, None, TEXTS)
    if card.vae:
        yield Repository(card.vae, None, (*TEXTS, "diffusion_pytorch_model*.safetensors"))
    if card.safety:
        yield Repository(card.safety.source, None, (*TEXTS, "model*.safetensors"))
    for net in card.controlnets:
        name = f"*.{net.variant}*.safetensors" if net.variant else "*.safetensors"
        yield Repository(net.source, net.revision, (*TEXTS, name))
    for lora in card.loras:
        name = lora.weight_name or f"*{SAFETENSORS}"
        is_whole = lora.weight_name is None or name.endswith(PEFT_FILE)
        yield Repository(lora.source, None, (name, f"*{PEFT_CONFIG}") if is_whole else (name,))
    for each in card.embeddings:
        yield Repository(each.source, None, (each.weight_name or f"*{SAFETENSORS}",))
    if adapter := card.ip_adapter:
        weight = f"{adapter.subfolder}/{adapter.weight_name}".removeprefix("/")
        encoder = adapter.image_encoder
        beside = (f"{encoder}/*.json", f"{encoder}/*.safetensors") if encoder else ()
        yield Repository(adapter.source, None, (weight, *beside))


def _refuse_others(card: ModelCard, catalog: Catalog) -> None:
    """Raises PullError if the card's source is a file that is no model."""
    place = catalog.locate(card.source)
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
            print(f"{name}: {each.source} ...", flush=True)
            print(f"{name}: {each.source} is in {pull(each)}", flush=True)
        if not sources:
            print(f"{name}: nothing to do, its files are on this machine")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except DarkroomError as fault:
        sys.exit(f"Error: {fault}")
