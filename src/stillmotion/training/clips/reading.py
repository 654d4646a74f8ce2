"""Samples read by worker processes and joined to batches, in the order that was asked for."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from stillmotion.errors import InputError
from stillmotion.training.clips.samples import ClipBatch, ClipSample, collated


@dataclass(frozen=True)
class _Failure:
    """An error that a worker hands over as a value, so that its sentence arrives as it is."""

    sentence: str


@dataclass(frozen=True)
class _Success:
    """A batch, and a sentence for each clip that was passed over."""

    batch: ClipBatch
    skipped: tuple[str, ...]


class _Attempts(Dataset[ClipSample | _Failure]):
    def __init__(self, samples: Dataset[ClipSample]) -> None:
        self._samples = samples

    def __getitem__(self, key: Any) -> ClipSample | _Failure:
        try:
            return self._samples[key]
        except InputError as error:
            return _Failure(str(error))


def read_batches(
    samples: Dataset[ClipSample], keys: Iterable[Sequence[Any]], workers: int
) -> Iterator[tuple[ClipBatch, tuple[str, ...]]]:
    """A batch of `samples` for each sequence of keys, and a sentence for each clip passed over.

    Args:
        samples: by key, which can be any value that can be sent to another process.
        keys: read in this process, with workers a few batches ahead.
        workers: processes that read; 0: this one.  They live as long as the iterator.

    Raises:
        InputError: when its batch comes, for a clip that cannot be used; or a worker was ended.
    """
    loader: DataLoader[ClipSample | _Failure] = DataLoader(
        _Attempts(samples),
        batch_sampler=keys,  # type: ignore[arg-type]
        num_workers=workers,
        collate_fn=_joined,
        worker_init_fn=_leave_interrupts,
        generator=torch.Generator(),  # else it would draw from the global one
    )
    for outcome in _while_workers_live(loader):
        if isinstance(outcome, _Failure):
            raise InputError(outcome.sentence)
        yield outcome.batch, outcome.skipped


def _while_workers_live(loader: Iterable[Any]) -> Iterator[Any]:
    outcomes = iter(loader)
    while True:
        try:
            outcome = next(outcomes)
        except StopIteration:
            return
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise InputError(
                "A process that reads clips was ended from outside, most likely because memory ran "
                "out; use fewer workers."
            ) from error
        yield outcome


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
