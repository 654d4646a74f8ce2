"""`stillmotion animate`: last frames, loops, and texts that change along the clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.apps.conftest import HILLS, Run, check_refused, save_picture

from stillmotion import load_clip
from stillmotion.media.clips import read_provenance
from stillmotion.media.fit import fit_picture
from stillmotion.media.images import load_image
from stillmotion.media.tensors import load_latents

pytestmark = pytest.mark.usefixtures("loaded_once")
FAST = ("--frames", "3", "--seed", "1", "-q")
CITY = "a red balloon over a grey city"


def test_the_last_frame_is_met_exactly_and_its_words_too(
    run: Run, here: Path, still: Path, city: Path
) -> None:
    done = run("animate", still, "--last-frame", city, "-o", "a.safetensors", "--json", *FAST)
    assert done.err == ""
    assert done.facts["num_frames"] == 3
    assert done.facts["prompts"] == {"0": HILLS, "2": CITY}
    assert done.facts["first_frame_is_the_still"]
    assert done.facts["last_frame_is_the_still"]
    frames = load_clip("a.safetensors").frames
    assert load_latents(Path("a.safetensors")).shape[2] == len(frames) == 3
    np.testing.assert_array_equal(frames[0], load_image(still))
    np.testing.assert_array_equal(frames[-1], load_image(city))
    record = read_provenance("a.safetensors")
    assert [(given.role, given.name) for given in record.inputs] == [
        ("still", "plain.png"),
        ("last_frame", "city.png"),
    ]
    again = ("animate", "--from", "a.safetensors", "-o", "b.safetensors", "-q")
    check_refused(run, here, "ends with a picture ('city.png')", *again)
    assert run(*again, "--last-frame", city).code == 0
    assert Path("a.safetensors").read_bytes() == Path("b.safetensors").read_bytes()


def test_an_even_pace_can_be_switched_off_and_is_recorded(
    run: Run, here: Path, still: Path, city: Path
) -> None:
    command = ("animate", still, "--last-frame", city, *FAST)
    assert run(*command, "-o", "a.webp").code == 0
    assert run(*command, "-o", "b.webp", "--even-pace", "off").code == 0
    assert read_provenance("a.webp").settings["control"]["even_pace"] is True
    assert (load_clip("a.webp").frames[1] != load_clip("b.webp").frames[1]).any()
    assert run("animate", "--from", "b.webp", "--last-frame", city, "-o", "c.webp").code == 0
    assert Path("b.webp").read_bytes() == Path("c.webp").read_bytes()


def test_another_last_frame_is_told(run: Run, here: Path, still: Path, city: Path) -> None:
    command = ("--last-frame", city, "--even-pace", "off")
    assert run("animate", still, "-o", "a.gif", *command, *FAST).code == 0
    done = run("animate", "--from", "a.gif", "--last-frame", still, "-o", "b.gif", "-q")
    assert done.notes == ["'plain.png' is not the picture that 'a.gif' was made from"]


def test_loops(run: Run, here: Path, still: Path) -> None:
    """In other words than the still's own, which `--from` does not bring back."""
    command = ("animate", still, "a red balloon rising", *FAST)
    looped = run(*command, "--loop", "-o", "loop.safetensors", "--json").facts
    seamless = run(*command, "--seamless", "-o", "less.safetensors", "--json").facts
    loop, less = (load_clip(f"{name}.safetensors").frames for name in ("loop", "less"))
    assert (looped["num_frames"], seamless["num_frames"]) == (len(loop), len(less)) == (3, 2)
    np.testing.assert_array_equal(loop[0], loop[-1])
    np.testing.assert_array_equal(loop[:-1], less)
    for name, frames in (("loop", loop), ("less", less)):
        assert load_latents(Path(f"{name}.safetensors")).shape[2] == len(frames)
        again = f"{name}-again.safetensors"
        assert run("animate", "--from", f"{name}.safetensors", "-o", again, "-q").err == ""
        assert Path(f"{name}.safetensors").read_bytes() == Path(again).read_bytes()


def test_of_a_seamless_clip_the_whole_loop(run: Run, here: Path, still: Path) -> None:
    assert run("animate", still, "--seamless", "-o", "a.webp", *FAST).code == 0
    assert run("animate", "--from", "a.webp", "--loop", "-o", "b.webp", "-q").code == 0
    frames = load_clip("b.webp").frames
    np.testing.assert_array_equal(frames[:-1], load_clip("a.webp").frames)
    np.testing.assert_array_equal(frames[-1], load_image(still))


def test_words_for_people(run: Run, here: Path, still: Path, city: Path) -> None:
    command = ("animate", still, "--frames", "2", "--seed", "1", "-q")
    made = run(*command, "--last-frame", city, "-o", "a.gif")
    expected = "a.gif  (2 frames, seed 1; the first frame is the still, the last one is as given)\n"
    assert made.out == expected
    seamless = run(*command, "--seamless", "-o", "b.gif")
    assert seamless.out == "b.gif  (1 frame, seed 1; the first frame is the still)\n"


def test_a_photograph_at_the_end(run: Run, here: Path, still: Path) -> None:
    photo = save_picture(here / "p.png", 75, 100)
    command = ("animate", still, "-o", "a.webp", "--last-frame", photo, "--even-pace", "off")
    done = run(*command, *FAST)
    size, photograph = done.notes
    assert size.startswith("'p.png' has 100 x 75 pixels; the model takes it as 64 x 64, cut")
    assert photograph.startswith("'p.png' is animated as a photograph")
    expected, _ = fit_picture(load_image(photo), (64, 64))
    np.testing.assert_array_equal(load_clip("a.webp").frames[-1], expected)
    assert read_provenance("a.webp").settings["prompts"] is None
    again = run("animate", "--from", "a.webp", "--last-frame", photo, "-o", "b.webp", "-q")
    assert again.notes == done.notes
    assert Path("a.webp").read_bytes() == Path("b.webp").read_bytes()


