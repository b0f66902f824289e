"""`darkroom models` on models.toml and the files beside it."""

from pathlib import Path

import pytest

from darkroom.catalog import Catalog
from darkroom.command.models import _with_cards
from darkroom.command.presets import PRESETS
from tests.commands import invoke

FILE = """default = "one"

[[models]]
name = "one"
source = "one"

# Two is also called zwei.
[[models]]
name = "two"
aliases = ["zwei"]
source = "two"

# The third.
[[models]]
name = "three"
source = "three"
"""


@pytest.fixture
def models_toml(tmp_path: Path) -> Path:
    path = tmp_path / "models.toml"
    path.write_text(FILE)
    return path


def test_a_model_is_removed_and_all_else_stays(models_toml: Path) -> None:
    done = invoke("models", "remove", "zwei", "--models", str(models_toml))
    assert (done.exit_code, done.stdout.partition(" ")[0]) == (0, "two")
    begin, end = FILE.index("# Two"), FILE.index("# The third")
    assert models_toml.read_text() == FILE[:begin] + FILE[end:]


@pytest.mark.parametrize(
    ("name", "said"), [("one", "The default 'one' is none"), ("four", "three")]
)
def test_what_cannot_be_removed_stays(models_toml: Path, name: str, said: str) -> None:
    done = invoke("models", "remove", name, "--models", str(models_toml))
    assert done.exit_code == 1
    assert said in done.stderr
    assert models_toml.read_text() == FILE


def test_short_names_get_their_cards_in_the_order_in_which_they_are_given(
    models_toml: Path,
) -> None:
    names = list(PRESETS)
    assert _with_cards(models_toml, ["one", *names, names[0]]) == ["one", *names, names[0]]
    assert list(Catalog.read(models_toml).cards) == ["one", "two", "three", *names]
