"""What names of published files and of merges say of the settings that they want."""

from typing import Any

import pytest

from darkroom.command.card_defaults import of_lora, of_model
from darkroom.command.finds import MODEL, Find
from darkroom.model_card import ModelCard

TRAILING = {"timestep_spacing": "trailing"}
LCM = {"scheduler": "LCM"}
EULER = {"scheduler": "Euler", "scheduler_options": TRAILING}
DDIM = {"scheduler": "DDIM", "scheduler_options": TRAILING}
ANCESTRAL = {"scheduler": "Euler a", "scheduler_options": TRAILING}
DMD = {"scheduler": "LCM", "scheduler_options": {"original_inference_steps": 4}}


def find(stem: str, family: str, field: str = MODEL, titles: str = "") -> Find:
    families = (family,) if family else ()
    return Find(f"files/{stem}.safetensors", field, families, size=1, titles=titles)


def few(steps: int, guidance: float) -> dict[str, Any]:
    return {"num_inference_steps": steps, "guidance_scale": guidance}


@pytest.mark.parametrize(
    ("stem", "family", "scheduler", "steps", "guidance"),
    [
        ("sdxl_lightning_4step", "sdxl", EULER, 4, 0.0),
        ("sdxl_lightning_8step_unet", "sdxl", EULER, 8, 0.0),
        ("juggernautXL_v9Rdphoto2Lightning", "sdxl", EULER, 6, 1.5),
        ("realisticVisionV60B1_v51HyperVAE", "sd1", DDIM, 6, 1.5),
        ("Hyper-SDXL-8steps-unet", "sdxl", DDIM, 8, 0.0),
        ("dreamshaper_8LCM", "sd1", LCM, 6, 1.5),
        ("LCM_Dreamshaper_v7_4k", "sd1", LCM, 6, 1.5),
        ("dmd2_sdxl_4step_unet_fp16", "sdxl", DMD, 4, 0.0),
        ("dreamshaperXL_v21TurboDPMSDE", "sdxl", ANCESTRAL, 6, 1.5),
        ("qwen-image-lightning-8steps", "qwen-image", {}, 8, 1.0),
        ("z_image_turbo_bf16", "z-image", {}, 9, 0.0),
        ("flux-2-klein-4b", "flux2-klein", {}, 4, 1.0),
        ("sd3.5_large_turbo", "sd35-large", {}, 4, 1.0),
        ("flux1-dev-hyper-8steps", "flux-dev", {}, 8, 3.5),
    ],
)
def test_a_distilled_model_gets_the_settings_of_its_kind(
    stem: str, family: str, scheduler: dict[str, Any], steps: int, guidance: float
) -> None:
    card, comment = of_model(find(stem, family))
    assert card["defaults"] == few(steps, guidance)
    assert {name: card[name] for name in card if name.startswith("scheduler")} == scheduler
    assert comment[0].startswith("By its name it was distilled")
    ModelCard(name="m", source="m.safetensors", **card)


def test_sd_turbo_is_for_one_small_step() -> None:
    for stem, family in (("sd_xl_turbo_1.0_fp16", "sdxl"), ("sd_turbo", "sd2")):
        card, _ = of_model(find(stem, family))
        assert card["defaults"] == {**few(1, 0.0), "width": 512, "height": 512}
        ModelCard(name="m", source="m.safetensors", **card)


def test_a_folder_keeps_its_own_noise_scheduler() -> None:
    card, _ = of_model(Find("models/sdxl-lightning-4step", MODEL, ("sdxl",)))
    assert card["defaults"] == few(4, 0.0)
    assert not card.keys() & {"scheduler", "scheduler_options"}


def test_what_the_metadata_call_it_counts_as_its_name() -> None:
    card, _ = of_model(find("model", "sdxl", titles="SDXL Lightning 4-step"))
    assert card["defaults"] == few(4, 0.0)


@pytest.mark.parametrize(
    ("stem", "family", "steps"),
    [
        ("dreamshaper_8", "sd1", 25),
        ("hyperRealism_v30", "sd1", 25),
        ("epicHyperreal", "sd1", 25),
        ("calcmania", "sd1", 25),
        ("juggernautXL_v9", "sdxl", 30),
        ("flux1-schnell", "flux-schnell", 4),
        ("flux1-dev", "flux-dev", 28),
    ],
)
def test_all_others_keep_those_of_their_family(stem: str, family: str, steps: int) -> None:
    card, _ = of_model(find(stem, family))
    assert card["defaults"]["num_inference_steps"] == steps


@pytest.mark.parametrize(
    ("stem", "family"),
    [
        ("sdxl_lightning_1step", "sdxl"),  # which begins at a timestep that nobody can ask for
        ("Hyper-SDXL-8steps-CFG", "sdxl"),  # with guidance, nobody knows how much
        ("owner/sdxl-lightning", ""),
    ],
)
def test_what_is_not_known_is_left_to_people(stem: str, family: str) -> None:
    card, comment = of_model(find(stem, family))
    assert card.get("defaults", {}).get("num_inference_steps") in (30, None)
    assert comment[0].startswith("Its name sounds as if it needed few steps")


def test_a_klein_that_was_not_distilled_is_left_alone() -> None:
    assert of_model(find("flux-2-klein-base-4b", "flux2-klein")) == ({}, [])


@pytest.mark.parametrize(
    ("stem", "family", "defaults"),
    [
        ("sdxl_lightning_4step_lora", "sdxl", {**EULER, **few(4, 0.0)}),
        ("Hyper-SD15-8steps-lora", "sd1", {**DDIM, **few(8, 0.0)}),
        ("lcm-lora-sdxl", "sdxl", {**LCM, **few(6, 1.5)}),
        ("Hyper-FLUX.1-dev-8steps-lora", "flux-dev", few(8, 3.5)),
        ("Qwen-Image-Lightning-4steps-V1.0", "qwen-image", few(4, 1.0)),
        ("lightning-storm", "sdxl", {}),
        ("hyper", "sd1", {}),
        ("ink", "sd1", {}),
        ("klein-style", "flux2-klein", {}),
        ("lcm-lora", "", {}),
    ],
)
def test_a_lora_brings_what_it_was_distilled_for(
    stem: str, family: str, defaults: dict[str, Any]
) -> None:
    assert of_lora(find(stem, family, "loras")) == defaults
