"""The plain forms of the pointwise operators and norms against what diffusers computes."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.activations import GEGLU
from diffusers.models.resnet import ResnetBlock2D
from tests.kernels.examples import draw
from torch import nn

from stillmotion.kernels.norms import add_layer_norm, group_norm_silu
from stillmotion.kernels.pointwise import geglu


def test_geglu_is_that_of_diffusers_without_its_projection() -> None:
    layer = GEGLU(6, 10).double()
    x = draw(2, 3, 6)
    assert torch.equal(geglu(layer.proj(x)), layer(x))


def test_geglu_wants_two_halves() -> None:
    with pytest.raises(ValueError, match="5 is an odd number"):
        geglu(torch.zeros(2, 5))


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("times", [1, 2])
def test_a_resnet_block_can_be_made_of_group_norm_silu(channels_last: bool, times: int) -> None:
    block = ResnetBlock2D(in_channels=8, temb_channels=12, groups=4, eps=1e-6).double().eval()
    x, time = draw(2, 8, 4, 6, seed=1), draw(times, 12, seed=2)
    if channels_last:
        x = x.to(memory_format=torch.channels_last)
    expected = block(x, time.expand(2, -1))
    norms = block.norm1, block.norm2
    one, two = ((norm.num_groups, norm.weight, norm.bias, norm.eps) for norm in norms)
    add = block.time_emb_proj(block.nonlinearity(time))
    hidden = block.conv1(group_norm_silu(x, *one))
    ours = x + block.conv2(group_norm_silu(hidden, *two, add=add))
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_group_norm_silu_keeps_the_memory_of_its_input(axes: int) -> None:
    places = (3, 4, 5)[:axes]
    norm = nn.GroupNorm(2, 6).double()
    first = draw(2, 6, *places)
    last = first.movedim(1, -1).contiguous().movedim(-1, 1)
    gapped = draw(2, 9, *places)[:, :6]
    for x in (first, last, gapped):
        for silu in (False, True):
            ours = group_norm_silu(x, 2, norm.weight, norm.bias, norm.eps, silu=silu)
            expected = nn.functional.silu(norm(x)) if silu else norm(x)
            torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)
            order = sorted(range(x.ndim), key=x.stride, reverse=True)
            assert ours.permute(order).is_contiguous()


def test_add_layer_norm_is_a_sum_and_its_norm() -> None:
    norm = nn.LayerNorm(8).double()
    x, residual = draw(2, 3, 8, seed=1), draw(2, 3, 8, seed=2)
    total, normed = add_layer_norm(x, residual, norm.weight, norm.bias, norm.eps)
    assert torch.equal(total, x + residual)
    assert torch.equal(normed, norm(x + residual))
