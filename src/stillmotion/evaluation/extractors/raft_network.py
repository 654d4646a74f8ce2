"""RAFT, the large one: optical flow by recurrent look-ups in all pairs of places.

Source: Teed and Deng, "RAFT: Recurrent All-Pairs Field Transforms for Optical Flow", ECCV 2020,
section 3 and appendix.  Tensors have the names of torchvision's `raft_large`, whose checkpoints
include the paper's own (`raft_large_C_T_V1` is `raft-things`).

f1, f2: features of the frames (b d h w) at an eighth of their size; c: places in the second frame,
(b 2 h w), x before y; a pyramid's level k is (b*h*w 1 h/2^k w/2^k).
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS, RADIUS = 4, 4
_HIDDEN, _CONTEXT, _MOTION = 128, 128, 128
_NEIGHBOURS, _SCALE = 9, 8


def correlation_pyramid(f1: Tensor, f2: Tensor) -> list[Tensor]:
    """Scalar products of all pairs of places, over sqrt(d), averaged 2 x 2 from level to level."""
    b, d, h, w = f1.shape
    volume = f1.flatten(2).transpose(1, 2) @ f2.flatten(2) / d**0.5
    levels = [volume.reshape(b * h * w, 1, h, w)]
    for _ in range(LEVELS - 1):
        levels.append(F.avg_pool2d(levels[-1], 2))
    return levels


def look_up(pyramid: list[Tensor], c: Tensor, radius: int = RADIUS) -> Tensor:
    """Correlations around the places `c` (b 2 h w): (b levels*(2r+1)^2 h w).

    At level k bilinear samples at c / 2^k + (i, j), |i|, |j| <= r, i (of x) in the outer loop;
    zero outside.
    """
    b, _, h, w = c.shape
    steps = torch.arange(-radius, radius + 1, device=c.device, dtype=c.dtype)
    offsets = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), -1)
    centres = c.permute(0, 2, 3, 1).reshape(-1, 1, 1, 2)
    found = []
    for k, level in enumerate(pyramid):
        size = offsets.new_tensor([level.shape[3], level.shape[2]])
        # Corners not aligned, unlike torchvision: the same samples, and no division by zero where
        # a level is one place wide.
        grid = (2 * (centres / 2**k + offsets) + 1) / size - 1
        found.append(F.grid_sample(level, grid, align_corners=False).reshape(b, h, w, -1))
    return torch.cat(found, -1).permute(0, 3, 1, 2)


def upsampled(flow: Tensor, mask: Tensor) -> Tensor:
    """Flow (b 2 h w) at eight times the size, (b 2 8h 8w), in pixels of that size.

    Each fine place is a convex combination of the 3 x 3 coarse ones around: `mask` (b 9*8*8 h w)
    holds the logits of the weights, the 9 neighbours in the outermost, the place's row and column
    within the coarse one in the inner loops.
    """
    b, _, h, w = flow.shape
    weights = mask.view(b, 1, _NEIGHBOURS, _SCALE, _SCALE, h, w).softmax(2)
    around = F.unfold(_SCALE * flow, 3, padding=1).view(b, 2, _NEIGHBOURS, 1, 1, h, w)
    fine = (weights * around).sum(2)
    return fine.permute(0, 1, 4, 2, 5, 3).reshape(b, 2, _SCALE * h, _SCALE * w)


class Raft(nn.Module):
    """Frames (b 3 h w), -1..1, sides multiples of 8 -> flow (b 2 h w), x before y, in pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.feature_encoder = _Encoder(nn.InstanceNorm2d)
        self.context_encoder = _Encoder(nn.BatchNorm2d)
        self.update_block = _UpdateBlock()
        self.mask_predictor = _MaskPredictor()

    def forward(self, first: Tensor, second: Tensor, num_updates: int) -> Tensor:
        f1, f2 = self.feature_encoder(torch.cat((first, second))).chunk(2)
        pyramid = correlation_pyramid(f1, f2)
        hidden, context = self.context_encoder(first).split((_HIDDEN, _CONTEXT), 1)
        hidden, context = hidden.tanh(), context.relu()
        start = _places(f1)
        c = start
        for _ in range(num_updates):
            seen = look_up(pyramid, c)
            hidden, change = self.update_block(hidden, context, seen, c - start)
            c = c + change
        return upsampled(c - start, self.mask_predictor(hidden))


