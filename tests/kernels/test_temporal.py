"""Attention through a map of tokens: the plain form against the paper's, and its promises."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from tests.kernels.examples import Attention, clip_views, draw, random_map
from torch import Tensor

from stillmotion.animatezero.attention import global_attention
from stillmotion.animatezero.temporal_control import (
    Pool,
    corrected_window_attention,
    src_index,
    window_attention,
)
from stillmotion.animatezero.windows import EndBlend, end_index
from stillmotion.diffusion.windows import blended, window_starts
from stillmotion.kernels.choice import fused_on_meta
from stillmotion.kernels.maps import overlapping_views
from stillmotion.kernels.temporal import temporal_attention

N, HEADS, D = 3, 2, 8
BOUND = {torch.float64: 1e-12, torch.float32: 1e-5}


def tokens(num_frames: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = (draw(N, HEADS, num_frames, D, seed=s, dtype=dtype) for s in (1, 2, 3))
    return q, k, v


def positions(length: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = (draw(HEADS, length, D, seed=s, dtype=dtype) for s in (4, 5, 6))
    return q, k, v


@pytest.fixture(params=[torch.float64, torch.float32], ids=["float64", "float32"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param


def assert_same(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=BOUND[a.dtype])


@pytest.mark.parametrize(("num_frames", "length"), [(1, 1), (6, 6), (16, 16), (13, 4), (40, 16)])
def test_it_is_the_papers_window_with_corrected_positions(
    num_frames: int, length: int, dtype: torch.dtype
) -> None:
    q, k, v = tokens(num_frames, dtype)
    _, key_p, value_p = positions(length, dtype)
    src = src_index(num_frames, length)
    ours = temporal_attention(q, k, v, src, key_p, value_p)
    assert_same(ours, corrected_window_attention(q, Pool(k, key_p), Pool(v, value_p), src))


@pytest.mark.parametrize("num_frames", [1, 6, 16])
def test_it_is_the_papers_window_and_global_attention(num_frames: int, dtype: torch.dtype) -> None:
    q, k, v = tokens(num_frames, dtype)
    src = src_index(num_frames)
    assert_same(temporal_attention(q, k, v, src), window_attention(q, k, v, src))
    everything = torch.arange(num_frames).expand(num_frames, -1)
    for identity in (None, everything):
        assert_same(temporal_attention(q, k, v, identity), global_attention(q, k, v))


@pytest.mark.parametrize(("num_frames", "length"), [(6, 6), (13, 4)])
def test_both_ends_are_two_views(num_frames: int, length: int, dtype: torch.dtype) -> None:
    q, k, v = tokens(num_frames, dtype)
    query_p, key_p, value_p = positions(length, dtype)
    keys, values, blend = Pool(k, key_p), Pool(v, value_p), EndBlend(num_frames)
    maps = src_index(num_frames, length), end_index(num_frames, length)
    rows = query_p[:, [-1]].expand(-1, num_frames, -1), query_p[:, [0]].expand(-1, num_frames, -1)
    apart = [
        corrected_window_attention(q + row, keys, values, src)
        for src, row in zip(maps, rows, strict=True)
    ]
    weights = torch.stack([1 - blend.weights, blend.weights])
    ours = temporal_attention(
        q, k, v, torch.stack(maps), key_p, value_p, torch.stack(rows), weights
    )
    assert_same(ours, blend.mix(*apart, (-1, 1)))


@pytest.mark.parametrize(
    ("num_frames", "length"), [(4, 8), (8, 8), (9, 8), (23, 8), (32, 8), (15, 3), (50, 16), (5, 1)]
)
def test_overlapping_windows_are_some_views(
    num_frames: int, length: int, dtype: torch.dtype
) -> None:
    length_here = min(length, num_frames)
    q, k, v = tokens(num_frames, dtype)
    query_p, key_p, value_p = positions(length_here, dtype)

    def seen(frames: slice) -> Tensor:
        return global_attention(
            q[..., frames, :] + query_p, k[..., frames, :] + key_p, v[..., frames, :] + value_p
        )

    views = overlapping_views(num_frames, length)
    queries = query_p[:, views.query_slot].transpose(0, 1)
    ours = temporal_attention(q, k, v, views.src, key_p, value_p, queries, views.weights)
    assert_same(ours, blended(num_frames, length, -2, seen))
    starts = list(window_starts(num_frames, length_here))
    most = max(sum(s <= i < s + length_here for s in starts) for i in range(num_frames))
    assert len(views.src) == most, "as many views as windows that one frame is in, and no more"


@pytest.mark.parametrize("views", [None, 1, 3])
@pytest.mark.parametrize("has", list(product([False, True], repeat=3)), ids=str)
def test_any_map_is_the_formula(views: int | None, has: tuple[bool, bool, bool]) -> None:
    rows, frames, length = 5, 7, 4
    lead = () if views is None else (views,)
    example = Attention(
        draw(N, HEADS, rows, D, seed=1),
        draw(N, HEADS, frames, D, seed=2),
        draw(N, HEADS, frames, D, seed=3),
        random_map(rows, frames, length, views or 1).view(*lead, rows, length),
        draw(HEADS, length, D, seed=4) if has[0] else None,
        draw(HEADS, length, D, seed=5) if has[0] else None,
        draw(*lead, HEADS, rows, D, seed=6) if has[1] else None,
        draw(*lead, rows, seed=7) if has[2] else None,
    )
    assert_same(temporal_attention(*example), example.literal())


def test_without_a_map_every_row_sees_all_tokens_in_order() -> None:
    rows, frames = 3, 5
    q = draw(N, HEADS, rows, D, seed=1)
    _, k, v = tokens(frames)
    _, key_p, value_p = positions(frames)
    weights, query_p = draw(rows, seed=7), draw(HEADS, rows, D, seed=6)
    example = Attention(q, k, v, None, key_p, value_p, query_p, weights)
    assert_same(temporal_attention(*example), example.literal())


@pytest.mark.parametrize("kind", ["host", "meta"])
def test_the_result_lies_in_memory_as_the_queries_do(kind: str) -> None:
    q, k, v = clip_views(2, 6, 5, HEADS, D, torch.float32, skip=1)
    if kind == "meta":
        q, k, v = (x.to("meta").as_strided(x.shape, x.stride()) for x in (q, k, v))
    with fused_on_meta():
        out = temporal_attention(q, k, v, src_index(6).to(q.device))
    assert out.shape == q.shape
    assert out.permute(0, 3, 1, 2, 4).is_contiguous(), "(b f n heads d), as a linear layer wants it"


def test_gradients_flow_through_the_plain_form() -> None:
    q, k, v = (x.requires_grad_() for x in tokens(4))
    _, key_p, value_p = (x.requires_grad_() for x in positions(4))
    src = src_index(4)
    assert torch.autograd.gradcheck(
        lambda *t: temporal_attention(*t[:3], src, *t[3:]), (q, k, v, key_p, value_p)
    )


def test_a_window_that_slides_costs_as_much_per_frame_in_a_long_clip() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    def flops(num_frames: int) -> int:
        q, k, v = (torch.empty(N, HEADS, num_frames, D, device="meta") for _ in range(3))
        with FlopCounterMode(display=False) as counter:
            temporal_attention(q, k, v, src_index(num_frames, 8))
        return counter.get_total_flops()

    assert flops(128) < 2.2 * flops(64)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"k": (N, HEADS, 7, D + 1)}, r"k has the shape .*7, 9.*heads f d"),
        ({"v": (N, HEADS, 6, D)}, "v has the shape"),
        ({"src": (4, 6)}, r"src has the shape \(4, 6\).* r = 5"),
        ({"src": (1, 1, 5, 6)}, "src has the shape"),
        ({"key_positions": (HEADS, 5, D)}, "key_positions has the shape"),
        ({"query_positions": (1, HEADS, 5, D)}, "query_positions has the shape"),
        ({"weights": (2, 5)}, "weights has the shape"),
    ],
)
def test_shapes_that_do_not_fit_are_named(change: dict[str, tuple[int, ...]], said: str) -> None:
    shapes = {"q": (N, HEADS, 5, D), "k": (N, HEADS, 7, D), "v": (N, HEADS, 7, D), "src": (5, 6)}
    arguments = {
        name: torch.zeros(shape, dtype=torch.int64 if name == "src" else torch.float32)
        for name, shape in (shapes | change).items()
    }
    with pytest.raises(ValueError, match=said):
        temporal_attention(**arguments)
