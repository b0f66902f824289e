"""Loads models and makes each job its own view of one; engine thread of the worker only."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from darkroom.catalog import Catalog
from darkroom.errors import ModelLoadError, UnsupportedError
from darkroom.families import entry, tasks_of
from darkroom.model_card import ModelCard
from darkroom.model_record import ModelRecord
from darkroom.networks import AUTOENCODERS, network_of
from darkroom.schedulers import SchedulerOptions
from worker.gathering.gather import Gather
from worker.loading import adapter_files, stack
from worker.loading.adapters import Adapters, Choice
from worker.loading.calls import size_multiple
from worker.loading.offload import Offload
from worker.loading.parts import Told, untold
from worker.loading.schedulers import Schedulers
from worker.loading.vaes import ROUNDED, UNSEEDED, MeanVAE
from worker.loading.weights import (
    dtype_of,
    is_offloaded,
    modules_of,
    read,
    task_classes,
    vae_dtype,
)
from worker.loading.workbench import Refused

if TYPE_CHECKING:
    # diffusers loads its parts when they are first named, slowly and leaving files.
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline

    from worker.loading.safety import SafetyChecker


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory. Its modules are shared by all jobs, everything else is a job's own."""

    record: ModelRecord
    components: Mapping[str, Any]
    pipelines: Mapping[str, type[DiffusionPipeline]]
    """The pipeline class for each task."""
    schedulers: Schedulers
    options: Mapping[str, Any]
    """What the pipelines' constructors take besides components."""
    offload: Offload | None = None
    """What moves its modules, where they wait off the device."""
    safety: SafetyChecker | None = None
    """What says which pictures to withhold, where the card wants it."""
    controlled: Mapping[str, type[DiffusionPipeline]] = field(default_factory=dict)
    """The pipeline class for each task that ControlNets can take part in."""
    adapters: Adapters = field(default_factory=Adapters)

    @property
    def takes_apart(self) -> bool:
        """Whether it makes several layers of each picture."""
        return "layers" in entry(self.record.pipeline)

    def tells(self, **found: object) -> LoadedModel:
        """The same, with a record that says so."""
        return replace(self, record=self.record.model_copy(update=found))

    def view(
        self,
        task: str,
        scheduler: str,
        options: SchedulerOptions | None = None,
        *,
        adapters: Choice | None = None,
    ) -> DiffusionPipeline:
        """A pipeline for one job, made in a millisecond: pipelines keep the guidance scale and
        more on themselves, schedulers count steps. Never `from_pipe`, which casts in place.

        `adapters` are those that the job works with. Raises UnsupportedError."""
        adapters = adapters or Choice()
        if adapters.is_controlled and task not in self.controlled:
            raise UnsupportedError(f"The model {self.record.name!r} takes no controls for {task}.")
        cls: Any = (self.controlled if adapters.is_controlled else self.pipelines)[task]
        accepted = inspect.signature(cls.__init__).parameters
        arguments = {**self.components, **adapters.components, **self.options}
        arguments["scheduler"] = self.schedulers.new(scheduler, options)
        # The tensors of parts that are offloaded belong in the host's memory, even while one of
        # the parts is on the device.
        cls = _class_for_device(cls, "cpu" if self.offload is not None else self.record.device)
        if not hasattr(arguments["scheduler"], "scale_model_input"):
            # Bria's pipeline looks for the very class that has none, and ours is made from it.
            arguments["scheduler"].scale_model_input = lambda sample, _: sample
        pipeline = cls(**{k: v for k, v in arguments.items() if k in accepted})
        pipeline.set_progress_bar_config(disable=True)
        if cls.__name__ in UNSEEDED:
            pipeline.vae = MeanVAE(pipeline.vae)
        return pipeline


@functools.cache
def _class_for_device(cls: Any, device: str) -> type[DiffusionPipeline]:
    """The pipeline, knowing its device. diffusers looks for it in every module of every part, at
    each job: milliseconds, and more the larger the networks are."""
    known = torch.device(device)
    here = property(lambda _: known)
    return type(cls.__name__, (cls,), {"device": here, "_execution_device": here})


