"""What clients can ask of each model.

Used by all processes; knows neither HTTP nor torch. A card says what an operator wants, a record
what a worker saw when it loaded the model; an offer joins the two for checking requests.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from darkroom import named_loras
from darkroom.cards import Limits
from darkroom.catalog import Catalog
from darkroom.current_adapters import current
from darkroom.errors import FieldError
from darkroom.families import diffusers_table, entry, refusal, tasks_of
from darkroom.model_card import ModelCard
from darkroom.model_record import ModelRecord
from darkroom.request import MAX_EDITED, Adapter, Argument, Besides, Need, needs
from darkroom.tasks import TASKS, Task
from darkroom.vocabulary import Vocabulary

USUAL_SIDE = 512
"""Pixels, where a model that was loaded says nothing of its size."""
USUAL_STEPS, USUAL_GUIDANCE = 25, 7.5
"""Where a model that was loaded is of no class that the table knows."""


@dataclass(frozen=True)
class Offer:
    """What clients can ask of a model, as far as is known now. None: not known yet."""

    card: ModelCard
    fields: tuple[tuple[str, frozenset[str]], ...]
    """For each task the request's fields that the model takes."""
    schedulers: tuple[str, ...]
    scheduler: str | None
    width: int | None
    height: int | None
    limits: Limits
    """As the card sets them, and the model."""
    steps: int | None
    guidance: float | None
    """What is taken for `num_inference_steps` and `guidance_scale` where they are left out."""
    loras: tuple[str, ...] = ()
    controlnets: tuple[str, ...] = ()
    classes: int | None = None
    vocabulary: Vocabulary | None = None
    edited: int = MAX_EDITED
    """How many pictures one edit can work from."""
    edit_rules: Mapping[str, int] = field(default_factory=dict)
    """What its pipeline takes of pictures to edit, beside what all take; see `edit_pictures`."""
    edits_within_mask: bool = False
    """Whether another pipeline of it does the edits of one picture that have a mask."""
    multiple: int = 1
    """What sides of its pictures are multiples of, whatever the card says."""
    layers: int | None = None
    """Into how many transparent pictures it takes one apart, unless told; None if it does not."""
    resumes_latents: bool = True
    """Whether it may go on from latents as it does from a picture."""
    sigmas: str | None = None
    timestep_spacing: str | None = None
    """These two as the model's own noise scheduler has them, and the others after it."""
    refused: str | None = None
    """Why no worker can run it, where that is known beforehand."""
    error: str | None = None
    """Why no worker could load it, where one tried."""
    takes_loras: bool = True
    """Whether requests may name LoRAs, if it has some."""
    faults: Mapping[str, str] = field(default_factory=dict)
    """Of its adapters those that cannot be used, such as `lora:name`, and why."""
    is_known: bool = True
    """Whether it is known what kind of model it is. Until then every task is offered, with every
    field that some model takes for it: the worker that loads the model has the last word."""

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(task for task, _ in self.fields)

    def takes(self, task: str) -> frozenset[str]:
        """The request's fields that the model takes for `task`."""
        return dict(self.fields)[task]

    @property
    def is_diffusion(self) -> bool:
        """Whether the model may be one of diffusion, which takes DDIM, and no rectified flow."""
        return "DDIMScheduler" in self.schedulers

    def wrong_loras(self, asked: Mapping[str, Any]) -> Iterator[FieldError]:
        """See `named_loras.refusals`."""
        return named_loras.refusals(asked, self.card.name, self.loras, self.faults)


def offer(catalog: Catalog, card: ModelCard, record: ModelRecord | None) -> Offer:
    """Join a card with its record or, until a worker has loaded the model, with what its files on
    this machine and the table of diffusers' classes say. What neither tells is left open."""
    loaded = record if record and _is_of(record, card) else None
    known = current(loaded or _from_files(catalog, card) or _anything(card), card)
    usable = named_loras.names(catalog, card, known.loras, loaded)
    known = known.model_copy(update={"loras": usable})
    usual, limits = USUAL_SIDE if loaded else None, _limits(card, known)
    is_known = known.pipeline is not None or loaded is not None
    tasks = tuple(t for t in known.tasks if t in TASKS and (not card.tasks or t in card.tasks))
    scheduler = card.scheduler or known.scheduler or (loaded.schedulers[0] if loaded else None)
    return Offer(
        card=named_loras.with_uploads(catalog, card),
        fields=tuple((task, _fields(TASKS[task], known)) for task in tasks),
        schedulers=tuple(sorted({*known.schedulers} | ({scheduler} if scheduler else set()))),
        scheduler=scheduler,
        width=nearest_allowed(limits, card.defaults.width or known.width or usual),
        height=nearest_allowed(limits, card.defaults.height or known.height or usual),
        limits=limits,
        **_defaults(card, known, is_known=is_known),
        loras=known.loras,
        controlnets=known.controlnets,
        classes=known.classes,
        vocabulary=catalog.vocabularies.get(card.name),
        edited=entry(known.pipeline).get("edited", MAX_EDITED),
        edit_rules=entry(known.pipeline).get("edit_rules", {}),
        edits_within_mask=entry(known.pipeline).get("edits_within_mask", False),
        multiple=known.size_multiple or 1,
        layers=entry(known.pipeline).get("layers"),
        resumes_latents=_resumes_latents(known),
        sigmas=known.sigmas,
        timestep_spacing=known.timestep_spacing,
        refused=None if loaded else refusal(known.pipeline),
        error=record.error if record else None,
        takes_loras=_can_take_loras(known, tasks),
        faults={**known.faults, **named_loras.refused(catalog, card, loaded)},
        is_known=is_known,
    )


