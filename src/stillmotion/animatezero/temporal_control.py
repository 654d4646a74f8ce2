"""Temporal consistency control (section 4.2, appendix A.2): position-corrected window attention.

Paper symbols: f frames; z_i token of frame i; p_s row s of the table of positions; q_i^j, k_i^j,
v_i^j projections of z_i + p_j.  The paper counts frames i and slots s from 1, the code from 0.
Shapes: `...` are locations and heads, d channels of one head.

Frame i attends to f slots.  Slot s always carries position p_s, and the token of frame
src(i, s): the frames up to i in order, right-aligned, the slots before them filled with frame 1.
Nothing in this needs as many slots as there are frames: a window of l slots slides over a clip of
any length (`windows.py`), and l = f is the paper's case.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from stillmotion.animatezero.attention import Projection


def src_index(
    num_frames: int, length: int | None = None, device: torch.device | None = None
) -> Tensor:
    """Which frame's token slot s of output frame i holds: int64 (f l), row i, column s.

    Equation: AnimateZero Eq. 6
    Equation: AnimateZero Eq. 9

    Counted from 1, src(i, s) = max(1, s − (f − i)): frame 1 in the first f − i + 1 slots, then
    frames 2..i, slot s with position p_s.  Counted from 0, as here, max(0, s − (f − 1 − i)).
    Eq. 9, as printed, gives frames 2..i all the position p_f; that contradicts Eq. 6 and Fig. 3
    and the reason given for the correction (every position from 1 to f occurs), so it is taken
    as a misprint of Eq. 6.  With a window of `length` l, that takes the place of f in the formula.
    """
    length = num_frames if length is None else length
    frame = torch.arange(num_frames, device=device)[:, None]
    slot = torch.arange(length, device=device)[None, :]
    return (slot - (length - 1 - frame)).clamp(min=0)


class Pool(NamedTuple):
    """Keys (or values) of all pairs of token and position, as a sum: pool[i, j] = token[i] +
    position[j]."""

    token: Tensor
    """(... f d)"""
    position: Tensor
    """(heads l d)"""


def decomposed_pool(z: Tensor, positions: Tensor, projection: Projection) -> Pool:
    """The pool k_i^j = W (z_i + p_j) of all pairs i, j, without forming the pairs.

    Equation: AnimateZero Eq. 7

    W is linear, so the pool is W z_i + W p_j exactly: f + f projections instead of f², which
    would cost about 16 times the time and memory of plain attention.  A bias belongs to the token
    part.  `z` (... f c), `positions` (l c) -> token (... f c), position (l c), before the split
    into heads.
    """
    return Pool(projection(z), position_part(positions, projection))


def position_part(positions: Tensor, projection: Projection) -> Tensor:
    """W p_j without the bias, (l c) -> (l c): what a position adds to a projected token (Eq. 7)."""
    bias = projection(torch.zeros_like(positions[:1]))  # 0 for AnimateDiff's own projections
    return projection(positions) - bias


def window_attention(q: Tensor, k: Tensor, v: Tensor, src: Tensor) -> Tensor:
    """Window attention without corrected positions: ẑ_i = Ṽ_i softmax(q_i^i K̃_i / √d).

    Equation: AnimateZero Eq. 4
    Equation: AnimateZero Eq. 5

    K̃_i holds frame 1 f − i + 1 times and frames 2..i once (`src`, see `src_index`), each token
    with its own position (the labels printed in Eq. 5 have the two indices swapped).
    `q`, `k`, `v` (... f d) with own positions, `src` (f l) -> (... f d).
    """
    scores = _token_scores(q, k, src)
    return _sum_per_token(_softmax(scores, q), src, k.shape[-2]) @ v


def corrected_window_attention(q: Tensor, keys: Pool, values: Pool, src: Tensor) -> Tensor:
    """Window attention with corrected positions: ẑ_i = Ṽ_i softmax(q_i^f K̃_i / √d).

    Equation: AnimateZero Eq. 8

    Slot s of frame i has key k_src^s, which is the sum of a token part and a position part, so

        score[i, s] = q_i · keys.token[src(i, s)] + q_i · keys.position[s]
        ẑ_i = Σ_m (Σ_{s: src(i, s) = m} A[i, s]) values.token[m] + Σ_s A[i, s] values.position[s]

    with A the softmax over s.  `q` (... heads r d), token parts (... heads f d), position parts
    (heads l d), `src` (r l) into the tokens -> (... heads r d); the paper has r = l = f.  With its
    `src`, row f equals global attention, and row i depends on frames 1..i only.
    """
    scores = _token_scores(q, keys.token, src) + q @ keys.position.transpose(-1, -2)
    weights = _softmax(scores, q)
    return (
        _sum_per_token(weights, src, values.token.shape[-2]) @ values.token
        + weights @ values.position
    )


def _token_scores(q: Tensor, k: Tensor, src: Tensor) -> Tensor:
    """q_i · k_src(i, s) for all i, s: gathered from the products, never from copied keys."""
    products = q @ k.transpose(-1, -2)
    return products.gather(-1, src.expand(*products.shape[:-1], src.shape[-1]))


def _softmax(scores: Tensor, q: Tensor) -> Tensor:
    """softmax(scores / √d) over slots, computed in at least float32, in the dtype of `q`."""
    precise = torch.promote_types(scores.dtype, torch.float32)
    return (scores.to(precise) / math.sqrt(q.shape[-1])).softmax(dim=-1).to(q.dtype)


def _sum_per_token(weights: Tensor, src: Tensor, num_tokens: int) -> Tensor:
    """Σ over the slots s with src(i, s) = m of weights[i, s], as (... r f), column m.

    A product with 0/1 instead of a scatter: the same bits on every run, also on a GPU.
    """
    holds = functional.one_hot(src, num_tokens).to(weights.dtype)  # i s m
    total: Tensor = torch.einsum("...is,ism->...im", weights, holds)
    return total
