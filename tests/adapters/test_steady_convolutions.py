"""Convolutions that do not depend on the number of threads."""

from __future__ import annotations

import copy

import pytest
import torch
from tests.tiny_models import tiny_unet
from torch import Tensor, nn

from stillmotion.adapters.steady_convolutions import SteadyConv2d, keep_rounding_alike


def layer(kernel: int, channels: int) -> nn.Conv2d:
    made = nn.Conv2d(channels, 96, kernel, padding=kernel // 2)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in made.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator))
    return made


def pictures(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def test_only_the_class_of_a_layer_changes() -> None:
    unet = tiny_unet()
    names = list(unet.state_dict())
    keep_rounding_alike(unet)
    convolutions = [m for m in unet.modules() if isinstance(m, nn.Conv2d)]
    assert {type(m) for m in convolutions} == {SteadyConv2d}
    assert list(unet.state_dict()) == names
    assert isinstance(copy.deepcopy(unet).conv_in, SteadyConv2d)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("kernel", "shape"),
    [(1, (8, 64, 32, 32)), (3, (1, 96, 8, 8)), (3, (1, 96, 4, 4)), (3, (2, 96, 8, 8)),
     (3, (1, 96, 16, 16))],
)  # fmt: skip
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_results_do_not_depend_on_threads(
    layout: torch.memory_format, kernel: int, shape: tuple[int, ...], threads: int
) -> None:
    plain, own, before = layer(kernel, shape[1]), layer(kernel, shape[1]), torch.get_num_threads()
    keep_rounding_alike(own)
    plain, own = plain.to(memory_format=layout), own.to(memory_format=layout)
    x = pictures(*shape).to(memory_format=layout)
    with torch.inference_mode():
        try:
            torch.set_num_threads(1)
            one = plain(x)
            torch.set_num_threads(threads)
            assert torch.equal(own(x), one)
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(before)
