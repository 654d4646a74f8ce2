"""Optical flow by RAFT, from a file of weights."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from stillmotion.errors import InputError
from stillmotion.evaluation.extractors.dis import check_pair
from stillmotion.evaluation.extractors.raft_network import Raft
from stillmotion.evaluation.extractors.weights import fill, read_state
from stillmotion.models.sources import sha256

SMALLEST = 64
"""Pixels of the shorter side: an eighth of it, halved three times, must leave something.  Published
weights were never tried below 128."""
DEFAULT_UPDATES, MOST_UPDATES = 20, 64
_HINT = (
    "torchvision's raft_large checkpoints (of the paper's own weights: raft_large_C_T_V1-22a6c225"
    ".pth at download.pytorch.org/models) have the right names"
)


class RaftFlow:
    """A `FlowEstimator`.

    Frames are scaled to -1..1, as the network was trained.  (EvalCrafter's copy scales frames that
    are in 0..1 already once more, which leaves it 1/255 of their contrast.)

    Args:
        network: with its weights.
        identity: sha256 of their file.
        device: where it runs.
        num_updates: steps of refinement, 1 to 64; the name says so where they are not 20.

    Raises:
        InputError: fewer or more steps.
    """

    def __init__(
        self,
        network: Raft,
        identity: str,
        device: str | torch.device = "cpu",
        num_updates: int = DEFAULT_UPDATES,
    ) -> None:
        if not 1 <= num_updates <= MOST_UPDATES:
            raise InputError(
                f"RAFT was asked for {num_updates} updates of its flow; give 1 to {MOST_UPDATES}, "
                "12 to 20 being usual"
            )
        self._network = network.eval().requires_grad_(False).to(device)
        self._device, self._num_updates = torch.device(device), num_updates
        self.identity = identity
        self.name = "RAFT"
        if num_updates != DEFAULT_UPDATES:
            self.name += f" ({num_updates} updates)"

    @classmethod
    def load(
        cls,
        path: Path,
        device: str | torch.device = "cpu",
        num_updates: int = DEFAULT_UPDATES,
    ) -> RaftFlow:
        """Read torchvision's `raft_large`, converted to a .safetensors file.

        Raises:
            ModelError: no such file, a pickle, a TorchScript archive, or another network's.
        """
        network = Raft()
        fill(network, read_state(path, "RAFT", _HINT), f"'{path.name}'")
        return cls(network, sha256(path), device, num_updates)

    @torch.no_grad()
    def flow(self, first: Tensor, second: Tensor) -> Tensor:
        """Displacement (h w 2), x before y, in pixels, of frames (3 h w), uint8.

        Raises:
            InputError: the frames differ in size or are smaller than 64 x 64 pixels.
        """
        check_pair(first, second, SMALLEST)
        height, width = first.shape[1:]
        left, right = _margins(width)
        above, below = _margins(height)
        pair = torch.stack((first, second)).to(self._device).float() / 127.5 - 1
        pair = F.pad(pair, (left, right, above, below), mode="replicate")
        found: Tensor = self._network(pair[:1], pair[1:], self._num_updates)
        inner = found[0, :, above : above + height, left : left + width]
        return inner.permute(1, 2, 0).float().cpu().contiguous()


def _margins(side: int) -> tuple[int, int]:
    """How much to repeat before and behind, for a multiple of 8."""
    total = -side % 8
    return total // 2, total - total // 2
