"""Settings of AnimateZero's control, checked when they are made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal, get_args

from stillmotion.diffusion.settings import require_whole
from stillmotion.errors import InputError

KeyValueSource = Literal["video", "still"]
WindowKind = Literal["off", "uncorrected", "corrected"]
WindowBlock = Literal["down", "mid", "up"]
QueryPosition = Literal["last", "own"]
FrameNorm = Literal["per_frame", "across_frames"]


TRAINED_FRAMES = 16
"""Frames of the clips that AnimateDiff's motion modules learned from, whatever rows their tables
of positions have: rows beyond them were never seen."""


LIVELIEST_SPEED = 3.0
"""Distance in time of neighbouring frames at motion strength 2."""
CALMEST_CORRELATION = 0.8
"""Correlation of the noise of neighbouring frames at motion strength 0."""


@dataclass(frozen=True, kw_only=True)
class TimeTravel:
    """Where sampling goes back and how often (appendix B).  Raises InputError for nonsense.

    `start` and `stop` count sampling steps from the noisy end, from 0, `stop` left out; a number
    with a fraction is a share of all steps.  The paper's "between the 10-th and the 20-th" step
    is 10 to 20 of 25, which the defaults keep for other numbers of steps.
    """

    repeats: int = 5
    """How often each step of the window is denoised; 1 changes nothing."""
    start: int | float = 0.4
    stop: int | float = 0.8

    def __post_init__(self) -> None:
        require_whole("time_travel.repeats", self.repeats)
        for name in ("start", "stop"):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0 or (isinstance(value, float) and value > 1):
                raise InputError(
                    f"time_travel.{name} is {value}; give a step (a whole number from 0) or a "
                    "share of the steps (a fraction from 0.0 to 1.0)."
                )

    def times(self, num_steps: int) -> list[int]:
        """How often each of `num_steps` steps is denoised.

        Raises InputError if the window holds none of them.
        """
        first, end = (
            round(edge * num_steps) if isinstance(edge, float) else edge
            for edge in (self.start, self.stop)
        )
        window = range(first, min(end, num_steps))
        if not window:
            raise InputError(
                f"time_travel reaches from step {first} to before step {end}, where none of the "
                f"{num_steps} steps is; give a start before the stop and within the steps."
            )
        return [self.repeats if step in window else 1 for step in range(num_steps)]


@dataclass(frozen=True, kw_only=True)
class AnimateZeroSettings:
    """The parts of AnimateZero, each switched on or off.

    The defaults are the paper's method with drift correction; with everything off this is plain
    AnimateDiff.  Raises InputError for an unknown value.
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
    window_length: int | None = None
    """Slots of a window over frames; None is the clip's length, but at most `TRAINED_FRAMES`.
    A longer clip is seen through windows that slide along it, in every block."""
    time_travel: TimeTravel | None = None
    """Go back to noisier latents and denoise again (appendix B); None is off, as in the paper."""
    motion_strength: float = 1.0
    """From 0, calm, over 1, what the model does by itself, to 2, lively.  Below 1 the frames start
    from noise that is partly the same; above 1 the motion modules take them to be farther apart
    in time (docs/decisions/0005)."""
    even_pace: bool = False
    """With a last frame: make the frames twice as densely, and keep those between which about the
    same amount changes (`pacing.py`).  Takes twice as long."""
    drift_correction: bool = True
    """Keep the clip from jumping at frame 2 (`diffusion/drift.py`, for photographs
    `media/lost_detail.py`) and, while one text holds, its overall colours to the still's; an
    addition to the paper's method, which needs inserted latents."""

    def __post_init__(self) -> None:
        if self.window_length is not None:
            require_whole("window_length", self.window_length)
        if not 0 <= self.motion_strength <= 2:
            raise InputError(
                f"motion_strength is {self.motion_strength}; give a number from 0 (calm) to 2 "
                "(lively); 1 is what the model does by itself."
            )
        for name, allowed in _CHOICES.items():
            require_choice(name, getattr(self, name), allowed)
        if isinstance(self.window_blocks, str) or len(set(self.window_blocks)) != len(
            self.window_blocks
        ):
            raise InputError(
                f"window_blocks is {self.window_blocks!r}; give a tuple of different names out of "
                f"{', '.join(get_args(WindowBlock))}."
            )
        for block in self.window_blocks:
            require_choice("window_blocks", block, get_args(WindowBlock))

    @property
    def speed(self) -> float:
        """How far apart the motion modules take the frames to be, 1 as they were trained."""
        return float(LIVELIEST_SPEED ** max(self.motion_strength - 1, 0))

    @property
    def noise_correlation(self) -> float:
        """Of the noise that neighbouring frames start from, 0 as the modules were trained."""
        return CALMEST_CORRELATION * max(1 - self.motion_strength, 0)

    def window_of(self, num_frames: int) -> int:
        """Slots of a window in a clip of `num_frames`."""
        slots = self.window_length or TRAINED_FRAMES
        return min(num_frames, max(2, int(slots / self.speed)) if self.speed > 1 else slots)

    def denoisings(self, num_steps: int) -> list[int]:
        """How often each step is denoised."""
        return [1] * num_steps if self.time_travel is None else self.time_travel.times(num_steps)

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
    "drift_correction": (False, True),
    "even_pace": (False, True),
    "share_keys_values": (False, True),
    "kv_source": get_args(KeyValueSource),
    "window": get_args(WindowKind),
    "query_position": get_args(QueryPosition),
    "frame_norm": get_args(FrameNorm),
}


def require_choice(name: str, value: object, allowed: tuple[Any, ...]) -> None:
    """Raises InputError unless `value` is one of `allowed`."""
    if value not in allowed:
        raise InputError(f"{name} is {value!r}; it can be {', '.join(map(repr, allowed))}.")


PAPER = AnimateZeroSettings(drift_correction=False)
"""The paper's method and nothing else."""
_ANIMATEDIFF = replace(PAPER, insert_latents=False, share_keys_values=False, window="off")

FIG6_ROWS: Mapping[str, AnimateZeroSettings] = MappingProxyType(
    {
        "a": _ANIMATEDIFF,
        "b": replace(PAPER, share_keys_values=False, window="off"),
        "c": replace(PAPER, window="off"),
        "d": replace(PAPER, window="uncorrected"),
        "e": PAPER,
    }
)
"""The ablation of the paper's Fig. 6: AnimateDiff, + inserted latents, + shared keys and values,
+ window attention, + corrected positions."""
