"""Every clip format: what comes back and what it carries."""

from __future__ import annotations

import itertools
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.media.samples import ALL, EXACT, FILES, contents, moving_disc, noise, provenance, psnr

from stillmotion.errors import InputError, OutputError
from stillmotion.media.clips import load_clip, read_provenance, save_clip
from stillmotion.media.images import side_car_path
from stillmotion.media.provenance import Provenance
from stillmotion.media.tensors import load_latents


@pytest.mark.parametrize("name", EXACT)
def test_exact_formats_return_the_same_frames(name: str, tmp_path: Path) -> None:
    frames = noise(5, 33, 17, 3)
    save_clip(frames, tmp_path / name, fps=12.5, provenance=provenance())
    clip = load_clip(tmp_path / name)
    assert clip.frames.dtype == np.uint8
    assert np.array_equal(clip.frames, frames)
    assert clip.fps == 12.5


@pytest.mark.parametrize(("name", "least"), [("clip.mp4", 33), ("clip.webm", 33), ("clip.gif", 29)])
def test_lossy_formats_return_nearly_the_same_frames(
    name: str, least: float, tmp_path: Path
) -> None:
    frames = moving_disc(8, 128, 160)
    save_clip(frames, tmp_path / name, fps=24, provenance=provenance())
    clip = load_clip(tmp_path / name)
    assert clip.frames.shape == frames.shape
    assert clip.fps == 24
    assert psnr(clip.frames, frames) > least
    bias = (clip.frames.astype(float) - frames).mean(axis=(0, 1, 2))
    assert np.abs(bias).max() < 0.35  # a wrong matrix, range or chroma position exceeds this


@pytest.mark.parametrize("name", ["clip.mp4", "clip.webm"])
@pytest.mark.parametrize("colour", list(itertools.product((16, 235), repeat=3)))
def test_video_keeps_flat_colours(name: str, colour: tuple[int, ...], tmp_path: Path) -> None:
    frames = np.full((2, 32, 32, 3), colour, dtype=np.uint8)
    save_clip(frames, tmp_path / name, provenance=provenance("x"))
    error = load_clip(tmp_path / name).frames.astype(int) - frames
    assert np.abs(error).max() <= 3


@pytest.mark.parametrize("name", ALL)
def test_the_provenance_is_inside_and_beside(name: str, tmp_path: Path) -> None:
    path, given_record = tmp_path / name, provenance()
    assert len(given_record.prompt.encode()) > 5000
    save_clip(moving_disc(), path, fps=10, provenance=given_record)
    beside = Provenance.from_json(side_car_path(path).read_text())
    side_car_path(path).unlink()
    inside = read_provenance(path)
    assert inside == beside
    assert inside.model_copy(update={"output": None}) == given_record
    assert inside.output is not None
    assert (inside.output.num_frames, inside.output.fps, inside.output.scale) == (6, 10, 1)
    assert (inside.output.height, inside.output.width) == (40, 56)
    assert inside.output.lossless == (name in EXACT)


@pytest.mark.parametrize("name", ALL)
def test_the_side_car_can_be_left_out(name: str, tmp_path: Path) -> None:
    save_clip(moving_disc(), tmp_path / name, provenance=provenance(), side_car=False)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_every_frame_of_a_folder_carries_the_provenance(tmp_path: Path) -> None:
    save_clip(moving_disc(3), tmp_path / "frames", provenance=provenance())
    pictures = sorted((tmp_path / "frames").iterdir())
    names = [picture.name for picture in pictures]
    assert names == ["frame-00000.png", "frame-00001.png", "frame-00002.png"]
    assert all(read_provenance(picture).prompt == provenance().prompt for picture in pictures)


