"""Fitting pictures: nothing is squeezed, and what was added comes off again."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stillmotion.errors import InputError
from stillmotion.media.fit import choose_size, fit_picture, unfit_frames

SIDES = st.integers(1, 200)
SIZES = st.tuples(SIDES, SIDES)
TARGETS = st.tuples(st.integers(1, 96), st.integers(1, 96))


def ramps(height: int, width: int) -> NDArray[np.uint8]:
    """Red grows to the right and green downwards, from 0 to 255."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(0, 255, width)[None, :]
    image[..., 1] = np.linspace(0, 255, height)[:, None]
    return image


@given(SIZES, TARGETS)
def test_cover_fills_the_target_and_squeezes_nothing(
    size: tuple[int, int], target: tuple[int, int]
) -> None:
    pixels, fit = fit_picture(ramps(*size), target, "cover")
    assert pixels.shape == (*target, 3)
    assert pixels.dtype == np.uint8
    top, left, bottom, right = fit.crop
    assert (bottom - top) * fit.scale == pytest.approx(target[0])
    assert (right - left) * fit.scale == pytest.approx(target[1])
    assert 0 <= top <= bottom <= size[0]
    assert 0 <= left <= right <= size[1]
    assert math.isclose(top, size[0] - bottom, abs_tol=1e-6)
    assert math.isclose(left, size[1] - right, abs_tol=1e-6)
    assert min(top, left) == pytest.approx(0, abs=1e-6)
    assert fit.padding == (0, 0, 0, 0)
    frames = np.stack([pixels, pixels])
    assert np.array_equal(unfit_frames(frames, fit), frames)


@given(SIZES, TARGETS)
def test_pad_shows_everything_and_comes_off_again(
    size: tuple[int, int], target: tuple[int, int]
) -> None:
    pixels, fit = fit_picture(ramps(*size), target, "pad")
    assert pixels.shape == (*target, 3)
    shown = unfit_frames(np.stack([pixels, pixels]), fit)[0]
    # The same scale in both directions, but for rounding to whole pixels, and at least one pixel.
    for side, whole in zip(shown.shape[:2], size, strict=True):
        assert abs(side - whole * fit.scale) <= 0.5 or side == 1
    assert shown.shape[0] == target[0] or shown.shape[1] == target[1]
    top, left, bottom, right = fit.padding
    assert 0 <= bottom - top <= 1
    assert 0 <= right - left <= 1
    assert fit.crop == (0, 0, *size)
    edges = np.pad(shown, ((top, bottom), (left, right), (0, 0)), mode="edge")
    assert np.array_equal(edges, pixels)


@given(st.integers(1, 12), st.integers(1, 12), st.sampled_from(["cover", "pad"]))
def test_a_picture_that_fits_is_left_alone(rows: int, columns: int, mode) -> None:
    image = ramps(8 * rows, 8 * columns)
    pixels, fit = fit_picture(image, (8 * rows, 8 * columns), mode)
    assert np.array_equal(pixels, image)
    assert fit.scale == 1


@pytest.mark.parametrize("mode", ["cover", "pad"])
@pytest.mark.parametrize("size", [(90, 160), (160, 90), (20, 36), (31, 200)])
def test_the_content_is_where_the_fit_says(mode, size: tuple[int, int]) -> None:
    """Every pixel shows the colour of its place in the source, by the ramps that are in it."""
    pixels, fit = fit_picture(ramps(*size), (64, 64), mode)
    top, left, bottom, right = fit.padding
    shown = pixels[top : 64 - bottom, left : 64 - right]
    for axis, channel, low, high in ((1, 0, 1, 3), (0, 1, 0, 2)):
        count = shown.shape[axis]
        places = fit.crop[low] + (np.arange(count) + 0.5) / count * (fit.crop[high] - fit.crop[low])
        expected = (places - 0.5) / (size[axis] - 1) * 255
        seen = shown[..., channel].mean(1 - axis)
        inside = slice(3, -3)  # at the borders a filter sees less
        assert np.abs(seen - expected)[inside].max() < 3


def test_padding_repeats_the_edge() -> None:
    image = np.zeros((4, 8, 3), np.uint8)
    image[0], image[-1] = 200, 50
    pixels, fit = fit_picture(image, (8, 8), "pad")
    assert fit.padding == (2, 0, 2, 0)
    assert (pixels[:2] == 200).all()
    assert (pixels[-2:] == 50).all()


def test_what_cannot_be_fitted_is_told() -> None:
    image = ramps(8, 8)
    with pytest.raises(InputError, match="fit is 'squeeze'; it can be cover or pad"):
        fit_picture(image, (8, 8), "squeeze")
    with pytest.raises(InputError, match="The size asked for is 0 x 8"):
        fit_picture(image, (0, 8))
    with pytest.raises(InputError, match="The picture is 0 x 8"):
        fit_picture(image[:0], (8, 8))
    for wrong in (image[..., 0], image.astype(np.float32)):
        with pytest.raises(InputError, match="give RGB pixels"):
            fit_picture(wrong, (8, 8))
    _, fit = fit_picture(image, (4, 6), "pad")
    with pytest.raises(InputError, match="fitted to 4 x 6"):
        unfit_frames(np.zeros((2, 4, 4, 3), np.uint8), fit)


@given(
    st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([8, 16, 64]),
    st.sampled_from([64, 256, 512]),
)  # fmt: skip
def test_a_chosen_size_is_usable_and_the_best(
    height: int, width: int, multiple: int, side: int
) -> None:
    area = side**2
    chosen = choose_size(height, width, multiple=multiple, area=area)

    def strain(size: tuple[int, int]) -> float:
        return abs(math.log(size[0] * width / (size[1] * height)))

    limits = area / math.sqrt(2) * (1 - 1e-9), area * math.sqrt(2) * (1 + 1e-9)
    assert all(length % multiple == 0 and length > 0 for length in chosen)
    assert limits[0] <= chosen[0] * chosen[1] <= limits[1]
    cells = int(limits[1] / multiple**2)
    others = [
        (rows * multiple, columns * multiple)
        for rows in range(1, cells + 1)
        for columns in range(1, cells // rows + 1)
        if limits[0] <= rows * columns * multiple**2
    ]
    assert strain(chosen) <= min(map(strain, others)) + 1e-9
    assert choose_size(*chosen, multiple=multiple, area=area) == chosen


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((512, 512), (512, 512)),
        ((3000, 3000), (512, 512)),
        ((512, 640), (512, 640)),  # usable as it is
        ((1080, 1920), (384, 704)),
        ((3000, 2000), (576, 384)),
        ((10, 10_000), (64, 5760)),  # as long as √2 times the area allows
    ],
)
def test_sizes_for_stable_diffusion(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert choose_size(*size, multiple=64, area=512 * 512) == expected


def test_sizes_that_do_not_exist_are_told() -> None:
    with pytest.raises(InputError, match="give at least 4096 pixels"):
        choose_size(100, 100, multiple=64, area=4000)
    with pytest.raises(InputError, match="give at least 1 pixels"):
        choose_size(100, 100, multiple=0, area=4000)
    with pytest.raises(InputError, match="The picture is 0 x 10"):
        choose_size(0, 10, multiple=8, area=4096)
