"""Captions are left out now and then, and only a model of the same words is gone on with."""

import copy
import random
from pathlib import Path

import pytest
import torch

from training import text
from training.data import compose
from training.diffusion import Denoiser, draw_captions, load_networks, make_pipeline
from training.run import read_config

EMOJI = Path(__file__).parents[2] / "models" / "emoji"

pytestmark = pytest.mark.usefixtures("font")


@pytest.fixture
def denoiser(monkeypatch) -> Denoiser:
    """Of few captions: its tokenizer has not seen every word."""
    monkeypatch.setattr(text, "CORPUS_SIZE", 50)
    torch.manual_seed(0)
    return Denoiser(read_config("diffusion"), 4)


def test_captions_are_dropped_as_often_as_asked():
    _, compositions = compose(7, 200, 8)
    assert set(draw_captions(compositions, 1.0, random.Random(0))) == {""}
    assert "" not in draw_captions(compositions, 0.0, random.Random(0))
    assert 20 < draw_captions(compositions, 0.2, random.Random(0)).count("") < 60


def test_a_model_of_other_words_is_refused(denoiser):
    with pytest.raises(ValueError, match="knows other words"):
        load_networks(denoiser, EMOJI)


def test_what_a_finished_model_learnt_is_taken_over(denoiser, vae, tmp_path):
    make_pipeline(denoiser, vae, read_config("diffusion")).save_pretrained(tmp_path)
    other = copy.deepcopy(denoiser)
    for parameter in other.parameters():
        parameter.data.zero_()
    load_networks(other, tmp_path)
    torch.testing.assert_close(other.state_dict(), denoiser.state_dict(), rtol=0, atol=0)
