"""Batches of clips that follow from the training loop's generators, and are read ahead.

A batch is a function of the generator that the loop passes, and of nothing else: its first draw is
the batch's key, and sample k draws its clip (with replacement), stride, start and wording from a
generator of (key, k).  So the loop's promises hold for clips, too: a run that was interrupted
goes on with the batches that it would have had, and processes share out the batches of a step.

Workers change nothing of that.  The loop tells the seeds of its coming generators
(`training.stage.Foreseeing`), hence their keys, so workers read the batches before they are asked
for; a batch is taken from them only where its key is the one that was foreseen, and is read in
place otherwise.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import torch
from torch.utils.data import Dataset

from stillmotion.runtime.seeds import derive_seed
from stillmotion.training.clips.reading import read_batches
from stillmotion.training.clips.samples import ClipBatch, ClipSample, ClipSource

_Place = tuple[int, int]
"""The key of a batch, and the number of a sample in it."""


class DrawnClips:
    """Batches of a source by generator.

    `skipped` counts, by its sentence, each clip that a source with `skip_damaged` has replaced.
    """

    def __init__(self, source: ClipSource, size: int, *, workers: int = 0) -> None:
        """`size` samples make a batch; `workers` are processes that read ahead, 0 for none."""
        self._samples, self._size, self._workers = _Samples(source), size, workers
        self._ahead: Iterator[tuple[ClipBatch, tuple[str, ...]]] | None = None
        self._keys: deque[int] = deque()
        self.skipped: dict[str, int] = {}

    @property
    def reads_ahead(self) -> bool:
        """Whether workers are at it."""
        return self._ahead is not None

    def foresee(self, seeds: Iterator[int]) -> None:
        """As `training.stage.Foreseeing`: let workers read for generators of these seeds."""
        self.close()
        if self._workers:
            self._ahead = read_batches(self._samples, self._foreseen(seeds), self._workers)

    def batch(self, generator: torch.Generator) -> ClipBatch:
        """The batch of a generator.  Raises InputError for a clip that cannot be used."""
        key = _key(generator)
        if self._ahead is not None:
            batch, skipped = next(self._ahead)
            if self._keys.popleft() == key:
                return self._counted(batch, skipped)
            self.close()  # what comes is something else than was foreseen
        [(batch, skipped)] = read_batches(self._samples, [self._places(key)], 0)
        return self._counted(batch, skipped)

    def close(self) -> None:
        """Stop the workers."""
        self._ahead = None
        self._keys.clear()

    def _foreseen(self, seeds: Iterator[int]) -> Iterator[list[_Place]]:
        for seed in seeds:
            key = _key(torch.Generator().manual_seed(seed))
            self._keys.append(key)
            yield self._places(key)

    def _places(self, key: int) -> list[_Place]:
        return [(key, number) for number in range(self._size)]

    def _counted(self, batch: ClipBatch, skipped: tuple[str, ...]) -> ClipBatch:
        for sentence in skipped:
            self.skipped[sentence] = self.skipped.get(sentence, 0) + 1
        return batch


class _Samples(Dataset[ClipSample]):
    def __init__(self, source: ClipSource) -> None:
        self._source = source

    def __getitem__(self, place: _Place) -> ClipSample:
        generator = torch.Generator().manual_seed(derive_seed(place[0], "sample", place[1]))
        index = torch.randint(len(self._source), (), generator=generator)
        return self._source.sample(int(index), generator)


def _key(generator: torch.Generator) -> int:
    drawn = torch.randint(2**62, (), generator=generator, device=generator.device)
    return int(drawn)
