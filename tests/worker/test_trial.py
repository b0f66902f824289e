from pathlib import Path

import pytest

from darkroom.catalog import Catalog
from darkroom.model_card import ModelCard
from darkroom.offers import offer
from darkroom.tasks import TASKS, Size
from tests import tiny
from worker import trial
from worker.gathering.gather import Gather
from worker.loading import pipelines
from worker.loading.weights import task_classes

LIMITS = {"min_size": 8, "size_multiple": 4}


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_every_family_makes_a_picture_for_each_of_its_tasks(family: str, tmp_path: Path) -> None:
    tiny.write(family, tmp_path)
    card = ModelCard(name=family, source=str(tmp_path), dtype="float32", limits=LIMITS)
    catalog = Catalog([card], family, tmp_path)
    model = pipelines.load(card, catalog, Gather(), tiny.torch.device("cpu"))
    terms = offer(catalog, card, model.record)
    assert terms.tasks
    assert set(terms.tasks) <= set(task_classes(model.record.pipeline))
    for task in terms.tasks:
        (picture,) = trial.run(model, terms, task=task).pictures
        assert picture.ndim == 3
        assert min(picture.shape[:2]) >= 8
        if TASKS[task].size is Size.ASKED:
            (small,) = trial.run(model, terms, task=task, largest=8).pictures
            assert max(small.shape[:2]) <= max(terms.limits.size_multiple, 8)
