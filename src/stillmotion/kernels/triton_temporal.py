"""The kernel of `temporal.temporal_attention`: reads q, k, v once, writes the result once.

One program computes 16 rows of one head at one location.  Keys and values are read in tiles of 16
tokens, from the first that its rows reach to the last, so that the cost of a window that slides is
linear in the length of the clip.  A score is gathered from the product of its row and its token,
and the weights of the slots that hold one token are added up before the product with its value:
in registers, so that no key or value is copied.
"""

# mypy: disable-error-code="import-untyped,import-not-found,no-untyped-def,no-untyped-call"
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from stillmotion.kernels.layout import empty_in_order_of

_TILE = 16  # rows, tokens: the smallest side of a product on tensor cores


@triton.jit
def _tile(x, row, row_stride, num_rows, channel, channel_stride, D: tl.constexpr):
    """(N BLOCK_D) of the rows and channels at `x`, 0 beyond the last."""
    inside = (row < num_rows)[:, None] & (channel < D)[None, :]
    at = x + row[:, None].to(tl.int64) * row_stride
    at += channel[None, :].to(tl.int64) * channel_stride
    return tl.load(at, mask=inside, other=0.0)


@triton.jit
def _store(x, tile, row, row_stride, num_rows, channel, channel_stride, D: tl.constexpr):
    """What `_tile` would read again."""
    inside = (row < num_rows)[:, None] & (channel < D)[None, :]
    at = x + row[:, None].to(tl.int64) * row_stride
    at += channel[None, :].to(tl.int64) * channel_stride
    tl.store(at, tile.to(x.dtype.element_ty), mask=inside)


@triton.jit
def _softmax(scores, is_slot):
    """Over the slots that there are."""
    scores = tl.where(is_slot[None, :], scores, float("-inf"))
    p = tl.exp(scores - tl.max(scores, axis=1)[:, None])
    return p / tl.sum(p, axis=1)[:, None]


@triton.jit
def _gathered(query, keys, src, first):
    """(R L): the product of each row with the key of the token in each slot, 0 for tokens that
    are not among these, of which `first` is the first."""
    products = tl.dot(query, tl.trans(keys), input_precision="ieee")
    place = src - first
    is_here = (place >= 0) & (place < keys.shape[0])
    return tl.where(is_here, tl.gather(products, tl.where(is_here, place, 0), axis=1), 0.0)


@triton.jit
def _summed(p, values, src, first):
    """(R D): the values of these tokens, each times the weights of all slots that hold it."""
    token = first + tl.arange(0, values.shape[0])
    holds = src[:, :, None] == token[None, None, :]
    per_token = tl.sum(tl.where(holds, p[:, :, None], 0.0), axis=1)
    return tl.dot(per_token.to(values.dtype), values, input_precision="ieee")


@triton.jit
def _reach(holds, frames):
    """The first token in these slots, -1 being none, and the one after the last."""
    low = tl.min(tl.min(tl.where(holds < 0, frames, holds), axis=1), axis=0)
    return low, tl.minimum(tl.max(tl.max(holds, axis=1), axis=0) + 1, frames)


