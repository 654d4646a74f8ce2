"""Every way of making a clip, from the page to a finished clip on the disk, with the miniature."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.browser.visits import (
    Studio,
    Visit,
    drawn_stills,
    made_clip,
    open_way,
    screenshot,
)
from tests.media.samples import moving_disc

from stillmotion.client.connection import Client
from stillmotion.media.clips import read_provenance
from stillmotion.media.images import load_image
from stillmotion.queueing.library import Library

pytest.importorskip("gradio", reason="needs the extra studio: pip install 'stillmotion[studio]'")
pytestmark = pytest.mark.browser

FRAMES, STEPS = 6, "2"
Frames = NDArray[np.uint8]


def apart(one: Frames, other: Frames) -> float:
    """Mean difference of two pictures, 0 to 255."""
    return float(np.abs(one.astype(np.float64) - other).mean())


def newest(studio: Studio, kind: str) -> Frames:
    """The pixels of the newest still or picture in the library."""
    library = Library(studio.library)
    found = next(a for a in library.list().artifacts if a.kind == kind)
    return load_image(library.path(found.id))


def gradient_picture() -> bytes:
    y, x = np.mgrid[0:64, 0:64]
    pixels = np.stack([x * 2 + 60, y * 2 + 60, 200 - x - y], -1).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def animation(frames: Frames) -> bytes:
    pages = [Image.fromarray(frame).resize((64, 64)) for frame in frames]
    buffer = io.BytesIO()
    pages[0].save(buffer, format="GIF", save_all=True, append_images=pages[1:], duration=125)
    return buffer.getvalue()


def test_the_miniature_is_ready_when_the_studio_opens(at: Visit) -> None:
    at.within("queue").get_by_text("The miniature is ready.").wait_for()


@pytest.mark.parametrize(
    ("end", "frames"),
    [("loop: ends", FRAMES), pytest.param("seamless", FRAMES - 1, marks=pytest.mark.slow)],
)
def test_a_loop_ends_with_its_still(
    at: Visit, studio: Studio, tmp_path: Path, end: str, frames: int
) -> None:
    drawn_stills(at, steps=STEPS)
    open_way(at, "Animate")
    at.fill("animate-frames", str(FRAMES))
    at.within("animate-end").get_by_label(end).check()
    at.press("step-3", "Animate")
    made = made_clip(at, tmp_path)
    screenshot(at.page, f"flow-{end.split(':')[0]}")
    assert made.shape == (frames, 64, 64, 3)
    still = newest(studio, "still")
    assert apart(made[0], still) < 6
    if frames == FRAMES:
        assert apart(made[-1], made[0]) < 3
    assert max(apart(frame, made[0]) for frame in made) > 6  # it does move between


def test_a_clip_ends_with_the_picture_that_was_dropped_in(
    at: Visit, studio: Studio, tmp_path: Path
) -> None:
    drawn_stills(at, steps=STEPS)
    open_way(at, "Animate")
    at.fill("animate-frames", str(FRAMES))
    at.within("animate-end").get_by_label("another picture").check()
    at.press("step-3", "Animate")
    at.note("animate-end-id").wait_for()
    assert at.note("animate-end-id").inner_text().startswith("Choose the picture")
    place = at.within("animate-end-id").locator("input[type=file]")
    place.set_input_files(
        {"name": "end.png", "mimeType": "image/png", "buffer": gradient_picture()}
    )
    at.within("stills").get_by_text("Ends the clip").wait_for()
    at.press("step-3", "Animate")
    made = made_clip(at, tmp_path)
    screenshot(at.page, "flow-end")
    assert made.shape == (FRAMES, 64, 64, 3)
    assert apart(made[0], newest(studio, "still")) < 6
    assert apart(made[-1], newest(studio, "picture")) < 6
    assert at.within("clips").get_by_text("The end", exact=True).is_visible()


def test_text_along_the_clip(at: Visit, tmp_path: Path) -> None:
    drawn_stills(at, steps=STEPS)
    open_way(at, "Text-driven motion")
    at.fill("text-prompt", "a red balloon over green hills")
    at.fill("text-frames", str(FRAMES))
    at.fill("text-prompt-at", "a blue balloon")
    at.press("step-3", "Animate along the text")
    at.note("text-prompt-at").wait_for()
    assert "no text at a frame" in at.note("text-prompt-at").inner_text()
    at.fill("text-prompt-at", "3: a blue balloon over green hills")
    at.press("step-3", "Animate along the text")
    made = made_clip(at, tmp_path)
    screenshot(at.page, "flow-text")
    assert made.shape == (FRAMES, 64, 64, 3)
    record = read_provenance(tmp_path / "clip.mp4")
    assert record.settings["prompts"] == {
        "0": "a red balloon over green hills", "3": "a blue balloon over green hills",
    }  # fmt: skip


@pytest.mark.slow
def test_a_clip_is_drawn_anew_from_a_chosen_first_frame(
    at: Visit, studio: Studio, tmp_path: Path
) -> None:
    open_way(at, "Edit a clip")
    clip = animation(moving_disc(FRAMES))
    place = at.within("edit-clip-id").locator("input[type=file]")
    place.set_input_files({"name": "disc.gif", "mimeType": "image/gif", "buffer": clip})
    at.page.get_by_role("list", name="The clip").first.wait_for()
    at.fill("edit-prompt", "a red balloon over green hills")
    at.fill("edit-steps", STEPS)
    at.page.get_by_role("button", name="Draw first frames").click()
    at.within("stills").locator(".sm-pick").first.click()
    at.page.get_by_text("It begins with the still").wait_for()
    at.page.get_by_role("button", name="Draw the clip").click()
    made = made_clip(at, tmp_path)
    screenshot(at.page, "flow-edit")
    assert made.shape == (FRAMES, 64, 64, 3)
    assert apart(made[0], newest(studio, "still")) < 6
    assert at.within("clips").get_by_text("The clip before").is_visible()
    assert at.within("clips").locator("img[alt='The clip before']").count() == 1

    # What was taken in is there again, too.
    at.page.reload()
    at.within("clips").get_by_text("The clip before").wait_for()
    at.page.get_by_text("It begins with the still").wait_for()


@pytest.mark.slow
def test_dynamicrafter_moves_any_picture(at: Visit, studio: Studio, tmp_path: Path) -> None:
    place = at.within("choose-still-id").locator("input[type=file]")
    place.set_input_files(
        {"name": "photo.png", "mimeType": "image/png", "buffer": gradient_picture()}
    )
    at.page.locator("#sm-stills .is-chosen").wait_for()
    open_way(at, "DynamiCrafter")
    at.fill("dynamicrafter-prompt", "a red balloon rising over green hills")
    at.fill("dynamicrafter-frames", str(FRAMES))
    at.fill("dynamicrafter-steps", "2")
    at.within("dynamicrafter-format").locator("input").click()
    at.page.get_by_role("option", name="GIF").click()
    at.press("step-3", "Animate with DynamiCrafter")
    made = made_clip(at, tmp_path, "MP4")
    screenshot(at.page, "flow-dynamicrafter")
    assert made.shape == (FRAMES, 64, 64, 3)
    assert apart(made[0], newest(studio, "picture")) < 8  # through a GIF and H.264
    assert read_provenance(tmp_path / "clip.mp4").method == "dynamicrafter"


def test_other_steps_than_the_stills_are_told_beside_their_field(at: Visit, studio: Studio) -> None:
    drawn_stills(at, steps=STEPS)
    before = len(studio.queue.list().jobs)
    open_way(at, "Animate")
    at.fill("animate-steps", "9")
    at.press("step-3", "Animate")
    at.note("animate-steps").wait_for()
    said = at.note("animate-steps").inner_text()
    assert said.startswith(f"'still.png' was drawn in {STEPS} steps, and its latents fit no other")
    assert "leave out “Steps”" in said
    assert len(studio.queue.list().jobs) == before


@pytest.mark.slow
def test_a_story_with_its_chapters_and_the_scores_of_its_film(
    at: Visit, studio: Studio, tmp_path: Path
) -> None:
    drawn_stills(at, steps=STEPS)
    at.page.get_by_role("tab", name="Story").click()
    at.fill("story-script", "shots:\n  - draw: a star\n    frames: 0\n")
    at.press("step-3", "Make the film")
    at.note("story-script").wait_for()
    assert "shot 1: frames is 0" in at.note("story-script").inner_text()
    script = (
        "title: Two flights\ndefaults: {frames: 4, steps: 2}\nshots:\n"
        "  - image: still\n    title: Up\n"
        "  - continue: true\n    title: Further\n    prompt: a balloon\n"
    )
    at.fill("story-script", script)
    at.press("step-3", "Make the film")
    made = made_clip(at, tmp_path)
    assert made.shape == (7, 64, 64, 3)  # the frame that both shots have is there once
    chapters = at.within("clips").get_by_role("list", name="Chapters")
    assert chapters.inner_text().split("\n") == ["0:00.0 Up", "0:00.5 Further"]
    with at.page.expect_download() as started:
        at.within("clips").get_by_role("link", name="film.chapters.vtt").click()
    assert started.value.suggested_filename == "film.chapters.vtt"
    screenshot(at.page, "flow-story")

    library = Library(studio.library)
    found = library.list().artifacts
    film = next(a for a in found if a.kind == "clip")
    still = next(a for a in found if a.kind == "still")
    job = {"kind": "evaluate", "clips": [{"artifact": film.id}], "still": {"artifact": still.id}}
    Client(studio.address.removesuffix("/studio/")).submit(job)
    row = at.within("queue").locator(".sm-job.is-done", has_text="Scores").first
    row.get_by_role("button", name="Show").click()
    table = at.within("clips").get_by_role("group", name="Scores")
    table.get_by_role("rowheader", name="I1-PSNR").wait_for()
    screenshot(at.page, "flow-scores")
    assert at.within("history").get_by_text("Scores").first.is_visible()
