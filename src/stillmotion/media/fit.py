"""Pictures of any size and shape brought to a size that a model takes, without squeezing them.

Sizes are (height, width) in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stillmotion.errors import InputError

FitMode = Literal["cover", "pad"]
Size = tuple[int, int]

_MAX_AREA_RATIO = math.sqrt(2)


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How a picture was fitted, so that what was added can be cut off again."""

    mode: FitMode
    source: Size
    """Size of the picture as it was given."""
    target: Size
    """Size that it has now."""
    scale: float
    """Pixels now for one pixel of the source, the same in both directions."""
    crop: tuple[float, float, float, float]
    """Part of the source that is shown: top, left, bottom, right in its own pixels."""
    padding: tuple[int, int, int, int]
    """Pixels added at the top, left, bottom and right."""


def fit_picture(
    image: NDArray[np.uint8], target: Size, mode: FitMode = "cover"
) -> tuple[NDArray[np.uint8], Fit]:
    """Bring uint8 RGB (h w 3) to `target`: uint8 (H W 3), and how.

    "cover" fills the target and cuts off what is beyond it, the same on both sides.  "pad" shows
    all of the picture and continues its edge pixels outwards: mirrored parts would be things, and
    things move.  A picture of the target's size is returned as it is.  Raises InputError for
    another mode or an impossible size.
    """
    if mode not in get_args(FitMode):
        raise InputError(f"fit is {mode!r}; it can be {' or '.join(get_args(FitMode))}.")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(
            f"The picture has shape {image.shape} and type {image.dtype}; give RGB pixels of "
            "shape (height, width, 3) and type uint8."
        )
    source = (int(image.shape[0]), int(image.shape[1]))
    _check_size("The picture", source)
    _check_size("The size asked for", target)
    fit = _cover(source, target) if mode == "cover" else _pad(source, target)
    top, left, bottom, right = fit.padding
    inner = (target[0] - top - bottom, target[1] - left - right)
    pixels = image if inner == source else _resample(image, inner, fit)
    if any(fit.padding):
        pixels = np.pad(pixels, ((top, bottom), (left, right), (0, 0)), mode="edge")
    return pixels, fit


def unfit_frames(frames: NDArray[np.uint8], fit: Fit) -> NDArray[np.uint8]:
    """Cut off what padding added: frames (f H W 3) -> (f h w 3); after "cover" they stay.

    They are not brought back to the source's size.  Raises InputError for frames of another size
    than the picture was fitted to.
    """
    height, width = frames.shape[1:3]
    if (height, width) != fit.target:
        raise InputError(
            f"The frames have {height} x {width} pixels, but the picture was fitted to "
            f"{fit.target[0]} x {fit.target[1]}; give the frames that were made of it."
        )
    top, left, bottom, right = fit.padding
    return frames[:, top : height - bottom, left : width - right]


def choose_size(height: int, width: int, *, multiple: int, area: int) -> Size:
    """A size for a picture: both sides multiples of `multiple`, about as many pixels as `area`.

    The picture's own size if that will do.  Otherwise, of all with at most √2 times more or fewer
    pixels than `area`, the size whose shape is nearest to the picture's; among equals the one
    nearest in area.  Raises InputError for numbers below 1, or an area that no size has.
    """
    _check_size("The picture", (height, width))
    if multiple < 1 or area < multiple**2:
        raise InputError(
            f"There is no size of about {area} pixels with sides that are multiples of "
            f"{multiple}; give at least {max(multiple, 1) ** 2} pixels."
        )
    own = (height, width)
    if height % multiple == 0 and width % multiple == 0 and _area_ratio(own, area) <= 1:
        return own

    def distance(size: Size) -> tuple[float, float]:
        shape = abs(math.log(size[0] * width / (size[1] * height)))
        return (round(shape, 9), _area_ratio(size, area))

    return min(_sizes_near(height / width, multiple, area), key=distance)


def _sizes_near(shape: float, multiple: int, area: int) -> Iterator[Size]:
    """Of every possible height, the widths that come nearest to `shape` = height / width."""
    cells = area / multiple**2
    smallest, largest = cells / _MAX_AREA_RATIO, cells * _MAX_AREA_RATIO
    for rows in range(1, int(largest) + 1):
        fewest, most = math.ceil(smallest / rows), int(largest / rows)
        if fewest > most:
            continue
        for columns in {math.floor(rows / shape), math.ceil(rows / shape)}:
            yield rows * multiple, min(max(columns, fewest), most) * multiple


def _area_ratio(size: Size, area: int) -> float:
    """How far a size is from an area, as a part of what is allowed: 0 is equal, 1 the limit."""
    return abs(math.log(size[0] * size[1] / area)) / math.log(_MAX_AREA_RATIO)


def _cover(source: Size, target: Size) -> Fit:
    """Scaled to fill the target; the middle of the source in its exact, unrounded size."""
    scale = max(target[0] / source[0], target[1] / source[1])
    height, width = (min(t / scale, s) for t, s in zip(target, source, strict=True))
    top, left = (source[0] - height) / 2, (source[1] - width) / 2
    crop = (top, left, top + height, left + width)
    return Fit(mode="cover", source=source, target=target, scale=scale, crop=crop,
               padding=(0, 0, 0, 0))  # fmt: skip


def _pad(source: Size, target: Size) -> Fit:
    """Scaled to lie inside the target, to whole pixels; an odd rest is larger below and right."""
    scale = min(target[0] / source[0], target[1] / source[1])
    height, width = (min(max(round(s * scale), 1), t) for s, t in zip(source, target, strict=True))
    top, left = (target[0] - height) // 2, (target[1] - width) // 2
    padding = (top, left, target[0] - height - top, target[1] - width - left)
    crop = (0.0, 0.0, float(source[0]), float(source[1]))
    return Fit(mode="pad", source=source, target=target, scale=scale, crop=crop, padding=padding)


def _resample(image: NDArray[np.uint8], size: Size, fit: Fit) -> NDArray[np.uint8]:
    top, left, bottom, right = fit.crop
    picture = Image.fromarray(np.ascontiguousarray(image))
    box = (left, top, right, bottom)
    resized = picture.resize((size[1], size[0]), Image.Resampling.LANCZOS, box=box)
    return np.asarray(resized).copy()


def _check_size(what: str, size: Size) -> None:
    if min(size) < 1:
        raise InputError(f"{what} is {size[0]} x {size[1]} pixels; give at least 1 x 1.")