def _limits(card: ModelCard, known: ModelRecord) -> Limits:
    """Those of the card, with sides that the model can have."""
    multiple = math.lcm(card.limits.size_multiple, known.size_multiple or 1)
    return card.limits.model_copy(update={"size_multiple": multiple})


def _defaults(card: ModelCard, known: ModelRecord, *, is_known: bool) -> dict[str, Any]:
    """What the card says, else what the model's pipeline takes itself, as far as the card's limits
    allow that; None while nobody knows the pipeline."""
    own = entry(known.pipeline).get("defaults", {})
    usual = (USUAL_STEPS, USUAL_GUIDANCE) if is_known else (None, None)
    steps, guidance = own.get("num_inference_steps", usual[0]), own.get("guidance_scale", usual[1])
    asked, limits = card.defaults, card.limits
    return {
        "steps": _first(asked.num_inference_steps, steps and min(steps, limits.max_steps)),
        "guidance": _first(
            asked.guidance_scale, guidance and min(guidance, limits.max_guidance_scale)
        ),
    }


def _first(*values: float | None) -> float | None:
    return next((each for each in values if each is not None), None)


_FILES = ("source", "revision", "config", "transformer", "vae")
"""The fields of a card that say which files a model is made of, but for its adapters."""


def _is_of(record: ModelRecord, card: ModelCard) -> bool:
    """Whether the record tells what the model is that the card names now: models.toml may have
    changed since."""
    same = all(getattr(record, name) == getattr(card, name) for name in _FILES)
    return bool(record.schedulers) and (same or not record.source)


def _fields(task: Task, known: ModelRecord) -> frozenset[str]:
    """The request's fields that a model takes for a task: those that need nothing of it, that the
    task brings itself, that its pipeline's call has an argument for, that its adapters add."""
    asked = needs(task.request)
    pipeline = entry(known.pipeline)
    arguments = pipeline.get("fields", {}).get(task.name)
    if arguments is None:  # a class that this version does not know is taken to have what is usual
        arguments = [need.name for need in asked.values() if isinstance(need, Argument)]
    met: set[Need | None] = {None, *map(Argument, arguments), *map(Besides, known.tasks)}
    if known.loras and _can_take_loras(known, (task.name,)):
        met.add(Adapter("loras"))
    if known.reference and "ip_adapter_image" in arguments:
        met.add(Adapter("reference"))
    if known.controlnets and task.name in pipeline.get("controlled", {}):
        met.add(Adapter("controlnets"))
    return task.brings | {name for name, need in asked.items() if need in met}


def _can_take_loras(known: ModelRecord, tasks: Iterable[str]) -> bool:
    """Whether any of the tasks may be asked for with LoRAs, of the model's pipeline as well."""
    fields = (TASKS[task].request.model_fields for task in tasks)
    return entry(known.pipeline).get("loras", True) and any("loras" in each for each in fields)


def _resumes_latents(known: ModelRecord) -> bool:
    """Its image-to-image takes for latents what has as many channels as table or VAE say."""
    if not (pipeline := entry(known.pipeline)):
        return True
    wanted = pipeline.get("latents")
    return wanted == "vae" or (wanted is not None and known.latent_channels in (None, wanted))


def nearest_allowed(limits: Limits, side: int | None) -> int | None:
    """The nearest side that a client may ask for, so that a request without one is accepted."""
    if side is None:
        return None
    most = min(limits.max_size, math.isqrt(limits.max_pixels))
    side = max(min(side, most), limits.min_size)
    return max(side - side % limits.size_multiple, limits.size_multiple)


def _from_files(catalog: Catalog, card: ModelCard) -> ModelRecord | None:
    """What the model's files on this machine tell; None if there are none."""
    files = catalog.files(card)
    if files is None or files.pipeline is None:
        return None
    table = diffusers_table()
    known = entry(files.pipeline)
    names = table["schedulers"].get(files.scheduler, table["schedulers"])
    own, vae = known.get("defaults", {}), catalog.vae_files(card)
    size = (own.get("width"), own.get("height"))
    width, height = size if all(size) else files.native_size(vae) or (None, None)
    return ModelRecord(
        name=card.name,
        pipeline=files.pipeline,
        tasks=tasks_of(files.pipeline, files.index),
        schedulers=tuple(each for each in names if each in known.get("schedulers", names)),
        scheduler=files.scheduler,
        width=width,
        height=height,
        size_multiple=files.size_multiple(vae, known.get("multiple")),
        latent_channels=files.latent_channels(vae),
        classes=files.classes,
        sigmas=files.sigmas,
        timestep_spacing=files.timestep_spacing
        or table["timestep_spacing"].get(files.scheduler or ""),
    )


def _anything(card: ModelCard) -> ModelRecord:
    """What some model could do, of one that nothing is known of."""
    everything = tuple(diffusers_table()["schedulers"])
    return ModelRecord(name=card.name, tasks=tuple(TASKS), schedulers=everything)
