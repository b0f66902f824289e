"""A real browser before a real Darkroom; no page may ask anything of another origin, or leave a
word in the browser's console."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.running import ROOT, RunningUp
from tests.service.conftest import (  # noqa: F401
    announced,
    api,
    guarded,
    guarded_work,
    here,
    http,
    jobs,
    made,
    models_toml,
    quiet,
    served,
    serving,
    submitted,
    work,
)

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
expect.set_options(timeout=30_000)
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not CHROMIUM:
        pytest.skip("no Chromium is installed here: apt install chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a running `darkroom up` with the demo models."""
    with RunningUp(tmp_path_factory.mktemp("page"), ROOT / "models.toml") as running:
        yield running.ready()


class Watched:
    """What a page asked for and said."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[Request] = []
        self.said: list[str] = []
        self.expected: set[str] = set()
        """Parts of words of the console that belong to what a test does, such as refusals."""
        page.on("request", lambda request: self.requests.append(request))
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.said.append(str(error)))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.said.append(message.text)

    @property
    def asked(self) -> list[str]:
        """The addresses of the service, and of others, that it asked."""
        kinds = ("blob:", "data:", "about:")
        return [each.url for each in self.requests if not each.url.startswith(kinds)]

    def check(self) -> None:
        own = urlsplit(self.page.url).netloc
        assert [each for each in self.asked if urlsplit(each).netloc != own] == []
        unexpected = [s for s in self.said if not any(each in s for each in self.expected)]
        assert unexpected == []


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    """A new page, with nothing remembered."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(20_000)
    watch = Watched(context.new_page())
    yield watch
    watch.check()
    context.close()


@pytest.fixture
def page(watched: Watched) -> Page:
    return watched.page


PAGE = Path(__file__).parents[2] / "web"
