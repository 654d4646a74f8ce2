"""Listed clips as a source: by a manifest, or in shards."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from stillmotion.errors import InputError
from stillmotion.media.fit import fit_picture
from stillmotion.training.clips.decode import VIDEO_SUFFIXES, Pixels, TimedFrames, opened_clip
from stillmotion.training.clips.manifest import MANIFEST_SUFFIXES, manifest_rows
from stillmotion.training.clips.rows import ClipRow, Problem, sound
from stillmotion.training.clips.samples import ClipSample, ClipSettings, ClipSource
from stillmotion.training.clips.shards import SHARD_SUFFIX, shard_rows
from stillmotion.training.clips.skipping import SkipUnusable
from stillmotion.training.clips.timing import Timeline, conditioning_fps, excerpt, timeline


def open_clips(
    path: str | os.PathLike[str], settings: ClipSettings, *, skip_damaged: bool = False
) -> ClipSource:
    """One's own clips as a source.

    Args:
        path: a manifest (.csv, .jsonl), a shard (.tar), or a folder of shards.
        settings: how clips are cut to samples.
        skip_damaged: whether a clip that is missing, damaged or too short is replaced by another.

    Raises:
        InputError: the list is missing or empty, or says something that cannot be used, whatever
            `skip_damaged`.  The clips themselves are looked at when they are sampled.
    """
    source = ListedClips(sound(clip_rows(Path(path)), Path(path)), settings)
    return SkipUnusable(source) if skip_damaged else source


def clip_rows(path: Path) -> Iterator[ClipRow | Problem]:
    """What a manifest, a shard or a folder of shards lists, or what is wrong with each entry.

    Raises InputError if it cannot be read, or is nothing of the kind.
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        shards = sorted(path.glob(f"*{SHARD_SUFFIX}"))
        if not shards:
            raise InputError(
                f"'{path}' holds no {SHARD_SUFFIX} shards; for a folder of clips give the manifest "
                f"that lists them ({' or '.join(MANIFEST_SUFFIXES)})."
            )
        return shard_rows(shards, VIDEO_SUFFIXES)
    if suffix in MANIFEST_SUFFIXES:
        return manifest_rows(path)
    if suffix == SHARD_SUFFIX:
        return shard_rows([path], VIDEO_SUFFIXES)
    raise InputError(
        f"'{path}' is no list of clips; give a manifest ({' or '.join(MANIFEST_SUFFIXES)}), a "
        f"shard ({SHARD_SUFFIX}), or a folder of shards."
    )


def used_part(row: ClipRow, clip: TimedFrames) -> Timeline:
    """The part of a clip that its row names, at the row's rate.  Raises InputError if empty."""
    return timeline(
        clip.times, declared_fps=clip.declared_fps, fps=row.fps, start=row.start, end=row.end
    )


class ListedClips:
    """Clips of a list, each cut to the size that is asked for: scaled to cover, never padded."""

    def __init__(self, rows: Sequence[ClipRow], settings: ClipSettings) -> None:
        self.rows = rows
        self.settings = settings

    def __len__(self) -> int:
        return len(self.rows)

    def sample(self, index: int, generator: torch.Generator) -> ClipSample:
        """As `ClipSource.sample`; the error names the list and the line."""
        row = self.rows[index]
        try:
            return self._sample(row, generator)
        except InputError as error:
            raise InputError(str(Problem(row.where, str(error)))) from error

    def _sample(self, row: ClipRow, generator: torch.Generator) -> ClipSample:
        with opened_clip(row.location, end=row.end) as clip:
            line = used_part(row, clip)
            drawn = excerpt(line.num_steps, self.settings, generator)
            steps = range(self.settings.num_frames)
            numbers = [line.frame(drawn.start + step * drawn.stride) for step in steps]
            frames = clip.frames(numbers, self._fitted)
        return ClipSample(
            frames=torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).contiguous(),
            caption=row.caption,
            frame_stride=drawn.stride,
            conditioning_fps=conditioning_fps(line.fps, drawn.stride),
            licence=row.licence,
            name=row.name,
        )

    def _fitted(self, frame: Pixels) -> Pixels:
        return fit_picture(frame, (self.settings.height, self.settings.width))[0]
