"""What clients of AUTOMATIC1111's API choose from: models, samplers, upscalers and the like, and
empty lists of what there is none of here.

What depends on the model is told of the one that who asks has chosen.
"""

from typing import Any

from fastapi import APIRouter

from darkroom.offers import Offer
from darkroom.schedulers import NAMES
from darkroom.styles import styles_of
from service.access import Jobs
from service.dependencies import Darkroom, Here, TheirJobs
from service.dialects import a1111_answers as answers
from service.dialects.a1111_requests import CONTROLNET
from service.routes.a1111 import PREFIX, chosen, offer_of

router = APIRouter(prefix=PREFIX, include_in_schema=False)

_MAKES = frozenset({"text-to-image", "image-to-image", "inpaint", "edit"})
"""Tasks that can be asked for here."""


@router.get("/sd-models")
async def list_models(here: Here) -> list[dict[str, Any]]:
    """The models that make pictures here."""
    able = [each.card.name for each in await here.all_offers() if _MAKES & set(each.tasks)]
    return [answers.model_item(name) for name in able]


@router.get("/samplers")
async def list_samplers(here: Here, jobs: TheirJobs) -> list[dict[str, Any]]:
    """Samplers of the model; all where it is not known yet."""
    offer = await _offer(here, jobs)
    return answers.sampler_items(offer.schedulers if offer.is_known else NAMES)


@router.get("/schedulers")
async def list_schedulers() -> list[dict[str, Any]]:
    """Schedule types."""
    return answers.scheduler_items()


@router.get("/upscalers")
async def list_upscalers(here: Here) -> list[dict[str, Any]]:
    """What enlarges pictures."""
    able = (each for each in await here.all_offers() if each.is_known and "upscale" in each.tasks)
    return answers.upscaler_items(each.card.name for each in able)


@router.get("/latent-upscale-modes")
async def list_latent_modes() -> list[dict[str, str]]:
    """How latents are enlarged."""
    return [{"name": "Latent"}]


@router.get("/loras")
async def list_loras(here: Here, jobs: TheirJobs) -> list[dict[str, Any]]:
    """LoRAs of the model."""
    return answers.lora_items(await _offer(here, jobs))


@router.get("/embeddings")
async def list_embeddings(here: Here, jobs: TheirJobs) -> dict[str, Any]:
    """Words of the model's textual inversions."""
    offer = await _offer(here, jobs)
    unknown = {"step": None, "sd_checkpoint": None, "sd_checkpoint_name": None}
    item = {**unknown, "shape": 0, "vectors": 0}
    return {"loaded": {each.token: item for each in offer.card.embeddings}, "skipped": {}}


@router.get("/prompt-styles")
async def list_styles(here: Here, jobs: TheirJobs) -> list[dict[str, str]]:
    """Words to put around prompts."""
    offer = await _offer(here, jobs)
    cards = styles_of(offer.card.styles, here.catalog.styles)
    return [
        {"name": each.name, "prompt": each.prompt, "negative_prompt": each.negative_prompt}
        for each in cards
    ]


@router.get("/scripts")
async def list_scripts(here: Here) -> dict[str, list[str]]:
    """The one script that there may be."""
    known = [CONTROLNET] if any(each.controlnets for each in await here.all_offers()) else []
    return {"txt2img": known, "img2img": known}


@router.get("/script-info")
async def list_script_info(here: Here) -> list[dict[str, Any]]:
    """The same, at length."""
    known = (await list_scripts(here))["txt2img"]
    return [
        {"name": name, "is_alwayson": True, "is_img2img": is_img2img, "args": []}
        for name in known
        for is_img2img in (False, True)
    ]


@router.get("/hypernetworks")
@router.get("/face-restorers")
@router.get("/realesrgan-models")
@router.get("/extensions")
@router.get("/sd-vae")
@router.get("/sd-modules")
async def list_nothing() -> list[Any]:
    """There is none of it here."""
    return []


@router.get("/cmd-flags")
async def read_flags() -> dict[str, Any]:
    """There is no such command line here."""
    return {}


@router.get("/memory")
async def read_memory() -> dict[str, Any]:
    """Memory is that of workers, on whatever machines they are."""
    told = {"error": "Workers have the memory that counts: GET /api/v1/workers lists them."}
    return {"ram": told, "cuda": told}


@router.post("/refresh-checkpoints")
@router.post("/refresh-vae")
@router.post("/refresh-loras")
@router.post("/refresh-embeddings")
@router.post("/unload-checkpoint")
@router.post("/reload-checkpoint")
async def refresh() -> dict[str, Any]:
    """All this happens by itself here."""
    return {}


async def _offer(here: Darkroom, jobs: Jobs) -> Offer:
    """What the model offers that who asks has chosen."""
    _, offer = await offer_of(here, await chosen(jobs))
    return offer
