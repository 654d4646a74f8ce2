"""The average of the weights."""

from __future__ import annotations

import torch
from torch import nn

from stillmotion.training.ema import WeightAverage


def test_the_average_is_that_of_the_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = nn.Parameter(torch.randn(5, generator=generator))
    average = WeightAverage([weight], decay=0.9)
    expected = weight.detach().double()
    for n in range(1, 121):
        with torch.no_grad():
            weight.copy_(torch.randn(5, generator=generator))
        average.update()
        decay = min(0.9, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * weight.detach().double()
        assert (average.average[0] - expected).abs().max() < 1e-5
    assert average.updates == 120


def test_swapping_exchanges_and_twice_is_a_no_op() -> None:
    weight = nn.Parameter(torch.zeros(3))
    average = WeightAverage([weight], decay=0.5)
    with torch.no_grad():
        weight.fill_(1)
    average.update()
    live, averaged = weight.detach().clone(), average.average[0].clone()
    average.swap()
    assert torch.equal(weight, averaged)
    assert torch.equal(average.average[0], live)
    average.swap()
    assert torch.equal(weight, live)
    assert torch.equal(average.average[0], averaged)
    assert not torch.equal(live, averaged)
