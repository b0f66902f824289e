"""Cards put into models.toml and taken out; whatever else stands in it stays to the byte."""

import difflib
import os
import stat
import subprocess
import sys
import tomllib
from functools import partial
from pathlib import Path

import pytest

from darkroom.catalog import Catalog
from darkroom.command.models_file import (
    change,
    preview,
    toml,
    with_card,
    with_entry,
    with_field,
    without_card,
)
from darkroom.models_text import ModelsFileError

FILE = '''# All of this is mine.
default = "a"   # the best

[[models]]
name = "a"
source = "x"
defaults = { num_inference_steps = 25,  guidance_scale = 3.0 }

# about b:
# [[models]] in a comment
  [[ models ]] # with a space
name = "b"
source = "y"
loras = [
    { name = "ink", source = "l/i]k.safetensors" },   # good
    # an old one was here
]
negative = """
[[models]]
"""
[models.limits]
max_size = 64

# about c
[[models]]
name = "c"
source = "z"
loras = [{ name = "x", source = "y" }]
controlnets = []

[[models.embeddings]]
token = "t"
source = "e"

# the end
'''
GOOD = FILE.replace('negative = """\n[[models]]\n"""\n', "")
INK = {"name": "new", "source": "n.safetensors"}


def added(old: str, new: str) -> str:
    """What was put in between, where nothing else was done."""
    parts = []
    codes = difflib.SequenceMatcher(None, old, new, False).get_opcodes()
    for kind, start, end, begin, stop in codes:
        assert kind in ("equal", "insert"), old[start:end]
        parts += [new[begin:stop]] if kind == "insert" else []
    # Between two equal bytes there is no telling which of them is the new one.
    return "|".join(parts).strip()


def test_a_card_comes_to_the_end() -> None:
    new = with_card(GOOD, {"name": "d", "source": 'a "b"'}, ("What it is.",))
    assert new == GOOD + '\n# What it is.\n[[models]]\nname = "d"\nsource = "a \\"b\\""\n'


def test_line_endings_are_those_of_the_file() -> None:
    old = GOOD.rstrip().replace("\n", "\r\n")
    new = with_card(old, {"name": "d", "source": "s"})
    assert new == old + '\r\n\r\n[[models]]\r\nname = "d"\r\nsource = "s"'
    assert "\n" not in with_entry(old, "b", "loras", INK).replace("\r\n", "")


def test_a_card_goes_with_the_comment_above_it() -> None:
    gone = added(without_card(GOOD, "b"), GOOD)
    assert "# about b:" in gone
    assert 'default = "a"' not in gone
    assert gone.rstrip().endswith("max_size = 64")
    assert "# about c" not in gone


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\n# the end", "\r\n", "\r\n\r\n\r\n"])
def test_a_card_that_comes_and_goes_leaves_each_byte_as_it_was(end: str) -> None:
    ending = "\r\n" if "\r" in end else "\n"
    old = GOOD.strip().replace("\n", ending) + end
    one = with_card(old, {"name": "d", "source": "s"}, ("What it is.",))
    both = with_card(one, {"name": "e", "source": "t"})
    assert without_card(without_card(both, "e"), "d") == old
    assert without_card(without_card(both, "d"), "e") == old


def test_what_a_file_begins_with_is_about_all_of_it() -> None:
    text = '# The models on offer.\n[[models]]\nname = "a"\nsource = "s"\n'
    both = with_card(text, {"name": "b", "source": "t"})
    assert without_card(both, "a").startswith("# The models on offer.\n")


@pytest.mark.parametrize(
    ("model", "field", "put"),
    [
        ("a", "loras", "loras = [\n    {},\n]\n"),
        ("b", "loras", "    {},\n"),
        ("b", "embeddings", "embeddings = [\n    {},\n]\n"),
        ("c", "loras", ", {}"),
        ("c", "controlnets", "{}"),
        ("c", "embeddings", '\n[[models.embeddings]]\nname = "new"\nsource = "n.safetensors"\n'),
    ],
)
def test_an_entry_is_put_where_the_others_are(model: str, field: str, put: str) -> None:
    new = with_entry(GOOD, model, field, INK)
    assert added(GOOD, new) == put.format(toml(INK)).strip()
    cards = {card["name"]: card for card in tomllib.loads(new)["models"]}
    assert cards[model][field][-1] == INK


def test_a_list_that_lacks_its_last_comma_gets_it() -> None:
    old = '[[models]]\nname = "a"\nsource = "s"\nloras = [\n  { name = "x", source = "y" } # ]\n]\n'
    new = with_entry(old, "a", "loras", INK)
    assert new.splitlines()[4:6] == ['  { name = "x", source = "y" }, # ]', f"    {toml(INK)},"]


