"""Reads a model's files into a diffusers pipeline: safetensors only, no code from elsewhere,
nothing missing; used by the worker's pipelines, knows no jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import diffusers
import torch

from darkroom import single_files
from darkroom.catalog import Catalog
from darkroom.errors import DeviceMemoryError, ModelLoadError
from darkroom.families import diffusers_table, tasks_of
from darkroom.file_kinds import CHECKPOINT, refuse_file, what_is
from darkroom.inspection import inspect_model, inspect_part
from darkroom.model_card import ModelCard
from darkroom.model_files import (
    CONFIG,
    INDEX,
    PICKLES,
    SAFETENSORS,
    ModelFiles,
    PartFiles,
    times_smaller,
)
from darkroom.networks import network_of
from darkroom.places import files_of, folder_of
from darkroom.safe_files import load_json
from worker.device import is_out_of_memory
from worker.loading import clip_vocabulary, parts, processors, single_parts
from worker.loading.absent import is_empty, left_out, without_text_encoders
from worker.loading.complaints import UNREADABLE, Complaints, reason_of, strict_logs
from worker.loading.parts import Told, untold
from worker.loading.tuning import tune

if TYPE_CHECKING:
    # diffusers loads its parts when they are first named, slowly and leaving files.
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline

OUT_OF_MEMORY = "out of memory"
# The first makes its noise and its pictures in nothing else; and the nearest entry of a codebook is
# found by differences that half precision does not see.
_IN_FLOAT32 = ("LDMPipeline", "LDMSuperResolutionPipeline")


def read(
    card: ModelCard, catalog: Catalog, device: torch.device, told: Told = untold
) -> tuple[DiffusionPipeline, dict[str, str]]:
    """The pipeline of `card`, one of `models`, as its options want it and, unless its parts are to
    wait elsewhere, on `device`; and what the libraries had to say of its files. `told` hears which
    share of the weights has been read.

    Raises ModelLoadError with the reason, DeviceMemoryError."""
    try:
        return _read_whole(card, catalog, device, told)
    except ModelLoadError as error:
        reason = str(error)
    except UNREADABLE as error:
        reason = OUT_OF_MEMORY if is_out_of_memory(error) else reason_of(error)
    # Raised anew: the frames of the first error hold the weights, for as long as it is kept.
    if reason == OUT_OF_MEMORY:
        raise DeviceMemoryError(f"{card.source} does not fit into the memory that is left")
    raise ModelLoadError(f"{card.source}: {reason}")


def vae_files(card: ModelCard, catalog: Catalog) -> PartFiles | None:
    """The files of the VAE that the card puts in place of the model's own, if it does."""
    if card.vae is None:
        return None
    own = files_of(card, catalog).part("vae")
    return single_files.vae_of(
        card.vae, own, catalog.locate, lambda source: folder_of(source, catalog, CONFIG)
    )


def _read_whole(
    card: ModelCard, catalog: Catalog, device: torch.device, told: Told
) -> tuple[DiffusionPipeline, dict[str, str]]:
    with strict_logs() as complaints:
        files = files_of(card, catalog)
        _refuse_without_index(files)
        inspect_model(files, files.variant(card.variant))
        cls = pipeline_class(files)
        for part in files.parts:
            refuse_pickles(files.part(part), part)

        def place(module: torch.nn.Module) -> torch.nn.Module:
            complaints.refuse_missing()  # they have nothing that could be moved
            return module if is_offloaded(card, device) else module.to(device)

        dtype = dtype_of(card, device, cls)
        try:
            vae = vae_files(card, catalog)
            pipeline = _read(card, files, cls, dtype, vae, place=place, told=told)
        except UNREADABLE as error:
            if is_out_of_memory(error) or not (rows := complaints.about(" mismatch")):
                raise
            raise ModelLoadError(
                f"weights of another shape than the configuration says: {rows}"
            ) from None
        _check_whole(pipeline, complaints)
        tune(pipeline, card)
        pipeline = pipeline if is_offloaded(card, device) else pipeline.to(device)
        said = complaints.of_weights()
        return pipeline, {"files": said} if said else {}


def _refuse_without_index(files: ModelFiles) -> None:
    if files.index:
        return
    if (files.folder / INDEX).exists():
        load_json(files.folder / INDEX)
    for path in sorted(files.folder.iterdir()):
        if path.suffix in (SAFETENSORS, *PICKLES, ".gguf"):
            if (kind := what_is(path)).name == CHECKPOINT:
                raise ModelLoadError(
                    f"{path.name} is {kind.words}: name the file, and not its folder, as `source`"
                )
            refuse_file(path)
    raise ModelLoadError(f"{INDEX} is missing or damaged")


def is_offloaded(card: ModelCard, device: torch.device) -> bool:
    """Whether the model's parts wait in the host's memory; on a CPU they are there anyway."""
    return card.offload == "model" and device.type != "cpu"


def pipeline_class(files: ModelFiles) -> type[DiffusionPipeline]:
    """The class of the first task of a model."""
    name = files.pipeline
    cls = getattr(diffusers, name, None) if name else None
    for part, (library, *_) in files.parts.items():
        if library not in _libraries(cls):
            raise ModelLoadError(f"{part} needs code of its own ({library}), which is not run")
    if name is None:
        raise ModelLoadError(f"{INDEX} names no pipeline of diffusers")
    if name == "OmniGenPipeline":
        processors.complete_omnigen()
    first: type[DiffusionPipeline] = next(iter(task_classes(name, files.index).values()))
    return first


