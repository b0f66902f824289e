from pathlib import Path

import pytest
import torch

from darkroom.catalog import Catalog
from darkroom.errors import ModelLoadError
from darkroom.model_card import ModelCard
from tests import tiny
from worker.gathering.gather import Gather
from worker.prepared import prepare


@pytest.mark.parametrize(("tasks", "warms"), [((), True), (("upscale",), False)])
def test_a_card_that_asks_for_a_first_picture_gets_one(
    tasks: tuple[str, ...], warms: bool, tmp_path: Path
) -> None:
    tiny.write("sd15", tmp_path / "sd15")
    card = ModelCard(name="one", source="sd15", warmup=True, tasks=tasks)
    gather, device = Gather(), torch.device("cpu")
    if not warms:
        with pytest.raises(ModelLoadError, match="none of the tasks"):
            prepare(card, Catalog([card], "one", tmp_path), gather, device, {})
        return
    model = prepare(card, Catalog([card], "one", tmp_path), gather, device, {})
    assert model.record.load_s > 0
    assert model.record.compile_s is None
