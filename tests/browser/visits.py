"""A studio that runs, and a browser's visit to it.

With STILLMOTION_SCREENSHOTS=FOLDER pictures of the page are left there, as they stand in the
documents.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stillmotion.queueing.queue import JobQueue

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Locator, Page

PATIENCE_S = 150
"""Only a broken page takes as long, or a machine with much else to do."""
LAPTOP, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
STEPS = "4"


@dataclass(frozen=True)
class Studio:
    """A studio that runs, and what lies in its library."""

    address: str
    library: Path

    @property
    def queue(self) -> JobQueue:
        return JobQueue(self.library)


@dataclass
class Visit:
    """One browser at the studio, and what its page did besides showing itself."""

    page: Page
    foreign: list[str] = field(default_factory=list)
    """Addresses on other machines that were asked for."""
    complaints: list[str] = field(default_factory=list)

    def check(self) -> None:
        assert self.foreign == []
        assert self.complaints == []

    def within(self, place: str) -> Locator:
        return self.page.locator(f"#sm-{place}")

    def press(self, place: str, name: str) -> None:
        self.within(place).get_by_role("button", name=name).first.click()

    def note(self, place: str) -> Locator:
        return self.page.locator(f"#sm-{place}-note .sm-note")

    def fill(self, field_id: str, value: str) -> None:
        self.within(field_id).locator("input, textarea").first.fill(value)

    def open_choices(self, step: str) -> None:
        self.within(step).get_by_text("More choices").first.click()


def studio_command(folder: Path, *more: str) -> list[str]:
    """Arguments of Python for a studio over the library in `folder`."""
    command = ["-m", "stillmotion", "studio", "--port", "0", "--no-open"]
    return [*command, "--library", str(folder), *more]


def visit(context: BrowserContext, studio: Studio) -> Visit:
    """Open the studio, and note whatever it asks for or complains of."""
    found = Visit(context.new_page())
    found.page.set_default_timeout(1000 * PATIENCE_S)
    own = studio.address.removesuffix("studio/")

    def note(url: str) -> None:
        if not url.startswith((own, "data:", f"blob:{own}")):
            found.foreign.append(url)

    def heard(message: Any) -> None:
        if message.type == "error":
            found.complaints.append(message.text)

    found.page.on("request", lambda request: note(request.url))
    found.page.on("console", heard)
    found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
    found.page.goto(studio.address)
    found.within("queue").get_by_text("running").wait_for()
    return found


def screenshot(page: Page, name: str, *, whole: bool = True) -> None:
    folder = os.environ.get("STILLMOTION_SCREENSHOTS")
    if folder:
        picture = Image.open(io.BytesIO(page.screenshot(full_page=whole)))
        picture.convert("RGB").save(Path(folder) / f"studio-{name}.webp", quality=72, method=6)


def drawn_stills(at: Visit, count: int = 1, *, steps: str = STEPS) -> None:
    """Draw stills with the page, and choose the first."""
    at.open_choices("step-1")
    at.fill("draw-count", str(count))
    at.fill("draw-seed", "7")
    at.fill("draw-steps", steps)
    at.press("step-1", "Draw stills")
    at.within("stills").locator(".sm-pick").nth(count - 1).wait_for()
    at.within("stills").locator(".sm-pick").first.click()
    at.page.locator("#sm-stills .is-chosen").wait_for()


def open_way(at: Visit, name: str) -> None:
    """The tab of a way of making clips, with all its choices."""
    at.page.get_by_role("tab", name=name).click()
    at.page.locator("#sm-step-3").get_by_text("More choices").locator("visible=true").click()


def made_clip(at: Visit, target: Path, label: str = "As made") -> NDArray[np.uint8]:
    """Wait for the newest clip of the page and download it; its frames (f h w 3)."""
    at.within("clips").locator("video, img.sm-media").last.wait_for()
    at.within("clips").get_by_text("Download", exact=True).first.wait_for()
    at.within("clips").get_by_text("Download", exact=True).first.click()
    with at.page.expect_download() as started:
        at.within("clips").get_by_role("link", name=label).first.click()
    path = target / started.value.suggested_filename
    started.value.save_as(path)
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def holds(at: Visit, field: str, value: str) -> None:
    at.within(field).wait_for()
    assert at.within(field).locator("input, textarea").first.input_value() == value
