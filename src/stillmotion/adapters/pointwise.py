"""Convolutions of 1 x 1 that round alike with one thread and with two.

On a CPU they are the only layers of our networks whose result depends on whether one or two threads
compute it; see `runtime/threads.py` for why it must not.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stillmotion.runtime.threads import single_thread


class PointwiseConv2d(nn.Conv2d):
    """A convolution that one thread computes; they are few and small."""

    def forward(self, input: Tensor) -> Tensor:
        if input.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(input)
        with single_thread():
            return super().forward(input)


def keep_pointwise_alike(*networks: nn.Module) -> None:
    """Make every convolution of 1 x 1 in `networks` a `PointwiseConv2d`.

    For good, and without a trace in weights, names or hooks: only the class changes, so copies
    keep it, and a layer of another class stays what it is.
    """
    for network in networks:
        for module in network.modules():
            if type(module) is nn.Conv2d and module.kernel_size == (1, 1):
                module.__class__ = PointwiseConv2d
