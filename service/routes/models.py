"""The models on offer."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict

from darkroom import named_loras
from darkroom.cards import ControlNetCard, Limits, LoraCard, LoraDefaults
from darkroom.forms import form
from darkroom.job_options import JobOptions
from darkroom.model_record import ModelRecord
from darkroom.offers import Offer
from darkroom.queue.workers import WorkerInfo
from darkroom.schedulers import SchedulerOptions
from darkroom.styles import styles_of
from darkroom.vocabulary import Vocabulary
from service.dependencies import Darkroom, Here
from service.problems import problems
from service.responses import Listing

router = APIRouter(tags=["models"])


class ModelDefaults(BaseModel):
    """What is taken for fields that a client leaves out; null: only the model can tell, and no
    worker has loaded it yet. A job for it reads null there too, until it begins."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    width: int | None
    """Pixels; of a task that begins with a picture the size follows it."""
    height: int | None
    """Pixels."""
    num_inference_steps: int | None
    """Denoising steps."""
    guidance_scale: float | None
    """How strongly the prompt is followed."""
    negative_prompt: str
    """What pictures should not show."""
    strength: float
    """How much of a picture is made anew."""
    scheduler: str | None
    """The noise scheduler."""
    scheduler_options: SchedulerOptions
    """Of that scheduler."""


class Adapter(BaseModel):
    """Something of the model that requests may name."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    """What requests call it."""
    licence: str | None
    """Its licence, as the operator names it."""
    error: str | None
    """Why it cannot be used; null if it can, as far as is known."""


class LoraAdapter(Adapter):
    """A LoRA of the model."""

    defaults: LoraDefaults
    """What is taken for fields that a request leaves out which names it."""


class Model(BaseModel):
    """A model and what can be asked of it."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    id: str
    """What requests call it."""
    object: Literal["model"] = "model"
    """What this is."""
    default: bool
    """Whether it is taken when a request names none."""
    aliases: list[str]
    """Other names that requests may use."""
    source: str
    """Its folder or repository."""
    revision: str | None
    """Which commit of its repository."""
    licence: str | None
    """Its licence, as the operator names it."""
    tasks: list[str]
    """What it can do."""
    fields: dict[str, list[str]]
    """For each task the fields of a request that the model takes."""
    loras: list[LoraAdapter]
    """The LoRAs that requests may name."""
    controlnets: list[Adapter]
    """The ControlNets that requests may name."""
    embeddings: list[str]
    """Words of its own that prompts may use."""
    styles: list[str]
    """Styles that requests may name."""
    examples: list[str]
    """Prompts that it draws well."""
    safety: str | None
    """What checks its pictures; null: nothing does."""
    schedulers: list[str]
    """Noise schedulers, by their diffusers class names."""
    defaults: ModelDefaults
    """What is taken for fields that are left out."""
    limits: Limits
    """Bounds of what can be asked."""
    max_edited: int | None
    """How many pictures one edit can work from, `images`; null: it does not edit."""
    error: str | None
    """Why a worker could not load it; null if none tried or one could."""
    loaded_on: list[str]
    """Workers that have it in memory."""
    served_by: list[str]
    """Workers that would load it."""
    record: ModelRecord | None
    """What a worker found when it loaded it: pipeline, dtype, parameters, seconds per step."""


