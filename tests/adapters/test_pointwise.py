"""Convolutions of 1 x 1 that do not depend on the number of threads."""

from __future__ import annotations

import copy

import pytest
import torch
from tests.tiny_models import tiny_unet
from torch import nn

from stillmotion.adapters.pointwise import PointwiseConv2d, keep_pointwise_alike


def layer() -> nn.Conv2d:
    made = nn.Conv2d(64, 32, 1)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in made.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator))
    return made


def test_only_the_class_of_a_layer_changes() -> None:
    unet = tiny_unet()
    names = list(unet.state_dict())
    keep_pointwise_alike(unet)
    convolutions = [m for m in unet.modules() if isinstance(m, nn.Conv2d)]
    assert {m.kernel_size for m in convolutions if type(m) is PointwiseConv2d} == {(1, 1)}
    assert (1, 1) not in {m.kernel_size for m in convolutions if type(m) is nn.Conv2d}
    assert list(unet.state_dict()) == names
    assert isinstance(copy.deepcopy(unet).conv_in, nn.Conv2d)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_results_do_not_depend_on_threads(threads: int) -> None:
    own, before = layer(), torch.get_num_threads()
    keep_pointwise_alike(own)
    x = torch.randn(8, 64, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        one = layer()(x)
        try:
            torch.set_num_threads(threads)
            assert torch.equal(own(x), one)
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(before)
