"""Clips of a manifest become exactly the frames that were drawn."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.coded_clips import (
    SETTINGS,
    coded,
    generator,
    numbers_of,
    write_clip,
    write_manifest,
    write_timed,
)

from stillmotion.errors import InputError
from stillmotion.training.clips.files import open_clips
from stillmotion.training.clips.samples import ClipSample, ClipSettings, to_video
from stillmotion.training.clips.timing import excerpt


def sample_of(folder: Path, clip: str, seed: int = 0, **fields: object) -> ClipSample:
    manifest = write_manifest(folder / "m.jsonl", [{"path": clip, "caption": "a ball", **fields}])
    return open_clips(manifest, SETTINGS).sample(0, generator(seed))


@pytest.mark.parametrize("name", ["clip.mp4", "clip.webm", "clip.webp", "clip.safetensors", "clip"])
def test_the_frames_are_those_that_were_drawn(tmp_path: Path, name: str) -> None:
    write_clip(tmp_path / name, 100, fps=24)
    for seed in range(4):
        drawn = excerpt(100, SETTINGS, generator(seed))
        sample = sample_of(tmp_path, name, seed)
        assert sample.frames.dtype == torch.uint8
        assert sample.frames.shape == (16, 3, 32, 64)
        assert numbers_of(sample.frames) == [drawn.start + drawn.stride * k for k in range(16)]
        assert sample.frame_stride == drawn.stride
        assert sample.conditioning_fps == 24 // drawn.stride
        assert (sample.caption, sample.name, sample.licence) == ("a ball", name, None)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_an_uneven_clip_is_read_by_presentation_time(tmp_path: Path, name: str) -> None:
    # Half a second at 10 frames per second, then two seconds at 30.
    ticks = [*range(0, 15, 3), *range(15, 75)]
    write_timed(tmp_path / name, ticks, Fraction(1, 30))
    manifest = write_manifest(
        tmp_path / "m.jsonl", [{"path": name, "caption": "a ball", "fps": 30}]
    )
    settings = ClipSettings(height=32, width=64, num_frames=75)
    sample = open_clips(manifest, settings).sample(0, generator())
    shown = [max(k for k, tick in enumerate(ticks) if tick <= step) for step in range(75)]
    assert numbers_of(sample.frames) == shown
    assert (sample.frame_stride, sample.conditioning_fps) == (1, 30)


def test_the_pace_of_an_uneven_clip_is_its_average(tmp_path: Path) -> None:
    ticks = [*range(0, 15, 3), *range(15, 75)]  # 64 intervals in 74 / 30 s: 25.9 per second
    write_timed(tmp_path / "clip.mp4", ticks, Fraction(1, 30))
    manifest = write_manifest(tmp_path / "m.jsonl", [{"path": "clip.mp4", "caption": "a ball"}])
    settings = ClipSettings(height=32, width=64, max_stride=1)
    assert open_clips(manifest, settings).sample(0, generator()).conditioning_fps == 25


def test_only_the_named_part_is_used(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4", 100, fps=20)
    seen = set()
    for seed in range(12):
        seen |= set(numbers_of(sample_of(tmp_path, "clip.mp4", seed, start=1, end=2.5).frames))
    assert min(seen) == 20
    assert max(seen) == 49


def test_frames_cover_the_size_and_keep_their_shape(tmp_path: Path) -> None:
    """A tall picture in a wide frame: its middle, without bars and without squeezing."""
    tall = np.zeros((16, 96, 48, 3), np.uint8)
    tall[:, 36:60, 12:36] = 255  # a white square in the middle
    tall[:, :12], tall[:, -12:] = (255, 0, 0), (255, 0, 0)  # what is cut away
    path = tmp_path / "clip.safetensors"
    write_frames(path, tall)
    manifest = write_manifest(tmp_path / "m.jsonl", [{"path": path.name, "caption": "a square"}])
    frames = open_clips(manifest, ClipSettings(height=24, width=24)).sample(0, generator()).frames
    assert frames.shape == (16, 3, 24, 24)
    white = (frames[0] > 128).all(0)
    rows, columns = white.nonzero().T
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (6, 17, 6, 17)
    red_only = (frames[0, 0] > 128) & (frames[0, 1] < 128)
    assert not red_only.any()


def write_frames(path: Path, frames: np.ndarray) -> None:
    from safetensors.torch import save_file

    save_file({"frames": torch.tensor(frames)}, path)


def test_videos_as_the_networks_take_them() -> None:
    frames = torch.tensor(coded([0, 255, 3])).permute(0, 3, 1, 2)
    video = to_video(frames)
    assert video.shape == (3, 3, 32, 64)
    assert video.dtype == torch.float32
    assert (video.min(), video.max()) == (-1, 1)
    assert (video[:, 1] == 1).all()
    assert to_video(frames[None]).shape == (1, 3, 3, 32, 64)
    assert torch.equal(to_video(frames[None])[0], video)


def test_a_clip_that_is_too_short_is_named(tmp_path: Path) -> None:
    write_clip(tmp_path / "short.mp4", 9)
    with pytest.raises(InputError, match=r"^m\.jsonl, line 1: the clip has 9 frames and a sample"):
        sample_of(tmp_path, "short.mp4")


def test_a_missing_clip_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^m\.jsonl, line 1: There is no clip '.*gone\.mp4'"):
        sample_of(tmp_path, "gone.mp4")


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.9])
def test_a_cut_clip_is_named(tmp_path: Path, keep: float) -> None:
    content = write_clip(tmp_path / "whole.mp4", 40).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: int(keep * len(content))])
    with pytest.raises(InputError, match=r"^m\.jsonl, line 1: '.*cut\.mp4' "):
        sample_of(tmp_path, "cut.mp4")


def test_other_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "zeros.mp4").write_bytes(bytes(100))
    (tmp_path / "clip.xyz").write_text("no clip")
    for name, said in [("zeros.mp4", "damaged or no video"), ("clip.xyz", "no known kind of clip")]:
        with pytest.raises(InputError, match=rf"^m\.jsonl, line 1: .*{said}"):
            sample_of(tmp_path, name)


def test_unusable_clips_are_replaced_always_by_the_same(tmp_path: Path) -> None:
    for number in range(3):
        write_clip(tmp_path / f"{number}.safetensors", 20, first=60 * number)
    names = ["0.safetensors", "gone.mp4", "1.safetensors", "2.safetensors"]
    manifest = write_manifest(
        tmp_path / "m.jsonl", [{"path": name, "caption": name} for name in names]
    )
    plain = open_clips(manifest, SETTINGS)
    skipping = open_clips(manifest, SETTINGS, skip_damaged=True)
    replaced = set()
    for seed in range(12):
        first, again = (skipping.sample(1, generator(seed)) for _ in range(2))
        assert torch.equal(first.frames, again.frames)
        assert first.name == again.name != "gone.mp4"
        assert len(first.skipped) >= 1
        assert first.skipped[0].startswith("m.jsonl, line 2: There is no clip")
        replaced.add(first.name)
        usable = skipping.sample(2, generator(seed))
        assert usable.skipped == ()
        assert torch.equal(usable.frames, plain.sample(2, generator(seed)).frames)
    assert replaced == set(names) - {"gone.mp4"}


def test_a_source_without_any_usable_clip_is_refused(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "m.jsonl", [{"path": "gone.mp4", "caption": "a ball"}])
    with pytest.raises(InputError, match=r"32 clips in a row .* the last one: m\.jsonl, line 1"):
        open_clips(manifest, SETTINGS, skip_damaged=True).sample(0, generator())
