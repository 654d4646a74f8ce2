"""Attention over frames through a map of tokens: one operator for every window of AnimateZero.

Symbols: r rows (queries, one for each output frame), f tokens (frames that keys and values have),
l slots that a query sees, d channels of one head, v views that are added up.  The mathematics and
its equations are in `stillmotion.animatezero.temporal_control`; this is the same with less memory
moved.  `...` are one or more axes of locations, for example (b n) of a clip (b f n c).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from stillmotion.kernels.attention import attention
from stillmotion.kernels.choice import are_fused
from stillmotion.kernels.layout import empty_in_order_of, expect_shape, in_order_of

# Of a head and of a window, for the kernel, which holds them in registers.
_MOST_CHANNELS, _MOST_SLOTS = 256, 128
_TILE = 16
# What a block may have of shared memory on the supported devices with the least (8.6, 8.9, 12.0).
_SHARED_BYTES = 99 * 1024


def temporal_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    src: Tensor | None = None,
    key_positions: Tensor | None = None,
    value_positions: Tensor | None = None,
    query_positions: Tensor | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """What each row gathers from the tokens that its slots hold, positions apart from tokens.

        score[i, s] = (q_i + QP_i) · (k_src(i, s) + KP_s)
        P = softmax_s(score / √d), in at least float32
        out_i = Σ_s P[i, s] (v_src(i, s) + VP_s)

    With several views, out_i = Σ_v weights[v, i] out_i^v.  `stillmotion.kernels.maps` has the
    views of overlapping windows.

    `q` (... heads r d), `k` and `v` (... heads f d), of any strides: views of (b f n c) need no
    copy.  `src` (r l), or (v r l), integers in 0..f-1; keep it on the host where the plain form
    runs, which reads it to do no more work than the windows need, and on the device of `q` where
    the kernel runs, which else copies it there at every call.  Without a map every row sees all
    tokens in order, l = f: global attention, the cheapest.  `key_positions` and
    `value_positions` (heads l d), `query_positions` (heads r d), with views (v heads r d).
    `weights` (r), with views (v r), floating; without, every view counts 1.

    -> (... heads r d), in memory in the order of `q` without gaps: where `q` is a view of
    (b r n heads d), so is the result, and the output projection needs no copy.
    Raises ValueError for shapes that do not fit together.
    """
    tables = (key_positions, value_positions, query_positions)
    _check(q, k, v, src, *tables, weights)
    src, query_positions, weights = _with_views(src, query_positions, weights)
    length = k.shape[-2] if src is None else src.shape[-1]
    fits = _fits(length, q.shape[-1], q.element_size())
    if not (fits and are_fused(q, k, v, tables=tables)):
        plain = temporal_attention_reference(
            q, k, v, src, key_positions, value_positions, query_positions, weights
        )
        return in_order_of(q, plain)
    out: Tensor = temporal_attention_operator(
        *(_two_axes_of_locations(x) for x in (q, k, v)),
        None if src is None else src.to(q.device, torch.int32),
        key_positions,
        value_positions,
        query_positions,
        None if weights is None else weights.to(q.device, torch.float32),
    )
    return out.view(q.shape)


def temporal_attention_reference(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    src: Tensor | None = None,
    key_positions: Tensor | None = None,
    value_positions: Tensor | None = None,
    query_positions: Tensor | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """The plain form of `temporal_attention`, for tensors with gradients and of any dtype.

    `src` on the host is read: a window that slides costs as many products as it reaches tokens,
    and rows that see the same tokens in order are ordinary attention.
    """
    src, query_positions, weights = _with_views(src, query_positions, weights)
    views = []
    for view, rows in enumerate([None] if src is None else src):
        seen = q if query_positions is None else q + query_positions[view]
        part = _one_view(seen, k, v, rows, key_positions, value_positions)
        views.append(part if weights is None else part * weights[view].to(q).unsqueeze(-1))
    return views[0] if len(views) == 1 else torch.stack(views).sum(dim=0)


def _one_view(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    src: Tensor | None,
    key_p: Tensor | None,
    value_p: Tensor | None,
) -> Tensor:
    """`temporal_attention_reference` of one view, in blocks of rows that reach the same tokens."""
    if src is None:
        return _in_order(q, k, v, key_p, value_p)
    blocks = []
    for rows, tokens in _blocks(src, k.shape[-2]):
        part = src[rows]
        near = k[..., tokens, :], v[..., tokens, :]
        if _is_in_order(part):
            blocks.append(_in_order(q[..., rows, :], *near, key_p, value_p))
        else:
            local = (part - tokens.start).to(q.device, torch.int64)
            blocks.append(_mapped(q[..., rows, :], *near, local, key_p, value_p))
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=-2)


def _in_order(
    q: Tensor, k: Tensor, v: Tensor, key_p: Tensor | None, value_p: Tensor | None
) -> Tensor:
    """`temporal_attention_reference` of rows that all see these tokens in order."""
    keys = k if key_p is None else k + key_p
    values = v if value_p is None else v + value_p
    return attention(q, keys, values)


def _blocks(src: Tensor, num_tokens: int) -> Iterator[tuple[slice, slice]]:
    """Rows that are computed together, and the tokens that they reach."""
    num_rows, length = src.shape
    if not _can_be_read(src):
        yield slice(0, num_rows), slice(0, num_tokens)
        return
    ends = list(range(length, num_rows, length))
    firsts = src[:, 0]
    if bool((src == firsts.unsqueeze(1) + torch.arange(length)).all()):
        ends = (firsts.diff().nonzero().flatten() + 1).tolist()
    start = 0
    for end in (*ends, num_rows):
        rows = src[start:end]
        yield slice(start, end), slice(int(rows.min()), int(rows.max()) + 1)
        start = end


def _can_be_read(src: Tensor) -> bool:
    """Whether reading the map neither waits for a device nor breaks a graph in two."""
    return src.device.type == "cpu" and not torch.compiler.is_compiling()


def _is_in_order(src: Tensor) -> bool:
    """Whether all rows see the same tokens, one after the other."""
    if not _can_be_read(src):
        return False
    return bool((src == src[0, 0] + torch.arange(src.shape[1])).all())


def _mapped(
    q: Tensor, k: Tensor, v: Tensor, src: Tensor, key_p: Tensor | None, value_p: Tensor | None
) -> Tensor:
    """`temporal_attention` of all rows and tokens by products of both; scores are gathered from
    the products and weights of one token added up, so that no key or value is copied."""
    products = q @ k.transpose(-1, -2)
    scores = products.gather(-1, src.expand(*products.shape[:-1], src.shape[-1]))
    if key_p is not None:
        scores = scores + q @ key_p.transpose(-1, -2)
    precise = torch.promote_types(scores.dtype, torch.float32)
    p = (scores.to(precise) / math.sqrt(q.shape[-1])).softmax(dim=-1).to(q.dtype)
    # A product with 0/1 instead of a scatter: the same bits on every run, also on a GPU.
    holds = functional.one_hot(src, k.shape[-2]).to(p.dtype)  # r l f
    out: Tensor = torch.einsum("...is,ism->...im", p, holds) @ v
    return out if value_p is None else out + p @ value_p


def _with_views(
    src: Tensor | None, query_positions: Tensor | None, weights: Tensor | None
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The map and what goes with it, with an axis of views in front."""
    if src is not None and src.ndim == 3:
        return src, query_positions, weights
    return (
        None if src is None else src.unsqueeze(0),
        None if query_positions is None else query_positions.unsqueeze(0),
        None if weights is None else weights.unsqueeze(0),
    )