@triton.jit
def _scores(
    query, keys, k, holds, frames, k_f, k_d,
    IN_ORDER: tl.constexpr, ONE_TILE: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    """(R L): the product of each row with the token in each slot, of `keys` or tile by tile."""
    if IN_ORDER:
        scores = tl.dot(query, tl.trans(keys), input_precision="ieee")
    elif ONE_TILE:
        scores = _gathered(query, keys, holds, 0)
    else:
        scores = tl.zeros(holds.shape, tl.float32)
        low, high = _reach(holds, frames)
        for start in range(low, high, query.shape[0]):
            token, channel = start + tl.arange(0, query.shape[0]), tl.arange(0, query.shape[1])
            near = _tile(k, token, k_f, frames, channel, k_d, D)
            scores += _gathered(query, near, holds, start)
    return scores


@triton.jit
def _mixed(
    p, values, v, holds, frames, v_f, v_d,
    IN_ORDER: tl.constexpr, ONE_TILE: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    """(R D): the values in the slots times their weights, of `values` or tile by tile."""
    if IN_ORDER:
        part = tl.dot(p.to(values.dtype), values, input_precision="ieee")
    elif ONE_TILE:
        part = _summed(p, values, holds, 0)
    else:
        part = tl.zeros(values.shape, tl.float32)
        low, high = _reach(holds, frames)
        for start in range(low, high, values.shape[0]):
            token, channel = start + tl.arange(0, values.shape[0]), tl.arange(0, values.shape[1])
            near = _tile(v, token, v_f, frames, channel, v_d, D)
            part += _summed(p, near, holds, start)
    return part


@triton.jit
def temporal_attention_kernel(
    q, k, v, out, src, key_p, value_p, query_p, weights,
    inner, heads, rows, frames, slots, views, scale,
    q_a, q_b, q_h, q_r, q_d, k_a, k_b, k_h, k_f, k_d, v_a, v_b, v_h, v_f, v_d,
    out_a, out_b, out_h, out_r, out_d,
    key_h, key_l, key_d, value_h, value_l, value_d, query_v, query_h, query_r, query_d,
    D: tl.constexpr, UNIT: tl.constexpr, ONE_TILE: tl.constexpr,
    TILE: tl.constexpr, BLOCK_L: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """See `temporal_attention_operator`; `src` and `weights` contiguous, `inner` is b.

    Strides of q, k, v and out are in units of UNIT elements, but for those of channels: that tells
    the compiler how far addresses are aligned.
    """
    # Heads are the fastest axis: neighbours in memory run at the same time and share cache lines.
    program = tl.program_id(0)
    head = (program % heads).to(tl.int64)
    blocks = tl.cdiv(rows, TILE)
    row = (program // heads % blocks) * TILE + tl.arange(0, TILE)
    location = program // heads // blocks
    a, b = (location // inner).to(tl.int64), (location % inner).to(tl.int64)
    q += (a * q_a + b * q_b + head * q_h) * UNIT
    k += (a * k_a + b * k_b + head * k_h) * UNIT
    v += (a * v_a + b * v_b + head * v_h) * UNIT
    slot = tl.arange(0, BLOCK_L)
    channel = tl.arange(0, BLOCK_D)
    tokens = _tile(q, row, q_r * UNIT, rows, channel, q_d, D)
    # At once, for nothing but the scores has to wait for the map; or tile by tile, further down.
    place = slot if src is None else tl.arange(0, TILE)
    keys, values = tokens, tokens
    if src is None or ONE_TILE:
        keys = _tile(k, place, k_f * UNIT, frames, channel, k_d, D)
        values = _tile(v, place, v_f * UNIT, frames, channel, v_d, D)
    total = tl.zeros([TILE, BLOCK_D], tl.float32)
    for view in range(views):
        held = (row < rows)[:, None] & (slot < slots)[None, :]
        holds = tl.where(held, slot[None, :], -1)
        if src is not None:
            at = (view * rows + row)[:, None] * slots + slot[None, :]
            holds = tl.load(src + at, mask=held, other=-1)
        query = tokens
        if query_p is not None:
            at = query_p + view * query_v + head * query_h
            moved = _tile(at, row, query_r, rows, channel, query_d, D).to(tl.float32)
            query = (tokens.to(tl.float32) + moved).to(tokens.dtype)
        scores = _scores(query, keys, k, holds, frames, k_f * UNIT, k_d, src is None, ONE_TILE, D)
        if key_p is not None:
            p_keys = _tile(key_p + head * key_h, slot, key_l, slots, channel, key_d, D)
            scores += tl.dot(query, tl.trans(p_keys.to(query.dtype)), input_precision="ieee")
        p = _softmax(scores * scale, slot < slots)
        part = _mixed(p, values, v, holds, frames, v_f * UNIT, v_d, src is None, ONE_TILE, D)
        if value_p is not None:
            p_values = _tile(value_p + head * value_h, slot, value_l, slots, channel, value_d, D)
            part += tl.dot(p.to(query.dtype), p_values.to(query.dtype), input_precision="ieee")
        if weights is not None:
            part *= tl.load(weights + view * rows + row, mask=row < rows, other=0.0)[:, None]
        total += part
    out += (a * out_a + b * out_b + head * out_h) * UNIT
    _store(out, total, row, out_r * UNIT, rows, channel, out_d, D)


def launch_temporal_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    src: Tensor | None,
    key_positions: Tensor | None,
    value_positions: Tensor | None,
    query_positions: Tensor | None,
    weights: Tensor | None,
) -> Tensor:
    """`temporal_attention_operator` by the kernel."""
    outer, inner, heads, rows, d = q.shape
    frames = k.shape[-2]
    views, slots = (1, frames) if src is None else (len(src), src.shape[-1])
    out = empty_in_order_of(q)
    if not q.numel():
        return out
    block_l, block_d = (max(_TILE, triton.next_power_of_2(x)) for x in (slots, d))
    # One axis of programs: the other two of CUDA end at 65,535.
    programs = outer * inner * triton.cdiv(rows, _TILE) * heads
    strides = [x.stride() for x in (q, k, v, out)]
    # The kernel multiplies strides by the unit in 32 bits, unless they come as 64.
    units = all(s % 8 == 0 and s < 2**31 for x in strides for s in x[:-1])
    unit = 8 if units else 1
    one_tile = frames <= _TILE
    tables = (
        (0,) * axes if table is None else table.stride()
        for table, axes in ((key_positions, 3), (value_positions, 3), (query_positions, 4))
    )
    with torch.cuda.device_of(q):
        temporal_attention_kernel[(programs,)](
            q, k, v, out, None if src is None else src.contiguous(),
            key_positions, value_positions, query_positions,
            None if weights is None else weights.contiguous(),
            inner, heads, rows, frames, slots, views, 1 / math.sqrt(d),
            *(n for *most, last in strides for n in (*(s // unit for s in most), last)),
            *(stride for table in tables for stride in table),
            D=d, UNIT=unit, ONE_TILE=one_tile, TILE=_TILE, BLOCK_L=block_l, BLOCK_D=block_d,
            num_warps=num_warps(block_l, block_d, q.element_size(), one_tile),
        )  # fmt: skip
    return out


def num_warps(block_l: int, block_d: int, item_bytes: int, one_tile: bool) -> int:
    """So many that the tiles (16 d) and the comparison with the map (16 l 16) fit into registers;
    tests/kernels/compiled.py shows whether they do."""
    warps = max(block_d * item_bytes // 128, block_l // 16)
    return min(8, max(1, warps if one_tile else 2 * warps))
