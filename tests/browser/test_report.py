"""The report in a real browser: its clips play in step, its keys work, and it asks for nothing.

With STILLMOTION_SCREENSHOTS=FOLDER pictures of the page are left there, to be looked at.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.browser.conftest import Watch, watched
from tests.evaluation.report.made_run import HOSTILE, METHODS, Shape, clip, write_run

from stillmotion.evaluation.report.writing import compare_runs, write_reports

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

SHAPE = Shape(size=(48, 64), num_frames=8)
PATIENCE_S = 20
"""Only a broken page takes as long."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of a run whose prompts are hostile."""
    return write_reports(
        write_run(tmp_path_factory.mktemp("run") / "made", SHAPE, HOSTILE)
    ).html_path


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that starts paused, so that tests decide when it plays."""
    opened = browser.new_page(
        viewport={"width": 1280, "height": 1600}, reduced_motion="reduce", color_scheme="light"
    )
    opened.set_default_timeout(1000 * PATIENCE_S)
    yield opened
    opened.close()


@pytest.fixture
def watch(page: Page, report: Path) -> Watch:
    """The report, opened, with its gallery in sight and its clips drawn."""
    watch = watched(page, report)
    to_gallery(page)
    return watch


def to_gallery(page: Page) -> None:
    page.evaluate("document.getElementById('gallery').scrollIntoView()")
    until(page, "document.querySelector('canvas').dataset.shown !== undefined")


def until(page: Page, expression: str) -> None:
    """Wait for an expression to be true.

    Playwright's own wait evaluates strings inside the page, which the page's policy refuses.
    """
    end = time.monotonic() + PATIENCE_S
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"never true: {expression}"
        page.wait_for_timeout(30)


def frames_shown(page: Page) -> set[str]:
    """Numbers of the frames that clips in sight show."""
    seen: list[str] = page.evaluate(
        "[...document.querySelectorAll('canvas')].filter(c => c.dataset.shown && c.offsetParent)"
        ".filter(c => { const r = c.getBoundingClientRect();"
        " return r.bottom > 0 && r.top < innerHeight }).map(c => c.dataset.shown)"
    )
    assert seen
    return set(seen)


def pixels(page: Page, index: int) -> np.ndarray:
    """What a canvas shows, uint8 (h w 3)."""
    values, height, width = page.evaluate(
        "i => { const c = document.querySelectorAll('canvas')[i];"
        " return [[...c.getContext('2d').getImageData(0, 0, c.width, c.height).data],"
        " c.height, c.width] }",
        index,
    )
    return np.array(values, np.uint8).reshape(height, width, 4)[..., :3]


def screenshot(page: Page, name: str) -> None:
    folder = os.environ.get("STILLMOTION_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"report-{name}.png")


def test_it_asks_for_nothing_and_complains_of_nothing(
    page: Page, watch: Watch, report: Path
) -> None:
    page.get_by_role("button", name="Play").click()
    until(page, "document.getElementById('where').value.startsWith('4 ')")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.wait_for_timeout(200)
    assert watch.requests == [report.as_uri()]
    assert watch.complaints == []


def test_the_prompt_runs_no_script(page: Page, watch: Watch) -> None:
    shown = page.locator(".prompt").first.inner_text()
    assert shown == HOSTILE
    assert page.locator("script").count() == 1
    assert page.locator("img[src^=http]").count() == 0


def test_the_policy_stops_scripts_and_requests(page: Page, watch: Watch) -> None:
    """Were something to slip through the escaping, the browser itself would refuse it."""
    page.evaluate(
        "() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
        " document.body.append(s); new Image().src = 'https://example.org/x.png';"
        " const i = new Image(); i.setAttribute('onerror', 'window.ran = 2');"
        " i.src = 'data:x'; document.body.append(i) }"
    )
    page.wait_for_timeout(300)
    assert page.evaluate("window.ran") is None
    assert len([text for text in watch.complaints if "Content Security Policy" in text]) >= 3


def test_less_motion_starts_paused(page: Page, watch: Watch) -> None:
    page.wait_for_timeout(400)
    assert frames_shown(page) == {"1"}
    assert page.locator("#play").inner_text() == "Play"


def test_it_plays_by_itself_otherwise(browser: Browser, report: Path) -> None:
    page = browser.new_page(reduced_motion="no-preference")
    watched(page, report)
    until(page, "Number(document.getElementById('where').value.split(' ')[0]) > 2")
    assert page.locator("#play").inner_text() == "Pause"
    page.close()


def test_clips_play_in_step_and_pause_stops_them(page: Page, watch: Watch) -> None:
    page.locator("#play").click()
    seen = set()
    for _ in range(12):
        shown = frames_shown(page)
        assert len(shown) == 1
        seen |= shown
        page.wait_for_timeout(70)
    assert len(seen) > 2
    page.locator("#play").click()
    [stopped] = frames_shown(page)
    page.wait_for_timeout(400)
    assert frames_shown(page) == {stopped}


def test_every_clip_shows_its_own_frames_exactly(page: Page, watch: Watch) -> None:
    for step in range(3):
        for index in range(len(METHODS)):
            assert np.array_equal(pixels(page, index), clip(index, 0, SHAPE)[step])
        page.locator("#forward").click()
    page.locator("#frame").fill("8")
    assert np.array_equal(pixels(page, 1), clip(1, 0, SHAPE)[7])


def test_keys(page: Page, watch: Watch) -> None:
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert frames_shown(page) == {"3"}
    page.keyboard.press("ArrowLeft")
    assert frames_shown(page) == {"2"}
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert frames_shown(page) == {"8"}  # round the end
    for key in ("k", " "):
        page.keyboard.press(key)
        assert page.locator("#play").inner_text() == "Pause"
        page.keyboard.press(key)
        assert page.locator("#play").inner_text() == "Play"
    page.locator("#play").focus()
    page.keyboard.press("Enter")  # a button in focus does what buttons do, once
    assert page.locator("#play").inner_text() == "Pause"
    page.keyboard.press("Space")
    assert page.locator("#play").inner_text() == "Play"


def test_every_control_can_be_reached_by_tab(page: Page, watch: Watch) -> None:
    page.locator("#choice summary").click()
    page.locator("#play").focus()
    reached = []
    for _ in range(10):
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.value"))
        page.keyboard.press("Tab")
    assert reached[:4] == ["play", "back", "frame", "forward"]
    assert {"speed", "group", *METHODS} <= set(reached)


def test_filters(page: Page, watch: Watch) -> None:
    page.locator("#choice summary").click()
    page.locator("#group").select_option("neon")
    assert page.locator(".case:visible h3").all_inner_texts() == ["case-2 neon", "case-4 neon"]
    page.get_by_role("checkbox", name="AnimateZero").uncheck()
    assert page.locator(".case:visible").first.locator("canvas:visible").count() == 2
    page.locator("#group").select_option("all")
    assert page.locator("canvas:visible").count() == 8


def test_speed(page: Page, watch: Watch) -> None:
    page.locator("#speed").select_option("0.25")  # half a second for each frame
    page.locator("#play").click()
    page.wait_for_timeout(250)
    assert frames_shown(page) == {"1"}
    until(page, "document.getElementById('where').value.startsWith('2 ')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling(browser: Browser, report: Path, scheme: str) -> None:
    context = browser.new_context(
        viewport={"width": 360, "height": 740}, color_scheme=scheme, reduced_motion="reduce",
        has_touch=True, is_mobile=True, device_scale_factor=2,
    )  # fmt: skip
    page = context.new_page()
    watch = watched(page, report)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    to_gallery(page)
    screenshot(page, f"phone-{scheme}")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.evaluate("window.visualViewport.scale") == 1
    smallest = page.evaluate(
        "Math.min(...[...document.querySelectorAll('button, select')].map(e =>"
        " e.getBoundingClientRect()).filter(r => r.width).map(r => Math.min(r.width, r.height)))"
    )
    assert smallest >= 40  # for fingers
    assert watch.complaints == []
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (light == "rgb(252, 252, 250)") == (scheme == "light")
    context.close()


def test_two_runs_side_by_side(browser: Browser, tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_run(tmp_path / name, SHAPE)
    output = tmp_path / "comparison.html"
    compare_runs(tmp_path / "first", tmp_path / "second", output)
    page = browser.new_page(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    watch = watched(page, output)
    to_gallery(page)
    screenshot(page, "comparison")
    assert page.locator(".case").first.locator("canvas").count() == 2 * len(METHODS)
    assert frames_shown(page) == {"1"}
    assert watch.requests == [output.as_uri()]
    assert watch.complaints == []
    page.close()


def test_screenshots(page: Page, watch: Watch) -> None:
    """For the eyes; what can be said of them here is that the page fits its window."""
    screenshot(page, "gallery")
    page.evaluate("document.getElementById('plots').scrollIntoView()")
    screenshot(page, "plots")
    page.evaluate("scrollTo(0, 0)")
    screenshot(page, "top")
    assert page.evaluate("document.documentElement.scrollWidth") == 1280
