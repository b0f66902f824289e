from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from darkroom.cards import SafetyCard
from darkroom.catalog import Catalog
from darkroom.errors import ModelLoadError
from tests import checkers
from worker.loading.safety import SafetyChecker

PICTURES = tuple(
    np.random.default_rng(seed).integers(0, 256, (16, 24, 3), dtype=np.uint8) for seed in range(3)
)


def read(source: Path, **card: object) -> SafetyChecker:
    catalog = Catalog.read(Path("models.toml"))
    card = SafetyCard(source=str(source), **card)
    return SafetyChecker.read(card, catalog, torch.device("cpu"))


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkers.classifier(tmp_path_factory.mktemp("classifier"))


@pytest.mark.parametrize("flags", [True, False])
def test_stable_diffusion_s_own_checker_flags_by_its_own_thresholds(
    flags: bool, tmp_path: Path
) -> None:
    before = [picture.copy() for picture in PICTURES]
    checker = read(checkers.own_checker(tmp_path, flags=flags))
    assert checker.flagged(PICTURES) == (flags,) * 3
    for picture, was in zip(PICTURES, before, strict=True):
        assert (picture == was).all()
    assert checker.name.startswith("StableDiffusionSafetyChecker (")


@pytest.mark.parametrize(("leaning", "flags"), [(50.0, True), (-50.0, False)])
def test_a_classifier_flags_by_its_labels(leaning: float, flags: bool, tmp_path: Path) -> None:
    source = checkers.classifier(tmp_path, leaning=leaning)
    assert read(source).flagged(PICTURES) == (flags,) * 3
    assert read(source, labels=["Normal"]).flagged(PICTURES) == (not flags,) * 3
    assert read(source, labels=["normal", "nsfw"]).flagged(PICTURES) == (True,) * 3


def test_a_classifier_flags_from_its_threshold_on(classifier: Path) -> None:
    shares = sorted(shares_of(read(classifier), PICTURES))
    between = (shares[1] + shares[2]) / 2
    checker = read(classifier, threshold=between)
    assert sum(checker.flagged(PICTURES)) == 1
    assert checker.flagged(PICTURES) == tuple(checker.flagged([each])[0] for each in PICTURES)


def shares_of(checker: SafetyChecker, pictures: tuple[np.ndarray, ...]) -> list[float]:
    pixels = checker.processor(images=list(pictures), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        return checker.network(pixel_values=pixels).logits.softmax(-1)[:, 1].tolist()


def test_a_classifier_of_several_labels_weighs_each_by_itself(classifier: Path) -> None:
    checker = read(classifier, labels=["normal", "nsfw"], threshold=0.999)
    checker.network.config.problem_type = "multi_label_classification"
    with torch.no_grad():
        checker.network.classifier.bias.fill_(100.0)
    assert checker.flagged(PICTURES) == (True,) * 3


def test_an_unknown_label_is_named_beside_those_there_are(classifier: Path) -> None:
    with pytest.raises(ModelLoadError, match="no label porn, but normal, nsfw"):
        read(classifier, labels=["porn", "nsfw"])


def test_what_is_no_checker_is_refused(tmp_path: Path) -> None:
    source = checkers.classifier(tmp_path)
    config = source / "config.json"
    config.write_text(config.read_text().replace("ViTForImageClassification", "ViTModel"))
    with pytest.raises(ModelLoadError, match="ViTModel is neither"):
        read(source)


@pytest.mark.parametrize("what", ["config.json", "model.safetensors", "preprocessor_config.json"])
def test_a_missing_file_is_a_clear_error(what: str, tmp_path: Path) -> None:
    (checkers.classifier(tmp_path) / what).unlink()
    with pytest.raises(ModelLoadError, match=f"safety checker {tmp_path}"):
        read(tmp_path)


@pytest.mark.parametrize("what", ["config.json", "model.safetensors"])
def test_a_damaged_file_is_a_clear_error(what: str, tmp_path: Path) -> None:
    path = checkers.classifier(tmp_path) / what
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ModelLoadError, match="safety checker"):
        read(tmp_path)


def test_weights_are_not_made_up(tmp_path: Path) -> None:
    path = checkers.classifier(tmp_path) / "model.safetensors"
    tensors = load_file(path)
    tensors.pop("classifier.weight")
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ModelLoadError, match="some weights are missing"):
        read(tmp_path)


def test_pickles_are_refused(tmp_path: Path) -> None:
    path = checkers.classifier(tmp_path) / "model.safetensors"
    path.rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelLoadError, match="could run code"):
        read(tmp_path)


def test_code_of_a_checker_s_own_is_not_run(tmp_path: Path) -> None:
    checkers.classifier(tmp_path)
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    config = tmp_path / "config.json"
    config.write_text(
        config.read_text().replace(
            '"model_type": "vit"',
            '"model_type": "own", "auto_map": {"AutoConfig": "own.Config", '
            '"AutoModelForImageClassification": "own.Model"}',
        )
    )
    with pytest.raises(ModelLoadError, match="safety checker"):
        read(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_repository_that_was_not_pulled_is_named() -> None:
    with pytest.raises(ModelLoadError, match="models pull"):
        read(Path("nobody/no-checker"))
