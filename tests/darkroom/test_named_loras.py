from dataclasses import replace
from pathlib import Path

import pytest

from darkroom import named_loras
from darkroom.cards import LoraCard
from darkroom.catalog import Catalog
from darkroom.errors import InvalidRequestError, ModelNotFoundError
from darkroom.lora_folder import LoraFolder, mark_of
from darkroom.model_card import ModelCard
from darkroom.model_record import ModelRecord, RefusedUpload
from darkroom.offers import offer
from darkroom.validation import completed, parse
from tests.darkroom.test_lora_folder import PAIR, put, weights
from tests.offers import CAT, offered, wrong

SD15 = ("StableDiffusionPipeline", ("text-to-image",))
CARD = ModelCard(name="sdxl", source="sdxl", loras=[LoraCard(name="ink", source="ink")])
LORAS = """
[[models]]
name = "sdxl"
source = "owner/sdxl-base"
loras = [{ name = "ink", source = "ink.safetensors" }, { name = "oil-1.5", source = "oil" }]
[[models]]
name = "odd"
source = "owner/a+b"
"""


def test_loras_can_be_named_with_their_model(tmp_path):
    (tmp_path / "models.toml").write_text(LORAS)
    catalog = Catalog.read(tmp_path / "models.toml")
    named = {
        name: (card.name, loras)
        for name in ("sdxl", "sdxl+ink", "owner/sdxl-base+ink+oil-1.5", "owner/a+b", None)
        for card, loras in [named_loras.find(catalog, name)]
    }
    assert [*named.values()] == [
        ("sdxl", ()),
        ("sdxl", ("ink",)),
        ("sdxl", ("ink", "oil-1.5")),
        ("odd", ()),
        ("sdxl", ()),
    ]
    for name, near in {
        "sdxl+inc": ("sdxl+ink",),
        "sdxxl+ink": ("sdxl+ink",),
        "+ink": ("sdxl+ink",),
        "+": (),
        "sdxl+": ("sdxl",),
    }.items():
        with pytest.raises(ModelNotFoundError) as caught:
            named_loras.find(catalog, name)
        assert caught.value.near == near


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sdxl+inc", "the model 'sdxl' has no LoRA 'inc'; it has ink, oil-1.5. Did you mean sdxl+"),
        ("sdxl+", "the model 'sdxl' has no LoRA without a name; it has ink, oil-1.5."),
        ("odd+ink", "the model 'odd' has no LoRAs. Did you mean odd?"),
        ("sdxxl+ink", "there is no model 'sdxxl'. Did you mean sdxl+ink?"),
        ("+ink", "a model is named before the plus sign. Did you mean sdxl+ink?"),
    ],
)
def test_what_is_wrong_with_a_name_of_model_and_loras_is_told(tmp_path, name, said):
    (tmp_path / "models.toml").write_text(LORAS)
    with pytest.raises(ModelNotFoundError) as caught:
        named_loras.find(Catalog.read(tmp_path / "models.toml"), name)
    assert f"No model is called {name!r}: {said}" in str(caught.value)


def test_a_lora_that_does_not_work_is_refused_with_the_reason_and_those_that_do():
    offer = offered(
        "StableDiffusionPipeline",
        ("text-to-image",),
        loras=("ink",),
        faults={"lora:torn": "torn.safetensors: damaged"},
    )
    asked = CAT | {"loras": [{"name": "ink"}, {"name": "torn"}, {"name": "ik"}]}
    assert wrong(asked, offer) == {
        "/loras/1/name": "The LoRA 'torn' of the model 'stablediffusionpipeline' cannot be used: "
        "torn.safetensors: damaged. Of use are: ink.",
        "/loras/2/name": "The model 'stablediffusionpipeline' has no LoRA of that name; it has "
        "ink.",
    }
    without = offer.takes("text-to-image") - {"loras"}
    bare = replace(offer, loras=(), fields=(("text-to-image", without),))
    told = wrong(CAT | {"loras": [{"name": "torn"}]}, bare)
    model = "the model 'stablediffusionpipeline'"
    assert told == {"/loras": f"No LoRA of {model} can be used. torn: torn.safetensors: damaged."}
    told = wrong(CAT | {"loras": [{"name": "torn"}]}, replace(bare, faults={}))
    assert told == {"/loras": "The model 'stablediffusionpipeline' has no LoRAs."}


