"""The kernel of `temporal_attention` in Triton's interpreter; run by `test_kernels.py`."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from tests.kernels.bfloat16 import mend_interpreter
from tests.kernels.examples import Attention, assert_near, clip_views, draw, random_map
from tests.kernels.reserved import reserved
from torch import Tensor

from stillmotion.animatezero.temporal_control import src_index
from stillmotion.animatezero.windows import end_index
from stillmotion.kernels import triton_temporal
from stillmotion.kernels.maps import overlapping_views
from stillmotion.kernels.temporal import temporal_attention_operator
from stillmotion.kernels.triton_temporal import launch_temporal_attention

DTYPES = [torch.float32, torch.float16, torch.bfloat16]

mend_interpreter()


def check(example: Attention) -> Tensor:
    """The kernel's result, within bounds of the exact one and laid out as promised."""
    result = launch_temporal_attention(*example)
    assert result.dtype == example.q.dtype
    assert result.stride() == temporal_attention_operator(*example).stride()
    assert_near(result, example.exact())
    return result


def positions(heads: int, length: int, d: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = (draw(heads, length, d, seed=s, dtype=dtype) for s in (4, 5, 6))
    return q, k, v


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("num_frames", "length"), [(1, 1), (16, 16), (17, 17), (19, 5), (32, 32), (40, 16)]
)
def test_windows(num_frames: int, length: int, dtype: torch.dtype) -> None:
    q, k, v = clip_views(1, num_frames, 1, 1, 40, dtype)
    _, key_p, value_p = positions(1, length, 40, dtype)
    src = src_index(num_frames, length)[None].int()
    check(Attention(q, k, v, src, key_p, value_p, None, None))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_both_ends(dtype: torch.dtype) -> None:
    num_frames, length = 19, 8
    q, k, v = clip_views(1, num_frames, 1, 1, 16, dtype)
    query_p, key_p, value_p = positions(1, length, 16, dtype)
    rows = [query_p[:, [slot]].expand(-1, num_frames, -1) for slot in (-1, 0)]
    maps = [index(num_frames, length).int() for index in (src_index, end_index)]
    share = torch.linspace(0, 1, num_frames)
    weights = torch.stack([1 - share, share])
    check(Attention(q, k, v, torch.stack(maps), key_p, value_p, torch.stack(rows), weights))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_overlapping_windows(dtype: torch.dtype) -> None:
    num_frames, length = 21, 8
    q, k, v = clip_views(1, num_frames, 1, 1, 16, dtype)
    query_p, key_p, value_p = positions(1, length, 16, dtype)
    views = overlapping_views(num_frames, length)
    queries = query_p[:, views.query_slot].transpose(0, 1)
    check(Attention(q, k, v, views.src.int(), key_p, value_p, queries, views.weights.float()))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("num_frames", [1, 16, 24, 64])
def test_global_attention(num_frames: int, dtype: torch.dtype) -> None:
    q, k, v = clip_views(1, num_frames, 1, 1, 16, dtype)
    _, key_p, value_p = positions(1, num_frames, 16, dtype)
    check(Attention(q, k, v, None, None, None, None, None))
    check(Attention(q, k, v, None, key_p, value_p, None, None))


@pytest.mark.parametrize("d", [8, 24, 40, 80, 160])
def test_sizes_of_a_head(d: int) -> None:
    q, k, v = clip_views(1, 8, 1, 2, d, torch.float16)
    check(Attention(q, k, v, random_map(8, 8, 6).int(), None, None, None, None))


