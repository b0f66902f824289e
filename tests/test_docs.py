"""What the pages say is true: examples are run, tables are compared with the code."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from PIL import Image, ImageChops, ImageStat
from typer.main import get_command

from darkroom import __version__
from darkroom.catalog import Catalog
from darkroom.codes import CODES
from darkroom.command.cli import app as commands
from darkroom.draft import load_request
from darkroom.settings import Settings
from docs import pictures, tables
from service.app import create_app
from tests.running import RunningUp, environment

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
API = (ROOT / "docs" / "api.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
DEFAULT_URL = "http://127.0.0.1:8000"


def examples(language: str, page: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running `darkroom up` with the models that the repository offers."""
    with RunningUp(tmp_path_factory.mktemp("docs"), ROOT / "models.toml") as up:
        yield up.ready()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", range(len(examples("sh"))))
def test_shell_example_works(number: int, url: str, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed here")
    script = examples("sh")[number].replace(DEFAULT_URL, url)
    assert url in script
    command = ["sh", "-e", "-c", script]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if file := re.search(r"-o (\S+)", script):
        with Image.open(tmp_path / file[1]) as image:
            assert image.format == "PNG"
    else:
        assert '"status":"queued"' in done.stdout


@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", range(len(examples("python"))))
def test_python_example_works(number: int, url: str, tmp_path: Path) -> None:
    script = examples("python")[number].replace(DEFAULT_URL, url)
    assert url in script
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["apple-1.png"]


NODE = ["node", "--experimental-eventsource", "--input-type=module", "-e"]
RUN = {"sh": ["sh", "-e", "-c"], "python": [sys.executable, "-c"], "js": NODE}
OF_API = [
    pytest.param(language, number, marks=[pytest.mark.long] if language == "js" else [])
    for language in RUN
    for number in range(len(examples(language, API)))
]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("language", "number"), OF_API)
def test_example_of_the_api_works(language: str, number: int, url: str, tmp_path: Path) -> None:
    """It ends well, and writes the pictures that it says."""
    needs = {"sh": "curl", "js": "node"}.get(language)
    if needs and shutil.which(needs) is None:
        pytest.skip(f"{needs} is not installed here")
    script = examples(language, API)[number].replace(DEFAULT_URL, url)
    assert url in script
    command = [*RUN[language], script]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pictures = sorted(tmp_path.glob("*.png"))
    assert bool(pictures) == bool(re.search(r'"wb"|writeFile\(|-o \w+\.png', script))
    for picture in pictures:
        with Image.open(picture) as image:
            assert image.format == "PNG"


OF_CLIENTS = [
    (page.name, language, number)
    for page, language in (
        (ROOT / "docs" / "clients" / "python.md", "python"),
        (ROOT / "docs" / "clients" / "typescript.md", "js"),
    )
    for number in range(len(examples(language, page.read_text())))
]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("page", "language", "number"), OF_CLIENTS)
def test_example_of_our_clients_works(
    page: str, language: str, number: int, url: str, tmp_path: Path
) -> None:
    """It ends well and says something, or writes a picture."""
    if language == "js":
        _install_the_typescript_client(tmp_path)
    text = (ROOT / "docs" / "clients" / page).read_text()
    script = examples(language, text)[number].replace(DEFAULT_URL, url)
    assert url in script
    command = [*RUN[language], script]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout or (tmp_path / "apple-1.png").exists()


def _install_the_typescript_client(folder: Path) -> None:
    client = ROOT / "clients" / "typescript"
    if shutil.which("node") is None or not (client / "node_modules").is_dir():
        pytest.skip("it is not installed: npm ci --prefix clients/typescript")
    own = folder / "node_modules" / "darkroom-client"
    build = ["npx", "tsc", "-p", "tsconfig.build.json", "--outDir", str(own / "dist")]
    subprocess.run(build, cwd=client, check=True)
    shutil.copy(client / "package.json", own)


def test_the_api_is_shown_in_each_language() -> None:
    assert [len(examples(language, API)) for language in RUN] == [17, 9, 7]


def test_all_of_the_api_is_told() -> None:
    app = create_app(Settings(redis_url="unix:///nothing")).openapi()
    served = {path.removeprefix("/api/v1") for path in app["paths"]}
    parameters = {
        parameter["name"]
        for path in app["paths"].values()
        for operation in path.values()
        for parameter in operation.get("parameters", ())
    }
    names = served | parameters | set(app["components"]["headers"])
    assert [name for name in names if name.lower() not in API.lower()] == []


TROUBLE = (ROOT / "docs" / "troubleshooting.md").read_text()


def test_every_code_has_a_row_that_says_whether_a_repeat_can_help() -> None:
    section = TROUBLE.partition("## Errors of the API")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", section, re.MULTILINE))
    told = {code: row.startswith("again: ") for code, row in rows.items()}
    assert told == {code: row.retryable for code, row in CODES.items()}


OF_OTHERS = {"darkroom: command not found", "Address already in use"}
"""Messages of shells and systems."""


