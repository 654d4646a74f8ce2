"""The clips that AnimateZero is asked for: whole, with nothing left open."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from stillmotion.animatezero.guide import ControlGuide
from stillmotion.animatezero.photograph import PhotographSettings
from stillmotion.animatezero.prompt import PromptTrack
from stillmotion.animatezero.settings import AnimateZeroSettings
from stillmotion.diffusion.settings import SamplingSettings
from stillmotion.diffusion.speed import EXACT, SpeedSettings
from stillmotion.errors import InputError
from stillmotion.jobs.pictures import Picture
from stillmotion.jobs.records import End, GuideRecord
from stillmotion.media.still import Still
from stillmotion.runtime.memory import AUTO


@dataclass(frozen=True, kw_only=True)
class AnimateRequest:
    """Clips to make of a still; the first has `seed`, the next the number after it, and so on."""

    first: Picture
    last: Picture | None = None
    """The last frame; the first picture again for a loop."""
    prompt: str | PromptTrack
    seed: int
    count: int = 1
    num_frames: int
    sampling: SamplingSettings
    speed: SpeedSettings = EXACT
    control: AnimateZeroSettings
    photographs: PhotographSettings = field(default_factory=PhotographSettings)
    seamless: bool = False
    """Leave out the last frame of a loop, which is the first again."""
    guide: ControlGuide | None = None
    guide_record: GuideRecord | None = None
    output: Path
    fps: float = 8.0
    scale: int = 1
    memory: str = AUTO
    preview: Path | None = None
    on_preview: Callable[[bytes], None] | None = None
    """Given pictures of what the frames seem to become."""
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.fps) and self.fps > 0):
            raise InputError(f"fps is {self.fps}; give a number above 0 (usual: 8).")

    @property
    def prompts(self) -> tuple[str, ...]:
        """All texts."""
        track = self.prompt
        return (track,) if isinstance(track, str) else tuple(track.texts.values())

    @property
    def stills(self) -> list[Still]:
        """What is given: the first frame, and the last if it is."""
        pictures = (self.first, self.last)
        return [picture.still for picture in pictures if picture is not None]

    @property
    def end(self) -> End:
        """What becomes of the end."""
        if self.last is None:
            return "open"
        return "loop" if self.last is self.first else "still"
