"""FLOPs, bytes and operations: by hand, against torch's own counter, and on two devices."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.tiny_models import tiny_unet
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from stillmotion.benchmarks.counting import KINDS, OTHER, Counts, Tally, counted, kind_of
from stillmotion.kernels.choice import fused_on_meta
from stillmotion.kernels.norms import add_layer_norm, group_norm_silu
from stillmotion.kernels.pointwise import geglu
from stillmotion.kernels.temporal import temporal_attention
from stillmotion.runtime.memory import peak_bytes

HALF = 2


def meta(*shape: int, dtype: torch.dtype = torch.float16) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def whole(*shape: int) -> Tensor:
    return meta(*shape, dtype=torch.int64)


def count(compute: Callable[[], object]) -> Counts:
    return counted(compute)[1]


def attention(q: int, k: int) -> Tensor:
    """2 clips, 3 heads, `q` queries, `k` keys, 4 channels of keys and values."""
    return functional.scaled_dot_product_attention(
        meta(2, 3, q, 4), meta(2, 3, k, 4), meta(2, 3, k, 4)
    )


# FLOPs as the sum that they stand for, and bytes read and written.
PRODUCTS: dict[str, tuple[Callable[[], object], int, int]] = {
    "product": (
        lambda: meta(3, 4) @ meta(4, 5),
        2 * 3 * 4 * 5,
        HALF * (12 + 20 + 15),
    ),
    "layer with bias": (
        lambda: functional.linear(meta(2, 3, 4), meta(5, 4), meta(5)),
        2 * 6 * 4 * 5,
        HALF * (24 + 20 + 5 + 30),
    ),
    "batch of products": (
        lambda: meta(7, 3, 4) @ meta(7, 4, 5),
        7 * 2 * 3 * 4 * 5,
        HALF * 7 * (12 + 20 + 15),
    ),
    "convolution": (
        lambda: functional.conv2d(meta(2, 4, 9, 9), meta(6, 4, 3, 3), stride=2),
        2 * (2 * 6 * 4 * 4) * (4 * 3 * 3),
        HALF * (2 * 4 * 81 + 6 * 4 * 9 + 2 * 6 * 16),
    ),
    "convolution in groups": (
        lambda: functional.conv2d(meta(2, 4, 9, 9), meta(6, 2, 3, 3), groups=2),
        2 * (2 * 6 * 7 * 7) * (2 * 3 * 3),
        HALF * (2 * 4 * 81 + 6 * 2 * 9 + 2 * 6 * 49),
    ),
    "convolution over frames": (
        lambda: functional.conv3d(meta(1, 4, 5, 2, 2), meta(4, 4, 3, 1, 1), padding=(1, 0, 0)),
        2 * (4 * 5 * 2 * 2) * (4 * 3),
        HALF * (4 * 20 + 4 * 4 * 3 + 4 * 20),
    ),
    "transposed convolution": (
        lambda: functional.conv_transpose2d(meta(2, 4, 8, 8), meta(4, 6, 3, 3)),
        2 * (2 * 4 * 8 * 8) * (6 * 3 * 3),
        HALF * (2 * 4 * 64 + 4 * 6 * 9 + 2 * 6 * 100),
    ),
    # The fused kernel also writes the logarithm of each softmax's sum, in float32.
    "attention": (
        lambda: attention(5, 7),
        2 * 2 * (2 * 3 * 5 * 7 * 4),
        HALF * 6 * 4 * (5 + 7 + 7 + 5) + 4 * 6 * 5,
    ),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_by_hand(name: str) -> None:
    compute, flops, num_bytes = PRODUCTS[name]
    total = count(compute).total
    assert (total.operations, total.flops, total.bytes_moved) == (1, flops, num_bytes)


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_agree_with_torch(name: str) -> None:
    compute, flops, _ = PRODUCTS[name]
    with FlopCounterMode(display=False) as theirs:
        compute()
    assert theirs.get_total_flops() == flops


OTHERS: dict[str, tuple[Callable[[], object], int]] = {
    "sum": (lambda: meta(3, 4) + meta(3, 4), HALF * 36),
    "sum with a number": (lambda: meta(3, 4) + 1, HALF * 24),
    "expanded axes lie in memory once": (
        lambda: meta(3, 1).expand(3, 100) + meta(3, 100),
        HALF * (3 + 300 + 300),
    ),
    "in place": (lambda: meta(3, 4).add_(meta(3, 4)), HALF * 36),
    "overwriting reads the source alone": (lambda: meta(3, 4).copy_(meta(3, 4)), HALF * 24),
    "clone": (lambda: meta(3, 4).t().contiguous(), HALF * 24),
    "to another precision": (lambda: meta(3, 4).float(), 12 * (HALF + 4)),
    "a lookup reads what it returns": (
        lambda: functional.embedding(whole(5), meta(1000, 8)),
        8 * 5 + 2 * HALF * 40,
    ),
    "gather": (lambda: meta(6, 50).gather(1, whole(6, 2)), 8 * 12 + 2 * HALF * 12),
    "nothing": (lambda: meta(0, 4) + 1, 0),
}


@pytest.mark.parametrize("name", OTHERS)
def test_bytes_by_hand(name: str) -> None:
    compute, num_bytes = OTHERS[name]
    total = count(compute).total
    assert (total.operations, total.flops, total.bytes_moved) == (1, 0, num_bytes)


def test_views_and_allocations_are_free() -> None:
    x = meta(2, 6, 4)

    def compute() -> None:
        y = x.view(2, 3, 2, 4).transpose(1, 2).unsqueeze(0).expand(5, -1, -1, -1, -1)
        y[0, :, 1:].chunk(2)
        torch.empty_like(x)
        x.new_empty(3)
        x.reshape(-1).detach()

    assert count(compute).total == Tally()


def test_norms_write_their_statistics() -> None:
    found = count(lambda: functional.layer_norm(meta(3, 8), (8,), meta(8), meta(8)))
    assert found.operators["native_layer_norm"].bytes_moved >= HALF * (24 + 8 + 8 + 24)
    assert list(found.by_kind()) == ["norm"]


def test_work_on_the_host_is_not_counted() -> None:
    def compute() -> Tensor:
        table = (torch.arange(6) + 1).clamp(max=3)
        return meta(6) + table.to("meta")

    operators = count(compute).operators
    assert {name: tally.operations for name, tally in operators.items()} == {
        "_to_copy": 1,
        "add": 1,
    }
    # What comes from the host is only written here.
    assert operators["_to_copy"].bytes_moved == 8 * 6


def test_the_largest_tensor_shows_that_tokens_were_multiplied() -> None:
    tokens = meta(16, 320)
    plain = count(lambda: tokens @ meta(320, 320))
    pool = count(lambda: (tokens[:, None] + tokens[None]) @ meta(320, 320))
    assert plain.total.largest_bytes == HALF * 16 * 320
    assert pool.total.largest_bytes == 16 * plain.total.largest_bytes


def test_kinds_and_totals_add_up() -> None:
    def compute() -> Tensor:
        x = functional.silu(meta(4, 4) @ meta(4, 4)) + 1
        return torch.cat([x, x]).softmax(-1)

    found = count(compute)
    kinds = found.by_kind()
    assert {kind: tally.operations for kind, tally in kinds.items()} == {
        "matrix product": 1,
        "activation": 2,
        "arithmetic": 1,
        "copy": 1,
    }
    assert sum(kinds.values(), Tally()) == found.total
    assert list(found.operators) == sorted(found.operators)


def test_every_operator_has_one_kind() -> None:
    names = [name for operators in KINDS.values() for name in operators]
    assert len(names) == len(set(names))
    assert kind_of("upsample_nearest2d") == OTHER


def test_what_is_computed_comes_back() -> None:
    result, found = counted(lambda: torch.ones(3) + 1, torch.device("cpu"))
    assert torch.equal(result, torch.full((3,), 2.0))
    assert found.operators["add"].operations == 1


# Whole networks.


def unet_call(device: str) -> Callable[[], object]:
    unet = tiny_unet().to(device)
    latents = torch.zeros(2, 4, 4, 4, 4, device=device)
    text = torch.zeros(8, 5, 8, device=device)
    return lambda: unet(latents, torch.tensor(3), encoder_hidden_states=text)


@torch.no_grad()
def test_a_network_agrees_with_torch() -> None:
    call = unet_call("meta")
    with FlopCounterMode(display=False) as theirs:
        call()
    assert count(call).total.flops == theirs.get_total_flops() > 0


def test_a_network_costs_the_same_every_time_and_on_a_cpu() -> None:
    found = count(unet_call("meta"))
    assert count(unet_call("meta")) == found
    on_cpu = counted(unet_call("cpu"), torch.device("cpu"))[1]
    assert on_cpu.total.flops == found.total.flops
    assert on_cpu.total.bytes_moved == pytest.approx(found.total.bytes_moved, rel=0.01)


def test_fused_operators_by_hand() -> None:
    """Each is one operation, which reads its arguments once."""
    x, table = meta(6, 8, 2, 2), meta(3, 7, 4)
    q, k = meta(5, 3, 6, 4), meta(5, 3, 6, 4)
    src = meta(2, 6, 7, dtype=torch.int32)
    queries = meta(2, 3, 6, 4)
    weights = meta(2, 6, dtype=torch.float32)
    with fused_on_meta():
        norm = count(lambda: group_norm_silu(x, 4, meta(8), meta(8), add=meta(1, 8)))
        half = count(lambda: geglu(meta(10, 8)))
        total = count(lambda: add_layer_norm(meta(6, 8), meta(6, 8), meta(8), meta(8)))
        plain = count(lambda: temporal_attention(q, k, k))
        views = count(lambda: temporal_attention(q, k, k, src, table, table, queries, weights))
    assert norm.total == Tally(
        operations=1, bytes_moved=HALF * (2 * 192 + 3 * 8), largest_bytes=HALF * 192
    )
    assert half.total.bytes_moved == HALF * (80 + 40)
    assert total.total.bytes_moved == HALF * (4 * 48 + 2 * 8)
    assert plain.total.flops == 4 * (5 * 3) * 6 * 6 * 4
    assert views.total.flops == 2 * 4 * (5 * 3) * 6 * (6 + 7) * 4
    assert [list(c.by_kind()) for c in (norm, half, total, views)] == [
        ["norm"], ["activation"], ["norm"], ["attention"],
    ]  # fmt: skip


def test_convolutions_keep_channels_last() -> None:
    """On the meta device as on a CPU, if picture and weights lie so."""

    def strides(device: str, last: bool) -> tuple[int, ...]:
        order = torch.channels_last if last else torch.contiguous_format
        conv = nn.Conv2d(3, 5, 3, device=device).to(memory_format=order).requires_grad_(False)
        x = torch.zeros(2, 3, 6, 6, device=device).contiguous(memory_format=order)
        return counted(lambda: conv(x), torch.device(device))[0].stride()

    for last in (False, True):
        assert strides("meta", last) == strides("cpu", last)
    assert strides("meta", True) != strides("meta", False)


def test_inference_mode_hides_no_operator() -> None:
    call = unet_call("meta")

    def compute() -> None:
        with torch.inference_mode():
            call()

    assert count(compute).operators == count(call).operators


def test_peak_is_that_of_the_memory_plans() -> None:
    layers = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).to("meta")
    x = meta(3, 4, dtype=torch.float32)
    assert count(lambda: layers(x)).peak_bytes == peak_bytes(lambda: layers(x))
    call = unet_call("meta")
    assert count(call).peak_bytes == peak_bytes(call)
