"""A whole list of clips read, and all that is wrong with it: before training, not hours into it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from stillmotion.errors import InputError
from stillmotion.training.clips.decode import Pixels, opened_clip
from stillmotion.training.clips.files import clip_rows, used_part
from stillmotion.training.clips.rows import ClipRow, Problem
from stillmotion.training.clips.timing import check_length


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What was found in a list of clips."""

    num_clips: int
    """Clips listed."""
    num_usable: int
    """Clips that can be trained on."""
    seconds: float
    """How long the usable ones last together."""
    problems: tuple[Problem, ...]
    """At most one for each clip, in the order of the list."""
    licences: Mapping[str | None, int]
    """Usable clips of each licence; None: not said."""


def check_clips(
    path: str | os.PathLike[str],
    *,
    num_frames: int = 16,
    every_frame: bool = False,
    report: Callable[[int], None] | None = None,
) -> CheckReport:
    """Read a manifest, a shard or a folder of shards, and every clip it lists.

    Args:
        path: as for `open_clips`.
        num_frames: frames that a sample takes; a clip with fewer is too short.
        every_frame: whether every frame is decoded, or the first and the last of each clip.
        report: called with the number of clips looked at so far.

    Raises:
        InputError: the list itself cannot be read.
    """
    problems: list[Problem] = []
    licences: Counter[str | None] = Counter()
    seconds = Fraction(0)
    seen = 0
    for seen, row in enumerate(clip_rows(Path(path)), 1):
        checked = row if isinstance(row, Problem) else _checked(row, num_frames, every_frame)
        if isinstance(checked, Problem):
            problems.append(checked)
        else:
            seconds += checked.seconds
            licences[checked.licence] += 1
        if report is not None:
            report(seen)
    return CheckReport(
        num_clips=seen,
        num_usable=seen - len(problems),
        seconds=float(seconds),
        problems=tuple(problems),
        licences=licences,
    )


@dataclass(frozen=True)
class _Usable:
    seconds: Fraction
    licence: str | None


def _checked(row: ClipRow, num_frames: int, every_frame: bool) -> _Usable | Problem:
    """What is counted of a clip, or what is wrong with it."""
    try:
        with opened_clip(row.location, end=row.end) as clip:
            line = used_part(row, clip)
            check_length(line.num_steps, num_frames)
            ends = line.first, line.first + len(line.times) - 1
            for numbers in [range(ends[0], ends[1] + 1)] if every_frame else [[ends[0]], [ends[1]]]:
                clip.frames(numbers, _nothing)
            return _Usable(line.seconds, row.licence)
    except InputError as error:
        return Problem(row.where, str(error))


def _nothing(frame: Pixels) -> Pixels:
    """Keep nothing of a frame that decodes."""
    return frame[:0]
