"""Batches of clips by step and rank.

The samples of a run are numbered: sample p belongs to epoch p // n of n clips.  In each epoch every
clip comes once, in an order that follows from (seed, epoch).  Step and rank say which samples a
batch holds, and each sample has its own generator, so batches depend neither on the number of
workers nor on what was read before: a run resumes at a step, and no position is saved.

A step is one batch on every rank.  Where gradients of several batches are accumulated, an
optimiser's step takes as many steps of the data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import torch
from torch.utils.data import Dataset

from stillmotion.errors import InputError
from stillmotion.runtime.seeds import derive_seed
from stillmotion.training.clips.reading import read_batches
from stillmotion.training.clips.samples import ClipBatch, ClipSample, ClipSource


@dataclass(frozen=True, kw_only=True)
class LoaderSettings:
    """Which samples make a batch, and who reads them.  Raises InputError for impossible numbers."""

    seed: int
    batch: int
    """Samples of one batch, on one rank."""
    rank: int = 0
    num_ranks: int = 1
    workers: int = 0
    """Processes that decode; 0: this one."""

    def __post_init__(self) -> None:
        if self.batch < 1 or self.workers < 0:
            raise InputError(
                f"A batch of {self.batch} by {self.workers} workers cannot be; give a batch of at "
                "least 1 and 0 or more workers."
            )
        if not 0 <= self.rank < self.num_ranks:
            raise InputError(f"The rank must be 0 to {self.num_ranks - 1}, not {self.rank}.")


class NumberedSamples(Dataset[ClipSample]):
    """The samples of a run by number, 0 upwards without end.

    Sample p follows from (seed, p) and the source alone.
    """

    def __init__(self, source: ClipSource, seed: int) -> None:
        self.source = source
        self.seed = seed
        self._order: tuple[int, torch.Tensor] | None = None

    def __getitem__(self, number: int) -> ClipSample:
        """Raises InputError if the clip cannot be used."""
        epoch, place = divmod(number, len(self.source))
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "sample", epoch, place))
        return self.source.sample(int(self._epoch_order(epoch)[place]), generator)

    def _epoch_order(self, epoch: int) -> torch.Tensor:
        if self._order is None or self._order[0] != epoch:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, "order", epoch))
            self._order = epoch, torch.randperm(len(self.source), generator=generator)
        return self._order[1]


class ClipLoader:
    """Batches of a source, step by step.

    `skipped` fills with a sentence for each clip that a source with `skip_damaged` has replaced so
    far, in the order of the first time; the number says how often.
    """

    def __init__(self, source: ClipSource, settings: LoaderSettings) -> None:
        self.source = source
        self.settings = settings
        self.skipped: dict[str, int] = {}

    def batches(self, first_step: int = 0) -> Iterator[ClipBatch]:
        """The batches of the steps from `first_step` on, without end.

        Workers live as long as the iterator.  Raises InputError, when its step comes, for a clip
        that cannot be used.
        """
        settings = self.settings
        samples = NumberedSamples(self.source, settings.seed)
        numbers = _Numbers(settings, first_step)
        for batch, skipped in read_batches(samples, numbers, settings.workers):
            for sentence in skipped:
                self.skipped[sentence] = self.skipped.get(sentence, 0) + 1
            yield batch


@dataclass(frozen=True)
class _Numbers:
    """The numbers of the samples in each batch of one rank."""

    settings: LoaderSettings
    first_step: int

    def __iter__(self) -> Iterator[list[int]]:
        settings = self.settings
        for step in count(self.first_step):
            first = (step * settings.num_ranks + settings.rank) * settings.batch
            yield list(range(first, first + settings.batch))