@pytest.mark.parametrize(("rows", "frames", "length"), [(3, 20, 5), (33, 7, 18), (17, 64, 64)])
@pytest.mark.parametrize("has", list(product([False, True], repeat=3)), ids=str)
def test_any_map(rows: int, frames: int, length: int, has: tuple[bool, bool, bool]) -> None:
    if length == 64 and has != (True, True, True):
        length, frames = 4, 50
    views = 2 if has[2] else 1
    table = (draw(1, length, 8, seed=s, dtype=torch.float32) for s in (4, 5))
    check(
        Attention(
            draw(1, 1, 1, rows, 8, seed=1, dtype=torch.float32),
            draw(1, 1, 1, frames, 8, seed=2, dtype=torch.float32),
            draw(1, 1, 1, frames, 8, seed=3, dtype=torch.float32),
            random_map(rows, frames, length, views).int(),
            *(table if has[0] else (None, None)),
            draw(views, 1, rows, 8, seed=6, dtype=torch.float32) if has[1] else None,
            draw(views, rows, seed=7, dtype=torch.float32) if has[2] else None,
        )
    )


def test_large_scores_do_not_overflow() -> None:
    q, k, v = (30 * x for x in clip_views(1, 8, 1, 1, 40, torch.float16))
    check(Attention(q, k, v, src_index(8)[None].int(), None, None, None, None))


def test_some_of_the_rows_of_a_clip_any_order_of_axes() -> None:
    q, k, v = clip_views(2, 6, 2, 2, 8, torch.float32, skip=2)
    src = src_index(6)[None].int()
    here = check(Attention(q, k, v, src, None, None, None, None))
    copied = check(Attention(*(x.contiguous() for x in (q, k, v)), src, None, None, None, None))
    assert torch.equal(here, copied)
    odd = (x.transpose(-1, -2).contiguous().transpose(-1, -2) for x in (q, k, v))
    assert torch.equal(here, check(Attention(*odd, src, None, None, None, None)))


def test_every_run_has_the_same_bits() -> None:
    q, k, v = clip_views(1, 12, 1, 2, 8, torch.bfloat16)
    example = Attention(q, k, v, random_map(12, 12, 9).int(), None, None, None, None)
    assert torch.equal(launch_temporal_attention(*example), launch_temporal_attention(*example))


@pytest.mark.parametrize(
    "strides",
    [
        (0, 2**30, 0, 16, 1),
        (0, 16, 0, 2**31, 1),  # a multiple of 8, of which the kernel would multiply an eighth by 8
        (0, 64, 0, 1, 2**28),
    ],
    ids=["locations", "frames", "channels"],
)
def test_places_beyond_two_to_the_31_are_reached(
    strides: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = draw(1, 3, 1, 4, 16, dtype=torch.float16)
    monkeypatch.setattr(triton_temporal, "empty_in_order_of", lambda x: torch.empty(x.shape).half())
    x = reserved(monkeypatch, numbers, strides)
    src = src_index(4)[None].int()
    result = launch_temporal_attention(x, x, x, src, None, None, None, None)
    assert_near(result, Attention(*[numbers] * 3, src, None, None, None, None).exact())


def test_the_operator_on_cuda_is_the_kernel() -> None:
    q, k, v = clip_views(1, 6, 1, 2, 8, torch.float32)
    tables = (*positions(2, 4, 8, torch.float32)[:2], None, None)
    arguments = (q, k, v, random_map(6, 6, 4).int(), *tables)
    on_cuda = temporal_attention_operator._backend_fns["cuda"]
    assert torch.equal(on_cuda(*arguments), launch_temporal_attention(*arguments))


def test_programs_are_on_the_axis_that_goes_beyond_65535(monkeypatch: pytest.MonkeyPatch) -> None:
    grids: list[tuple[int, ...]] = []

    class Kernel:
        def __getitem__(self, grid: tuple[int, ...]) -> object:
            grids.append(grid)
            return lambda *args, **kwargs: None

    monkeypatch.setattr(triton_temporal, "temporal_attention_kernel", Kernel())
    x = torch.empty(2, 9216, 8, 40, 8, device="meta")
    launch_temporal_attention(x, x, x, None, None, None, None, None)
    assert grids == [(2 * 9216 * 8 * 3,)]
