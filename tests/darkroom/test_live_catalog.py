"""models.toml read again while processes run."""

import os
from pathlib import Path

import pytest
import structlog

from darkroom import live_catalog
from darkroom.live_catalog import LiveCatalog
from darkroom.models_text import ModelsFileError

ONE = '[[models]]\nname = "one"\nsource = "s1"\n'
TWO = '[[models]]\nname = "two"\naliases = ["zwei"]\nsource = "s2"\n'


@pytest.fixture(autouse=True)
def _always_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_catalog, "LOOK_EVERY_S", 0.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "models.toml"
    place.write_text(ONE)
    return place


def test_cards_that_did_not_change_stay_the_same_objects(path: Path) -> None:
    catalog = LiveCatalog(path)
    one = catalog.find("one")
    assert not catalog.refresh()
    path.write_text(TWO + ONE)
    with structlog.testing.capture_logs() as logged:
        assert catalog.refresh()
    assert [(each["event"], each["added"], each["changed"]) for each in logged] == [
        ("models_file_read", ["two"], [])
    ]
    assert catalog.find("one") is one
    assert (catalog.find("zwei").name, catalog.default) == ("two", "two")
    path.write_text(ONE + "max_jobs = 2\n")
    assert catalog.refresh()
    assert catalog.find("one") is not one
    assert list(catalog.cards) == ["one"]


def test_aliases_are_read_again(path: Path) -> None:
    catalog = LiveCatalog(path)
    path.write_text(ONE + '[aliases]\nother = "one"\n')
    catalog.refresh()
    assert catalog.aliases == {"other": "one"}


def test_a_comment_changes_nothing(path: Path) -> None:
    catalog = LiveCatalog(path)
    path.write_text(f"# mine\n{ONE}")
    assert not catalog.refresh()


def test_a_file_that_is_wrong_leaves_the_cards_and_is_told_once(path: Path) -> None:
    catalog = LiveCatalog(path)
    with structlog.testing.capture_logs() as logged:
        path.write_text(ONE + "max_jobs = 0\n")
        assert not catalog.refresh()
        assert not catalog.refresh()
    assert [each["event"] for each in logged] == ["models_file_not_read"]
    assert "max_jobs" in (catalog.fault or "")
    assert list(catalog.cards) == ["one"]
    path.unlink()
    assert not catalog.refresh()
    assert "There is no file" in (catalog.fault or "")
    os.mkfifo(path)  # which nobody ever writes to
    assert not catalog.refresh()
    assert "it is a pipe, not a file" in (catalog.fault or "")
    path.unlink()
    path.write_text(TWO)
    assert catalog.refresh()
    assert (catalog.fault, list(catalog.cards)) == (None, ["two"])


def test_the_first_time_a_wrong_file_is_an_error(path: Path) -> None:
    path.write_text("nonsense")
    with pytest.raises(ModelsFileError):
        LiveCatalog(path)


def test_a_worker_s_own_choice_follows(path: Path) -> None:
    catalog = LiveCatalog(path)
    path.write_text(ONE + TWO)
    catalog.refresh()
    assert catalog.served(()) == ("one", "two")
    assert catalog.served(("zwei", "two", "gone")) == ("two",)
    assert catalog.served(("gone",)) == ()
