"""The studio in a real browser: from a prompt to a clip on the disk, with the miniature."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.browser.visits import (
    PHONE,
    STEPS,
    Studio,
    Visit,
    holds,
    open_way,
    screenshot,
    studio_command,
    visit,
)
from tests.server.hostile import picture_bytes, refused_files
from tests.server.processes import running

from stillmotion.media.clips import read_provenance
from stillmotion.media.reading import read_frames
from stillmotion.queueing.library import Library
from stillmotion.server.limits import TokenLimits
from stillmotion.server.tokens import add_token

pytest.importorskip("gradio", reason="needs the extra studio: pip install 'stillmotion[studio]'")

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

pytestmark = pytest.mark.browser


def test_from_a_prompt_to_a_clip_on_the_disk(at: Visit, studio: Studio, tmp_path: Path) -> None:
    page = at.page
    at.open_choices("step-1")
    at.fill("draw-count", "2")
    at.fill("draw-seed", "7")

    at.fill("draw-steps", "0")
    at.press("step-1", "Draw stills")
    assert at.note("draw-steps").inner_text() == "Steps is 0; give a number from 1 up."
    assert at.note("draw-steps").get_attribute("role") == "alert"
    steps = at.within("draw-steps").locator("input, textarea").first
    assert steps.get_attribute("aria-invalid") == "true"
    assert studio.queue.list().jobs == ()

    at.fill("draw-steps", STEPS)
    at.press("step-1", "Draw stills")
    at.within("stills").locator(".sm-pick").nth(1).wait_for()
    assert at.note("draw-steps").count() == 0
    assert at.within("stills").locator(".sm-pick img").count() == 2

    # By keyboard alone.
    second = at.within("stills").locator(".sm-pick").nth(1)
    second.focus()
    page.keyboard.press("Enter")
    page.locator("#sm-stills .is-chosen").wait_for()
    assert second.get_attribute("aria-pressed") == "true"
    prompt = at.within("animate-prompt").locator("textarea")
    assert prompt.input_value() == "a red balloon over green hills"

    at.fill("animate-prompt", "a red balloon rising over green hills")
    at.fill("animate-frames", "8")
    at.open_choices("step-3")
    at.fill("animate-steps", STEPS)
    at.fill("animate-seed", "3")
    at.press("step-3", "Animate")
    at.within("clips").locator(".sm-card").nth(1).wait_for()

    # A closed tab loses nothing.
    page.reload()
    at.within("clips").locator("video").wait_for()
    assert page.locator("#sm-stills .is-chosen").count() == 1
    at.open_choices("step-1")
    assert at.within("draw-steps").locator("input, textarea").first.input_value() == STEPS
    assert prompt.input_value() == "a red balloon rising over green hills"
    screenshot(page, "light")

    at.within("clips").get_by_text("Download", exact=True).click()
    for label, name in (("As made", "clip.mp4"), ("GIF", "clip.gif")):
        with page.expect_download() as started:
            at.within("clips").get_by_role("link", name=label).click()
        assert started.value.suggested_filename == name
        started.value.save_as(tmp_path / name)
        assert read_frames(tmp_path / name).frames.shape == (8, 64, 64, 3)
        assert read_provenance(tmp_path / name).seed == 3

    at.press("clips", "Show settings")
    assert '"seed": 3' in page.locator("#sm-settings pre").first.inner_text()
    at.press("settings", "Close")
    page.locator("#sm-settings pre").first.wait_for(state="detached")
    at.press("clips", "Use the last frame")
    at.within("stills").get_by_text("last frame of clip").wait_for()
    assert page.locator("#sm-stills .is-chosen").count() == 1


def test_the_queue_is_paused_changed_ordered_and_cancelled(at: Visit, studio: Studio) -> None:
    page = at.page
    at.press("queue", "Pause the queue")
    at.within("queue").get_by_text("The queue is paused").wait_for()
    at.open_choices("step-1")
    at.fill("draw-count", "2")
    at.fill("draw-seed", "50")
    at.press("step-1", "Draw stills")
    rows = page.locator("#sm-queue .sm-job.is-queued")
    rows.nth(1).wait_for()
    first, second = (job.id for job in studio.queue.waiting())

    rows.nth(1).get_by_role("button", name="Sooner").click()
    page.locator(f"#sm-queue .sm-job.is-queued:first-child #sm-queue-cancel-{second}").wait_for()
    assert [job.id for job in studio.queue.waiting()] == [second, first]

    page.locator(f"#sm-queue-edit-{first}").click()
    at.within("change-steps").locator("input, textarea").first.wait_for()
    at.fill("change-steps", "none")
    at.within("change-save").click()
    assert "give a whole number" in at.note("change-steps").inner_text()
    at.fill("change-steps", "3")
    at.within("change-save").click()
    at.within("change").wait_for(state="hidden")
    assert studio.queue.get(first).job["steps"] == 3

    for job in (first, second):
        page.locator(f"#sm-queue-cancel-{job}").click()
        page.locator(f"#sm-queue-retry-{job}").wait_for()
    at.press("queue", "Go on")
    page.locator("#sm-queue").get_by_text("0 running, 0 waiting").wait_for()
    assert studio.queue.waiting() == ()


def test_a_running_job_is_cancelled(at: Visit, studio: Studio) -> None:
    at.open_choices("step-1")
    at.fill("draw-count", "1")
    at.fill("draw-steps", "900")
    at.press("step-1", "Draw stills")
    at.page.locator("#sm-stills .sm-card.is-running .sm-bar").wait_for()
    at.page.locator("#sm-stills .sm-card.is-running").get_by_text("left").wait_for()
    at.press("stills", "Cancel")
    at.within("stills").get_by_role("button", name="Try again").wait_for()
    [job, *_] = studio.queue.list().jobs
    assert job.state == "cancelled"
    assert job.progress < 1


def test_a_bad_upload_is_told_beside_its_field_and_a_good_one_is_chosen(
    at: Visit, studio: Studio
) -> None:
    place = at.within("choose-still-id").locator("input[type=file]")
    bad = dict(refused_files())["png cut in the data"]
    for name, content in (("photo.png", bad), ("page.html", b"<script>alert(1)</script>")):
        place.set_input_files({"name": name, "mimeType": "image/png", "buffer": content})
        at.note("choose-still-id").wait_for()
        assert "picture" in at.note("choose-still-id").inner_text()
        at.press("step-3", "Animate")  # the sentence goes only when its own field is used
        at.note("animate-still-id").wait_for()
    assert not [a for a in Library(studio.library).list().artifacts if a.kind == "picture"
                and a.name == "picture.png"]  # fmt: skip
    good = {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": picture_bytes("JPEG", 64, 64)}
    place.set_input_files(good)
    at.page.locator("#sm-stills .is-chosen").wait_for()
    assert at.note("choose-still-id").count() == 0


def test_the_other_ways_tell_what_they_lack(at: Visit) -> None:
    page = at.page
    for tab, button, note in (
        ("Text-driven motion", "Animate along the text", "text-still-id"),
        ("Edit a clip", "Draw the clip", "edit-clip-id"),
        ("DynamiCrafter", "Animate with DynamiCrafter", "dynamicrafter-still-id"),
    ):
        page.get_by_role("tab", name=tab).click()
        page.get_by_role("button", name=button).click()
        at.note(note).wait_for()
        assert at.note(note).inner_text().endswith(".")


def test_every_field_has_a_name_and_can_be_reached(at: Visit) -> None:
    tabs = at.page.locator("#sm-step-3").get_by_role("tab")
    assert tabs.count() == 5
    for tab in tabs.all():
        tab.click()
        unnamed = at.page.evaluate(
            "[...document.querySelectorAll('input, textarea, select, button, video')]"
            ".filter(e => e.offsetParent && !(e.labels && e.labels.length) && !e.ariaLabel"
            " && !(e.innerText || '').trim() && !e.getAttribute('aria-labelledby') && !e.title)"
            ".map(e => e.outerHTML.slice(0, 160))"
        )
        assert unnamed == []
    tabs.first.click()
    at.within("draw-prompt").locator("textarea").focus()
    reached = set()
    for _ in range(40):
        reached.add(
            at.page.evaluate("document.activeElement.id || document.activeElement.innerText")
        )
        at.page.keyboard.press("Tab")
    assert {"sm-draw", "sm-animate"} <= reached


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling(browser: Browser, studio: Studio, scheme: str) -> None:
    context = browser.new_context(
        viewport=PHONE, color_scheme=scheme, has_touch=True, is_mobile=True,  # type: ignore[arg-type]
        device_scale_factor=2, reduced_motion="reduce",
    )  # fmt: skip
    at = visit(context, studio)
    page = at.page
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    assert page.evaluate("document.body.classList.contains('dark')") == (scheme == "dark")
    smallest = page.evaluate(
        "Math.min(...[...document.querySelectorAll('.sm-button, #sm-draw, #sm-animate')]"
        ".filter(e => e.offsetParent).map(e => e.getBoundingClientRect().height))"
    )
    assert smallest >= 40
    screenshot(page, f"phone-{scheme}", whole=False)
    at.check()
    context.close()


def test_the_colours_can_be_chosen_and_stay(at: Visit) -> None:
    page = at.page
    is_dark = "document.body.classList.contains('dark')"
    assert not page.evaluate(is_dark)
    page.get_by_label("Colours").select_option("dark")
    assert page.evaluate(is_dark)
    page.reload()
    at.within("queue").get_by_text("running").wait_for()
    assert page.evaluate(is_dark)
    assert page.get_by_label("Colours").input_value() == "dark"
    screenshot(page, "dark", whole=False)


def test_all_tabs_come_back_as_they_were_left(at: Visit) -> None:
    page = at.page
    at.open_choices("step-1")
    at.fill("draw-prompt", "a yellow star")
    at.fill("draw-seed", "11")
    open_way(at, "Animate")
    at.fill("animate-prompt", "it falls")
    at.fill("animate-frames", "9")
    at.within("animate-end").get_by_label("loop: ends").check()
    open_way(at, "Text-driven motion")
    at.fill("text-towards", "a blue star")
    at.fill("text-prompt-at", "2: a star\n4: a fish")
    open_way(at, "Edit a clip")
    at.fill("edit-prompt", "a fish")
    at.within("edit-control").get_by_label("its depth").check()
    page.get_by_role("tab", name="Story").click()
    at.fill("story-script", "title: none yet")
    open_way(at, "DynamiCrafter")
    at.fill("dynamicrafter-prompt", "it turns")
    at.fill("dynamicrafter-eta", "0.5")
    at.within("dynamicrafter-exact-first-frame").locator("input").uncheck()
    page.wait_for_timeout(300)

    page.reload()
    at.within("queue").get_by_text("running").wait_for()
    chosen = page.get_by_role("tab", name="DynamiCrafter")
    page.wait_for_function("tab => tab.ariaSelected === 'true'", arg=chosen.element_handle())
    holds(at, "dynamicrafter-prompt", "it turns")
    page.locator("#sm-step-3").get_by_text("More choices").locator("visible=true").click()
    holds(at, "dynamicrafter-eta", "0.5")
    assert not at.within("dynamicrafter-exact-first-frame").locator("input").is_checked()
    holds(at, "draw-prompt", "a yellow star")
    at.open_choices("step-1")
    holds(at, "draw-seed", "11")
    page.get_by_role("tab", name="Animate").click()
    holds(at, "animate-prompt", "it falls")
    holds(at, "animate-frames", "9")
    assert at.within("animate-end").get_by_label("loop: ends").is_checked()
    page.get_by_role("tab", name="Text-driven motion").click()
    holds(at, "text-towards", "a blue star")
    holds(at, "text-prompt-at", "2: a star\n4: a fish")
    page.get_by_role("tab", name="Edit a clip").click()
    holds(at, "edit-prompt", "a fish")
    assert at.within("edit-control").get_by_label("its depth").is_checked()
    page.get_by_role("tab", name="Story").click()
    holds(at, "story-script", "title: none yet")


@pytest.mark.slow
def test_logging_out_leaves_nothing_that_was_typed(context: BrowserContext, tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    token = add_token(file, "ada", admin=False, limits=TokenLimits())
    more = ("--token-file", str(file), "--workers", "0")
    with running(studio_command(tmp_path / "library", *more)) as server:
        page = context.new_page()

        def log_in() -> Visit:
            page.goto(server.address)
            page.get_by_label("token").fill(token)
            page.keyboard.press("Enter")
            at = Visit(page)
            at.within("queue").get_by_text("running").wait_for()
            return at

        at = log_in()
        at.fill("draw-prompt", "a secret")
        page.wait_for_timeout(300)
        page.reload()
        at.within("queue").get_by_text("running").wait_for()
        page.wait_for_function(
            "document.querySelector('#sm-draw-prompt textarea').value === 'a secret'"
        )
        page.get_by_role("button", name="Log out").click()
        page.get_by_label("token").wait_for()
        at = log_in()
        page.wait_for_timeout(500)
        holds(at, "draw-prompt", "a red balloon over green hills")