def shared_bytes(slots: int, channels: int, item_bytes: int) -> int:
    """An upper bound of the shared memory that the kernel takes for a block.

    Two tables (l d), a few tiles (16 d) and scores (16 l); tests/kernels/compiled.py holds it to
    what the compiler says.
    """
    block_l, block_d = (max(_TILE, 1 << (n - 1).bit_length()) for n in (slots, channels))
    return item_bytes * block_d * (2 * block_l + 3 * _TILE) + 8 * _TILE * block_l


def _fits(slots: int, channels: int, item_bytes: int) -> bool:
    """Whether the kernel can hold a window."""
    is_small = slots <= _MOST_SLOTS and channels <= _MOST_CHANNELS
    return is_small and shared_bytes(slots, channels, item_bytes) <= _SHARED_BYTES


def _two_axes_of_locations(x: Tensor) -> Tensor:
    """(... heads n d) as (a b heads n d), a view for at most two axes of locations."""
    lead = x.shape[0] if x.ndim > 4 else 1
    return x.reshape(lead, -1, *x.shape[-3:])


def _check(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    src: Tensor | None,
    key_positions: Tensor | None,
    value_positions: Tensor | None,
    query_positions: Tensor | None,
    weights: Tensor | None,
) -> None:
    """The kernel would read beyond the end of what does not fit."""
    *lead, heads, rows, d = q.shape
    *views, src_rows, length = (rows, k.shape[-2]) if src is None else src.shape
    expect_shape("k", k, (*lead, heads, k.shape[-2], d), "(... heads f d)")
    expect_shape("v", v, tuple(k.shape), "(... heads f d)")
    if len(views) > 1 or src_rows != rows:
        shape = (*views, src_rows, length)
        raise ValueError(f"src has the shape {shape}; it must be (r l) or (v r l) with r = {rows}.")
    for name, table in (("key_positions", key_positions), ("value_positions", value_positions)):
        if table is not None:
            expect_shape(name, table, (heads, length, d), "(heads l d)")
    if query_positions is not None:
        shape = (*views, heads, rows, d)
        expect_shape("query_positions", query_positions, shape, "([v] heads r d)")
    if weights is not None:
        expect_shape("weights", weights, (*views, rows), "([v] r)")


@torch.library.custom_op("stillmotion::temporal_attention", mutates_args=())
def temporal_attention_operator(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    src: Tensor | None,
    key_positions: Tensor | None,
    value_positions: Tensor | None,
    query_positions: Tensor | None,
    weights: Tensor | None,
) -> Tensor:
    """`temporal_attention` of `q` (a b heads r d), `k`, `v` (a b heads f d), `src` (v r l), and so
    on with an axis of views -> (a b heads r d) without gaps in the order of `q`."""
    plain = temporal_attention_reference(
        q, k, v, src, key_positions, value_positions, query_positions, weights
    )
    return empty_in_order_of(q).copy_(plain)


@temporal_attention_operator.register_fake
def _(q: Tensor, *_: Tensor | None) -> Tensor:
    return empty_in_order_of(q)


@temporal_attention_operator.register_kernel("cuda")
def _(*arguments: Any) -> Tensor:
    from stillmotion.kernels.triton_temporal import launch_temporal_attention

    return launch_temporal_attention(*arguments)
