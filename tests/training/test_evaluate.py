"""The tables, of few pictures of few steps, say of the shipped models what they are known for."""

from pathlib import Path

import numpy as np
import pytest
from diffusers import ControlNetModel, DiffusionPipeline, StableDiffusionPipeline
from rich.table import Table

from training import evaluate
from training.data import compose, load_pictures
from training.evaluate import (
    CELL,
    autoencoder_table,
    control_table,
    draw_prompts,
    full_prompt,
    generate,
    inpaint_table,
    mask_around,
    strength_table,
    upscale_table,
)
from training.measures import RESOLUTION

MODELS = Path(__file__).parents[2] / "models"

pytestmark = pytest.mark.usefixtures("font")


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "BATCH", 2)
    monkeypatch.setattr(evaluate, "STEPS", 5)


@pytest.fixture(scope="module")
def emoji() -> StableDiffusionPipeline:
    pipeline = DiffusionPipeline.from_pretrained(MODELS / "emoji")
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def numbers(table: Table, column: int) -> list[float]:
    return [float(cell.split()[0]) for cell in table.columns[column].cells]


def test_prompts_name_all_that_is_judged():
    prompts = draw_prompts(20)
    assert prompts == draw_prompts(21)[:20]
    for composition in prompts:
        words = full_prompt(composition)
        assert words.startswith(f"{composition.size} ")
        assert load_pictures()[composition.picture].names[0] in words
        assert words.endswith(f" {composition.background} background")


def test_a_picture_depends_on_its_number_and_not_on_the_batch(emoji, monkeypatch):
    prompts = [full_prompt(c) for c in draw_prompts(3)]
    parted = generate(emoji, prompts, 3.0)
    monkeypatch.setattr(evaluate, "BATCH", 3)
    whole = generate(emoji, prompts, 3.0)
    assert parted.shape == (3, 64, 64, 3)
    assert np.abs(parted.astype(int) - whole).max() <= 1
    assert np.abs(generate(emoji, prompts[:1] * 2, 3.0)[1].astype(int) - whole[0]).max() > 1


def test_mask_leaves_the_picture_and_ends_where_latents_do():
    pictures, compositions = compose(7, 10, RESOLUTION)
    for picture, composition in zip(pictures, compositions, strict=True):
        mask = mask_around(composition)
        background = np.median(picture[mask], axis=0)
        assert (picture[mask] == background).all()
        cells = mask.reshape(RESOLUTION // CELL, CELL, RESOLUTION // CELL, CELL)
        assert (cells.any((1, 3)) == cells.all((1, 3))).all()


def test_strength_leads_away_from_the_input(emoji):
    decibels = numbers(strength_table(emoji), 1)
    assert len(decibels) == 5
    assert min(decibels[:2]) > max(decibels[3:])


def test_inpainting_fills_the_mask_and_keeps_the_rest(emoji):
    changed, by_the_autoencoder, filled = numbers(inpaint_table(emoji), 1)
    assert by_the_autoencoder < 10
    assert changed < 40
    assert filled > 80


def test_edges_are_nearer_with_control(emoji, monkeypatch):
    monkeypatch.setattr(evaluate, "BATCH", 1)
    monkeypatch.setattr(evaluate, "CONTROL_SCALES", (1.0,))
    table = control_table(emoji, ControlNetModel.from_pretrained(MODELS / "emoji-canny"))
    for column in (1, 2):
        without, controlled, itself = numbers(table, column)
        assert without < controlled < itself


def test_enlarging_beats_bicubic_and_the_autoencoders_keep_pictures(emoji, monkeypatch):
    monkeypatch.setattr(evaluate, "UPSCALING_STEPS", (1,))
    enlarger = DiffusionPipeline.from_pretrained(MODELS / "emoji-upscale")
    enlarger.set_progress_bar_config(disable=True)
    bicubic, ours = numbers(upscale_table(enlarger, 2), 1)
    assert ours > bicubic
    table = autoencoder_table(emoji.vae, enlarger.vqvae, 2)
    assert min(numbers(table, 1) + numbers(table, 2)) > 25