def test_a_field_stands_before_tables() -> None:
    new = with_field(GOOD, "b", "vae", "v.safetensors")
    assert added(GOOD, new) == 'vae = "v.safetensors"'
    assert tomllib.loads(new)["models"][1]["vae"] == "v.safetensors"


@pytest.mark.parametrize(
    "text",
    [
        FILE,  # a line within a text looks like the head of a card
        'models = [{ name = "b", source = "s" }]\n',
        '[[models]]\nname = "b"\nsource = "s"\n"loras" = []\n',
    ],
)
def test_what_only_a_person_can_change_is_refused(text: str) -> None:
    with pytest.raises(ModelsFileError, match="by hand"):
        with_entry(text, "b", "loras", INK)


def test_values_are_written_as_toml_reads_them() -> None:
    value = {"a": [1, 2.5, True], "b": 'é"\\\n\t\x7f', "c": {"d": "e"}}
    assert tomllib.loads(f"x = {toml(value)}")["x"] == value


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "models.toml"
    path.write_text(GOOD)
    path.chmod(0o640)
    return path


def test_a_file_keeps_its_mode_and_a_link_its_target(place: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.toml"
    link.symlink_to(place)
    catalog = change(link, lambda text: with_card(text, {"name": "d", "source": "s"}))
    assert list(catalog.cards) == ["a", "b", "c", "d"]
    assert link.is_symlink()
    assert list(Catalog.read(place).cards) == ["a", "b", "c", "d"]
    assert stat.S_IMODE(place.stat().st_mode) == 0o640
    assert sorted(each.name for each in tmp_path.iterdir()) == ["link.toml", "models.toml"]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (partial(without_card, name="a"), "The default 'a' is none of its models"),
        (partial(with_card, card={"name": "a", "source": "s"}), "one model: a"),
        (partial(with_card, card={"name": "é", "source": "s"}), "letters, digits"),
        (partial(with_card, card={"name": "d", "source": "\udcff"}), "UTF-8"),
    ],
)
def test_what_no_process_could_read_is_not_written(place: Path, edit: object, said: str) -> None:
    with pytest.raises(ModelsFileError, match=said):
        change(place, edit)  # type: ignore[arg-type]
    assert place.read_text() == GOOD
    assert len(list(place.parent.iterdir())) == 1


def test_a_file_that_is_write_protected_stays(place: Path) -> None:
    place.chmod(0o444)
    with pytest.raises(ModelsFileError, match="cannot be changed: it is write-protected"):
        change(place, lambda text: with_card(text, {"name": "d", "source": "s"}))
    assert place.read_text() == GOOD


def test_a_folder_that_takes_no_file_leaves_the_old_one(place: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    place.parent.chmod(0o500)
    try:
        with pytest.raises(ModelsFileError, match="cannot be changed: permission denied"):
            change(place, lambda text: with_card(text, {"name": "d", "source": "s"}))
    finally:
        place.parent.chmod(0o700)
    assert place.read_text() == GOOD


def test_a_preview_changes_nothing(place: Path) -> None:
    text, catalog = preview(place, lambda old: with_card(old, {"name": "d", "source": "s"}))
    assert "d" in catalog.cards
    assert text != place.read_text() == GOOD
    with pytest.raises(ModelsFileError, match="There is no file"):
        preview(place.with_name("none.toml"), lambda old: old)


def test_commands_at_once_lose_nothing(place: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from darkroom.command.models_file import *\n"
        "for n in range(5):\n"
        "    card = {'name': f'{sys.argv[1]}{n}', 'source': 's'}\n"
        "    change(Path(sys.argv[2]), lambda text: with_card(text, card))\n"
    )
    command = [sys.executable, "-c", code]
    both = [subprocess.Popen([*command, name, str(place)]) for name in ("x", "y")]
    assert [each.wait(60) for each in both] == [0, 0]
    assert len(Catalog.read(place).cards) == 3 + 2 * 5


def test_a_card_ends_where_a_style_begins():
    style = '\n# Of all models.\n[[styles]]\nname = "ink"\nprompt = "{prompt}, ink"\n'
    text = '[[models]]\nname = "a"\nsource = "x"\n'
    both = text + style + '\n[[models]]\nname = "b"\nsource = "y"\n'
    assert without_card(both, "b") == text + style
    assert without_card(both, "a").lstrip() == both[len(text) :].lstrip()
    wider = with_entry(text + style, "a", "loras", {"name": "l", "source": "z"})
    assert wider.endswith(style)
    assert tomllib.loads(wider)["models"][0]["loras"] == [{"name": "l", "source": "z"}]
