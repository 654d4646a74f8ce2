"""Two frames for RAFT, and where torchvision's answer to them lies.

`fixtures/raft_large.safetensors` was written by torchvision 0.29.1: `raft_large` with weights by
formula (salt 20261123), frames scaled to -1..1, 4 updates, the last prediction at rows and columns
3, 11, 19, ...; `fixtures/raft_large.keys.txt` lists its state dict.
"""

from __future__ import annotations

from pathlib import Path

import torch
from tests.formula import by_formula
from torch import Tensor

FIXTURES = Path(__file__).parent / "fixtures"
SALT = 20261123
NUM_UPDATES = 4


def frames() -> tuple[Tensor, Tensor]:
    """Squares of 8 x 8 pixels in random colours (3 128 144), uint8, and the same 3 pixels on."""
    values = by_formula("frames", (3, 16, 18), SALT)
    colours = ((values / values.abs().max() + 1) * 127).to(torch.uint8)
    first = colours.repeat_interleave(8, 1).repeat_interleave(8, 2)
    return first, first.roll(3, 2)
