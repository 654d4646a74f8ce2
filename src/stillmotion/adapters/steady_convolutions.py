"""Convolutions that round alike with one thread and with two.

On a CPU they are the only layers of our networks whose result depends on whether one or two threads
compute it; see `runtime/threads.py` for why it must not.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stillmotion.runtime.threads import single_thread

_FEW_POSITIONS = 256
"""Below it, one picture gives threads too few positions to share, and oneDNN lets them share sums.
Found at 8 x 8 and less on an Intel CPU, not at 16 x 16; on an AMD CPU only at 1 x 1 kernels."""


class SteadyConv2d(nn.Conv2d):
    """A convolution that one thread computes where two would round otherwise; those are small."""

    def forward(self, input: Tensor) -> Tensor:
        if input.device.type != "cpu" or torch.compiler.is_compiling() or not self._differs(input):
            return super().forward(input)
        with single_thread():
            return super().forward(input)

    def _differs(self, input: Tensor) -> bool:
        if self.kernel_size == (1, 1):
            return True
        return input.shape[0] == 1 and input.shape[-2] * input.shape[-1] < _FEW_POSITIONS


def keep_rounding_alike(*networks: nn.Module) -> None:
    """Make every convolution in `networks` a `SteadyConv2d`.

    For good, and without a trace in weights, names or hooks: only the class changes, so copies
    keep it, and a layer of another class stays what it is.
    """
    for network in networks:
        for module in network.modules():
            if type(module) is nn.Conv2d:
                module.__class__ = SteadyConv2d
