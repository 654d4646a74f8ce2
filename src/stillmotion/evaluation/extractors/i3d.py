"""I3D's logits over the Kinetics-400 classes: what FVD and KVD compare.

Source: Carreira and Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017 (the network);
Unterthiner et al., arXiv:1812.01717 (FVD).  Frames are prepared as LVDM does, whose code the
authors of DynamiCrafter measure with: bilinear to 224 x 224, without antialias, to -1..1.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stillmotion.errors import InputError
from stillmotion.evaluation.extractors.pixels import check_frames, in_batches
from stillmotion.evaluation.extractors.weights import fill, read_state
from stillmotion.models.sources import sha256

CLASSES = 400
SMALLEST_CLIP = 9
"""Frames.  Time is halved three times, rounded up, and then two steps are averaged."""
_SIZE = 224
_HINT = (
    "the published state dict of this network, i3d_pretrained_400.pt, becomes one with: "
    "stillmotion convert --allow-pickle i3d_pretrained_400.pt i3d.safetensors"
)
#: Outputs of the six convolutions of each mixed block: 1x1; 1x1, 3x3; 1x1, 3x3; pool and 1x1.
_MIXED = {
    "Mixed_3b": (192, (64, 96, 128, 16, 32, 32)),
    "Mixed_3c": (256, (128, 128, 192, 32, 96, 64)),
    "Mixed_4b": (480, (192, 96, 208, 16, 48, 64)),
    "Mixed_4c": (512, (160, 112, 224, 24, 64, 64)),
    "Mixed_4d": (512, (128, 128, 256, 24, 64, 64)),
    "Mixed_4e": (512, (112, 144, 288, 32, 64, 64)),
    "Mixed_4f": (528, (256, 160, 320, 32, 128, 128)),
    "Mixed_5b": (832, (256, 160, 320, 32, 128, 128)),
    "Mixed_5c": (832, (384, 192, 384, 48, 128, 128)),
}
#: Kernel and stride (time, height, width) of the pooling before a block.
_POOL_BEFORE = {
    "Conv3d_2b_1x1": ((1, 3, 3), (1, 2, 2)),
    "Mixed_3b": ((1, 3, 3), (1, 2, 2)),
    "Mixed_4b": ((3, 3, 3), (2, 2, 2)),
    "Mixed_5b": ((2, 2, 2), (2, 2, 2)),
}
_Triple = tuple[int, int, int]


class _Unit(nn.Module):
    """Convolution, batch norm, ReLU; the last of all has a bias instead of the latter two."""

    def __init__(
        self, inputs: int, outputs: int, size: int = 1, stride: int = 1, *, last: bool = False
    ) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, size, stride, bias=last)
        self.bn = None if last else _Norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.conv3d.kernel_size, self.conv3d.stride
        x = self.conv3d(_padded(x, kernel[0:3], stride[0:3]))
        return x if self.bn is None else F.relu(self.bn(x))


class _Norm(nn.Module):
    """Batch norm that is done with training: the published files have no counter of batches."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = (nn.Parameter(torch.zeros(channels)) for _ in range(2))
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        mean, var = self.running_mean, self.running_var
        return F.batch_norm(x, mean, var, self.weight, self.bias, training=False, eps=1e-5)


class _Mixed(nn.Module):
    """Four branches side by side (Inception)."""

    def __init__(self, inputs: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        b0, b1a, b1b, b2a, b2b, b3b = widths
        self.b0 = _Unit(inputs, b0)
        self.b1a, self.b1b = _Unit(inputs, b1a), _Unit(b1a, b1b, 3)
        self.b2a, self.b2b = _Unit(inputs, b2a), _Unit(b2a, b2b, 3)
        self.b3b = _Unit(inputs, b3b)

    def forward(self, x: Tensor) -> Tensor:
        pooled = _max_pool(x, (3, 3, 3), (1, 1, 1))
        branches = (self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled))
        return torch.cat(branches, 1)


class InceptionI3d(nn.Module):
    """Clips (b 3 f 224 224), -1..1 -> logits (b 400), averaged over time.

    The names of its tensors are those of the published state dicts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.logits = _Unit(1024, CLASSES, last=True)
        self.Conv3d_1a_7x7 = _Unit(3, 64, 7, 2)
        self.Conv3d_2b_1x1 = _Unit(64, 64)
        self.Conv3d_2c_3x3 = _Unit(64, 192, 3)
        for name, (inputs, widths) in _MIXED.items():
            self.add_module(name, _Mixed(inputs, widths))

    def forward(self, clips: Tensor) -> Tensor:
        x = clips
        for name in chain(("Conv3d_1a_7x7", "Conv3d_2b_1x1", "Conv3d_2c_3x3"), _MIXED):
            if name in _POOL_BEFORE:
                x = _max_pool(x, *_POOL_BEFORE[name])
            x = self.get_submodule(name)(x)
        x = F.avg_pool3d(x, (2, 7, 7), stride=1)
        logits: Tensor = self.logits(x).mean((2, 3, 4))
        return logits


def prepared(clips: Tensor, size: int = _SIZE) -> Tensor:
    """uint8 (n f 3 h w) -> (n 3 f size size), -1..1: bilinear, without antialias."""
    frames = F.interpolate(
        clips.flatten(0, 1).float(), (size, size), mode="bilinear", align_corners=False
    )
    scaled: Tensor = (frames / 127.5 - 1).unflatten(0, clips.shape[:2]).transpose(1, 2)
    return scaled


class I3dFeatures:
    """`VideoFeatures`: I3D's logits (n 400)."""

    name = "I3D"

    def __init__(self, network: InceptionI3d, identity: str, device: str | torch.device) -> None:
        self._network = network.eval().requires_grad_(False).to(device)
        self._device = torch.device(device)
        self.identity = identity

    @classmethod
    def load(cls, path: Path, device: str | torch.device = "cpu") -> I3dFeatures:
        """Read a state dict in a .safetensors file.

        Raises:
            ModelError: no such file, a pickle, a TorchScript archive, or another network's.
        """
        network = InceptionI3d()
        fill(network, read_state(path, "I3D", _HINT), f"'{path.name}'")
        return cls(network, sha256(path), device)

    def clips(self, clips: Tensor) -> Tensor:
        """Logits (n 400) of clips, uint8 (n f 3 h w).

        Raises:
            InputError: a clip has fewer than 9 frames.
        """
        check_frames(clips, "n f 3 h w")
        if clips.shape[1] < SMALLEST_CLIP:
            raise InputError(
                f"I3D was given clips of {clips.shape[1]} frames; it needs at least "
                f"{SMALLEST_CLIP}, and FVD is measured with 16"
            )
        return in_batches(lambda part: self._network(prepared(part.to(self._device))), clips, 2)


def _padded(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """TensorFlow's SAME: zeros around, one more behind if they are odd, so that ceil(n / stride)
    places are left."""
    around: list[int] = []
    for size, k, s in zip(reversed(x.shape[2:]), reversed(kernel), reversed(stride), strict=True):
        total = max(k - (size % s or s), 0)
        around += [total // 2, total - total // 2]
    return F.pad(x, around)


def _max_pool(x: Tensor, kernel: _Triple, stride: _Triple) -> Tensor:
    """With zeros around, which stand for nothing: what is pooled is never negative."""
    return F.max_pool3d(_padded(x, kernel, stride), kernel, stride)