@pytest.mark.parametrize("name", ALL)
def test_a_removed_record_is_read_from_the_side_car(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    save_clip(moving_disc(), path, provenance=provenance())
    first = next(path.iterdir()) if path.is_dir() else path
    first.write_bytes(b"nothing of use")
    assert read_provenance(path).prompt == provenance().prompt


@pytest.mark.parametrize("name", ALL)
def test_the_same_frames_give_the_same_bytes(name: str, tmp_path: Path) -> None:
    frames = moving_disc(12, 48, 48)
    for folder in ("one", "two"):
        save_clip(frames, tmp_path / folder / name, provenance=provenance())
    one, two = contents(tmp_path / "one" / name), contents(tmp_path / "two" / name)
    assert one == two
    assert contents(side_car_path(tmp_path / "one" / name)) == contents(
        side_car_path(tmp_path / "two" / name)
    )


@pytest.mark.parametrize("name", ["clip.mp4", "clip.webm"])
def test_encoders_do_not_read_stray_memory(name: str, tmp_path: Path) -> None:
    """x264 did, now and then; hence many runs, among memory that differs from run to run."""
    frames, found = moving_disc(12, 48, 48), set()
    for run in range(40):
        stray = [noise((run + 1) * 1000) for _ in range(20)]
        save_clip(frames, tmp_path / name, provenance=provenance("x"), overwrite=True)
        found.add((tmp_path / name).read_bytes())
        del stray
    assert len(found) == 1


@pytest.mark.parametrize("name", FILES)
def test_the_provenance_is_written_in_plain_ascii(name: str, tmp_path: Path) -> None:
    save_clip(moving_disc(1), tmp_path / name, provenance=provenance("Würfel"))
    assert b"W\\u00fcrfel" in (tmp_path / name).read_bytes().replace(b"\\\\", b"\\")


@settings(max_examples=12)
@given(st.integers(1, 5), st.integers(1, 21), st.integers(1, 21), st.integers(1, 3))
@pytest.mark.parametrize("name", ALL)
def test_any_size_comes_back(
    name: str, num_frames: int, height: int, width: int, scale: int
) -> None:
    frames = noise(num_frames, height, width, 3)
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        save_clip(frames, path, provenance=provenance("x"), scale=scale)
        clip = load_clip(path)
        output = read_provenance(path).output
    enlarged = np.kron(frames, np.ones((1, scale, scale, 1), dtype=np.uint8))
    assert clip.frames.shape == enlarged.shape
    assert output is not None
    assert output.scale == scale
    if name in ("clip.mp4", "clip.webm"):
        assert (output.pad_bottom, output.pad_right) == (height * scale % 2, width * scale % 2)
    if name in EXACT:
        assert np.array_equal(clip.frames, enlarged)


@pytest.mark.parametrize("name", ALL)
def test_equal_neighbours_stay_apart(name: str, tmp_path: Path) -> None:
    still, other = moving_disc(2)
    frames = np.stack([still, still, other, other, other, still])
    save_clip(frames, tmp_path / name, fps=24, provenance=provenance())
    decoded = load_clip(tmp_path / name).frames
    assert decoded.shape == frames.shape
    for index, frame in enumerate(decoded):
        distances = [psnr(frame, original + 0.5) for original in (still, other)]
        assert np.argmax(distances) == (index in (2, 3, 4))


def test_latents_are_kept(tmp_path: Path) -> None:
    latents = torch.randn(1, 4, 3, 5, 7, generator=torch.Generator().manual_seed(0)).bfloat16()
    path = tmp_path / "clip.safetensors"
    save_clip(moving_disc(3), path, provenance=provenance(), latents=latents)
    assert torch.equal(load_latents(path), latents)
    assert np.array_equal(load_clip(path).frames, moving_disc(3))
    with pytest.raises(OutputError, match="safetensors"):
        save_clip(moving_disc(3), tmp_path / "a.mp4", provenance=provenance(), latents=latents)
    save_clip(moving_disc(3), path, provenance=provenance(), overwrite=True)
    with pytest.raises(InputError, match="no latents"):
        load_latents(path)
