"""The kernels of `norms.group_norm_silu`: two readings of the input, one writing of the result.

1. Each channel's mean and sum of squared deviations over a chunk of a picture.
2. Of these, each group's mean and variance, combined as by Chan et al. (never as a difference of
   squares), and from them what every channel is shifted and scaled by.  Small.
3. Shift, scale, SiLU.

No program waits for another within a kernel and none adds to a shared number, so that the result
has the same bits on every run.  `add` is constant over a channel of a picture: it moves the means,
and nothing else.
"""

# mypy: disable-error-code="import-untyped,import-not-found,no-untyped-def,no-untyped-call"
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from stillmotion.kernels.layout import empty_in_order_of

_CHUNK = 512  # places of one program of the first kernel
_BLOCK_C, _BLOCK_S = 32, 64
_BLOCK_K = 16  # chunks at once in the second kernel


@triton.jit
def channel_statistics_kernel(
    x, means, squares,
    channels, places, chunks, x_n, x_c, x_s,
    CHUNK: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_S: tl.constexpr,
):  # fmt: skip
    """`x` (n c s), any strides -> means and sums of squared deviations, both (n chunks c)."""
    tiles = tl.cdiv(channels, BLOCK_C)
    program = tl.program_id(0)
    chunk = (program // tiles) % chunks
    n = (program // tiles // chunks).to(tl.int64)
    channel = (program % tiles).to(tl.int64) * BLOCK_C + tl.arange(0, BLOCK_C)
    first = chunk.to(tl.int64) * CHUNK
    mean = tl.zeros([BLOCK_C], tl.float32)
    square = tl.zeros([BLOCK_C], tl.float32)
    for step in range(0, CHUNK, BLOCK_S):
        place = first + step + tl.arange(0, BLOCK_S)
        inside = (place < places)[:, None] & (channel < channels)[None, :]
        at = x + n * x_n + place[:, None] * x_s + channel[None, :] * x_c
        tile = tl.load(at, mask=inside, other=0.0).to(tl.float32)
        count = tl.sum((place < places).to(tl.float32), axis=0)
        some = tl.maximum(count, 1.0)  # the last chunk may end before this step
        tile_mean = tl.sum(tile, axis=0) / some
        centred = tl.where(inside, tile - tile_mean[None, :], 0.0)
        share = count / (step + some)
        delta = tile_mean - mean
        mean += delta * share
        square += tl.sum(centred * centred, axis=0) + delta * delta * (step * share)
    out_at = (n * chunks + chunk) * channels + channel
    tl.store(means + out_at, mean, mask=channel < channels)
    tl.store(squares + out_at, square, mask=channel < channels)


@triton.jit
def group_statistics_kernel(
    means, squares, add, weight, centres, scales,
    channels, places, chunks, groups, eps, add_n, add_c, weight_stride,
    CHUNK: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_G: tl.constexpr,
):  # fmt: skip
    """Means and squares (n chunks c) -> what x is lessened and multiplied by, both (n c)."""
    program = tl.program_id(0)
    n = (program // groups).to(tl.int64)
    size = channels // groups
    within = tl.arange(0, BLOCK_G)
    channel = (program % groups) * size + within
    used = within < size
    added = tl.zeros([BLOCK_G], tl.float32)
    if add is not None:
        added += tl.load(add + n * add_n + channel * add_c, mask=used, other=0.0).to(tl.float32)
    numbers = 1.0 * size * places  # in 32 bits the product of integers may overflow
    total = tl.zeros([BLOCK_K, BLOCK_G], tl.float32)
    for start in range(0, chunks, BLOCK_K):
        chunk = start + tl.arange(0, BLOCK_K)[:, None]
        inside = (chunk < chunks) & used[None, :]
        count = tl.minimum(places - chunk * CHUNK, CHUNK).to(tl.float32)
        at = (n * chunks + chunk) * channels + channel[None, :]
        mean = tl.load(means + at, mask=inside, other=0.0) + added[None, :]
        total += tl.where(inside, mean * count, 0.0)
    centre = tl.sum(tl.sum(total, axis=1), axis=0) / numbers
    total = tl.zeros([BLOCK_K, BLOCK_G], tl.float32)
    for start in range(0, chunks, BLOCK_K):
        chunk = start + tl.arange(0, BLOCK_K)[:, None]
        inside = (chunk < chunks) & used[None, :]
        count = tl.minimum(places - chunk * CHUNK, CHUNK).to(tl.float32)
        at = (n * chunks + chunk) * channels + channel[None, :]
        off = tl.load(means + at, mask=inside, other=0.0) + added[None, :] - centre
        square = tl.load(squares + at, mask=inside, other=0.0)
        total += tl.where(inside, square + off * off * count, 0.0)
    variance = tl.sum(tl.sum(total, axis=1), axis=0) / numbers
    w = tl.load(weight + channel * weight_stride, mask=used, other=0.0).to(tl.float32)
    tl.store(centres + n * channels + channel, centre - added, mask=used)
    tl.store(scales + n * channels + channel, w * tl.rsqrt(variance + eps), mask=used)


@triton.jit
def scale_silu_kernel(
    x, centres, scales, bias, out,
    channels, places, x_n, x_c, x_s, out_n, out_c, out_s, bias_stride,
    SILU: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_S: tl.constexpr,
):  # fmt: skip
    """SiLU((x − centre) · scale + bias): `x` and `out` (n c s) of any strides."""
    tiles_c, tiles_s = tl.cdiv(channels, BLOCK_C), tl.cdiv(places, BLOCK_S)
    program = tl.program_id(0)
    n = (program // tiles_c // tiles_s).to(tl.int64)
    channel = (program % tiles_c).to(tl.int64) * BLOCK_C + tl.arange(0, BLOCK_C)[None, :]
    place = ((program // tiles_c) % tiles_s).to(tl.int64) * BLOCK_S
    place += tl.arange(0, BLOCK_S)[:, None]
    used = channel < channels
    inside = (place < places) & used
    at = x + n * x_n + place * x_s + channel * x_c
    tile = tl.load(at, mask=inside, other=0.0).to(tl.float32)
    centre = tl.load(centres + n * channels + channel, mask=used, other=0.0)
    scale = tl.load(scales + n * channels + channel, mask=used, other=0.0)
    shift = tl.load(bias + channel * bias_stride, mask=used, other=0.0).to(tl.float32)
    y = (tile - centre) * scale + shift
    if SILU:
        y = y * tl.sigmoid(y)
    out_at = out + n * out_n + place * out_s + channel * out_c
    tl.store(out_at, y.to(out.dtype.element_ty), mask=inside)


def launch_group_norm_silu(
    x: Tensor,
    num_groups: int,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    add: Tensor | None,
    silu: bool,
) -> Tensor:
    """`group_norm_silu` of `x` (n c s), any strides -> without gaps in the order of `x`."""
    n, channels, places = x.shape
    out = empty_in_order_of(x)
    if not x.numel():
        return out
    chunks = triton.cdiv(places, _CHUNK)
    tiles = triton.cdiv(channels, _BLOCK_C)
    means, squares = x.new_empty(2, n, chunks, channels, dtype=torch.float32)
    centres, scales = x.new_empty(2, n, channels, dtype=torch.float32)
    add_n, add_c = (0, 0) if add is None else (add.stride(0) * (len(add) > 1), add.stride(1))
    blocks = {"BLOCK_C": _BLOCK_C, "BLOCK_S": _BLOCK_S}
    with torch.cuda.device_of(x):
        channel_statistics_kernel[(n * chunks * tiles,)](
            x, means, squares, channels, places, chunks, *x.stride(), CHUNK=_CHUNK, **blocks
        )
        group_statistics_kernel[(n * num_groups,)](
            means, squares, add, weight, centres, scales,
            channels, places, chunks, num_groups, eps, add_n, add_c, *weight.stride(),
            CHUNK=_CHUNK, BLOCK_K=_BLOCK_K,
            BLOCK_G=triton.next_power_of_2(channels // num_groups),
        )  # fmt: skip
        scale_silu_kernel[(n * tiles * triton.cdiv(places, _BLOCK_S),)](
            x, centres, scales, bias, out, channels, places,
            *x.stride(), *out.stride(), *bias.stride(), SILU=silu, **blocks,
        )  # fmt: skip
    return out
