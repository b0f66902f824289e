"""The attacks of docs/security.md, by letter: each is tried by tests that carry its letter in their
names, in the files that the table names."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
MOST = {"A": 7, "B": 8, "C": 10, "D": 3, "E": 7, "G": 6, "H": 4}
"""How many there are of each letter. F, I and J are others: what Redis, models and containers may
do."""
LETTERED = re.compile(r"test_((?:[a-h][0-9]+_)+)")


def rows() -> dict[str, tuple[set[str], set[str]]]:
    """The files that guard against each attack, and those that try it."""
    table = (ROOT / "docs" / "security.md").read_text().partition("\n## Attacks\n")[2]
    found = {}
    for row in re.findall(r"^\| ([A-H][0-9]+) \|(.+)\|$", table, re.MULTILINE):
        _, guards, tests = row[1].rsplit("|", 2)
        found[row[0]] = (set(re.findall(r"`(.+?)`", guards)), set(re.findall(r"`(.+?)`", tests)))
    return found


def tried() -> Iterator[tuple[str, str]]:
    """Attacks, and the files of tests that carry their letters."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and (letters := LETTERED.match(node.name)):
                file = path.relative_to(ROOT / "tests").as_posix()
                yield from ((each.upper(), file) for each in letters[1].split("_") if each)


def test_each_attack_has_its_row() -> None:
    assert [*rows()] == [f"{letter}{n + 1}" for letter, most in MOST.items() for n in range(most)]


def test_each_attack_is_tried_where_its_row_says() -> None:
    by_attack: dict[str, set[str]] = {}
    for attack, file in tried():
        by_attack.setdefault(attack, set()).add(file)
    assert {attack: tests for attack, (_, tests) in rows().items()} == by_attack


def test_guards_are_files_that_there_are() -> None:
    named = {guard for guards, _ in rows().values() for guard in guards}
    assert [guard for guard in sorted(named) if not (ROOT / guard).is_file()] == []


def test_d3_no_pillow_with_known_holes_is_taken() -> None:
    """12.3.0 closed fourteen of them."""
    [declared] = re.findall(r'"(pillow[^"]*)"', (ROOT / "pyproject.toml").read_text())
    [pinned] = re.findall(r"^pillow==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    allowed = Requirement(declared).specifier
    assert not any(version in allowed for version in ("11.3.0", "12.1.1", "12.2.0"))
    assert Version(pinned) >= Version("12.3.0")
