"""Clips that differ in nothing but what they show."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.evaluation.study.runs import clip, still

from stillmotion.errors import InputError
from stillmotion.evaluation.study.strips import (
    columns,
    encoded,
    encoded_still,
    fit_clips,
    grid_size,
    spoiled,
)
from stillmotion.media.container import Clip


def decoded(uri: str) -> Image.Image:
    head, data = uri.split(",")
    assert head == "data:image/webp;base64"
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    picture.load()
    return picture


def frames_of(uri: str, count: int, height: int, width: int) -> NDArray[np.uint8]:
    grid, across = np.asarray(decoded(uri).convert("RGB")), columns(count)
    return np.stack(
        [grid[i // across * height :, i % across * width :][:height, :width] for i in range(count)]
    )


def test_equal_clips_are_shown_as_they_are() -> None:
    clips = [Clip(clip(method, 0), 6.0) for method in range(3)]
    fitted = fit_clips(clips, (24, 32), side=320)
    assert (fitted.timing.size, fitted.timing.count, fitted.timing.fps) == ((24, 32), 6, 6.0)
    assert not fitted.cropped
    assert not fitted.shortened
    for method, uri in enumerate(encoded(fitted.clips)):
        assert np.array_equal(frames_of(uri, 6, 24, 32), clip(method, 0))


def test_sizes_become_one() -> None:
    small = Clip(clip(0, 0, height=24, width=32), 6.0)
    large = Clip(clip(0, 0, height=96, width=128), 6.0)
    assert fit_clips([small, large], (48, 64), side=320).timing.size == (96, 128)
    assert fit_clips([small, large], (48, 64), side=64).timing.size == (48, 64)
    assert fit_clips([small], (480, 640), side=320).timing.size == (24, 32)


def test_shapes_become_the_pictures() -> None:
    square = Clip(clip(0, 0, height=32, width=32), 6.0)
    fitted = fit_clips([square], (24, 32), side=320)
    assert fitted.cropped
    assert fitted.clips[0].shape == (6, 24, 32, 3)
    assert np.array_equal(fitted.clips[0], square.frames[:, 4:28])


def test_speeds_and_lengths_become_one() -> None:
    slow = Clip(clip(0, 0, frames=8), 4.0)  # 2 s
    fast = Clip(clip(1, 0, frames=8), 8.0)  # 1 s
    fitted = fit_clips([slow, fast], (24, 32), side=320)
    assert (fitted.timing.count, fitted.timing.fps) == (8, 8.0)
    assert fitted.shortened
    assert np.array_equal(fitted.clips[0], slow.frames[[0, 0, 1, 1, 2, 2, 3, 3]])
    assert np.array_equal(fitted.clips[1], fast.frames)
    very_fast = fit_clips([Clip(clip(0, 0, frames=60), 60.0)], (24, 32), side=320)
    assert (very_fast.timing.count, very_fast.timing.fps) == (30, 30.0)


def test_too_many_pixels_for_one_picture() -> None:
    frames = np.zeros((4, 8, 8, 3), np.uint8).repeat(100, axis=0)
    wide = np.zeros((400, 64, 1024, 3), np.uint8)
    assert fit_clips([Clip(frames, 8.0)], (8, 8), side=320).timing.count == 400
    with pytest.raises(InputError, match="choose a smaller --side"):
        fit_clips([Clip(wide, 8.0)], (64, 1024), side=1024)


def test_files_tell_only_pixels() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (6, 24, 32, 3), np.uint8)
    blank = np.zeros((6, 24, 32, 3), np.uint8)
    uris = encoded([noise, blank])
    assert len(uris[0]) == len(uris[1])
    assert np.array_equal(frames_of(uris[0], 6, 24, 32), noise)
    assert np.array_equal(frames_of(uris[1], 6, 24, 32), blank)
    for uri in uris:
        assert not decoded(uri).getexif()
        raw = base64.b64decode(uri.partition(",")[2])
        assert int.from_bytes(raw[4:8], "little") == len(raw) - 8  # a sound RIFF file
        assert b"EXIF" not in raw
        assert b"XMP " not in raw


def test_large_frames_lose_little() -> None:
    frames = clip(0, 0, height=192, width=256)
    [uri] = encoded([frames])
    loss = frames_of(uri, 6, 192, 256).astype(float) - frames
    assert 0 < np.abs(loss).mean() < 4


def test_the_still() -> None:
    assert np.array_equal(np.asarray(decoded(encoded_still(still(1), (24, 32)))), still(1))
    assert decoded(encoded_still(still(1), (12, 16))).size == (16, 12)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9, 10, 16])
def test_the_grid_holds_all_frames(count: int) -> None:
    frames = clip(0, 0, frames=count)
    fitted = fit_clips([Clip(frames, 1.0)], (24, 32), side=320)
    [uri] = encoded(fitted.clips)
    assert decoded(uri).size == grid_size(fitted.timing)[::-1]
    assert np.array_equal(frames_of(uri, count, 24, 32), frames)


def test_a_spoiled_clip_is_torn_but_has_its_colours() -> None:
    frames = clip(0, 0)
    bad = spoiled(frames, np.random.default_rng(1))
    assert bad.shape == frames.shape
    assert np.array_equal(np.sort(bad, axis=None), np.sort(frames, axis=None))
    error = np.abs(bad.astype(float) - frames).mean(axis=(1, 2, 3))
    assert error.min() > 20
    assert np.array_equal(bad, spoiled(frames, np.random.default_rng(1)))
