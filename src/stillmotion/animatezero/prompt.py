"""Prompts: what the text encoder does not see of one, and texts that change along a clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from stillmotion.errors import InputError


@dataclass(frozen=True)
class PromptTrack:
    """Texts at some frames of a clip, counted from 0; between them their embeddings are blended.

    Before the first and after the last given frame the text stays.  Raises InputError for an
    empty track or a frame that is no whole number from 0 up.
    """

    texts: Mapping[int, str]

    def __post_init__(self) -> None:
        if not self.texts:
            raise InputError("A track of prompts needs at least one frame with a text.")
        for frame in self.texts:
            if isinstance(frame, bool) or not isinstance(frame, int) or frame < 0:
                raise InputError(f"A prompt is given at frame {frame!r}; frames count from 0.")
        object.__setattr__(self, "texts", MappingProxyType(dict(sorted(self.texts.items()))))

    @property
    def is_constant(self) -> bool:
        """Whether it is the same text all along."""
        return len(set(self.texts.values())) == 1

    @classmethod
    def towards(cls, base: str, target: str, num_frames: int) -> PromptTrack:
        """From one text at the first frame to another at the last."""
        return cls({0: base, num_frames - 1: target} if num_frames > 1 else {0: base})

    @property
    def first(self) -> str:
        """The text of the first frame."""
        return next(iter(self.texts.values()))

    @property
    def last(self) -> str:
        """The text of the last frame."""
        return list(self.texts.values())[-1]

    def check(self, num_frames: int) -> None:
        """Raises InputError for a text at a frame that the clip does not have."""
        last = max(self.texts)
        if last >= num_frames:
            raise InputError(
                f"A prompt is given at frame {last}, but the clip has the frames 0 to "
                f"{num_frames - 1}."
            )

    def stretched(self, factor: int) -> PromptTrack:
        """The same for a clip with `factor` times more steps."""
        return PromptTrack({frame * factor: text for frame, text in self.texts.items()})

    def blend(self, embeds: Mapping[str, Tensor], num_frames: int) -> Tensor:
        """Embeddings of all frames (f n d) from those of the texts (n d each)."""
        frames = list(self.texts)
        rows = []
        for frame in range(num_frames):
            before = max((f for f in frames if f <= frame), default=frames[0])
            after = min((f for f in frames if f >= frame), default=frames[-1])
            start, end = embeds[self.texts[before]], embeds[self.texts[after]]
            share = (frame - before) / (after - before) if after > before else 0.0
            rows.append(torch.lerp(start, end, share))
        return torch.stack(rows)


def truncated_prompt_part(tokenizer: Any, prompt: str) -> str:
    """The end of `prompt` that is cut off because it is too long; empty if nothing is.

    CLIP reads 77 tokens, the marks of beginning and end included.
    """
    ids = tokenizer(prompt, add_special_tokens=False).input_ids
    kept = tokenizer.model_max_length - tokenizer.num_special_tokens_to_add()
    return str(tokenizer.decode(ids[kept:])).strip() if len(ids) > kept else ""
