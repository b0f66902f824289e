"""What models need of repositories of the Hub; worker side, knows no jobs, uses no network."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from huggingface_hub.utils import filter_repo_objects

from darkroom.catalog import Catalog
from darkroom.model_card import ModelCard
from darkroom.model_files import PEFT_CONFIG, PEFT_FILE, SAFETENSORS
from darkroom.variants import WEIGHTS, of_variant, only_variant, variants

TEXTS = ("*.json", "*.txt", "*.model")
"""Configurations, vocabularies, and sentencepiece models."""


@dataclass(frozen=True)
class Repository:
    """What is needed of one repository: names of files, with `*` for anything."""

    source: str
    revision: str | None
    files: tuple[str, ...]
    besides: tuple[str, ...] = ()
    """Files to leave out although `files` names them."""
    is_model: bool = False
    """Whether it is a whole model, of whose parts one variant of the weights is enough."""
    variant: str | None = None
    """The variant that the card asks for."""

    def wanted(self, names: Iterable[str]) -> list[str]:
        """Of the names of all files those that are needed. A model whose parts have files of one
        variant alone is taken as that, as when it is loaded."""
        left_out = list(self.besides) or None
        found = sorted(
            filter_repo_objects(names, allow_patterns=list(self.files), ignore_patterns=left_out)
        )
        if not self.is_model:
            return found
        parts: dict[str, list[str]] = {}
        for name in found:
            folder, _, file = name.rpartition("/")
            if file.endswith(SAFETENSORS):
                parts.setdefault(folder, []).append(file)
        variant = self.variant or only_variant(map(variants, parts.values()))
        weights = {
            f"{folder}/{file}"
            for folder, files in parts.items()
            for file in of_variant(files, variant)
        }
        return [name for name in found if name in weights or not name.endswith(SAFETENSORS)]


def repositories(card: ModelCard, catalog: Catalog) -> Iterator[Repository]:
    """What a card needs to be pulled; its folders need no download."""
    for each in _sources(card):
        if catalog.locate(each.source) is None:
            yield each


def _sources(card: ModelCard) -> Iterator[Repository]:
    # What is called otherwise, or lies in the root, is the same once more for other programs.
    weights = [f"*/{name}*{SAFETENSORS}" for name in WEIGHTS]
    without = () if card.text_encoders else ("text_encoder_3/*", "tokenizer_3/*")
    network = ("transformer/*.safetensors", "unet/*.safetensors") if card.transformer else ()
    besides = ("safety_checker/*.safetensors", *without, *network)
    yield Repository(
        card.source, card.revision, (*TEXTS, *weights), besides, is_model=True, variant=card.variant
    )
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
