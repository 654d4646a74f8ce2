"""Clips that cannot be used, replaced by others of the same source."""

from __future__ import annotations

from dataclasses import replace

import torch

from stillmotion.errors import InputError
from stillmotion.training.clips.samples import ClipSample, ClipSource

MAX_TRIES = 32
"""Unusable clips in a row after which the whole source is taken for unusable."""


class SkipUnusable:
    """A source that passes over the unusable clips of another.

    The replacement is drawn with the sample's own generator, so it is the same in every run, and
    samples of usable clips are what they would be without this.  `ClipSample.skipped` says what
    was passed over.
    """

    def __init__(self, source: ClipSource) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def sample(self, index: int, generator: torch.Generator) -> ClipSample:
        """As `ClipSource.sample`; raises InputError only if many clips in a row are unusable."""
        skipped: list[str] = []
        while True:
            try:
                sample = self.source.sample(index, generator)
            except InputError as error:
                skipped.append(str(error))
                if len(skipped) == MAX_TRIES:
                    raise InputError(
                        f"{MAX_TRIES} clips in a row cannot be used; the last one: {error}"
                    ) from error
                index = int(torch.randint(len(self), (1,), generator=generator))
            else:
                return replace(sample, skipped=tuple(skipped)) if skipped else sample