class _Conv(nn.Sequential):
    """Convolution that keeps the size (but for its stride), a norm if wanted, ReLU if wanted."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        stride: int = 1,
        norm: type[nn.Module] | None = None,
        *,
        relu: bool = True,
    ) -> None:
        parts: list[nn.Module] = [nn.Conv2d(inputs, outputs, size, stride, size // 2)]
        if norm is not None:
            parts.append(norm(outputs))
        if relu:
            parts.append(nn.ReLU())
        super().__init__(*parts)


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, norm: type[nn.Module]) -> None:
        super().__init__()
        self.convnormrelu1 = _Conv(inputs, outputs, 3, stride, norm)
        self.convnormrelu2 = _Conv(outputs, outputs, 3, 1, norm)
        self.downsample = (
            nn.Identity() if stride == 1 else _Conv(inputs, outputs, 1, stride, norm, relu=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.downsample(x) + self.convnormrelu2(self.convnormrelu1(x)))


class _Encoder(nn.Module):
    """Frames (b 3 h w) -> (b 256 h/8 w/8)."""

    def __init__(self, norm: type[nn.Module]) -> None:
        super().__init__()
        self.convnormrelu = _Conv(3, 64, 7, 2, norm)
        strides = (1, 2, 2)
        for k, (inputs, outputs) in enumerate(pairwise((64, 64, 96, 128))):
            blocks = (
                _Residual(inputs, outputs, strides[k], norm),
                _Residual(outputs, outputs, 1, norm),
            )
            self.add_module(f"layer{k + 1}", nn.Sequential(*blocks))
        self.conv = nn.Conv2d(128, 256, 1)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.children():  # in the order in which they were made
            x = part(x)
        return x


class _MotionEncoder(nn.Module):
    """Correlations and the flow so far -> (b 128 h w), the flow itself in the last two channels."""

    def __init__(self) -> None:
        super().__init__()
        self.convcorr1 = _Conv(LEVELS * (2 * RADIUS + 1) ** 2, 256, 1)
        self.convcorr2 = _Conv(256, 192, 3)
        self.convflow1 = _Conv(2, 128, 7)
        self.convflow2 = _Conv(128, 64, 3)
        self.conv = _Conv(192 + 64, _MOTION - 2, 3)

    def forward(self, flow: Tensor, seen: Tensor) -> Tensor:
        corr = self.convcorr2(self.convcorr1(seen))
        moved = self.convflow2(self.convflow1(flow))
        return torch.cat((self.conv(torch.cat((corr, moved), 1)), flow), 1)


class _ConvGru(nn.Module):
    """Gated recurrent unit of convolutions along one axis."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        padding = (size[0] // 2, size[1] // 2)
        inputs = _HIDDEN + _CONTEXT + _MOTION
        for name in ("convz", "convr", "convq"):
            self.add_module(name, nn.Conv2d(inputs, _HIDDEN, size, padding=padding))

    def forward(self, h: Tensor, x: Tensor) -> Tensor:
        hx = torch.cat((h, x), 1)
        z = self.get_submodule("convz")(hx).sigmoid()
        r = self.get_submodule("convr")(hx).sigmoid()
        q = self.get_submodule("convq")(torch.cat((r * h, x), 1)).tanh()
        updated: Tensor = (1 - z) * h + z * q
        return updated


class _RecurrentBlock(nn.Module):
    """Along rows, then along columns."""

    def __init__(self) -> None:
        super().__init__()
        self.convgru1, self.convgru2 = _ConvGru((1, 5)), _ConvGru((5, 1))

    def forward(self, h: Tensor, x: Tensor) -> Tensor:
        updated: Tensor = self.convgru2(self.convgru1(h, x), x)
        return updated


class _FlowHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(_HIDDEN, 256, 3, 1, 1), nn.Conv2d(256, 2, 3, 1, 1)

    def forward(self, h: Tensor) -> Tensor:
        change: Tensor = self.conv2(F.relu(self.conv1(h)))
        return change


class _UpdateBlock(nn.Module):
    """One step: the new hidden state and how far the flow changes."""

    def __init__(self) -> None:
        super().__init__()
        self.motion_encoder = _MotionEncoder()
        self.recurrent_block = _RecurrentBlock()
        self.flow_head = _FlowHead()

    def forward(
        self, hidden: Tensor, context: Tensor, seen: Tensor, flow: Tensor
    ) -> tuple[Tensor, Tensor]:
        x = torch.cat((context, self.motion_encoder(flow, seen)), 1)
        hidden = self.recurrent_block(hidden, x)
        return hidden, self.flow_head(hidden)


class _MaskPredictor(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convrelu = _Conv(_HIDDEN, 256, 3)
        self.conv = nn.Conv2d(256, _NEIGHBOURS * _SCALE**2, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        # The factor is the original's, which balances gradients with it; the weights count on it.
        mask: Tensor = 0.25 * self.conv(self.convrelu(hidden))
        return mask


def _places(like: Tensor) -> Tensor:
    """Coordinates of all places (b 2 h w), x before y."""
    b, _, h, w = like.shape
    y, x = torch.meshgrid(
        torch.arange(h, device=like.device, dtype=like.dtype),
        torch.arange(w, device=like.device, dtype=like.dtype),
        indexing="ij",
    )
    return torch.stack((x, y)).expand(b, 2, h, w)
