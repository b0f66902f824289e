"""What the page is made of: little, of short files, with the libraries as npm has them."""

import re
from pathlib import Path

import pytest

from service.page_files import VENDORED, first_modules, page_files
from tests.web.conftest import PAGE

NODE = Path(__file__).parent / "node"
SOURCES = sorted((PAGE / "app").rglob("*.js"))
LONGEST_FILE = 300
MOST_LINES = 3220
MOST_BYTES = 60_000


def lines(path: Path) -> list[str]:
    """Those that are no comment and not empty."""
    return [each for each in path.read_text().splitlines() if not re.match(r"\s*(//|/?\*|$)", each)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PAGE).as_posix())
def test_a_file_is_short_and_says_what_it_is(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= LONGEST_FILE
    assert text.startswith("// ")
    assert not re.search(r"\b(eval|innerHTML|dangerouslySetInnerHTML|document\.write)\b", text)


def test_the_page_stays_small() -> None:
    assert sum(len(lines(path)) for path in SOURCES) <= MOST_LINES
    first = ["index.html", *first_modules(), *(n for n in page_files() if n.endswith(".css"))]
    assert sum(len(page_files()[name].packed) for name in first) <= MOST_BYTES


def test_nothing_is_named_that_is_not_there() -> None:
    """Imports, style sheets and the import map."""
    index = (PAGE / "index.html").read_text()
    named = set(re.findall(r'"(?:\./)?web/([\w/.-]+)"', index))
    for path in SOURCES:
        for name in re.findall(
            r'^(?:import|export) .*?from "([^"]+)";', path.read_text(), re.M | re.S
        ):
            if name.startswith("."):
                target = (path.parent / name).resolve().relative_to(PAGE).as_posix()
                named.add(target)
            else:
                assert name in VENDORED, f"{path.name}: {name}"
    assert named <= page_files().keys()
    sheets = {name for name in page_files() if name.endswith(".css")}
    assert sheets <= named


def test_a_class_looks_as_one_sheet_says() -> None:
    found: dict[str, set[str]] = {}
    for sheet in (PAGE / "app").rglob("*.css"):
        for name in re.findall(r"^\.([\w-]+)(?= \{|,$)", sheet.read_text(), re.M):
            found.setdefault(name, set()).add(sheet.name)
    assert {name: sheets for name, sheets in found.items() if len(sheets) > 1} == {}


def test_libraries_are_as_npm_has_them() -> None:
    if not (NODE / "node_modules").is_dir():
        pytest.skip("they are not installed: npm ci --prefix tests/web/node")
    vendored = {
        "preact.mjs": "preact/dist/preact.mjs",
        "hooks.mjs": "preact/hooks/dist/hooks.mjs",
        "htm.mjs": "htm/dist/htm.mjs",
        "signals.mjs": "@preact/signals/dist/signals.mjs",
        "signals-core.mjs": "@preact/signals-core/dist/signals-core.mjs",
    }
    assert {path.name for path in (PAGE / "vendor").iterdir()} == {*vendored, "LICENSES"}
    for own, theirs in vendored.items():
        whole = (NODE / "node_modules" / theirs).read_text()
        kept = re.sub(r"//# sourceMappingURL=.*", "", whole).strip()
        assert (PAGE / "vendor" / own).read_text().strip() == kept, "make vendor"
