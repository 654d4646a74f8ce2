"""Settings of a drawing and of AnimateZero's control, checked when they are made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args

from stillmotion.errors import InputError

KeyValueSource = Literal["video", "still"]
WindowKind = Literal["off", "uncorrected", "corrected"]
WindowBlock = Literal["down", "mid", "up"]
QueryPosition = Literal["last", "own"]
FrameNorm = Literal["per_frame", "across_frames"]


@dataclass(frozen=True, kw_only=True)
class SamplingSettings:
    """How latents are denoised; the same for the still and for its video.

    Raises InputError for a number that cannot be used.
    """

    num_inference_steps: int = 25
    guidance_scale: float = 7.5
    """Classifier-free guidance; 1 or less means none."""
    height: int | None = None
    """In pixels; None means the model's own size, or that of the still."""
    width: int | None = None
    negative_prompt: str = ""

    def __post_init__(self) -> None:
        _require_whole("num_inference_steps", self.num_inference_steps)
        if not math.isfinite(self.guidance_scale) or self.guidance_scale < 0:
            raise InputError(
                f"guidance_scale is {self.guidance_scale}; give a number from 0 up (usual: 7.5)."
            )
        for name in ("height", "width"):
            if getattr(self, name) is not None:
                _require_whole(name, getattr(self, name))

    @property
    def uses_guidance(self) -> bool:
        return self.guidance_scale > 1


@dataclass(frozen=True, kw_only=True)
class AnimateZeroSettings:
    """The parts of AnimateZero, each switched on or off; the defaults are the paper's method.

    With everything off this is plain AnimateDiff.  Raises InputError for an unknown value.
    """

    insert_latents: bool = True
    """Frame 1 follows the still's own latents (section 4.1)."""
    share_keys_values: bool = True
    """All frames take keys and values from frame 1 in spatial self-attention (section 4.1)."""
    kv_source: KeyValueSource = "video"
    """Frame 1 as the video's U-Net sees it, or as the still's own pass, run beside it, does."""
    window: WindowKind = "corrected"
    """Attention over earlier frames only (section 4.2), with or without corrected positions."""
    window_blocks: tuple[WindowBlock, ...] = ("down",)
    """Where the window applies; elsewhere attention over frames is global."""
    query_position: QueryPosition = "last"
    """Position of a query in the corrected window: that of slot f, or the frame's own."""
    frame_norm: FrameNorm = "per_frame"
    """Normalise in motion modules as AnimateDiff was trained, or as diffusers does."""

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            _require_choice(name, getattr(self, name), allowed)
        if isinstance(self.window_blocks, str) or len(set(self.window_blocks)) != len(
            self.window_blocks
        ):
            raise InputError(
                f"window_blocks is {self.window_blocks!r}; give a tuple of different names out of "
                f"{', '.join(get_args(WindowBlock))}."
            )
        for block in self.window_blocks:
            _require_choice("window_blocks", block, get_args(WindowBlock))

    @property
    def needs_reference_row(self) -> bool:
        """Whether the still's own pass runs beside the video's."""
        return self.share_keys_values and self.kv_source == "still"

    @property
    def needs_trajectory(self) -> bool:
        """Whether the latents of the still enter the video."""
        return self.insert_latents or self.needs_reference_row


_CHOICES: dict[str, tuple[Any, ...]] = {
    "insert_latents": (False, True),
    "share_keys_values": (False, True),
    "kv_source": get_args(KeyValueSource),
    "window": get_args(WindowKind),
    "query_position": get_args(QueryPosition),
    "frame_norm": get_args(FrameNorm),
}


def _require_choice(name: str, value: object, allowed: tuple[Any, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{name} is {value!r}; it can be {', '.join(map(repr, allowed))}.")


def _require_whole(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{name} is {value!r}; give a whole number from 1 up.")


_ANIMATEDIFF = AnimateZeroSettings(insert_latents=False, share_keys_values=False, window="off")

FIG6_ROWS: Mapping[str, AnimateZeroSettings] = MappingProxyType(
    {
        "a": _ANIMATEDIFF,
        "b": AnimateZeroSettings(share_keys_values=False, window="off"),
        "c": AnimateZeroSettings(window="off"),
        "d": AnimateZeroSettings(window="uncorrected"),
        "e": AnimateZeroSettings(),
    }
)
"""The ablation of the paper's Fig. 6: AnimateDiff, + inserted latents, + shared keys and values,
+ window attention, + corrected positions."""