def test_messages_that_are_explained_are_those_of_the_sources() -> None:
    rows = [row.split(" | ")[0] for row in TROUBLE.splitlines() if row.startswith("| `")]
    quoted = [message for row in rows for message in re.findall(r"`([^`]+)`", row)]
    pieces = {piece.strip(" ,;:") for message in quoted for piece in message.split("...")}
    assert len(pieces) > 100
    said = "\n".join(_texts())
    assert [each for each in pieces - OF_OTHERS if each not in said] == []


def _texts() -> Iterator[str]:
    """Whatever stands as text in the sources."""
    yield (ROOT / "Makefile").read_text()
    for package in ("darkroom", "service", "worker"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def test_every_warning_of_the_logs_is_explained() -> None:
    events = {
        event
        for package in ("darkroom", "service", "worker")
        for path in (ROOT / package).rglob("*.py")
        for event in re.findall(r'log\.(?:warning|error)\(\s*"([^"]+)"', path.read_text())
    }
    assert len(events) > 20
    logs = TROUBLE.partition("\n## Logs\n")[2]
    assert [event for event in events if f"`{event}`" not in logs] == []


SHOWN = [(body, name) for body, name in pictures.examples() if name]
NOT_SHOWN = {body.get("model", "default"): body for body, name in pictures.examples() if not name}


@pytest.mark.parametrize(("body", "name"), SHOWN, ids=[name for _, name in SHOWN])
def test_example_of_a_task_makes_its_picture(body: dict, name: str, url: str) -> None:
    with httpx2.Client(base_url=url, timeout=120) as http:
        made = pictures.opened(pictures.made(http, pictures.with_pictures(body)))
    shown = pictures.opened((ROOT / "docs" / "pictures" / name).read_bytes())
    difference = ImageChops.difference(made, shown)
    assert ImageStat.Stat(difference).mean < [4, 4, 4]  # other processors round otherwise


@pytest.mark.parametrize("body", NOT_SHOWN.values(), ids=NOT_SHOWN)
def test_example_of_a_task_is_a_request(body: dict) -> None:
    tasks = {"gligen": "layout-to-image", "dit": "class-to-image", "ldm": "unconditional"}
    tasks |= {"kontext": "edit", "layered": "edit"}
    left_out = {
        "model": "any",
        "width": 64,
        "height": 64,
        "seed": 0,
        "num_images": 1,
        "scheduler": "Any",
    }
    left_out |= {"num_inference_steps": 1, "task": tasks.get(body.get("model"), "text-to-image")}
    assert load_request({"model": "any"} | left_out | body)


def test_readme_has_examples_of_each_kind() -> None:
    assert len(examples("sh")) == 2
    assert len(examples("python")) == 1


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs" / "models.md"])
def test_examples_of_models_can_be_read(page: Path, tmp_path: Path) -> None:
    found = re.findall(r"^```toml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    assert found
    for example in found:
        (tmp_path / "models.toml").write_text(example)
        assert Catalog.read(tmp_path / "models.toml").cards


def test_commands_that_readme_lists_are_those_that_there_are() -> None:
    listed = re.findall(r"`(\w+) ([a-z]+(?:\|[a-z]+)+)`", README)
    groups = {
        name: set(group.commands)
        for name, group in get_command(commands).commands.items()
        if hasattr(group, "commands")
    }
    assert {name: set(subcommands.split("|")) for name, subcommands in listed} == groups


def test_table_of_endpoints_is_the_api() -> None:
    served = {
        (method.upper(), path)
        for path, methods in create_app(Settings(redis_url="unix:///nothing"))
        .openapi()["paths"]
        .items()
        for method in methods
    }
    written = {
        (method, path)
        for method, paths in re.findall(r"^\| `([A-Z]+)` \| (`/.*?`) \|", README, re.MULTILINE)
        for path in re.findall(r"`(.*?)`", paths)
    }
    assert written == served


@pytest.mark.parametrize("page", tables.pages(), ids=lambda page: page.name)
def test_tables_are_what_the_code_says(page: Path) -> None:
    assert page.read_text() == tables.pages()[page], "run `make docs`"


def test_links_lead_to_files() -> None:
    broken = [
        f"{page.name}: {link}"
        for page in PAGES
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
        if not (page.parent / link).exists()
    ]
    assert broken == []


def test_make_targets_that_the_pages_name_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+)[ a-z-]*:(?!=)", makefile, re.MULTILINE))
    for page in PAGES:
        for command in re.findall(r"`make ([a-z -]+)", page.read_text()):
            assert set(command.split()) <= targets, f"{page.name}: make {command}"


def test_changelog_and_version_agree() -> None:
    """The newest release is this version; before the first there is none."""
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    released = [re.match(r"\[?(\d+\.\d+\.\d+)\]?", heading)[1] for heading in headings[1:]]
    assert __version__ == (released[0] if released else "0.1.0")


def test_nothing_names_a_machine_or_a_registry() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    names = [name for name in listed.stdout.split("\0") if name and name != "tests/test_docs.py"]
    bad = re.compile(r"/home/\w|/Users/\w|pypi\.org|pythonhosted|download\.pytorch\.org|docker\.io")
    found = []
    for name in names:
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".txt", ".yml", ".lua", ""} and path.is_file():
            found += [f"{name}: {m[0]}" for m in bad.finditer(path.read_text(errors="replace"))]
    assert found == []
