"""Reads the LoRAs, IP-Adapters, ControlNets and textual inversions that a card adds to its model:
safetensors only, and what cannot be used harms nothing else; used by the worker's pipelines."""

from __future__ import annotations

import copy
import inspect
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import diffusers
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from darkroom.catalog import (
    ControlNetCard,
    EmbeddingCard,
    IPAdapterCard,
    LoraCard,
    ModelCard,
    Models,
)
from darkroom.errors import DeviceMemoryError, ModelLoadError
from darkroom.model_files import CONFIG, SAFETENSORS, PartFiles
from darkroom.networks import network_of
from worker.device import is_out_of_memory
from worker.loading.adapters import Adapters, lora_layers, sharing
from worker.loading.hub import cached
from worker.loading.weights import Complaints, first_lines, strict_logs, task_classes

if TYPE_CHECKING:
    # diffusers loads its parts when they are first named, slowly and leaving files.
    from diffusers import DiffusionPipeline

LORA_FILE = "pytorch_lora_weights.safetensors"
EMBEDDING_FILE = "learned_embeds.safetensors"

# Which vectors of a textual inversion's file are for which text encoder, where there are two.
TEXT_ENCODERS = {"": "clip_l", "_2": "clip_g"}

# A ControlNet fits a network if these are equal, as far as both have them.
TRAITS = (
    "cross_attention_dim",
    "block_out_channels",
    "layers_per_block",
    "addition_embed_type",
    "inner_dim",
    "joint_attention_dim",
    "pooled_projection_dim",
)

REFERENCE_PARTS = ("unet", "image_encoder", "feature_extractor")

_UNREADABLE = (
    OSError,
    ValueError,
    ImportError,
    RuntimeError,
    LookupError,
    TypeError,
    AttributeError,
    SafetensorError,
)


def load(card: ModelCard, models: Models, pipeline: DiffusionPipeline) -> Adapters:
    """Load what `card` adds to the model of `pipeline`, which must not be wrapped yet. Textual
    inversions change its tokenizers and text encoders; all else is a module of its own.

    Safetensors only, no code from elsewhere. What cannot be used is a fault and harms nothing
    else. Raises DeviceMemoryError."""
    if not (card.loras or card.controlnets or card.embeddings or card.ip_adapter):
        return Adapters(model=card.name)
    loader = _Loader(card, models, pipeline)
    embeddings = loader.embeddings()
    loras, adapted = loader.loras()
    adapters = Adapters(
        model=card.name,
        loras=loras,
        adapted=adapted,
        reference=loader.reference(adapted.get("unet")),
        controlnets=loader.controlnets(),
        embeddings=embeddings,
        faults=loader.faults,
    )
    return adapters


