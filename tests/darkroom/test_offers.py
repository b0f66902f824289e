import json
from pathlib import Path

import pytest

from darkroom.catalog import Catalog, ModelCard
from darkroom.offers import ModelRecord, offer


def test_an_offer_is_guessed_from_the_folder_until_a_worker_has_seen_it(catalog, tmp_path):
    folder = tmp_path / "weights" / "pix"
    for part, content in {
        "model_index.json": {
            "_class_name": "StableDiffusionPipeline",
            "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        },
        "unet/config.json": {"sample_size": 16},
        "vae/config.json": {"block_out_channels": [8, 8, 8]},
    }.items():
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        (folder / part).write_text(json.dumps(content))
    guess = offer(catalog, catalog.find("pix"), None)
    assert (guess.width, guess.scheduler) == (64, "EulerDiscreteScheduler")
    assert set(guess.tasks) == {"text-to-image", "image-to-image", "inpaint"}
    assert "DDIMScheduler" in guess.schedulers


@pytest.mark.parametrize(
    ("limits", "native", "side"),
    [
        ({}, 512, 512),
        ({}, 16, 64),
        ({"max_size": 256}, 512, 256),
        ({"max_pixels": 300 * 300}, 512, 296),
        ({"size_multiple": 48}, 512, 480),
    ],
)
def test_a_size_by_default_is_one_that_may_be_asked_for(limits, native, side):
    card = ModelCard(name="pix", source="pix", limits=limits)
    catalog = Catalog([card], "pix", Path())
    record = ModelRecord(name="pix", schedulers=("DDIMScheduler",), width=native, height=native)
    known = offer(catalog, card, record)
    assert (known.width, known.height) == (side, side)


def test_a_record_stands_above_the_guess_and_the_card_above_both(catalog):
    record = ModelRecord(
        name="sdxl",
        tasks=("text-to-image", "image-to-image"),
        schedulers=("DDIMScheduler",),
        scheduler="DDIMScheduler",
        width=512,
        height=512,
    )
    known = offer(catalog, catalog.find("sdxl"), record)
    assert known.tasks == ("text-to-image",)
    assert known.schedulers == ("DDIMScheduler", "EulerDiscreteScheduler")
    assert (known.scheduler, known.width, known.guidance) == ("EulerDiscreteScheduler", 1024, 0.0)
