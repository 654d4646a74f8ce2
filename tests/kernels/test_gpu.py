"""The kernels on a CUDA device: `make test-gpu`."""

from __future__ import annotations

import pytest
import torch
from tests.kernels.examples import Attention, assert_near, clip_views, draw
from torch import Tensor

from stillmotion.animatezero.temporal_control import src_index
from stillmotion.kernels.choice import is_fused
from stillmotion.kernels.maps import overlapping_views
from stillmotion.kernels.norms import (
    add_layer_norm,
    add_layer_norm_reference,
    group_norm_silu,
    group_norm_silu_reference,
)
from stillmotion.kernels.pointwise import geglu, geglu_reference
from stillmotion.kernels.temporal import temporal_attention

pytestmark = pytest.mark.gpu

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@pytest.fixture(params=DTYPES, ids=str)
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param


def there(*tensors: Tensor | None) -> list[Tensor | None]:
    """On the device, with the strides that they have here."""
    return [x if x is None else x.to("cuda") for x in tensors]


def check(example: Attention) -> None:
    device = there(*example)
    assert is_fused(device[0])
    with torch.no_grad():
        result = temporal_attention(*device)
        again = temporal_attention(*device)
    assert torch.equal(result, again), "the same bits on every run"
    assert_near(result.cpu(), example.exact())


@pytest.mark.parametrize("d", [8, 40, 64, 80, 160])
@pytest.mark.parametrize(("num_frames", "length"), [(8, 8), (16, 16), (40, 16), (32, 32)])
def test_windows(num_frames: int, length: int, d: int, dtype: torch.dtype) -> None:
    q, k, v = clip_views(2, num_frames, 9, 4, d, dtype, skip=1)
    key_p, value_p = (draw(4, length, d, seed=s, dtype=dtype) for s in (5, 6))
    check(Attention(q, k, v, src_index(num_frames, length), key_p, value_p, None, None))
    check(Attention(q, k, v, src_index(num_frames, length), None, None, None, None))


@pytest.mark.parametrize(("num_frames", "length"), [(40, 16), (128, 32), (16, 16)])
def test_overlapping_windows(num_frames: int, length: int, dtype: torch.dtype) -> None:
    q, k, v = clip_views(2, num_frames, 5, 2, 40, dtype)
    query_p, key_p, value_p = (draw(2, length, 40, seed=s, dtype=dtype) for s in (4, 5, 6))
    views = overlapping_views(num_frames, length)
    queries = query_p[:, views.query_slot].transpose(0, 1)
    check(Attention(q, k, v, views.src, key_p, value_p, queries, views.weights))


@pytest.mark.parametrize("num_frames", [1, 8, 16, 64, 128])
@pytest.mark.parametrize("d", [40, 160])
def test_global_attention(num_frames: int, d: int, dtype: torch.dtype) -> None:
    check(Attention(*clip_views(2, num_frames, 5, 4, d, dtype), None, None, None, None, None))


def test_more_than_65535_locations() -> None:
    q, k, v = clip_views(1, 4, 70_000, 1, 8, torch.float16)
    check(Attention(q, k, v, src_index(4), None, None, None, None))


def test_geglu(dtype: torch.dtype) -> None:
    x = 3 * draw(2, 100, 2560, dtype=dtype)
    assert_near(geglu(x.cuda()).cpu(), geglu_reference(x.double()))


def test_add_layer_norm(dtype: torch.dtype) -> None:
    x, residual = (draw(2, 9, 50, 320, seed=s, dtype=dtype)[:, 1:] for s in (1, 2))
    w, b = (draw(320, seed=s, dtype=dtype) for s in (3, 4))
    with torch.no_grad():
        total, normed = add_layer_norm(*there(x, residual, w, b))
    assert torch.equal(total.cpu(), x + residual)
    zero = torch.zeros_like(total).cpu().double()
    expected = add_layer_norm_reference(total.cpu().double(), zero, w.double(), b.double())[1]
    assert_near(normed.cpu(), expected)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize(("c", "side"), [(320, 64), (640, 9), (1280, 8)])
def test_group_norm_silu(
    c: int, side: int, layout: torch.memory_format, dtype: torch.dtype
) -> None:
    x = draw(3, c, side, side, dtype=dtype).to(memory_format=layout)
    w, b, add = (draw(c, seed=s, dtype=dtype) for s in (1, 2, 3))
    for added in (None, add[None], add.expand(3, -1)):
        result = group_norm_silu(x.cuda(), 32, *there(w, b), 1e-5, *there(added))
        assert result.is_contiguous(memory_format=layout)
        doubled = added if added is None else added.double()
        exact = group_norm_silu_reference(x.double(), 32, w.double(), b.double(), 1e-5, doubled)
        assert_near(result.cpu(), exact)


def test_compiled_code_uses_the_kernels() -> None:
    q, k, v = there(*clip_views(2, 16, 9, 2, 40, torch.bfloat16))
    w = torch.ones(80, device="cuda", dtype=torch.bfloat16)
    src = src_index(16, device=q.device)

    def block(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = temporal_attention(q, k, v, src).permute(0, 3, 1, 2, 4).flatten(-2)
        total, normed = add_layer_norm(out, out, w, w)
        pictures = normed.flatten(0, 1).transpose(1, 2)
        return total + group_norm_silu(pictures, 4, w, w).transpose(1, 2).view_as(total)

    with torch.no_grad():
        compiled = torch.compile(block, fullgraph=True)(q, k, v)
        torch.testing.assert_close(compiled, block(q, k, v))