def test_a_lora_that_is_gone_when_a_worker_begins_is_told_like_one_that_never_was():
    asked = parse(CAT | {"loras": [{"name": "ink"}]}, offered(*SD15, loras=("ink", "oil")))
    with pytest.raises(InvalidRequestError) as caught:
        completed(asked, offered(*SD15, loras=("oil",)), None)
    [error] = caught.value.errors
    assert error.pointer == "/loras/0/name"
    assert error.detail == (
        "The model 'stablediffusionpipeline' has no LoRA of that name; it has oil."
    )


def test_scales_of_a_lora_that_is_named_twice_are_told_to_be_added():
    offer = offered("StableDiffusionPipeline", ("text-to-image",), loras=("ink",))
    asked = CAT | {"loras": [{"name": "ink"}, {"name": "ink", "scale": 0.5}]}
    [warning] = parse(asked, offer).warnings
    assert warning == "The LoRA 'ink' is named 2 times; its scales are added."


def test_a_lora_that_was_taken_out_of_the_card_is_no_longer_offered():
    known = ModelRecord(
        name="sdxl",
        pipeline="StableDiffusionXLPipeline",
        tasks=("text-to-image",),
        schedulers=("DDIMScheduler",),
        loras=("ink", "gone"),
    )
    told = offer(Catalog([CARD], "sdxl", Path()), CARD, known)
    assert told.loras == ("ink",)
    asked = CAT | {"loras": [{"name": "gone"}]}
    assert wrong(asked, told) == {
        "/loras/0/name": "The model 'sdxl' has no LoRA of that name; it has ink."
    }
    bare = CARD.model_copy(update={"loras": ()})
    told = offer(Catalog([bare], "sdxl", Path()), bare, known)
    assert wrong(asked, told) == {"/loras": "The model 'sdxl' has no LoRAs."}


def test_what_a_worker_refused_of_the_uploads_counts_until_another_takes_its_place(tmp_path):
    folder = LoraFolder(tmp_path)
    put(folder, "oil")
    catalog = Catalog([CARD], "sdxl", folder.root, uploads=folder)
    upload = RefusedUpload(file=mark_of(folder.file("sdxl", "oil")), reason="does not fit")
    record = ModelRecord(
        name="sdxl",
        tasks=("text-to-image",),
        schedulers=("DDIMScheduler",),
        loras=("ink",),
        refused_uploads={"oil": upload},
    )
    told = offer(catalog, CARD, record)
    assert (told.loras, told.faults) == (("ink",), {"lora:oil": "does not fit"})
    put(folder, "oil", weights(*PAIR, "lora_unet_conv_in.alpha"))
    told = offer(catalog, CARD, record)
    assert (told.loras, told.faults) == (("ink", "oil"), {})


def test_uploads_are_offered_beside_what_the_card_names(tmp_path: Path) -> None:
    folder = LoraFolder(tmp_path)
    put(folder, "oil")
    put(folder, "ink")
    catalog = Catalog([CARD], "sdxl", folder.root, uploads=folder)
    assert named_loras.with_uploads(catalog, CARD).loras[0].source == "ink"
    assert named_loras.find(catalog, "sdxl+oil") == (CARD, ("oil",))
    record = ModelRecord(
        name="sdxl",
        tasks=("text-to-image",),
        schedulers=("DDIMScheduler",),
        pipeline="StableDiffusionXLPipeline",
    )
    for known in (record, record.model_copy(update={"loras": ("ink",)})):
        told = offer(catalog, CARD, known)
        assert sorted(told.loras) == ["ink", "oil"]
        assert "loras" in told.takes("text-to-image")
        assert [each.name for each in told.card.loras] == ["ink", "oil"]
    assert offer(Catalog([CARD], "sdxl", folder.root), CARD, record).loras == ("ink",)
