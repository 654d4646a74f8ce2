"""What each format promises beyond the frames, and what other programs make of it."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.media.samples import moving_disc, noise, provenance, psnr

from stillmotion.media.clips import load_clip, save_clip
from stillmotion.media.provenance import Provenance


def test_gif_shows_its_frames_at_the_right_time(tmp_path: Path) -> None:
    save_clip(moving_disc(25), tmp_path / "clip.gif", fps=24, provenance=provenance())
    with Image.open(tmp_path / "clip.gif") as picture:
        assert picture.info["loop"] == 0
        durations = []
        for index in range(picture.n_frames):
            picture.seek(index)
            durations.append(picture.info["duration"])
    assert len(durations) == 25
    assert set(durations) == {40, 50}
    for index, shown in enumerate(itertools.accumulate(durations), start=1):
        assert abs(shown - 1000 * index / 24) <= 5


def own_palettes(gif: bytes) -> list[bool]:
    """Whether each picture of a GIF has a colour table of its own, from the bytes."""

    def after_table(position: int, flags: int) -> int:
        return position + (3 << (flags & 7) + 1 if flags & 0x80 else 0)

    position, found = after_table(13, gif[10]), []
    while gif[position] != 0x3B:  # the trailer
        if gif[position] == 0x2C:  # a picture: descriptor, colour table, code size
            flags = gif[position + 9]
            found.append(bool(flags & 0x80))
            position = after_table(position + 10, flags) + 1
        else:  # an extension: introducer, label
            position += 2
        while gif[position]:  # sub-blocks
            position += gif[position] + 1
        position += 1
    return found


def test_gif_has_one_palette(tmp_path: Path) -> None:
    save_clip(moving_disc(6), tmp_path / "clip.gif", provenance=provenance())
    assert own_palettes((tmp_path / "clip.gif").read_bytes()) == [False] * 6


def test_gif_of_few_colours_is_exact(tmp_path: Path) -> None:
    blocks = noise(4, 8, 8, 1) // 64 * 80
    frames = np.concatenate([blocks, 255 - blocks, blocks // 2], axis=3).repeat(3, 1).repeat(3, 2)
    save_clip(frames, tmp_path / "clip.gif", provenance=provenance())
    assert np.array_equal(load_clip(tmp_path / "clip.gif").frames, frames)


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffprobe is not installed")
@pytest.mark.parametrize(("name", "codec"), [("clip.mp4", "h264"), ("clip.webm", "vp9")])
def test_ffprobe_agrees(name: str, codec: str, tmp_path: Path) -> None:
    save_clip(moving_disc(12, 31, 45), tmp_path / name, fps=24, provenance=provenance(), scale=3)
    command = ["ffprobe", "-v", "error", "-of", "json", "-count_frames"]
    answer = subprocess.run(
        [*command, "-show_streams", "-show_format", str(tmp_path / name)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert answer.stderr == ""
    probe = json.loads(answer.stdout)
    (stream,) = probe["streams"]
    assert stream["codec_name"] == codec
    assert stream["pix_fmt"] == "yuv420p"
    assert (stream["width"], stream["height"]) == (136, 94)
    assert stream["r_frame_rate"] == "24/1"
    assert stream["nb_read_frames"] == "12"
    assert float(probe["format"]["duration"]) == pytest.approx(0.5, abs=0.002)
    assert stream["color_range"] == "tv"
    assert {stream[f"color_{part}"] for part in ("space", "transfer", "primaries")} == {"bt709"}
    tags = {key.lower(): value for key, value in probe["format"]["tags"].items()}
    assert Provenance.from_json(tags["comment"]).prompt == provenance().prompt
    assert "creation_time" not in tags


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize("name", ["clip.mp4", "clip.webm", "clip.gif"])
def test_ffmpeg_decodes_the_same_frames(name: str, tmp_path: Path) -> None:
    frames = moving_disc(5, 64, 64)
    save_clip(frames, tmp_path / name, fps=8, provenance=provenance())
    command = ["ffmpeg", "-v", "error", "-i", str(tmp_path / name)]
    answer = subprocess.run(
        [*command, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], check=True, capture_output=True
    )
    decoded = np.frombuffer(answer.stdout, dtype=np.uint8).reshape(frames.shape)
    assert psnr(decoded, frames) > 27
    assert np.abs((decoded.astype(float) - frames).mean(axis=(0, 1, 2))).max() < 3


def test_mp4_starts_with_its_index(tmp_path: Path) -> None:
    save_clip(moving_disc(), tmp_path / "clip.mp4", provenance=provenance())
    data = (tmp_path / "clip.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
