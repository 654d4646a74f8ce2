"""Batches of clips by worker processes.

The samples of a run are numbered: sample p belongs to epoch p // n of n clips.  In each epoch every
clip comes once, in an order that follows from (seed, epoch).  Step and rank say which samples a
batch holds, and each sample has its own generator, so batches depend neither on the number of
workers nor on what was read before: a run resumes at a step, and no position is saved.

A step is one batch on every rank.  Where gradients of several batches are accumulated, an
optimiser's step takes as many steps of the data.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import torch
from torch.utils.data import DataLoader, Dataset

from stillmotion.errors import InputError
from stillmotion.runtime.seeds import derive_seed
from stillmotion.training.clips.samples import ClipBatch, ClipSample, ClipSource, collated


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


@dataclass(frozen=True)
class _Failure:
    """An error that a worker hands over as a value, so that its sentence arrives as it is."""

    sentence: str


@dataclass(frozen=True)
class _Success:
    """A batch, and a sentence for each clip that was passed over."""

    batch: ClipBatch
    skipped: tuple[str, ...]


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


class _Attempts(Dataset[ClipSample | _Failure]):
    def __init__(self, samples: NumberedSamples) -> None:
        self._samples = samples

    def __getitem__(self, number: int) -> ClipSample | _Failure:
        try:
            return self._samples[number]
        except InputError as error:
            return _Failure(str(error))


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
        loader: DataLoader[ClipSample | _Failure] = DataLoader(
            _Attempts(NumberedSamples(self.source, settings.seed)),
            batch_sampler=_Numbers(settings, first_step),
            num_workers=settings.workers,
            collate_fn=_joined,
            worker_init_fn=_leave_interrupts,
            generator=torch.Generator(),  # else it would draw from the global one
        )
        for outcome in loader:
            if isinstance(outcome, _Failure):
                raise InputError(outcome.sentence)
            for sentence in outcome.skipped:
                self.skipped[sentence] = self.skipped.get(sentence, 0) + 1
            yield outcome.batch


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


def _joined(samples: Sequence[ClipSample | _Failure]) -> _Success | _Failure:
    """What a worker sends of a batch: whole, as each tensor would hold a file open on the way."""
    kept = []
    for sample in samples:
        if isinstance(sample, _Failure):
            return sample
        kept.append(sample)
    skipped = tuple(sentence for sample in kept for sentence in sample.skipped)
    return _Success(collated(kept), skipped)


def _leave_interrupts(worker: int) -> None:
    """Ctrl-C reaches all processes of a terminal; the loop ends its step, then stops these."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