class Words(BaseModel):
    """All that a model can draw, for models that were taught little."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    things: list[list[str]]
    """Each by all of its names, the usual one first."""
    words: list[str]
    """What may be said of them, such as colours and sizes."""

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> Self:
        things = [list(names) for names in vocabulary.things]
        return cls(things=things, words=list(vocabulary.words))


class ModelWithSchemas(Model):
    """A model with the exact shape of what it accepts."""

    vocabulary: Words | None
    """What it can draw; null: anything."""
    schemas: dict[str, dict[str, Any]]
    """For each task the JSON Schema of a body for `POST /api/v1/jobs`."""


@router.get("/models", responses=problems("queue_unavailable"))
async def list_models(here: Here) -> Listing[Model]:
    """The models on offer, the default first. What a worker could not load is listed with why."""
    records, workers = await here.records(), await here.workers()
    cards = sorted(here.catalog.cards.values(), key=lambda card: card.name != here.catalog.default)
    shown = []
    for card in cards:
        record = records.get(card.name)
        shown.append(_model(here, await here.offer(card, record), record, workers))
    return Listing(data=shown)


@router.get("/models/{model_id:path}", responses=problems("model_not_found", "queue_unavailable"))
async def read_model(
    here: Here,
    model_id: Annotated[
        str,
        Path(
            max_length=200,
            description="Name, alias or source; behind a plus sign LoRAs of the model, which "
            "requests with this name begin with.",
            examples=["emoji"],
        ),
    ],
) -> ModelWithSchemas:
    """A model, by name, alias or source, with a JSON Schema for each of its tasks."""
    card, loras = named_loras.find(here.catalog, model_id)
    record = (await here.records()).get(card.name)
    terms = await here.offer(card, record)
    model = _model(here, terms, record, await here.workers())
    styles = [each.name for each in styles_of(card.styles, here.catalog.styles)]
    schemas = {task: schema(task, terms, styles) for task in terms.tasks}
    words = Words.of(terms.vocabulary) if terms.vocabulary else None
    model.id = "+".join((card.name, *loras))
    return ModelWithSchemas(**dict(model), vocabulary=words, schemas=schemas)


def schema(task: str, terms: Offer, styles: Sequence[str] = ()) -> dict[str, Any]:
    """What a body for `task` may hold: the request's fields and the job's options."""
    whole = form(task, terms).model_json_schema()
    options = JobOptions.model_json_schema()
    whole["properties"] |= options["properties"]
    whole["$defs"] = whole.get("$defs", {}) | options.get("$defs", {})
    if "prompt" in whole["properties"] and styles:
        whole["properties"]["style"] |= {"enum": [*styles, None]}
    else:
        del whole["properties"]["style"]
    return whole


def _model(
    here: Darkroom, terms: Offer, record: ModelRecord | None, workers: list[WorkerInfo]
) -> Model:
    card = terms.card
    return Model(
        id=card.name,
        default=card.name == here.catalog.default,
        aliases=list(card.aliases),
        source=card.source,
        revision=(record and record.revision) or card.revision,
        licence=card.licence,
        tasks=list(terms.tasks),
        fields={task: sorted(fields) for task, fields in terms.fields},
        loras=[
            LoraAdapter(**dict(shown), defaults=lora.defaults)
            for lora, shown in zip(card.loras, _adapters("lora", card.loras, terms), strict=True)
        ],
        controlnets=_adapters("controlnet", card.controlnets, terms),
        embeddings=[each.token for each in card.embeddings],
        styles=[each.name for each in styles_of(card.styles, here.catalog.styles)],
        examples=list(card.examples),
        safety=card.safety.source if card.safety else None,
        schedulers=list(terms.schedulers),
        defaults=ModelDefaults(
            width=terms.width,
            height=terms.height,
            num_inference_steps=terms.steps,
            guidance_scale=terms.guidance,
            negative_prompt=card.defaults.negative_prompt,
            strength=card.defaults.strength,
            scheduler=terms.scheduler,
            scheduler_options=card.scheduler_options,
        ),
        limits=terms.limits,
        max_edited=terms.edited if "edit" in terms.tasks else None,
        error=(record and record.error) or terms.refused,
        loaded_on=[worker.name for worker in workers if card.name in worker.models],
        served_by=[worker.name for worker in workers if card.name in worker.serves],
        record=record,
    )


def _adapters(kind: str, cards: Sequence[LoraCard | ControlNetCard], terms: Offer) -> list[Adapter]:
    return [
        Adapter(name=card.name, licence=card.licence, error=terms.faults.get(f"{kind}:{card.name}"))
        for card in cards
    ]
