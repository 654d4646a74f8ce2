"""Confidence intervals."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_Z95 = 1.959964


def wilson(successes: int, total: int) -> tuple[float, float]:
    """95 % Wilson score interval of a proportion, both ends in 0 to 1.

    Wilson, J. Am. Stat. Assoc. 22 (1927); without samples it is all of 0 to 1.
    """
    if total == 0:
        return 0.0, 1.0
    share, z2 = successes / total, _Z95**2
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z95 / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    # Without a hit, or with nothing else, one end is the share itself but for rounding.
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def bootstrap(
    values: NDArray[np.float64], seed: int = 0, rounds: int = 2000
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean of `values`; NaN without values."""
    if len(values) == 0:
        return math.nan, math.nan
    rng = np.random.default_rng(seed)
    means = values[rng.integers(len(values), size=(rounds, len(values)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)