def task_classes(
    name: str, options: Mapping[str, Any] | None = None, *, controlled: bool = False
) -> dict[str, type[DiffusionPipeline]]:
    """The pipeline class for each task that models of the class called `name`, with these options
    of its index, can do, from the committed table: asking diffusers imports every pipeline there
    is, which takes seconds. `controlled`: those that ControlNets take part in."""
    known = diffusers_table()["pipelines"].get(name, {})
    classes = known.get("controlled" if controlled else "classes", {})
    done = tasks_of(name, options or {})
    return {task: getattr(diffusers, cls) for task, cls in classes.items() if task in done}


def _libraries(cls: type[DiffusionPipeline] | None) -> set[str | None]:
    own = cls.__module__.split(".")[-2] if cls else ""
    return {"diffusers", "transformers", None, own, "stable_diffusion"}


def refuse_pickles(files: PartFiles, part: str) -> None:
    """Pickles beside safetensors do not matter: they are not read."""
    if files.pickles and not files.safetensors:
        raise ModelLoadError(
            f"{part} holds {files.pickles[0]}, which could run code when it is read; "
            "only safetensors are loaded"
        )


def _read(
    card: ModelCard,
    files: ModelFiles,
    cls: type[DiffusionPipeline],
    dtype: torch.dtype,
    other_vae: PartFiles | None,
    *,
    place: parts.Place,
    told: Told,
) -> DiffusionPipeline:
    dtypes = {"default": dtype, "vae": vae_dtype(dtype)}
    given: dict[str, Any] = {"safety_checker": None} if "safety_checker" in files.index else {}
    given |= dict.fromkeys(name for name in left_out(files, cls))
    if not card.text_encoders:
        given |= without_text_encoders(files)
    if other_vae is not None:
        given["vae"] = _load_vae(other_vae, files.part("vae"), vae_dtype(dtype))
    given |= _tokenizers(files) | processors.load_all(files)
    given |= parts.load_all(files, cls, files.variant(card.variant), dtypes, given, place, told)
    pipeline = cls.from_pretrained(
        files.folder,
        variant=files.variant(card.variant),
        dtype=dtypes,
        use_safetensors=True,
        **given,
    )
    if files.overrides:
        _override(pipeline, files.overrides)
    if (vae := getattr(pipeline, "vae", None)) is not None:
        # VAEs overflow in float16. SDXL's pipelines therefore turn theirs to float32 and back
        # around each call, in any dtype: fatal for a VAE that other jobs use in between.
        vae.register_to_config(force_upcast=False)
    if (network := network_of(pipeline)) is not None and "Chroma" in type(network).__name__:
        network.register_to_config(guidance_embeds=False)  # its inpainting asks for it
    return pipeline


def _tokenizers(files: ModelFiles) -> dict[str, Any]:
    """Those of a model that is shaped like a folder of Darkroom's own, which have no vocabulary."""
    if files.folder.parent != single_files.CONFIGS:
        return {}
    names = [name for name, (_, cls) in files.parts.items() if cls == "CLIPTokenizer"]
    return {name: clip_vocabulary.tokenizer(files.folder / name) for name in names}


def _override(pipeline: DiffusionPipeline, overrides: Mapping[str, Any]) -> None:
    """Give the pipeline a noise scheduler with other options, as far as its class has them."""
    scheduler: Any = pipeline.scheduler
    if "prediction_type" not in scheduler.config:
        raise ModelLoadError(f"prediction_type: {type(scheduler).__name__} knows no kinds of it")
    known = {name: value for name, value in overrides.items() if name in scheduler.config}
    pipeline.scheduler = type(scheduler).from_config(scheduler.config, **known)


def _load_vae(files: PartFiles, own: PartFiles, dtype: torch.dtype) -> torch.nn.Module:
    """The VAE of `files`, if its latents are made like those of the model's own."""
    name = files.single.path.name if files.single else files.folder.name
    cls: Any = getattr(diffusers, str(files.config.get("_class_name")), None)
    if not hasattr(cls, "decode"):
        raise ModelLoadError(f"vae: {name} holds no autoencoder of diffusers")
    refuse_pickles(files, "vae")
    inspect_part(files, None, "vae")
    for what, told in (("channels", _latent_channels), ("times smaller", times_smaller)):
        if own.config and told(files.config) != told(own.config):
            raise ModelLoadError(
                f"vae: the latents of {name} have {told(files.config)} {what}, "
                f"the model's {told(own.config)}"
            )
    if files.single:
        return single_parts.load("vae", ("diffusers", cls.__name__), files, dtype)
    try:
        vae: torch.nn.Module = cls.from_pretrained(files.folder, dtype=dtype, use_safetensors=True)
        return vae
    except UNREADABLE as error:
        if is_out_of_memory(error):
            raise
        raise ModelLoadError(f"vae: {reason_of(error)}") from None


def _latent_channels(config: Mapping[str, Any]) -> int:
    return int(config.get("latent_channels", 4))


def vae_dtype(dtype: torch.dtype) -> torch.dtype:
    """VAEs overflow in float16."""
    return torch.float32 if dtype == torch.float16 else dtype


def dtype_of(
    card: ModelCard, device: torch.device, cls: type[DiffusionPipeline] | None = None
) -> torch.dtype:
    """The dtype of a model's weights; `cls` is its pipeline, some of which need their own."""
    if cls is not None and cls.__name__ in _IN_FLOAT32:
        return torch.float32
    if card.dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return getattr(torch, card.dtype)


def _check_whole(pipeline: DiffusionPipeline, complaints: Complaints) -> None:
    complaints.refuse_missing()
    for name, part in pipeline.components.items():
        has_words = name.startswith("tokenizer") or hasattr(part, "tokenizer")
        if has_words and part is not None and is_empty(part):
            raise ModelLoadError(f"{name}: its vocabulary is missing")


def modules_of(components: Mapping[str, Any]) -> list[tuple[str, torch.nn.Module]]:
    return [(k, v) for k, v in components.items() if isinstance(v, torch.nn.Module)]
