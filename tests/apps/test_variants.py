"""`stillmotion animate`: several clips of one still, and machines with little memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.apps.conftest import Run, check_refused, copy_still, files, save_picture
from torch import Tensor

from stillmotion import load_clip
from stillmotion.media.clips import read_provenance
from stillmotion.media.images import load_image
from stillmotion.media.tensors import load_latents
from stillmotion.models.decoding import DecodeMemoryError, decode

FAST = ("--frames", "2", "-q")
kept_loaded = pytest.mark.usefixtures("loaded_once")


@kept_loaded
@pytest.mark.parametrize("ending", [".webp", ".mp4", ""])
def test_each_is_the_clip_of_its_seed_alone(ending: str, run: Run, here: Path, still: Path) -> None:
    command = ("animate", still, "-o", f"a{ending}", "--count", "2", "--seed", "5", "--json")
    facts = run(*command, *FAST).facts
    assert [clip["path"] for clip in facts["clips"]] == [f"a-1{ending}", f"a-2{ending}"]
    assert [clip["seed"] for clip in facts["clips"]] == [5, 6]
    assert facts["path"] == f"a-1{ending}"
    assert {path.name for path in here.iterdir()} == {
        f"a-{i}{ending}{more}" for i in (1, 2) for more in ("", ".json")
    }
    assert run("animate", still, "-o", f"b{ending}", "--seed", "6", *FAST).code == 0
    assert files(Path(f"a-2{ending}")) == files(Path(f"b{ending}"))
    assert read_provenance(f"a-2{ending}").seed == 6


@kept_loaded
def test_words_for_people_and_progress(run: Run, here: Path, still: Path) -> None:
    command = ("animate", still, "-o", "a.gif", "--count", "2", "--seed", "5", "--frames", "2")
    done = run(*command)
    assert [line.split(";")[0] for line in done.out.splitlines()] == [
        "a-1.gif  (2 frames, seed 5",
        "a-2.gif  (2 frames, seed 6",
    ]
    assert done.err.splitlines()[-1] == "animate 4/4"


@kept_loaded
def test_of_a_recorded_clip(run: Run, here: Path, still: Path) -> None:
    assert run("animate", still, "--seed", "5", "-o", "a.gif", *FAST).code == 0
    assert run("animate", "--from", "a.gif", "--count", "2", "-o", "b.gif", "-q").code == 0
    assert Path("a.gif").read_bytes() == Path("b-1.gif").read_bytes()
    assert read_provenance("b-2.gif").seed == 6


@kept_loaded
def test_an_inversion_serves_all(run: Run, here: Path) -> None:
    save_picture(here / "p.png", 64, 64)
    invert = ("animate", "p.png", "a cat", "--trajectory", "inversion", "--steps", "3", *FAST)
    assert run(*invert, "-o", "a.gif", "--count", "2", "--seed", "5").code == 0
    assert run(*invert, "-o", "b.gif", "--seed", "6").code == 0
    assert Path("a-2.gif").read_bytes() == Path("b.gif").read_bytes()


@kept_loaded
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-o", "a.gif", "--count", "2"], "'a-2.gif' exists already"),
        (["-o", "b.gif", "--count", "2"], "'b-2.gif.json' exists already"),
        (["-o", "dotted.frames", "--count", "2"], "unknown ending '.frames'"),
        (["-o", "c.gif", "--count", "0"], "Invalid value for '--count'"),
        (["-o", "c.gif", "--count", "2", "--seed", str(2**63 - 1)], "The seed is 9223372036854"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_written(
    options: list[str], said: str, run: Run, here: Path, still: Path
) -> None:
    for name in ("a-2.gif", "b-2.gif.json"):
        (here / name).write_text("precious")
    (here / "dotted.frames").mkdir()
    check_refused(run, here, said, "animate", still, *options)


@kept_loaded
def test_a_lean_plan_makes_nearly_the_same(run: Run, here: Path, still: Path) -> None:
    for plan in ("full", "lean"):
        options = ("--memory", plan, "--seed", "5", "-o", f"{plan}.webp")
        assert run("animate", still, *options, *FAST).code == 0
    full, lean = (load_clip(f"{plan}.webp").frames.astype(int) for plan in ("full", "lean"))
    assert np.abs(full - lean).max() <= 2


def test_a_tiny_plan_takes_the_latents_of_the_still(run: Run, here: Path, still: Path) -> None:
    """With weights in 8 bits the model is not the one that drew the still, but nearly."""
    options = ("--memory", "tiny", "--seed", "5", "-o", "tiny.webp")
    done = run("animate", still, *options, *FAST, "--json")
    assert not done.facts["photograph"]
    assert done.facts["first_frame_is_the_still"]
    again = run("animate", "--from", "tiny.webp", "-o", "again.webp", "-q")
    assert again.err == ""
    tiny, full = (load_clip(name).frames.astype(int) for name in ("tiny.webp", "again.webp"))
    assert 0 < np.abs(tiny[1] - full[1]).mean() < 10


def fails_at(call: int) -> Any:
    """`decode`, for which there is not enough memory from the given call on."""
    calls = 0

    def decode_or_fail(vae: Any, latents: Tensor, *options: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls >= call:
            raise DecodeMemoryError(latents)
        return decode(vae, latents, *options, **more)

    return decode_or_fail


@kept_loaded
def test_what_cannot_be_decoded_is_kept(
    run: Run, here: Path, still: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = copy_still(still, here)
    before = {path: path.read_bytes() for path in here.iterdir()}
    command = ("animate", own, "-o", "plain.gif", "--seed", "5", *FAST)
    with monkeypatch.context() as patch:
        patch.setattr("stillmotion.animatezero.runner.decode", fails_at(1))
        for name in ("plain.gif.latents.safetensors", "plain.gif.latents-2.safetensors"):
            failed = run(*command).error
            assert f"the latents were kept in '{name}'" in failed
            assert "not enough memory to decode" in failed
    assert {path: path.read_bytes() for path in before} == before
    kept = Path("plain.gif.latents.safetensors")
    assert load_latents(kept).shape[:3:2] == (1, 1)  # frame 1 is the still, which needs no decoding
    assert not Path("plain.gif").exists()
    # Where there is more memory, the record that lies with them makes the clip.
    assert run("animate", "--from", kept, "-o", "a.gif", "-q").code == 0
    assert run(*command).code == 0
    assert Path("a.gif").read_bytes() == Path("plain.gif").read_bytes()


@kept_loaded
def test_the_clips_before_stay(
    run: Run, here: Path, still: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stillmotion.animatezero.runner.decode", fails_at(2))
    failed = run("animate", still, "-o", "a.gif", "--count", "3", "--seed", "5", *FAST).error
    assert "'a-2.gif.latents.safetensors'" in failed
    assert {path.name for path in here.iterdir()} == {
        "a-1.gif", "a-1.gif.json", "a-2.gif.latents.safetensors",
    }  # fmt: skip
    assert read_provenance("a-2.gif.latents.safetensors").seed == 6
    assert load_clip("a-1.gif").frames.shape == (2, *load_image(still).shape)
