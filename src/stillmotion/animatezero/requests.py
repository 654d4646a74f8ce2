"""What is asked for: one clip, a run of clips, and the arguments of a call in diffusers' style."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stillmotion.adapters.diffusers_sites import CLIP_SKIP_UNSUPPORTED
from stillmotion.animatezero.settings import AnimateZeroSettings, SamplingSettings
from stillmotion.animatezero.still import Still
from stillmotion.errors import InputError

Progress = Callable[[int, int], None]
"""Called after each denoising step with the number of steps done and their total."""
StepCallback = Callable[[Any, int, Tensor, dict[str, Tensor]], Mapping[str, Tensor] | None]
"""diffusers' `callback_on_step_end`: given the pipeline, the step's index, its timestep and
{"latents": b c f h w}, it may return other latents; frame 1 stays the still all the same."""


class CallOptions(TypedDict, total=False):
    """Options of `AnimateZeroPipeline.__call__` beyond the first few.

    The first five are the fields of `SamplingSettings`.  `latents` (b c f h w) is the standard
    normal noise to start the frames from, instead of a draw from `generator`.
    """

    num_inference_steps: int
    guidance_scale: float
    height: int | None
    width: int | None
    negative_prompt: str
    control: AnimateZeroSettings
    latents: Tensor
    callback_on_step_end: StepCallback


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One clip to be made."""

    prompt: str
    generator: torch.Generator
    still: Still | None = None
    """None: draw one if the control needs it."""
    noise: Tensor | None = None
    """Start of the frames (1 c f h w); None: the generator's."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What all clips of a request have in common."""

    num_frames: int
    sampling: SamplingSettings
    control: AnimateZeroSettings
    callback: StepCallback | None = None
    decode: bool = True

    def num_steps(self, clips: Sequence[Clip]) -> int:
        """Denoising steps of drawing and animating together."""
        to_draw = sum(clip.still is None for clip in clips) * self.control.needs_trajectory
        return self.sampling.num_inference_steps * (len(clips) + to_draw)


class Ticker:
    """Counts denoising steps and tells `progress`."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def __call__(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)


def clips_from_call(
    prompt: str | list[str] | None,
    stills: list[Still] | None,
    generator: torch.Generator | list[torch.Generator] | None,
    noise: Tensor | None,
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
            prompt=(own.prompt if own else "") if words is None else words,
            generator=source,
            still=own,
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
    if options.get("clip_skip") is not None:
        raise InputError(CLIP_SKIP_UNSUPPORTED)
    unknown = options.keys() - CallOptions.__annotations__.keys() - {"clip_skip"}
    if unknown:
        allowed = ", ".join(CallOptions.__annotations__)
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
