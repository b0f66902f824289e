"""What of a record still holds for a card that has changed since, and what clients can then ask."""

from pathlib import Path

import pytest

from darkroom.cards import ControlNetCard, IPAdapterCard, LoraCard
from darkroom.catalog import Catalog
from darkroom.current_adapters import current, place
from darkroom.model_card import ModelCard
from darkroom.model_record import ModelRecord
from darkroom.offers import Offer, offer
from tests.offers import CAT, CONTROL, FILE, PROMPTED, USUAL, wrong

EYE = IPAdapterCard(source="eye", subfolder="models", weight_name="eye.safetensors")
INK = LoraCard(name="ink", source="ink.safetensors")
CANNY = ControlNetCard(name="canny", source="canny")
RECORD = ModelRecord(
    name="sd", pipeline="StableDiffusionPipeline", tasks=PROMPTED, schedulers=USUAL
)
ALL = {"loras": ("ink",), "controlnets": ("canny",), "reference": True}


def told(record: ModelRecord, **card: object) -> Offer:
    asked = ModelCard(name="sd", source="x", **card)
    return offer(Catalog([asked], "sd", Path()), asked, record)


def test_what_a_card_names_since_can_be_asked_for_at_once() -> None:
    terms = told(RECORD, loras=[INK], controlnets=[CANNY], ip_adapter=EYE)
    assert (terms.loras, terms.controlnets) == (("ink",), ("canny",))
    assert {"loras", "controls", "reference_images"} <= terms.takes("text-to-image")


def test_what_was_taken_out_is_refused_at_once() -> None:
    terms = told(RECORD.model_copy(update=ALL), loras=[INK.model_copy(update={"name": "oil"})])
    assert wrong({**CAT, "controls": [CONTROL]}, terms)["/controls"]
    assert wrong({**CAT, "reference_images": [FILE]}, terms)["/reference_images"]
    terms = told(
        RECORD.model_copy(update=ALL), controlnets=[CANNY.model_copy(update={"name": "depth"})]
    )
    assert "depth" in wrong({**CAT, "controls": [CONTROL]}, terms)["/controls/0/name"]


def test_a_fault_counts_until_the_card_names_another_place() -> None:
    faults = {
        "lora:ink": "ink.safetensors: damaged",
        "controlnet:canny": "canny: no folder",
        "ip_adapter": "eye/models/eye.safetensors: no such file",
        "files": "keys were left over",
    }
    record = RECORD.model_copy(update={"faults": faults})
    terms = told(record, loras=[INK], controlnets=[CANNY], ip_adapter=EYE)
    assert terms.faults == faults
    assert (terms.loras, terms.controlnets) == ((), ())
    assert not {"loras", "controls", "reference_images"} & terms.takes("text-to-image")
    assert "canny: canny: no folder." in wrong({**CAT, "controls": [CONTROL]}, terms)["/controls"]
    refused = wrong({**CAT, "reference_images": [FILE]}, terms)["/reference_images"]
    assert "ip_adapter: eye/models/eye.safetensors: no such file." in refused
    terms = told(
        record,
        loras=[INK.model_copy(update={"source": "ink-2.safetensors"})],
        controlnets=[CANNY.model_copy(update={"source": "nets/canny"})],
        ip_adapter=EYE.model_copy(update={"subfolder": "sdxl"}),
    )
    assert terms.faults == {"files": "keys were left over"}
    assert {"loras", "controls", "reference_images"} <= terms.takes("text-to-image")


@pytest.mark.parametrize(
    ("card", "words"),
    [
        (INK, "ink.safetensors"),
        (LoraCard(name="ink", source="inks", weight_name="a.safetensors"), "inks/a.safetensors"),
        (CANNY, "canny"),
        (EYE, "eye/models/eye.safetensors"),
    ],
)
def test_the_place_of_an_adapter_is_its_file_where_the_card_names_one(card, words) -> None:
    assert place(card) == words


def test_a_record_of_the_same_card_stays_as_it_is() -> None:
    record = RECORD.model_copy(update=ALL)
    card = ModelCard(name="sd", source="x", loras=[INK], controlnets=[CANNY], ip_adapter=EYE)
    assert current(record, card) == record