class _Loader:
    """Reads the adapters of one card."""

    def __init__(self, card: ModelCard, models: Models, pipeline: DiffusionPipeline) -> None:
        self.faults: dict[str, str] = {}
        self._card, self._models = card, models
        self._kind = type(pipeline).__name__
        self._pipeline = _for_loading(pipeline)

    @property
    def _network(self) -> torch.nn.Module:
        return network_of(self._pipeline)

    def embeddings(self) -> tuple[str, ...]:
        added = []
        for each in self._card.embeddings:
            with self._noting(f"embedding:{each.token}", each.source):
                self._add_embedding(each)
                added.append(each.token)
        return tuple(added)

    def loras(self) -> tuple[dict[str, str], dict[str, torch.nn.Module]]:
        """The LoRAs that can be used with the names that peft knows them by, and the components
        that have their layers. One that fails half-way leaves layers behind: all begin anew."""
        # Of equal length: peft and transformers look for one name within others.
        names = {each.name: f"adapter{i:03}" for i, each in enumerate(self._card.loras)}
        left = list(self._card.loras)
        while left:
            modules = self._lora_targets()
            bench = _with(self._pipeline, modules)
            faulty = (each for each in left if not self._add_lora(bench, each, names[each.name]))
            if failed := next(faulty, None):
                left.remove(failed)
                continue
            adapted = {name: part for name, part in modules.items() if lora_layers(part)}
            return {each.name: names[each.name] for each in left}, adapted
        return {}, {}

    def reference(self, adapted: torch.nn.Module | None) -> dict[str, Any]:
        """The components for jobs with reference images; `adapted` is the UNet with LoRA layers."""
        card = self._card.ip_adapter
        if card is None:
            return {}
        found: dict[str, Any] = {}
        with self._noting("ip_adapter", card.source) as complaints:
            found = self._ip_adapter(card, adapted, complaints)
        return {} if "ip_adapter" in self.faults else found

    def controlnets(self) -> dict[str, torch.nn.Module]:
        loaded = {}
        for each in self._card.controlnets:
            with self._noting(f"controlnet:{each.name}", each.source) as complaints:
                loaded[each.name] = self._controlnet(each, complaints)
        return loaded

    def _add_embedding(self, card: EmbeddingCard) -> None:
        if not hasattr(self._pipeline, "load_textual_inversion"):
            raise ModelLoadError(f"{self._kind} takes no textual inversions")
        read = load_file(self._file(card.source, card.weight_name, EMBEDDING_FILE))
        parts = []
        for encoder, vectors in self._by_encoder(read).items():
            words = [card.token, *(f"{card.token}_{i}" for i in range(1, len(vectors)))]
            tokenizer = getattr(self._pipeline, encoder.replace("text_encoder", "tokenizer"))
            parts.append((tokenizer, getattr(self._pipeline, encoder), words, vectors))
        for tokenizer, encoder, words, vectors in parts:
            _check_words(tokenizer, encoder, words, vectors)
        for part in parts:
            _add_words(*part)

    def _by_encoder(self, read: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The vectors for each text encoder, one per row."""
        encoders = {
            f"text_encoder{suffix}": key
            for suffix, key in TEXT_ENCODERS.items()
            if getattr(self._pipeline, f"text_encoder{suffix}", None) is not None
        }
        if len(encoders) == len(read) == 1:
            return {next(iter(encoders)): torch.atleast_2d(next(iter(read.values())))}
        if missing := [key for key in encoders.values() if key not in read]:
            raise ModelLoadError(
                f"the model has {len(encoders)} text encoders, and the file has no vectors "
                f"{', '.join(missing)}"
            )
        return {encoder: torch.atleast_2d(read[key]) for encoder, key in encoders.items()}

    def _lora_targets(self) -> dict[str, torch.nn.Module]:
        names = getattr(self._pipeline, "_lora_loadable_modules", ())
        parts = {name: getattr(self._pipeline, name, None) for name in names}
        return {name: sharing(part) for name, part in parts.items() if part is not None}

    def _add_lora(self, bench: DiffusionPipeline, card: LoraCard, name: str) -> bool:
        with self._noting(f"lora:{card.name}", card.source) as complaints:
            if not hasattr(bench, "load_lora_weights"):
                raise ModelLoadError(f"{self._kind} takes no LoRAs")
            file = self._file(card.source, card.weight_name, LORA_FILE)
            before = _weights(bench)
            bench.load_lora_weights(
                str(file.parent),
                weight_name=file.name,
                adapter_name=name,
                use_safetensors=True,
                local_files_only=True,
            )
            if complaints.about("dora_scale"):
                raise ModelLoadError("is a DoRA of a kind that diffusers reads only in part")
            if any(complaints.about(words) for words in ("unexpected keys", "UNEXPECTED")):
                raise ModelLoadError("does not fit: some of its weights belong to no layer")
            if complaints.about(name):
                raise ModelLoadError("does not fit: some of its weights are missing")
            if not before <= _weights(bench):
                raise ModelLoadError("changes the model's own layers, which others use")
            if not _layers_with(bench, name):
                raise ModelLoadError("does not fit: none of its weights belongs to a layer")
        return f"lora:{card.name}" not in self.faults

    def _ip_adapter(
        self, card: IPAdapterCard, adapted: torch.nn.Module | None, complaints: Complaints
    ) -> dict[str, Any]:
        plain = getattr(self._pipeline, "unet", None)
        if plain is None or not hasattr(self._pipeline, "load_ip_adapter"):
            raise ModelLoadError(f"{self._kind} takes no reference images")
        file = self._file(card.source, f"{card.subfolder}/{card.weight_name}".lstrip("/"), "")
        keys = list(load_file(file))
        if any("_lora." in key for key in keys):
            raise ModelLoadError("works on faces found by another program (FaceID), not pictures")
        unet = sharing(plain if adapted is None else adapted)
        layers = sum(not name.endswith("attn1.processor") for name in unet.attn_processors)
        theirs = sum(key.endswith("to_k_ip.weight") for key in keys)
        if theirs != layers:
            raise ModelLoadError(f"does not fit: made for {theirs} layers, the model has {layers}")
        encoder = self._image_encoder(card)
        _refuse_missing(complaints)
        bench = _with(self._pipeline, {"unet": unet, "image_encoder": encoder})
        bench.load_ip_adapter(
            str(file.parent), subfolder="", weight_name=file.name, image_encoder_folder=None
        )
        parts = {name: getattr(bench, name) for name in REFERENCE_PARTS}
        return {k: part for k, part in parts.items() if part is not getattr(self._pipeline, k)}

    def _image_encoder(self, card: IPAdapterCard) -> torch.nn.Module:
        from transformers import CLIPVisionModelWithProjection

        own = getattr(self._pipeline, "image_encoder", None)
        if card.image_encoder is None:
            if own is None:
                raise ModelLoadError("the model has no image encoder; name one: image_encoder")
            return own
        place = self._models.locate(card.source)
        if place is not None:
            folder = place / card.image_encoder
        else:
            folder = cached(card.source, None, f"{card.image_encoder}/{CONFIG}")
        _safetensors_in(folder)
        encoder = CLIPVisionModelWithProjection.from_pretrained(
            folder, use_safetensors=True, dtype=self._network.dtype
        )
        return encoder.to(self._network.device)

    def _controlnet(self, card: ControlNetCard, complaints: Complaints) -> torch.nn.Module:
        folder = self._models.locate(card.source)
        folder = folder or cached(card.source, card.revision, CONFIG)
        _safetensors_in(folder)
        name = diffusers.ControlNetModel.load_config(folder).get("_class_name")
        takers = task_classes(self._kind, controlled=True)
        if not takers:
            raise ModelLoadError(f"{self._kind} takes no ControlNets")
        if name not in _classes_of(next(iter(takers.values())), "controlnet"):
            raise ModelLoadError(f"a {name} does not work with {self._kind}")
        net = getattr(diffusers, name).from_pretrained(
            folder, variant=card.variant, dtype=self._network.dtype, use_safetensors=True
        )
        _refuse_missing(complaints)
        _check_traits(net, self._network)
        return net.to(self._network.device)

    def _file(self, source: str, weight_name: str | None, usual: str) -> Path:
        """The safetensors file that a card means."""
        place = self._models.locate(source)
        if place is None:
            name = _harmless(weight_name or usual)
            file = cached(source, None, name) / Path(name).name
        elif place.is_dir():
            file = place / _harmless(weight_name or _only(_safetensors_in(place), usual))
        else:
            file = place.with_name(_harmless(place.name))
        if not file.is_file():
            raise ModelLoadError(f"{file.name} is missing")
        return file

    @contextmanager
    def _noting(self, what: str, source: str) -> Iterator[Complaints]:
        """Turn an error of the block into the fault of `what`."""
        try:
            with strict_logs() as complaints, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield complaints
            return
        except ModelLoadError as error:
            reason = str(error)
        except _UNREADABLE as error:
            if is_out_of_memory(error):
                raise DeviceMemoryError(f"{source} does not fit into the memory left") from None
            reason = _in_words(error)
        self.faults[what] = f"{source}: {reason}"


def _for_loading(pipeline: DiffusionPipeline) -> DiffusionPipeline:
    """The parts of `pipeline` in the class that makes pictures from text, where there is one:
    GLIGEN's own knows no loading of adapters."""
    cls = task_classes(type(pipeline).__name__).get("text-to-image", type(pipeline))
    accepted = inspect.signature(cls.__init__).parameters
    parts = {**pipeline.components, "requires_safety_checker": False}
    return cls(**{name: part for name, part in parts.items() if name in accepted})


def _with(pipeline: DiffusionPipeline, parts: Mapping[str, Any]) -> DiffusionPipeline:
    """`pipeline` with other components, for loading something into them."""
    bench = copy.copy(pipeline)
    for name, part in parts.items():
        setattr(bench, name, part)
    return bench


def _weights(bench: DiffusionPipeline) -> set[int]:
    """The identities of all parameters."""
    parts = (part for part in bench.components.values() if isinstance(part, torch.nn.Module))
    return {id(each) for part in parts for each in part.parameters()}


def _layers_with(bench: DiffusionPipeline, name: str) -> int:
    """How many layers the LoRA that peft calls `name` adds to."""
    parts = (getattr(bench, component, None) for component in bench._lora_loadable_modules)
    layers = (layer for part in parts if part is not None for layer in lora_layers(part))
    return sum(name in layer.scaling for layer in layers)


def _check_words(
    tokenizer: Any, encoder: torch.nn.Module, words: Sequence[str], vectors: torch.Tensor
) -> None:
    known = tokenizer.get_vocab()
    if taken := [word for word in words if word in known]:
        raise ModelLoadError(f"{taken[0]!r} is a word of the tokenizer already")
    width = encoder.get_input_embeddings().weight.shape[1]
    if vectors.ndim != 2 or vectors.shape[1] != width:
        shape = " x ".join(str(side) for side in vectors.shape)
        raise ModelLoadError(f"does not fit: vectors of {shape}, the text encoder's have {width}")


def _add_words(
    tokenizer: Any, encoder: torch.nn.Module, words: Sequence[str], vectors: torch.Tensor
) -> None:
    """As diffusers' `load_textual_inversion`, but words match only whole and as they are spelled:
    prompts without them are read as before."""
    from transformers import AddedToken

    tokenizer.add_tokens([AddedToken(w, single_word=True, normalized=False) for w in words])
    rows = max(len(tokenizer), encoder.get_input_embeddings().num_embeddings)
    table = encoder.resize_token_embeddings(rows, mean_resizing=False).weight
    with torch.no_grad():
        table[tokenizer.convert_tokens_to_ids(list(words))] = vectors.to(table)
    for part in encoder.modules():
        # 2 stands for an old rule, the end is where the highest id is; new words have higher ones.
        if getattr(part, "eos_token_id", None) == 2:
            part.eos_token_id = tokenizer.eos_token_id


def _classes_of(cls: type[DiffusionPipeline], part: str) -> set[str]:
    """Names of the classes that a pipeline takes as `part`."""
    annotation = inspect.signature(cls.__init__).parameters[part].annotation
    return set(re.findall(r"\w+", str(annotation)))


def _check_traits(net: torch.nn.Module, network: torch.nn.Module) -> None:
    def trait_of(module: torch.nn.Module, name: str) -> Any:
        value = module.config.get(name, getattr(module, name, None))
        return tuple(value) if isinstance(value, list) else value

    for name in TRAITS:
        theirs, own = trait_of(net, name), trait_of(network, name)
        unknown = None in (theirs, own) and name != "addition_embed_type"
        if theirs != own and not unknown:
            raise ModelLoadError(f"does not fit: its {name} is {theirs}, the model's {own}")


def _refuse_missing(complaints: Complaints) -> None:
    """Both libraries only warn about weights that are not in the files, and fill in noise."""
    if missing := complaints.about("newly initialized"):
        raise ModelLoadError(f"some weights are missing: {missing}")


def _safetensors_in(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise ModelLoadError(f"the folder {folder.name} is missing")
    files = PartFiles(folder)
    if files.safetensors:
        return files.safetensors
    raise ModelLoadError(
        _could_run_code(files.pickles[0]) if files.pickles else "holds no safetensors file"
    )


def _only(names: Sequence[str], usual: str) -> str:
    if len(names) == 1 or usual in names:
        return names[0] if len(names) == 1 else usual
    raise ModelLoadError(f"holds {len(names)} safetensors files; name one: weight_name")


def _harmless(name: str) -> str:
    """The name of a file, which only counts as data if it ends in .safetensors: diffusers would
    read others too."""
    if not name.endswith(SAFETENSORS):
        raise ModelLoadError(_could_run_code(name))
    return name


def _could_run_code(name: str) -> str:
    return f"{name} could run code when it is read; only safetensors are loaded"


def _in_words(error: Exception) -> str:
    text = str(error)
    if isinstance(error, SafetensorError) or "Unable to load weights" in text:
        return f"damaged: {first_lines(error)}"
    if "size mismatch" in text or "ignore_mismatched_sizes" in text or "shape" in text:
        return f"does not fit: weights of another shape ({first_lines(error)})"
    if "not found in the base model" in text:
        return f"does not fit: layers that the model does not have ({first_lines(error)})"
    return first_lines(error)
