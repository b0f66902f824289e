from pathlib import Path

import pytest
import torch

from darkroom.catalog import Catalog
from darkroom.errors import ModelLoadError
from darkroom.model_card import ModelCard
from tests import tiny
from worker.gathering.gather import Gather
from worker.room import Entry, Room, refusal

GIB = 2**30


def test_what_a_model_needs_is_what_it_takes_and_is_told_again_when_cards_change(
    tmp_path: Path,
) -> None:
    model = tiny.load("sd15", tmp_path / "sd15", Gather())
    card = ModelCard(name="m", source=str(tmp_path / "sd15"))
    room = Room(Catalog([card], "m", tmp_path), torch.device("cpu"))
    need = room.need(card)
    assert need == pytest.approx(room.taken(card, model), rel=0.02)
    unknown = card.model_copy(update={"source": "owner/away"})
    assert room.need(unknown) == need
    room.forget()
    with pytest.raises(ModelLoadError):
        room.need(unknown)


def test_a_limit_is_for_all_together(tmp_path: Path) -> None:
    card = ModelCard(name="m", source="x")
    room = Room(Catalog([card], "m", tmp_path), torch.device("cpu"), limit_gb=1e-3)
    limit = 1e-3 * GIB
    large, small = (Entry(card, None, (), bytes_, 0, ()) for bytes_ in (700, 300))
    assert room.left([]) == limit
    assert room.left([large, small]) == limit - 1000
    assert room.left([large, small], [small]) == limit - 700
    assert room.most([large]) == limit - 700


def test_what_does_not_fit_is_told_in_words() -> None:
    card = ModelCard(name="m", source="x")
    assert refusal(card, 3 * GIB, -5, ["a", "b"]) == (
        "The model 'm' needs 3.0 GiB for its weights; 0.0 MiB can be had beside a, b, which never "
        "leave."
    )
