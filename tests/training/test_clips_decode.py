"""Frames by number, from files as cameras, cutters and accidents make them."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.coded_clips import (
    SETTINGS,
    generator,
    numbers_of,
    write_clip,
    write_copy,
    write_shard,
    write_timed,
)

from stillmotion.errors import InputError
from stillmotion.training.clips import decode
from stillmotion.training.clips.decode import Pixels, TimedFrames, opened_clip
from stillmotion.training.clips.files import open_clips


def same(frame: Pixels) -> Pixels:
    return frame


def shown(clip: TimedFrames, *numbers: int) -> list[int]:
    frames = np.stack(clip.frames(numbers, same))
    return numbers_of(torch.from_numpy(frames).permute(0, 3, 1, 2))


def test_every_frame_can_be_reached_from_the_key_frame_before_it(tmp_path: Path) -> None:
    path = write_timed(tmp_path / "clip.mp4", range(60), Fraction(1, 30), key_every=12)
    with opened_clip(path) as clip:
        assert list(clip.times) == [Fraction(number, 30) for number in range(60)]
        assert clip.declared_fps == 30
        for number in [*range(59, -1, -4), *range(60)]:
            assert shown(clip, number) == [number]
        assert shown(clip, 3, 3, 30, 59) == [3, 3, 30, 59]


def test_decoding_begins_at_the_key_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_timed(tmp_path / "clip.mp4", range(60), Fraction(1, 30), key_every=12)
    starts: list[int] = []
    decoded = decode._Video._decoded

    def noted(self: decode._Video, wanted: set[int], start: int, convert: decode.Convert) -> object:
        starts.append(start)
        return decoded(self, wanted, start, convert)

    monkeypatch.setattr(decode._Video, "_decoded", noted)
    with opened_clip(path) as clip:
        assert shown(clip, 50, 55) == [50, 55]
        assert [start * Fraction(1, 15360) for start in starts] == [Fraction(48, 30)]


@pytest.mark.parametrize("hidden", [5, 17, 30])
def test_what_an_edit_list_hides_is_no_part_of_the_clip(tmp_path: Path, hidden: int) -> None:
    """Clips that were cut without encoding them again begin between two key frames."""
    whole = write_timed(tmp_path / "whole.mp4", range(60), Fraction(1, 30))
    path = write_copy(
        whole, tmp_path / "cut.mp4", skip=Fraction(hidden, 30), avoid_negative_ts="disabled"
    )
    with opened_clip(path) as clip:
        assert len(clip.times) == 60 - hidden
        assert shown(clip, 9, 10) == [hidden + 9, hidden + 10]
        assert shown(clip, 0, 1) == [hidden, hidden + 1]


@pytest.mark.parametrize(
    ("name", "options"),
    [("live.mkv", {"live": "1"}), ("clip.mp4", {"movflags": "frag_keyframe+empty_moov"})],
)
def test_files_without_an_index_are_read_as_well(
    tmp_path: Path, name: str, options: dict[str, str]
) -> None:
    whole = write_timed(tmp_path / "whole.mp4", range(60), Fraction(1, 30))
    with opened_clip(write_copy(whole, tmp_path / name, **options)) as clip:
        assert len(clip.times) == 60
        for number in (50, 3, 30, 59, 0):
            assert shown(clip, number) == [number]


def test_what_is_beyond_the_end_is_not_listed(tmp_path: Path) -> None:
    path = write_timed(tmp_path / "clip.mp4", range(100), Fraction(1, 30))
    with opened_clip(path, end=1.0) as clip:
        assert 31 <= len(clip.times) < 40
        assert list(clip.times[:31]) == [Fraction(number, 30) for number in range(31)]


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_videos_are_turned_upright(tmp_path: Path, quarters: int) -> None:
    path = write_clip(tmp_path / "clip.mp4", 3)
    with opened_clip(path) as clip:
        plain = clip.frames([1], same)[0]
    # The matrix of the track's header: `quarters` quarter turns clockwise (ISO 14496-12, 8.3.2).
    cosine, sine = (1, 0, -1, 0)[quarters] << 16, (0, 1, 0, -1)[quarters] << 16
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 44
    content[at : at + 36] = struct.pack(">9i", cosine, sine, 0, -sine, cosine, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    with opened_clip(path) as clip:
        assert np.array_equal(clip.frames([1], same)[0], np.rot90(plain, -quarters))


def test_too_large_frames_are_refused_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_clip(tmp_path / "clip.mp4", 3)
    monkeypatch.setattr(decode, "MAX_PIXELS", 2000)
    monkeypatch.setattr(decode, "upright", lambda _: pytest.fail("a frame was converted"))
    with pytest.raises(InputError, match="64 x 32 pixels; at most 2000"), opened_clip(path):
        pass


def test_too_long_clips_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_clip(tmp_path / "clip.mp4", 12)
    monkeypatch.setattr(decode, "MAX_FRAMES", 10)
    with pytest.raises(InputError, match="more than 10 frames"), opened_clip(path):
        pass


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize("packed", [False, True])
def test_damage_is_an_input_error_or_does_no_harm(
    tmp_path: Path, suffix: str, packed: bool
) -> None:
    content = write_clip(tmp_path / f"whole{suffix}", 40).read_bytes()
    rng = np.random.default_rng(0)
    refused = usable = 0
    for case in range(24):
        spoilt = bytearray(content)
        if case % 3 == 0:
            del spoilt[int(rng.integers(len(content))) :]
        else:
            at = int(rng.integers(len(content) if case % 3 == 1 else 900))
            spoilt[at : at + 40] = rng.bytes(40)
        if packed:
            members = {f"0{suffix}": bytes(spoilt), "0.txt": b"a ball"}
            path = write_shard(tmp_path / "s.tar", members)
        else:
            (tmp_path / f"0{suffix}").write_bytes(spoilt)
            path = tmp_path / "m.csv"
            path.write_text(f"path,caption\n0{suffix},a ball\n")
        try:
            open_clips(path, SETTINGS).sample(0, generator())
        except InputError as error:
            refused += str(error).startswith(("s.tar, 0: ", "m.csv, line 2: "))
        else:
            usable += 1
    assert refused + usable == 24
    assert refused > 0 < usable
