"""Factors on the gates of single layers, as they are written."""

from __future__ import annotations

from collections.abc import Sequence

from stillmotion.errors import InputError


def gate_scales(given: Sequence[str] | None) -> dict[str, float]:
    """`["5:0.5", "mid.attn2:2"]` -> factors by layer, a number or a name.

    Raises InputError for words of another form.
    """
    factors: dict[str, float] = {}
    for words in given or ():
        layer, _, factor = words.rpartition(":")
        try:
            factors[layer] = float(factor)
        except ValueError:
            layer = ""
        if not layer:
            raise InputError(
                f"--gate-scale is '{words}'; give LAYER:X, a layer and a factor, such as 5:0.5."
            )
    return factors
