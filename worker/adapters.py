"""LoRAs, IP-Adapters, ControlNets and textual inversions that a model's card adds to it; engine
thread of the worker only, knows no queue.

Modules that an adapter changes are objects of their own that share the weights of the plain ones:
plain jobs run on exactly what they would run on if the card named no adapters.
"""

from __future__ import annotations

import copy
import functools
import inspect
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import diffusers
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file

from darkroom.cards import ControlNetCard, EmbeddingCard, IPAdapterCard, LoraCard, ModelCard, Models
from darkroom.errors import DeviceMemoryError, ModelLoadError, UnsupportedError
from darkroom.request import Request
from worker.device import is_out_of_memory
from worker.gather import ModuleState
from worker.hub import cached
from worker.weights import PICKLES, Complaints, first_lines, strict_logs, task_classes

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


@dataclass(frozen=True)
class Setting:
    """How adapted modules are to work for one job."""

    loras: tuple[tuple[str, float], ...] = ()
    """The names that peft knows them by, sorted, with their scales."""
    reference_scale: float | None = None


@dataclass
class Current:
    """The setting of the job whose turn it is. The gather keeps it, so it refers to no module."""

    setting: Setting = Setting()

    def capture(self) -> Setting:
        return self.setting

    def restore(self, setting: Setting) -> None:
        self.setting = setting


@dataclass(frozen=True)
class Adapters:
    """The adapters of one loaded model."""

    model: str = ""
    loras: Mapping[str, str] = field(default_factory=dict)
    """The name that peft knows each LoRA by."""
    adapted: Mapping[str, torch.nn.Module] = field(default_factory=dict)
    """The components that have LoRA layers, in place of the plain ones."""
    reference: Mapping[str, Any] = field(default_factory=dict)
    """Components for jobs with reference images, in place of the plain ones."""
    controlnets: Mapping[str, torch.nn.Module] = field(default_factory=dict)
    embeddings: tuple[str, ...] = ()
    """Words that textual inversions added to the tokenizers."""
    faults: Mapping[str, str] = field(default_factory=dict)
    """What of the card cannot be used and why: `lora:NAME`, `controlnet:NAME`, `embedding:TOKEN`,
    `ip_adapter`."""
    current: Current = field(default_factory=Current)

    @property
    def modules(self) -> list[tuple[str, torch.nn.Module]]:
        """All modules beside the model's own, by the names of the components they stand for."""
        named = [*self.adapted.items(), *self.reference.items()]
        named += [("controlnet", module) for module in self.controlnets.values()]
        return [(name, part) for name, part in named if isinstance(part, torch.nn.Module)]

    @cached_property
    def _state(self) -> ModuleState:
        return ModuleState(self.current.capture, self.current.restore)

    def state_of(self, module: torch.nn.Module, own: ModuleState | None) -> ModuleState | None:
        """What `module` holds beside its weights, when without adapters that would be `own`."""
        changed = (*self.adapted.values(), self.reference.get("unet"))
        if all(each is not module for each in changed):
            return own
        return self._state if own is None else _both(self._state, own)

    def use(self, request: Request) -> None:
        """Let the job that calls this run with the adapters of its request; to be called before
        its pipeline runs. Raises UnsupportedError for a LoRA that cannot be used."""
        scale = request.reference_scale if _references(request) else None
        self.current.setting = Setting(self._scales(request), scale)

    def components(self, request: Request) -> dict[str, Any]:
        """What the pipeline of this request is built from in place of the model's own components.

        Raises UnsupportedError."""
        chosen: dict[str, Any] = {}
        if self._scales(request):
            chosen |= self.adapted
        if _references(request):
            if not self.reference:
                raise self._unusable("ip_adapter", "takes no reference images")
            chosen |= self.reference
        nets = [self._controlnet(each.name) for each in getattr(request, "controls", ())]
        if nets:
            chosen["controlnet"] = nets if len(nets) > 1 else nets[0]
        return chosen

    def arguments(self, request: Request, inputs: Mapping[str, Image.Image]) -> dict[str, Any]:
        """What the pipeline is called with because of reference images: all of them for the one
        IP-Adapter."""
        count = len(_references(request))
        images = [inputs[f"reference_images/{index}"].convert("RGB") for index in range(count)]
        return {"ip_adapter_image": [images]} if images else {}

    def _scales(self, request: Request) -> tuple[tuple[str, float], ...]:
        """The LoRAs at work; one that is named twice has the sum of both scales."""
        scales: dict[str, float] = {}
        for each in getattr(request, "loras", ()):
            if each.name not in self.loras:
                raise self._unusable(f"lora:{each.name}", f"has no LoRA {each.name!r}")
            name = self.loras[each.name]
            scales[name] = scales.get(name, 0.0) + each.scale
        return tuple(sorted((name, scale) for name, scale in scales.items() if scale))

    def _controlnet(self, name: str) -> torch.nn.Module:
        if name not in self.controlnets:
            raise self._unusable(f"controlnet:{name}", f"has no ControlNet {name!r}")
        return self.controlnets[name]

    def _unusable(self, what: str, otherwise: str) -> UnsupportedError:
        if fault := self.faults.get(what):
            return UnsupportedError(f"{what} of the model {self.model!r} cannot be used: {fault}")
        return UnsupportedError(f"The model {self.model!r} {otherwise}.")


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
    for _, module in adapters.modules:
        _follow(module, adapters.current)
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
        return getattr(self._pipeline, "unet", None) or self._pipeline.transformer

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
            folder = cached(card.source, None, f"{card.image_encoder}/config.json")
        _safetensors_in(folder)
        encoder = CLIPVisionModelWithProjection.from_pretrained(
            folder, use_safetensors=True, dtype=self._network.dtype
        )
        return encoder.to(self._network.device)

    def _controlnet(self, card: ControlNetCard, complaints: Complaints) -> torch.nn.Module:
        folder = self._models.locate(card.source)
        folder = folder or cached(card.source, card.revision, "config.json")
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


