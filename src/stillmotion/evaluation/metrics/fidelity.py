"""How exactly a clip keeps the pictures that it was given.

Pixels are uint8; a difference is taken in float64, on the scale 0 to 255.  Score frames before any
lossy file format: the clips in AnimateZero's published gallery, JPEG and H.264 in between, lie 4.8
to 42 from their pictures.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stillmotion.errors import InputError


def mse(made: NDArray[np.uint8], given: NDArray[np.uint8]) -> float:
    """Mean squared error: mean over pixels and channels of (made - given)^2.

    From 0, exact, to 65025 = 255^2; lower is better.

    Args:
        made: uint8 (h w 3).
        given: uint8 (h w 3).

    Raises:
        InputError: the pictures differ in size, or are not uint8.
    """
    _check(made, given)
    return float(((made.astype(np.float64) - given) ** 2).mean())


def psnr(made: NDArray[np.uint8], given: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio 10 log10(255^2 / MSE) in dB; higher is better.

    0 for black against white, 48.1 for an error of 1 everywhere, infinity for equal pictures.

    Args:
        made: uint8 (h w 3).
        given: uint8 (h w 3).

    Raises:
        InputError: as for `mse`.
    """
    error = mse(made, given)
    return 10 * math.log10(255**2 / error) if error > 0 else math.inf


def i1_mse(frames: NDArray[np.uint8], still: NDArray[np.uint8]) -> float:
    """I1-MSE: `mse` of frame 1 and the given picture I_1, 0 to 65025; lower is better.

    AnimateZero (arXiv:2312.03793), section 5, Table 2.  The paper names no scale and there is no
    published code.  Its values, 1.136 for AnimateZero and 37.68 to 104.8 for the others, cannot be
    errors on the scale 0 to 255 of methods that do not keep the picture: they would mean 28 dB.
    See `i1_mse_uint8wrap` for what they may be.

    Args:
        frames: uint8 (f h w 3).
        still: uint8 (h w 3), at the size of the clip.

    Raises:
        InputError: as for `mse`.
    """
    return mse(frames[0], still)


def i1_mse_uint8wrap(frames: NDArray[np.uint8], still: NDArray[np.uint8]) -> float:
    """The error that 8-bit arithmetic makes of I1-MSE: mean of (frame 1 - I_1)^2 mod 256.

    A hypothesis for the numbers of AnimateZero's Table 2: `((a - b) ** 2).mean()` of uint8 arrays.
    Unrelated pictures then reach 105.5, the mean of d^2 mod 256 over all d, and the paper's methods
    that do not keep the picture have 90.8, 96.2 and 104.8.  Not a distance: a difference of 16
    counts as 0.  Only to be set beside the paper's column.

    From 0 to 249; lower is better up to where it saturates.

    Args:
        frames: uint8 (f h w 3).
        still: uint8 (h w 3), at the size of the clip.

    Raises:
        InputError: as for `mse`.
    """
    _check(frames[0], still)
    apart = frames[0].astype(np.int64) - still
    return float((apart**2 % 256).mean())


def end_mse(frames: NDArray[np.uint8], end: NDArray[np.uint8]) -> float:
    """End-frame error: `mse` of the last frame and a given end picture; lower is better.

    For clips between two pictures and for loops, whose end picture is the first.  In no paper.

    Args:
        frames: uint8 (f h w 3).
        end: uint8 (h w 3), at the size of the clip.

    Raises:
        InputError: as for `mse`.
    """
    return mse(frames[-1], end)


def _check(made: NDArray[np.uint8], given: NDArray[np.uint8]) -> None:
    same = made.shape == given.shape and made.ndim == 3 and made.shape[-1] == 3
    if not same or made.dtype != np.uint8 or given.dtype != np.uint8:
        raise InputError(
            f"pictures of {made.dtype} {made.shape} and {given.dtype} {given.shape} cannot be "
            "compared; give two of uint8 (h w 3) of one size"
        )
