"""What a source of clips gives: samples, and batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from stillmotion.errors import InputError


@dataclass(frozen=True, kw_only=True)
class ClipSettings:
    """How clips are cut to samples.  Raises InputError for impossible numbers."""

    height: int
    width: int
    num_frames: int = 16
    min_stride: int = 1
    max_stride: int = 6
    """Each sample takes every so manieth frame, uniform between the two, both included."""

    def __post_init__(self) -> None:
        for name in ("height", "width", "num_frames", "min_stride"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if self.max_stride < self.min_stride:
            raise InputError(
                f"The largest stride, {self.max_stride}, is below the smallest, {self.min_stride}."
            )


@dataclass(frozen=True)
class ClipSample:
    """One clip to train on."""

    frames: Tensor
    """uint8 `(f 3 h w)` in 0..255, RGB."""
    caption: str
    frame_stride: int
    """Frames of the clip from one of `frames` to the next: the pace in one model's terms."""
    conditioning_fps: int
    """Frames per second of `frames`, rounded down: the pace in other models' terms."""
    licence: str | None
    name: str
    skipped: tuple[str, ...] = ()
    """Why other clips were passed over for this one: a sentence for each."""


@dataclass(frozen=True, kw_only=True)
class ClipBatch:
    """Several samples: every field has one entry for each, in their order."""

    frames: Tensor
    """uint8 `(b f 3 h w)`."""
    captions: tuple[str, ...]
    frame_strides: Tensor
    """int64 `(b)`."""
    conditioning_fps: Tensor
    """int64 `(b)`."""
    licences: tuple[str | None, ...]
    names: tuple[str, ...]


class ClipSource(Protocol):
    """Clips by number."""

    def __len__(self) -> int:
        """How many clips there are, at least 1."""
        ...

    def sample(self, index: int, generator: torch.Generator) -> ClipSample:
        """A sample of clip `index`; stride, start and wording are drawn with `generator`.

        Raises InputError if the clip cannot be used.
        """
        ...


def collated(samples: Sequence[ClipSample]) -> ClipBatch:
    """One batch of samples, which must agree in number and size of frames."""
    return ClipBatch(
        frames=torch.stack([sample.frames for sample in samples]),
        captions=tuple(sample.caption for sample in samples),
        frame_strides=torch.tensor([sample.frame_stride for sample in samples]),
        conditioning_fps=torch.tensor([sample.conditioning_fps for sample in samples]),
        licences=tuple(sample.licence for sample in samples),
        names=tuple(sample.name for sample in samples),
    )


def to_video(frames: Tensor) -> Tensor:
    """uint8 `(... f 3 h w)` -> float32 `(... 3 f h w)` in -1..1, what encoders take."""
    return frames.transpose(-4, -3).float().div(127.5).sub(1)
