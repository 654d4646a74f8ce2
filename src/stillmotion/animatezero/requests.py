"""What is asked for: one clip, a run of clips, and the options of those who ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypedDict

import torch
from torch import Tensor

from stillmotion.adapters.lean_savings import Savings
from stillmotion.animatezero.guide import ControlGuide
from stillmotion.animatezero.photograph import PhotographSettings
from stillmotion.animatezero.prompt import PromptTrack
from stillmotion.animatezero.settings import AnimateZeroSettings
from stillmotion.diffusion.settings import SamplingSettings
from stillmotion.diffusion.speed import EXACT, SpeedSettings, speed_of
from stillmotion.errors import InputError
from stillmotion.media.still import Still
from stillmotion.runtime.compiling import Compiling
from stillmotion.runtime.memory import MemoryPlan

Progress = Callable[[int, int], None]
"""Called after each denoising step with the number of steps done and their total."""
StepCallback = Callable[[Any, int, Tensor, dict[str, Tensor]], Mapping[str, Tensor] | None]
"""diffusers' `callback_on_step_end`: given the pipeline, the step's index, its timestep and
{"latents": b c f h w}, it may return other latents; frame 1 stays the still all the same."""
OnPreview = Callable[[int, Tensor], None]
Prompt = str | PromptTrack


class DrawExtras(TypedDict, total=False):
    """Options of `AnimateZeroPipeline.draw` beyond the first few.

    `guide`: maps to follow, the first for a still.  `image_embeds`: what an IP-Adapter made of a
    picture.  `memory`: what is done to need less of it; of a plan, sampling and decoding see to
    `sequential_guidance` and `decode_chunk`, `apply_plan` to the rest.  `speed`: approximations
    that save time, settings or a name out of `SPEEDS`; exact by default.  `savings`: work that is
    left out without changing results but for rounding; all that there is by default.
    `compiling`: compile the blocks of the U-Net, see `runtime/compiling.py`: how, or one of its
    `CHOICES`; None is as the pipeline's `compiling` says, which is "off" unless it is set.
    """

    guide: ControlGuide | None
    image_embeds: tuple[Tensor, ...]
    memory: MemoryPlan
    speed: SpeedSettings | str
    savings: Savings
    compiling: Compiling | str | None
    progress: Progress | None


class AnimateExtras(DrawExtras, total=False):
    """Options of `AnimateZeroPipeline.animate` beyond the first few.

    `last_frame`: a still that the clip ends with; the first still again makes a loop.
    `photograph`: how stills without latents get some.  `on_preview` is called after each step
    with its index and what the network takes z_0 to be (1 c f h w).
    """

    last_frame: Still | None
    photograph: PhotographSettings
    callback_on_step_end: StepCallback | None
    on_preview: OnPreview | None


class CallOptions(AnimateExtras, total=False):
    """Options of `AnimateZeroPipeline.__call__` beyond the first few.

    The first six are the fields of `SamplingSettings`.  `latents` (b c f h w) is the standard
    normal noise to start the frames from, instead of a draw from `generator`.  `draws_beside`:
    see `Run`; True by default.  The rest is as for `animate`.
    """

    num_inference_steps: int
    guidance_scale: float
    height: int | None
    width: int | None
    negative_prompt: str
    clip_skip: int
    control: AnimateZeroSettings
    latents: Tensor
    draws_beside: bool


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What networks work with beside prompt and settings; see `DrawExtras` and `AnimateExtras`."""

    guide: ControlGuide | None = None
    image_embeds: tuple[Tensor, ...] = ()
    memory: MemoryPlan = field(default_factory=MemoryPlan)
    photograph: PhotographSettings = field(default_factory=PhotographSettings)
    speed: SpeedSettings | str = EXACT
    savings: Savings = field(default_factory=Savings)
    compiling: Compiling | str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "speed", speed_of(self.speed))

    @classmethod
    def of(cls, extras: Mapping[str, Any]) -> Setup:
        """From the options of a call, of which some may be for others."""
        names = {own.name for own in fields(cls)}
        return cls(**{name: value for name, value in extras.items() if name in names})


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One clip to be made."""

    prompt: Prompt
    generator: torch.Generator
    still: Still | None = None
    """None: draw one if the control needs it."""
    last: Still | None = None
    """The last frame, if it is given too."""
    noise: Tensor | None = None
    """Start of the frames (1 c f h w); None: the generator's."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What all clips of a request have in common."""

    num_frames: int
    sampling: SamplingSettings
    control: AnimateZeroSettings
    setup: Setup
    callback: StepCallback | None = None
    on_preview: OnPreview | None = None
    decode: bool = True
    may_draw_beside: bool = False
    """Draw a still that is not given in the same calls as its frames, where that is the same but
    for rounding: saves the calls of its own."""

    def draws_beside(self, clip: Clip) -> bool:
        """Whether the still of `clip` is drawn beside its frames.

        Approximate speeds would draw another still, texts along the clip are the frames', and who
        saves memory has none for another row.
        """
        return (
            self.may_draw_beside
            and self.control.needs_trajectory
            and clip.still is None
            and clip.last is None
            and isinstance(clip.prompt, str)
            and speed_of(self.setup.speed).is_exact
            and not self.setup.memory.sequential_guidance
        )

    @classmethod
    def of(
        cls,
        num_frames: int,
        sampling: SamplingSettings,
        control: AnimateZeroSettings | None,
        extras: Mapping[str, Any],
        *,
        decode: bool = True,
        may_draw_beside: bool = False,
    ) -> Run:
        """From the arguments of a call and its options beyond the first few."""
        return cls(
            num_frames=num_frames,
            sampling=sampling,
            control=control or AnimateZeroSettings(),
            setup=Setup.of(extras),
            callback=extras.get("callback_on_step_end"),
            on_preview=extras.get("on_preview"),
            decode=decode,
            may_draw_beside=may_draw_beside,
        )

    def num_steps(self, clips: Sequence[Clip]) -> int:
        """Uses of the network for drawing and animating together."""
        steps = self.sampling.num_inference_steps
        uses = sum(self.control.denoisings(steps)) * len(clips)
        if not self.control.needs_trajectory:
            return uses
        given = [still for clip in clips for still in (clip.still, clip.last)]
        photographs = sum(still is not None and still.latents is None for still in given)
        to_draw = sum(clip.still is None and not self.draws_beside(clip) for clip in clips)
        inverting = self.setup.photograph.num_predictions(steps)
        return uses + steps * to_draw + inverting * photographs


class Ticker:
    """Counts denoising steps and tells `progress`."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def __call__(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)


def seeded(seed: int) -> torch.Generator:
    """A generator on the CPU, so that a seed means the same on every machine.

    Raises InputError unless 0 <= seed < 2^63.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise InputError(f"The seed is {seed!r}; give a whole number from 0 to {2**63 - 1}.")
    return torch.Generator().manual_seed(seed)
