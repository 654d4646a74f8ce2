"""`stillmotion animate`: how much moves, how smoothly, and for how long."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.apps.conftest import PLAIN, Run, check_refused

from stillmotion import load_clip
from stillmotion.apps.cli import main
from stillmotion.media.clips import read_provenance
from stillmotion.media.images import load_image

pytestmark = pytest.mark.usefixtures("loaded_once")
COMMAND = ("-o", "a.webp", "--frames", "3", "--seed", "1")
FAST = (*COMMAND, "-q")


@pytest.fixture(scope="module")
def plain(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clip without any of these options."""
    path = tmp_path_factory.mktemp("plain") / "plain.webp"
    with pytest.raises(SystemExit) as end:
        main(["animate", str(drawn / PLAIN), *FAST[2:], "-o", str(path)])
    assert end.value.code == 0
    return path


def recorded_control(path: str) -> dict[str, Any]:
    control = read_provenance(path).settings["control"]
    assert isinstance(control, dict)
    return control


@pytest.mark.parametrize(
    ("options", "recorded"),
    [
        (["--motion-strength", "0"], {"motion_strength": 0.0}),
        (["--motion-strength", "2"], {"motion_strength": 2.0}),
        (["--drift-correction", "off"], {"drift_correction": False}),
        (["--window-length", "2"], {"window_length": 2}),
        (["--time-travel", "2"], {"time_travel": {"repeats": 2, "start": 0.4, "stop": 0.8}}),
        (
            ["--time-travel", "2", "--time-travel-window", "0:2"],
            {"time_travel": {"repeats": 2, "start": 0, "stop": 2}},
        ),
    ],
)
def test_each_is_recorded_and_makes_the_same_again(
    options: list[str], recorded: dict[str, Any], run: Run, here: Path, still: Path, plain: Path
) -> None:
    assert run("animate", still, *options, *FAST).err == ""
    assert recorded.items() <= recorded_control("a.webp").items()
    assert run("animate", still, "--from", "a.webp", "-o", "b.webp", "-q").err == ""
    assert Path("a.webp").read_bytes() == Path("b.webp").read_bytes()
    made = load_clip("a.webp").frames
    np.testing.assert_array_equal(made[0], load_image(still))
    assert (made[1:] != load_clip(plain).frames[1:]).any()


def test_time_travel_is_counted_and_can_be_taken_back(
    run: Run, here: Path, still: Path, plain: Path
) -> None:
    done = run("animate", still, "--time-travel", "3", *COMMAND)
    assert done.err.splitlines()[-1] == "animate 4/4"  # step 1 once, step 2 three times
    again = ("animate", still, "--from", "a.webp", "-q", "-o")
    assert run(*again, "b.webp", "--time-travel-window", "0:1").code == 0
    assert recorded_control("b.webp")["time_travel"] == {"repeats": 3, "start": 0, "stop": 1}
    assert run(*again, "c.webp", "--time-travel", "0").code == 0
    assert recorded_control("c.webp")["time_travel"] is None
    assert Path("c.webp").read_bytes() == plain.read_bytes()


def test_a_clip_longer_than_the_window(run: Run, here: Path, still: Path) -> None:
    done = run("animate", still, "-o", "a.webp", "--frames", "18", "--seed", "1", "-q", "--json")
    assert done.facts["num_frames"] == 18
    frames = load_clip("a.webp").frames
    np.testing.assert_array_equal(frames[0], load_image(still))
    assert all((before != after).any() for before, after in pairwise(frames))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--motion-strength", "3"], "Invalid value for '--motion-strength'"),
        (["--motion-strength", "nan"], "Invalid value for '--motion-strength'"),
        (["--drift-correction", "maybe"], "--drift-correction is 'maybe'; it can be on or off"),
        (["--time-travel", "-1"], "Invalid value for '--time-travel'"),
        (["--time-travel-window", "0:1"], "add --time-travel N"),
        *(
            (["--time-travel", "2", "--time-travel-window", window], said)
            for window, said in (
                ("half", "--time-travel-window is 'half'; give A:B"),
                ("0:1:2", "give A:B"),
                ("1:nan", "give A:B"),
                ("-1:2", "time_travel.start is -1"),
                ("0.2:1.5", "time_travel.stop is 1.5"),
                ("1:1", "reaches from step 1 to before step 1, where none of the 2 steps"),
                ("0.8:0.4", "give a start before the stop"),
                ("5:9", "and within the steps"),
            )
        ),
        (["--window-length", "0"], "Invalid value for '--window-length'"),
        (["--window-length", "33", "--frames", "40"], "give a window_length of at most 32"),
        (["--window", "uncorrected", "--frames", "17"], "need a window that slides"),
        (["--query-position", "own", "--frames", "17"], "num_frames is 17; more than 16"),
        (["--frames", "5000", "--scale", "8"], "choose a smaller scale or fewer frames"),
        (["--frames", "0"], "Invalid value for '--frames'"),
        (["--memory", "huge"], "memory is 'huge'; it can be auto, full, lean, small or tiny"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_written(
    options: list[str], said: str, run: Run, here: Path, still: Path
) -> None:
    check_refused(run, here, said, "animate", still, "-o", "a.gif", *options)
