"""What a network must be able to do to serve a metric; the metrics know nothing else of it.

Frames are uint8 (n 3 h w), RGB, of any size: an extractor brings them to its own.  Features are
float32 on the CPU.  `name` is what reports say ("CLIP ViT-B/16", "CLIP-miniature"), `identity` the
sha256 of its weights, so that numbers of different networks are never taken for one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class Extractor(Protocol):
    """What all have in common."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def identity(self) -> str:
        """sha256 (hex) of its weights; of an estimator without weights, its name and version."""
        ...


class ImageTextFeatures(Extractor, Protocol):
    """CLIP: pictures and words in one space."""

    def frames(self, frames: Tensor) -> Tensor:
        """Unit vectors (n d) of frames (n 3 h w)."""
        ...

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors (n d) of texts; what is too long is cut at the network's limit."""
        ...

    def style_tokens(self, frames: Tensor) -> Tensor:
        """Patch tokens (n t d) after the third block of the image encoder, of frames (n 3 h w)."""
        ...


class PerceptualFeatures(Extractor, Protocol):
    """Features between which the cosine distance is what people see: DreamSim, or a stand-in."""

    def frames(self, frames: Tensor) -> Tensor:
        """Unit vectors (n d) of frames (n 3 h w)."""
        ...


class VideoFeatures(Extractor, Protocol):
    """What Frechet and kernel distances of clips compare: I3D's logits, or a stand-in."""

    def clips(self, clips: Tensor) -> Tensor:
        """Features (n d) of clips, uint8 (n f 3 h w)."""
        ...


class FlowEstimator(Extractor, Protocol):
    """Optical flow between two frames."""

    def flow(self, first: Tensor, second: Tensor) -> Tensor:
        """Displacement (h w 2), x before y, in pixels, of each pixel of `first` (3 h w) uint8.

        The pixel at (x, y) of `first` is at (x, y) + flow of `second`.
        """
        ...
