"""The classifier answers three questions of a picture, and stays as it was trained when loaded."""

import pytest
import torch

from training.classifier import Classifier, load_classifier, targets, train
from training.data import COLOURS, HUES, compose, load_pictures
from training.run import read_config

CPU = torch.device("cpu")

pytestmark = pytest.mark.usefixtures("font")


def test_targets_are_the_answers_numbers():
    _, compositions = compose(7, 40, 8)
    right = targets(compositions, CPU)
    for number, composition in enumerate(compositions):
        assert right["picture"][number] == composition.picture
        assert list(COLOURS)[right["background"][number]] == composition.background
        assert [None, *HUES][right["hue"][number]] == composition.hue
    assert right["hue"].unique().numel() > 1


def test_each_question_has_its_answers_at_any_size():
    classifier = Classifier([4, 8])
    for side in (16, 24):
        answers = classifier(torch.randn(2, 3, side, side))
        shapes = {name: tuple(answer.shape) for name, answer in answers.items()}
        wanted = {"picture": len(load_pictures()), "background": 10, "hue": 9}
        assert shapes == {name: (2, count) for name, count in wanted.items()}
    first, second = classifier.features(torch.randn(1, 3, 16, 16))
    assert first.shape == (1, 4, 16, 16)
    assert second.shape == (1, 8, 8, 8)


def test_loaded_one_is_frozen(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    train("judge", read_config("classifier") | {"steps": 1, "batch_size": 1})
    judge = load_classifier("judge", CPU)
    assert not judge.training
    assert not any(each.requires_grad for each in judge.parameters())
    assert torch.equal(judge.embed(torch.ones(1, 3, 64, 64)), judge.embed(torch.ones(1, 3, 64, 64)))