def sharing(module: torch.nn.Module) -> torch.nn.Module:
    """A copy of `module` that may be changed, with the very same parameters and buffers."""
    kept = {id(each): each for each in (*module.parameters(), *module.buffers())}
    made = copy.deepcopy(module, kept)
    for each in made.modules():
        # Set by whoever wrapped or compiled it, and bound to the original.
        each.__dict__.pop("forward", None)
    return made


def _both(one: ModuleState, other: ModuleState) -> ModuleState:
    def restore(values: tuple[Any, Any]) -> None:
        one.restore(values[0])
        other.restore(values[1])

    return ModuleState(lambda: (one.capture(), other.capture()), restore)


def _references(request: Request) -> Sequence[str]:
    return getattr(request, "reference_images", ())


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


def lora_layers(module: torch.nn.Module) -> list[Any]:
    """The layers of `module` to which LoRAs add."""
    from peft.tuners.tuners_utils import BaseTunerLayer  # takes a second, and few models need it

    return [each for each in module.modules() if isinstance(each, BaseTunerLayer)]


def _weights(bench: DiffusionPipeline) -> set[int]:
    """The identities of all parameters."""
    parts = (part for part in bench.components.values() if isinstance(part, torch.nn.Module))
    return {id(each) for part in parts for each in part.parameters()}


def _layers_with(bench: DiffusionPipeline, name: str) -> int:
    """How many layers the LoRA that peft calls `name` adds to."""
    parts = (getattr(bench, component, None) for component in bench._lora_loadable_modules)
    layers = (layer for part in parts if part is not None for layer in lora_layers(part))
    return sum(name in layer.scaling for layer in layers)


def _follow(module: torch.nn.Module, current: Current) -> None:
    """Make `module` turn to the current setting when it is called, unless it stands there already.
    Later than restoring would: jobs of other models and modules turn nothing."""
    layers = lora_layers(module)
    processors = [
        each
        for each in getattr(module, "attn_processors", {}).values()
        if type(each).__name__.startswith("IPAdapter")
    ]
    inner, stands_at = module.forward, None
    if not layers and not processors:
        return

    @functools.wraps(inner)
    def forward(*args: Any, **kwargs: Any) -> Any:
        nonlocal stands_at
        wanted = current.setting
        if wanted != stands_at:
            turn(layers, processors, wanted)
            stands_at = wanted
        return inner(*args, **kwargs)

    module.forward = forward


def turn(layers: Sequence[Any], processors: Sequence[Any], setting: Setting) -> None:
    """Let LoRA `layers` and the `processors` of an IP-Adapter work as `setting` says."""
    names = [name for name, _ in setting.loras]
    for layer in layers:
        # As peft's own `set_adapter`, which takes seven times as long over what training needs.
        layer._active_adapter = names
        for name, scale in setting.loras:
            layer.set_scale(name, scale)
    for processor in processors:
        processor.scale = [setting.reference_scale] * len(processor.scale)


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
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    weights = [name for name in names if name.endswith(".safetensors")]
    if weights:
        return weights
    pickles = [name for name in names if name.endswith(PICKLES)]
    raise ModelLoadError(_could_run_code(pickles[0]) if pickles else "holds no safetensors file")


def _only(names: Sequence[str], usual: str) -> str:
    if len(names) == 1 or usual in names:
        return names[0] if len(names) == 1 else usual
    raise ModelLoadError(f"holds {len(names)} safetensors files; name one: weight_name")


def _harmless(name: str) -> str:
    """The name of a file, which only counts as data if it ends in .safetensors: diffusers would
    read others too."""
    if not name.endswith(".safetensors"):
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
