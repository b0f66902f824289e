"""What models of each family offer, and bodies for them, for the tests of validation."""

from pathlib import Path
from typing import Any

import pytest

from darkroom.cards import ControlNetCard, IPAdapterCard, LoraCard
from darkroom.catalog import Catalog
from darkroom.errors import InvalidRequestError
from darkroom.model_card import ModelCard
from darkroom.model_record import ModelRecord
from darkroom.offers import Offer, offer
from darkroom.validation import completed, parse

FILE = "file_" + "0" * 64
SMALL = {"min_size": 8, "max_size": 512, "max_pixels": 256 * 256}


USUAL = ("DDIMScheduler", "DPMSolverMultistepScheduler", "EulerDiscreteScheduler")


def offered(
    pipeline: str, tasks: tuple[str, ...], schedulers: tuple[str, ...] = USUAL, **record: Any
) -> Offer:
    places = dict.fromkeys(record.get("loras", ()), "x")
    for what, why in record.get("faults", {}).items():
        places |= {what.removeprefix("lora:"): why.partition(": ")[0]}
    loras = [LoraCard(name=name, source=place) for name, place in places.items()]
    nets = [ControlNetCard(name=name, source="x") for name in record.get("controlnets", ())]
    eye = IPAdapterCard(source="x", weight_name="x") if record.get("reference") else None
    card = ModelCard(
        name=pipeline.lower(),
        source="x",
        limits=SMALL,
        loras=loras,
        controlnets=nets,
        ip_adapter=eye,
    )
    known = ModelRecord(
        name=card.name,
        pipeline=pipeline,
        tasks=tasks,
        schedulers=schedulers,
        width=64,
        height=64,
        **record,
    )
    return offer(Catalog([card], card.name, Path()), card, known)


PROMPTED = ("text-to-image", "image-to-image", "inpaint")
SD = offered(
    "StableDiffusionPipeline",
    PROMPTED,
    loras=("ink", "soft"),
    controlnets=("canny",),
    reference=True,
)
BARE = offered("StableDiffusionPipeline", PROMPTED)
SD3 = offered("StableDiffusion3Pipeline", PROMPTED)
UPSCALER = offered("LDMSuperResolutionPipeline", ("upscale",))
SD_UPSCALER = offered("StableDiffusionUpscalePipeline", ("upscale",))
GLIGEN = offered("StableDiffusionGLIGENPipeline", ("layout-to-image", "text-to-image"))
DIT = offered("DiTPipeline", ("class-to-image",), classes=10)
FLUX2 = offered("Flux2Pipeline", ("text-to-image", "edit"))
KONTEXT = offered("FluxKontextPipeline", ("text-to-image", "edit"))
PIX2PIX = offered("StableDiffusionInstructPix2PixPipeline", ("edit",))
LDM = offered("LDMPipeline", ("unconditional",))

_NEW = ModelCard(name="new", source="owner/new", limits=SMALL)
UNSEEN = offer(Catalog([_NEW], "new", Path("/nowhere")), _NEW, None)
"""Of a model of which nothing is known but the card."""

CAT = {"prompt": "a cat"}
CONTROL = {"name": "canny", "image": FILE, "preprocess": "canny"}
BOX = {"phrase": "a cat", "box": [0.1, 0.1, 0.5, 0.6]}


def wrong(body: dict, terms: Offer = SD, others: tuple[Offer, ...] = ()) -> dict[str, str]:
    """What is refused of a body: a sentence by JSON pointer."""
    with pytest.raises(InvalidRequestError) as caught:
        completed(parse(body, terms, lambda: others), terms, (32, 32))
    return {error.pointer: error.detail for error in caught.value.errors}
