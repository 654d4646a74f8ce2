"""What is asked for: one clip, a run of clips, and the arguments of a call in diffusers' style."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypedDict, get_type_hints

import numpy as np
import torch
from PIL import Image
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
    `compiling`: compile the blocks of the U-Net, see `runtime/compiling.py`; not by default, since
    the first step of each clip then takes longer.
    """

    guide: ControlGuide | None
    image_embeds: tuple[Tensor, ...]
    memory: MemoryPlan
    speed: SpeedSettings | str
    savings: Savings
    compiling: Compiling | None
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
    normal noise to start the frames from, instead of a draw from `generator`.  The rest is as for
    `animate`.
    """

    num_inference_steps: int
    guidance_scale: float
    height: int | None
    width: int | None
    negative_prompt: str
    clip_skip: int
    control: AnimateZeroSettings
    latents: Tensor


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What networks work with beside prompt and settings; see `DrawExtras` and `AnimateExtras`."""

    guide: ControlGuide | None = None
    image_embeds: tuple[Tensor, ...] = ()
    memory: MemoryPlan = field(default_factory=MemoryPlan)
    photograph: PhotographSettings = field(default_factory=PhotographSettings)
    speed: SpeedSettings | str = EXACT
    savings: Savings = field(default_factory=Savings)
    compiling: Compiling | None = None

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

    @classmethod
    def of(
        cls,
        num_frames: int,
        sampling: SamplingSettings,
        control: AnimateZeroSettings | None,
        extras: Mapping[str, Any],
        *,
        decode: bool = True,
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
        )

    def num_steps(self, clips: Sequence[Clip]) -> int:
        """Uses of the network for drawing and animating together."""
        steps = self.sampling.num_inference_steps
        uses = sum(self.control.denoisings(steps)) * len(clips)
        if not self.control.needs_trajectory:
            return uses
        given = [still for clip in clips for still in (clip.still, clip.last)]
        photographs = sum(still is not None and still.latents is None for still in given)
        to_draw = sum(clip.still is None for clip in clips)
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


def clips_of(
    stills: Sequence[Still],
    prompt: Prompt | Sequence[Prompt] | None,
    seed: int | Sequence[int],
    last: Still | None,
    num_frames: int,
) -> list[Clip]:
    """One clip for each still; one prompt or seed serves all, a list has one for each.

    Without a prompt the still's own counts; if the last frame has another, from one to the other,
    since frames near an end are drawn to it by its words too.  Raises InputError if a list has
    another length, or a seed is none.
    """
    prompts = spread("prompt", prompt, len(stills))
    seeds = spread("seed", seed, len(stills))
    return [
        Clip(
            prompt=_own_words(own, last, num_frames) if words is None else words,
            generator=seeded(number),
            still=own,
            last=last,
        )
        for own, words, number in zip(stills, prompts, seeds, strict=True)
    ]


def _own_words(still: Still, last: Still | None, num_frames: int) -> Prompt:
    if last is None or last.prompt in ("", still.prompt):
        return still.prompt
    return PromptTrack.towards(still.prompt, last.prompt, num_frames)


def clips_from_call(
    prompt: Prompt | list[Prompt] | None,
    stills: list[Still] | None,
    generator: torch.Generator | list[torch.Generator] | None,
    noise: Tensor | None,
    last: Still | None,
    num_frames: int,
) -> list[Clip]:
    """The clips of a call: as many as there are stills or, without stills, prompts.

    Raises InputError if the numbers of things differ or there is nothing to start from.
    """
    if stills is None and prompt is None:
        raise InputError("There is neither a prompt nor a picture; give one of them.")
    num_clips = len(stills if stills is not None else prompt if isinstance(prompt, list) else [""])
    if num_clips == 0:
        raise InputError("The list of prompts or pictures is empty; give at least one.")
    pieces = None if noise is None else [noise[i : i + 1] for i in range(len(noise))]
    return [
        Clip(
            prompt=_own_words(own, last, num_frames) if words is None else words,
            generator=source,
            still=own,
            last=last,
            noise=piece,
        )
        for own, words, source, piece in zip(
            spread("still", stills, num_clips),
            spread("prompt", prompt, num_clips),
            spread("generator", generator or _unpredictable(), num_clips),
            spread("latents", pieces, num_clips),
            strict=True,
        )
    ]


def stills_from_call(image: Any, still: Still | Sequence[Still] | None) -> list[Still] | None:
    """Stills from pictures (PIL, uint8 arrays h w 3, or lists of them) or stills; None if neither.

    Raises InputError if both are given, or something else.
    """
    if image is not None and still is not None:
        raise InputError("Both image and still are given; give one of them.")
    if still is not None:
        return [still] if isinstance(still, Still) else list(still)
    if image is None:
        return None
    return [_photograph(item) for item in (image if isinstance(image, list | tuple) else [image])]


def check_options(options: Mapping[str, Any]) -> None:
    """Raises InputError for an option that does not exist, or cannot be used."""
    names = get_type_hints(CallOptions)
    unknown = options.keys() - names.keys()
    if unknown:
        allowed = ", ".join(names)
        raise InputError(f"Unknown option {', '.join(sorted(unknown))}; there are: {allowed}.")


def sampling_from(options: Mapping[str, Any], still: Still | None) -> SamplingSettings:
    """The still's own settings, or the defaults, with those given in their place.

    Raises InputError for numbers that cannot be used.
    """
    own = still.settings if still is not None else None
    values = vars(own or SamplingSettings())
    given = {name: value for name, value in options.items() if name in values}
    return SamplingSettings(**{**values, **given})


def spread(name: str, value: Any, num_clips: int) -> list[Any]:
    """One value for each clip: a sequence as it is, anything else repeated.

    Raises InputError if a sequence has another length.
    """
    if not isinstance(value, list | tuple | range):
        return [value] * num_clips
    if len(value) != num_clips:
        raise InputError(
            f"{name} has {len(value)} entries for {num_clips} clips; give one for each."
        )
    return list(value)


def seeded(seed: int) -> torch.Generator:
    """A generator on the CPU, so that a seed means the same on every machine.

    Raises InputError unless 0 <= seed < 2^63.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise InputError(f"The seed is {seed!r}; give a whole number from 0 to {2**63 - 1}.")
    return torch.Generator().manual_seed(seed)


def _unpredictable() -> torch.Generator:
    generator = torch.Generator()
    generator.seed()
    return generator


def _photograph(image: Any) -> Still:
    if isinstance(image, Image.Image):
        return Still(image=np.array(image.convert("RGB")))
    if isinstance(image, np.ndarray):
        return Still(image=image)
    raise InputError(
        f"image is a {type(image).__name__}; give a PIL picture or a uint8 array of shape "
        "(height, width, 3)."
    )
