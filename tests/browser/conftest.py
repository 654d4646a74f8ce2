"""A real browser for the pages that this package writes: Debian's Chromium through Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.browser.visits import LAPTOP, Studio, Visit, studio_command, visit
from tests.server.processes import running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium; skips where there is none."""
    api = pytest.importorskip(
        "playwright.sync_api", reason="needs Playwright for Python: pip install playwright"
    )
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if chromium is None:
        pytest.skip("needs Chromium on the PATH: apt-get install chromium")
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield running
        running.close()


@dataclass
class Watch:
    """What a page did besides showing itself."""

    requests: list[str] = field(default_factory=list)
    """Addresses asked for; data: and blob: stay inside the page and do not count."""
    complaints: list[str] = field(default_factory=list)
    """Messages of the console and exceptions."""


def watched(page: Page, file: Path) -> Watch:
    """Open a file in `page` and note whatever it asks for or complains of from then on."""
    watch = Watch()
    page.on("request", lambda request: _note(watch, request.url))
    page.on("console", lambda message: watch.complaints.append(message.text))
    page.on("pageerror", lambda error: watch.complaints.append(str(error)))
    page.goto(file.resolve().as_uri())
    return watch


def _note(watch: Watch, url: str) -> None:
    if not url.startswith(("data:", "blob:")):
        watch.requests.append(url)


@pytest.fixture(scope="module")
def studio(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """The command, as people start it; `browser` first, so that nothing starts without one."""
    folder = tmp_path_factory.mktemp("studio") / "library"
    with running(studio_command(folder)) as server:
        yield Studio(server.address, folder)


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    opened = browser.new_context(viewport=LAPTOP, color_scheme="light", reduced_motion="reduce")  # type: ignore[arg-type]
    yield opened
    opened.close()


@pytest.fixture
def at(context: BrowserContext, studio: Studio) -> Iterator[Visit]:
    """A visit that must not have asked for anything, nor complained, when it ends."""
    found = visit(context, studio)
    yield found
    found.check()
