"""From the arguments of a call, also one in diffusers' style, to what is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_type_hints

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stillmotion.animatezero.prompt import PromptTrack
from stillmotion.animatezero.requests import CallOptions, Clip, Prompt, seeded
from stillmotion.diffusion.settings import SamplingSettings
from stillmotion.errors import InputError
from stillmotion.media.still import Still


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
