"""The kernels of GEGLU and of the norms in Triton's interpreter; run by `test_kernels.py`."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from tests.kernels.bfloat16 import mend_interpreter
from tests.kernels.examples import assert_near, draw
from tests.kernels.reserved import reserved
from torch import Tensor

from stillmotion.kernels.norms import (
    add_layer_norm_operator,
    add_layer_norm_reference,
    group_norm_silu_operator,
    group_norm_silu_reference,
)
from stillmotion.kernels.pointwise import geglu_operator, geglu_reference
from stillmotion.kernels.triton_group_norm import group_statistics_kernel, launch_group_norm_silu
from stillmotion.kernels.triton_layer_norm import launch_add_layer_norm
from stillmotion.kernels.triton_pointwise import launch_geglu

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
mend_interpreter()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(1, 2), (5, 12), (4, 512), (3, 600), (0, 8)], ids=str)
def test_geglu(shape: tuple[int, int], dtype: torch.dtype) -> None:
    x = 3 * draw(*shape, dtype=dtype)
    result = launch_geglu(x)
    assert result.is_contiguous()
    if len(x):
        assert_near(result, geglu_reference(x.double()))
    strided = x.t().contiguous().t()
    assert torch.equal(launch_geglu(strided), result)
    assert torch.equal(launch_geglu(x.repeat(1, 2)[:, : x.shape[1]]), result)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(1, 1, 8), (2, 3, 40), (1, 70, 32), (2, 1, 1280)], ids=str)
def test_add_layer_norm(shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    x, residual = draw(*shape, seed=1, dtype=dtype) + 2, draw(*shape, seed=2, dtype=dtype)
    weight, bias = draw(shape[-1], seed=3, dtype=dtype), draw(shape[-1], seed=4, dtype=dtype)
    total, normed = launch_add_layer_norm(x, residual, weight, bias, 1e-5)
    assert total.is_contiguous()
    assert normed.is_contiguous()
    assert torch.equal(total, x + residual)
    doubled = (t.double() for t in (total, torch.zeros_like(total), weight, bias))
    exact = add_layer_norm_reference(*doubled, 1e-5)[1]
    # One rounding, of the result: the norm is that of the rounded sum.
    bound = torch.finfo(dtype).eps * exact.abs() + 1e-5
    assert ((normed.double() - exact).abs() <= bound).all()


def test_add_layer_norm_of_some_frames() -> None:
    x = draw(2, 9, 24, dtype=torch.float32)[:, 3:]
    residual = draw(6, 2, 24, seed=1, dtype=torch.float32).transpose(0, 1)
    weight = torch.ones(24)
    total, normed = launch_add_layer_norm(x, residual, weight, weight, 1e-5)
    expected = add_layer_norm_reference(
        x.double(), residual.double(), weight.double(), weight.double()
    )
    assert_near(total, expected[0])
    assert_near(normed, expected[1])


def exact(x: Tensor, groups: int, w: Tensor, b: Tensor, add: Tensor | None, silu: bool) -> Tensor:
    added = None if add is None else add.double()
    return group_norm_silu_reference(x.double(), groups, w.double(), b.double(), 1e-5, added, silu)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("is_last", [False, True], ids=["channels first", "channels last"])
@pytest.mark.parametrize(
    ("n", "c", "groups", "s"), [(1, 4, 1, 1), (2, 12, 4, 64), (1, 40, 8, 70), (1, 6, 3, 1100)]
)
def test_group_norm_silu(
    n: int, c: int, groups: int, s: int, is_last: bool, dtype: torch.dtype
) -> None:
    x = draw(n, c, s, dtype=dtype)
    x = x.transpose(1, 2).contiguous().transpose(1, 2) if is_last else x
    w, b = draw(c, seed=1, dtype=dtype), draw(c, seed=2, dtype=dtype)
    result = launch_group_norm_silu(x, groups, w, b, 1e-5, draw(1, c, seed=3, dtype=dtype), True)
    assert result.stride() == x.stride()
    assert_near(result, exact(x, groups, w, b, draw(1, c, seed=3, dtype=dtype), True))


@pytest.mark.parametrize(("num_added", "silu"), list(product([0, 1, 3], [False, True])))
def test_what_group_norm_can_leave_out(num_added: int, silu: bool) -> None:
    x = draw(3, 8, 20, dtype=torch.float32)
    w, b = draw(8, seed=1, dtype=torch.float32), draw(8, seed=2, dtype=torch.float32)
    add = draw(num_added, 8, seed=3, dtype=torch.float32) if num_added else None
    result = launch_group_norm_silu(x, 2, w, b, 1e-5, add, silu)
    assert_near(result, exact(x, 2, w, b, add, silu))


def test_variance_survives_a_large_mean() -> None:
    # Lost in a difference of squares: 3000² + 1 is 3000² in float32.
    x = draw(1, 4, 600, dtype=torch.float32) + 3000
    one, none = torch.ones(4), torch.zeros(4)
    add = torch.tensor([[0.0, 100.0, -100.0, 500.0]])
    result = launch_group_norm_silu(x, 4, one, none, 1e-5, add, False)
    assert (result.double() - exact(x, 4, one, none, add, False)).abs().max() < 2e-3
    assert abs(result.var().item() - 1) < 1e-2


def test_some_of_the_pictures_and_places() -> None:
    x = draw(4, 10, 30, dtype=torch.float16)[1::2, :8, ::3]
    w, b = draw(8, seed=1, dtype=torch.float32), draw(8, seed=2, dtype=torch.float32)
    result = launch_group_norm_silu(x, 2, w, b, 1e-5, None, True)
    assert result.is_contiguous()
    assert_near(result, exact(x, 2, w, b, None, True))


def test_every_run_has_the_same_bits() -> None:
    x, w = draw(2, 8, 600, dtype=torch.bfloat16), torch.ones(8)
    runs = [launch_group_norm_silu(x, 2, w, w, 1e-5, None, True) for _ in range(2)]
    assert torch.equal(*runs)


def test_geglu_reaches_places_beyond_two_to_the_31(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = draw(3, 4, dtype=torch.float16)
    x = reserved(monkeypatch, numbers, (1, 2**30))
    assert torch.equal(launch_geglu(x), launch_geglu(numbers))


def test_add_layer_norm_reaches_places_beyond_two_to_the_31(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    numbers, w = draw(1, 3, 16, dtype=torch.float16), torch.ones(16)
    x = reserved(monkeypatch, numbers, (0, 1, 2**28))
    near, far = (launch_add_layer_norm(a, a, w, w, 1e-5) for a in (numbers, x))
    assert all(map(torch.equal, near, far))


def test_a_group_may_have_more_than_two_to_the_31_numbers() -> None:
    """4 channels of 2³⁰ places, of which the first kernel found these means and squares."""
    places, w = 2**30, torch.ones(4)
    means, squares = torch.tensor([1.0, 2, 3, 6]), torch.full((4,), float(places))
    centres, scales = torch.empty(4), torch.empty(4)
    group_statistics_kernel[(1,)](
        means, squares, None, w, centres, scales,
        4, places, 1, 1, 0.0, 0, 0, 1, CHUNK=places, BLOCK_K=16, BLOCK_G=4,
    )  # fmt: skip
    assert centres.tolist() == [3.0] * 4
    variance = 1 + (4 + 1 + 0 + 9) / 4
    torch.testing.assert_close(scales, torch.full((4,), variance**-0.5))


def test_the_operators_on_cuda_are_the_kernels() -> None:
    x, w = draw(2, 6, 10, dtype=torch.float32), draw(6, seed=1, dtype=torch.float32)
    norm = (x, 3, w, w, 1e-5, w[None], True)
    on_cuda = group_norm_silu_operator._backend_fns["cuda"]
    assert torch.equal(on_cuda(*norm), launch_group_norm_silu(*norm))
    rows = x.transpose(1, 2)
    sums = (rows, rows, w, w, 1e-5)
    on_cuda = add_layer_norm_operator._backend_fns["cuda"]
    assert all(map(torch.equal, on_cuda(*sums), launch_add_layer_norm(*sums)))
    assert torch.equal(geglu_operator._backend_fns["cuda"](x[0]), launch_geglu(x[0]))