def load(
    card: ModelCard,
    catalog: Catalog,
    gather: Gather,
    device: torch.device,
    refused: Refused | None = None,
    told: Told = untold,
) -> LoadedModel:
    """Load the model of `card`, one of `models`, and stack around its modules what they need.
    `refused` remembers adapters that it cannot use; `told` hears which share of the weights has
    been read.

    Safetensors only, no code from elsewhere. Raises ModelLoadError."""
    pipeline, faults = read(card, catalog, device, told)
    known = entry(type(pipeline).__name__)
    schedulers = Schedulers(pipeline.scheduler, only=known.get("schedulers"))
    if card.scheduler and card.scheduler not in schedulers.names:
        others = ", ".join(schedulers.names)
        del pipeline  # whoever keeps the error keeps this frame
        raise ModelLoadError(
            f"{card.source} does not work with {card.scheduler}, but with {others}"
        )
    added = adapter_files.load(card, catalog, pipeline, refused)
    components = dict(pipeline.components)
    offload = Offload(device) if is_offloaded(card, device) else None
    network = network_of(pipeline)
    dtype = dtype_of(card, device, type(pipeline))
    is_cast = vae_dtype(dtype) != dtype or type(pipeline).__name__ in ROUNDED
    for name, module in [*modules_of(components), *added.modules]:
        stack.build(
            module,
            name,
            gather,
            adapters=added,
            is_compiled=card.compile and module is network,
            cast=dtype if name == "vae" and is_cast else None,
            offload=offload,
        )
    return LoadedModel(
        record=_record(card, pipeline, added, schedulers, device, faults),
        components=components,
        pipelines=task_classes(type(pipeline).__name__, pipeline.config),
        schedulers=schedulers,
        options=_options(pipeline),
        offload=offload,
        controlled=task_classes(type(pipeline).__name__, pipeline.config, controlled=True),
        adapters=added,
    )


def _options(pipeline: DiffusionPipeline) -> dict[str, Any]:
    """Constructor arguments that are no components; images carry our own mark, not diffusers'."""
    options = {k: v for k, v in pipeline.config.items() if k not in pipeline.components}
    return {**options, "add_watermarker": False, "requires_safety_checker": False}


def _record(
    card: ModelCard,
    pipeline: DiffusionPipeline,
    added: Adapters,
    schedulers: Schedulers,
    device: torch.device,
    faults: Mapping[str, str],
) -> ModelRecord:
    height, width = _native_size(pipeline)
    modules = {id(module): module for _, module in modules_of(pipeline.components)}
    return ModelRecord(
        name=card.name,
        tasks=tasks_of(type(pipeline).__name__, pipeline.config),
        schedulers=schedulers.names,
        scheduler=schedulers.own,
        sigmas=schedulers.sigmas,
        timestep_spacing=schedulers.timestep_spacing,
        width=width,
        height=height,
        size_multiple=size_multiple(pipeline, entry(type(pipeline).__name__).get("multiple")),
        latent_channels=getattr(
            getattr(getattr(pipeline, "vae", None), "config", None), "latent_channels", None
        ),
        pipeline=type(pipeline).__name__,
        dtype=str(dtype_of(card, device, type(pipeline))).removeprefix("torch."),
        device=str(device),
        source=card.source,
        revision=card.revision,
        config=card.config,
        transformer=card.transformer,
        vae=card.vae,
        parameters=sum(p.numel() for module in modules.values() for p in module.parameters()),
        loras=tuple(added.loras),
        controlnets=tuple(added.controlnets),
        embeddings=added.embeddings,
        reference=bool(added.reference),
        classes=_classes(pipeline),
        faults={**faults, **added.faults},
        refused_uploads=added.refused_uploads,
    )


def _classes(pipeline: DiffusionPipeline) -> int | None:
    """How many classes it was trained on; None of what makes no pictures of classes."""
    transformer = getattr(pipeline, "transformer", None)
    return getattr(getattr(transformer, "config", None), "num_embeds_ada_norm", None)


def _native_size(pipeline: DiffusionPipeline) -> tuple[int | None, int | None]:
    """Height and width in pixels that the pipeline takes where it is told nothing, else those that
    the network was trained at."""
    if in_pixels := getattr(pipeline, "get_default_resolution", None):
        return in_pixels(), in_pixels()
    own = entry(type(pipeline).__name__).get("defaults", {})
    size = getattr(pipeline, "default_sample_size", None)
    if size is None and {"height", "width"} <= own.keys():
        return own["height"], own["width"]
    size = size or getattr(getattr(network_of(pipeline), "config", None), "sample_size", None)
    if size is None:
        return None, None
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    factor = getattr(pipeline, "vae_scale_factor", None) or _vae_scale_factor(pipeline)
    return height * factor, width * factor


def _vae_scale_factor(pipeline: DiffusionPipeline) -> int:
    vae = next((part for name in AUTOENCODERS if (part := getattr(pipeline, name, None))), None)
    return 2 ** (len(vae.config.block_out_channels) - 1) if vae else 1