def test_from_a_photograph_to_a_still_with_latents(run: Run, here: Path, city: Path) -> None:
    """The still's latents fit one number of steps only, which is taken for both."""
    photo = save_picture(here / "p.png", 100, 100)
    command = ("animate", photo, "a cat", "--last-frame", city, "--even-pace", "off")
    assert run(*command, "-o", "a.webp", *FAST).code == 0
    assert read_provenance("a.webp").settings["sampling"]["num_inference_steps"] == 2
    np.testing.assert_array_equal(load_clip("a.webp").frames[-1], load_image(city))


def test_stills_taken_as_photographs_are_so_again(
    run: Run, here: Path, still: Path, city: Path
) -> None:
    ends = (still, "--last-frame", city)
    done = run("animate", *ends, "--photograph", "--even-pace", "off", "-o", "a.webp", *FAST)
    assert "both pictures are animated as photographs" in done.notes[0]
    assert run("animate", *ends, "--from", "a.webp", "-o", "b.webp", "-q").code == 0
    assert Path("a.webp").read_bytes() == Path("b.webp").read_bytes()


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        (["--towards", "a red star"], {"0": HILLS, "2": "a red star"}),
        (
            ["--prompt-at", '2:"a red star"', "--prompt-at", "1: a cat"],
            {"0": HILLS, "1": "a cat", "2": "a red star"},
        ),
    ],
)
def test_texts_along_the_clip(
    options: list[str], texts: dict[str, str], run: Run, here: Path, still: Path
) -> None:
    facts = run("animate", still, "-o", "a.webp", *options, "--json", *FAST).facts
    assert facts["prompts"] == texts
    assert read_provenance("a.webp").prompt == texts["0"]
    assert run("animate", "--from", "a.webp", "-o", "b.webp", "-q").err == ""
    assert Path("a.webp").read_bytes() == Path("b.webp").read_bytes()
    assert run("animate", "--from", "a.webp", still, HILLS, "-o", "c.webp", "-q").code == 0
    assert read_provenance("c.webp").settings["prompts"] is None
    assert (load_clip("a.webp").frames != load_clip("c.webp").frames).any()


def test_a_text_at_the_first_frame_takes_the_place_of_the_prompt(
    run: Run, here: Path, still: Path
) -> None:
    facts = run("animate", still, "-o", "a.gif", "--prompt-at", "0:a cat", "--json", *FAST).facts
    assert facts["prompts"] == {"0": "a cat"}


def test_each_text_has_the_words_of_the_look(run: Run, here: Path, neon_still: Path) -> None:
    options = ("--towards", "a red star", "--json", *FAST)
    facts = run("animate", neon_still, "-o", "a.gif", *options).facts
    assert facts["prompts"] == {"0": f"neon, {HILLS}", "2": "neon, a red star"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--last-frame", "none.png"], "there is no 'none.png'"),
        (["--last-frame", "letter.txt"], "convert it first"),
        (["--last-frame", "letter.txt", "--loop"], "--last-frame ends the clip otherwise than"),
        (["--last-frame", "letter.txt", "--seamless"], "give one of them"),
        (["--loop", "--frames", "1"], "a first and a last frame make at least 2"),
        (["--loop", "--ablation", "a"], "needs insert_latents"),
        (["--loop", "--window", "uncorrected"], "needs the corrected window"),
        (["--loop", "--even-pace", "maybe"], "--even-pace is 'maybe'; it can be on or off"),
        (["--towards", "x", "--prompt-at", "1:y"], "--towards and --prompt-at"),
        (["--prompt-at", "3:x", "--frames", "3"], "given at frame 3, but the clip has the frames"),
        (["--prompt-at", "1:a", "--prompt-at", "1:b"], "gives frame 1 several texts"),
        *((["--prompt-at", text], "give FRAME:TEXT") for text in ("a cat", "-1:a", "1:", "1.5:a")),
    ],
)
def test_what_cannot_be_is_said_and_nothing_written(
    options: list[str], said: str, run: Run, here: Path, still: Path
) -> None:
    (here / "letter.txt").write_text("no picture")
    check_refused(run, here, said, "animate", still, "-o", "a.gif", *options)


def test_ends_that_do_not_fit(
    run: Run, here: Path, still: Path, neon_still: Path, tmp_path: Path
) -> None:
    other, slow = tmp_path / "wide.png", tmp_path / "slow.png"
    draw = ("draw", HILLS, "-q", "--steps")
    assert run(*draw, "2", "-o", other, "--width", "80").code == 0
    assert run(*draw, "3", "-o", slow).code == 0
    for last, said in (
        (neon_still, "'neon.png' was drawn by 'miniature@neon'"),
        (other, "'wide.png' was drawn in 80 x 64 pixels, but the first frame has 64 x 64; draw"),
        (slow, "'plain.png' was drawn in 2 steps and 'slow.png' in 3; draw both in equally"),
    ):
        check_refused(run, here, said, "animate", still, "--last-frame", last, "-o", "a.gif")
    flat, tall = (save_picture(tmp_path / f"{n}.png", *s) for n, s in
                  (("flat", (50, 120)), ("tall", (120, 50))))  # fmt: skip
    pad = ("animate", flat, "a cat", "-o", "a.gif", "--fit", "pad", "--last-frame")
    check_refused(run, here, "'flat.png' and 'tall.png' have different shapes", *pad, tall)
    check_refused(run, here, "has 112 x 48 with its padding", *pad, still)
