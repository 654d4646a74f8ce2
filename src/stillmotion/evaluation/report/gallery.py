"""Clips for a page: all frames of a clip in one picture, which the page cuts apart again.

A browser plays a list of WebP animations each by its own clock; from one picture a page can draw
the same frame of all clips at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stillmotion.errors import InputError
from stillmotion.evaluation.benchmark.folder import Case, Sample
from stillmotion.evaluation.report.runs import Run
from stillmotion.evaluation.report.summary import Column, Summary
from stillmotion.evaluation.sheets import MAX_SIDE, data_uri, sheet, webp
from stillmotion.media.images import load_image
from stillmotion.media.reading import read_frames

MAX_BYTES = 64 * 2**20
"""Of a gallery's pictures; a page much larger opens slowly, on a phone not at all."""
MAX_FRAMES = 120
_QUALITY = 88
"""Of clips that were made smaller; all others are embedded without loss."""


@dataclass(frozen=True, kw_only=True)
class GalleryOptions:
    """How much a gallery shows."""

    num_cases: int = 12
    """At most so many cases, spread over the groups."""
    width: int = 256
    """Pixels; wider clips are made smaller."""


@dataclass(frozen=True, kw_only=True)
class Strip:
    """A clip (or a still: of one frame) as one picture, frames in rows from the top left."""

    data: str
    """data: URI of a WebP picture; without loss if the clip was not made smaller."""
    width: int
    height: int
    """Of a frame."""
    columns: int
    num_frames: int
    of_width: int
    of_height: int
    of_frames: int
    """What the clip itself has."""


@dataclass(frozen=True, kw_only=True)
class Showing:
    """What a method made of a case."""

    column: Column
    strip: Strip | None
    missing: str = ""
    """Why there is no strip."""
    sample: Sample | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """A case: the given picture, and a clip of each method."""

    case: Case
    """As the first run has it."""
    seeds: tuple[int, ...]
    """One, unless two runs differ."""
    still: Strip | None
    showings: tuple[Showing, ...]


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Cases side by side."""

    rows: tuple[Row, ...]
    num_cases: int
    """Of the whole run."""
    fps: float
    remarks: tuple[str, ...]
    """What is not shown, or not as it is."""

    @property
    def num_frames(self) -> int:
        """Of the longest clip."""
        return max((one.strip.num_frames for one in self.showings() if one.strip), default=0)

    def showings(self) -> Iterator[Showing]:
        """Those of all cases."""
        for row in self.rows:
            yield from row.showings


def gallery(runs: Sequence[Run], summary: Summary, options: GalleryOptions) -> Gallery:
    """The gallery of one run, or of two that share their cases."""
    rows: list[Row] = []
    num_bytes = 0
    chosen = choose_cases(runs, options.num_cases)
    for case in chosen:
        row = _row(runs, summary.columns, case, options.width)
        num_bytes += sum(len(one.strip.data) for one in row.showings if one.strip)
        if rows and num_bytes > MAX_BYTES:
            break
        rows.append(row)
    return Gallery(
        rows=tuple(rows), num_cases=len(runs[0].cases), fps=runs[0].manifest.fps,
        remarks=tuple(_remarks(rows, len(runs[0].cases))),
    )  # fmt: skip


def choose_cases(runs: Sequence[Run], count: int) -> list[Case]:
    """At most `count` cases that have a sample, from all groups by turns, in the run's order."""
    cases = runs[0].cases
    begun = {name for run in runs for _, name in run.samples}
    groups: dict[str, list[Case]] = {}
    for case in cases:
        if case.name in begun:
            groups.setdefault(case.group, []).append(case)
    turns = [case for turn in zip_longest(*groups.values()) for case in turn if case is not None]
    taken = {case.name for case in turns[:count]}
    return [case for case in cases if case.name in taken]


def strip(frames: NDArray[np.uint8], max_width: int) -> Strip:
    """Frames, uint8 (f h w 3), as a picture; wider ones are made `max_width` wide.

    Of more than `MAX_FRAMES` the first are taken.
    """
    num_frames, height, width = frames.shape[:3]
    frames = frames[:MAX_FRAMES]
    is_smaller = width > max_width
    if is_smaller:
        frames = _resized(frames, max_width)
    shown_height, shown_width = frames.shape[1:3]
    count = len(frames)
    # About square: no side is too long for the format, and phones can hold it as a texture.
    columns = min(count, max(1, round(math.sqrt(count * shown_height / shown_width))))
    rows = math.ceil(count / columns)
    if max(rows * shown_height, columns * shown_width) > MAX_SIDE:
        raise InputError(
            f"a clip of {count} frames of {shown_width} x {shown_height} pixels is too large for "
            "a gallery; choose a smaller width"
        )
    return Strip(
        data=data_uri(webp(sheet(frames, columns), _QUALITY if is_smaller else None)),
        width=shown_width, height=shown_height, columns=columns, num_frames=count,
        of_width=width, of_height=height, of_frames=num_frames,
    )  # fmt: skip


def _row(runs: Sequence[Run], columns: Sequence[Column], case: Case, width: int) -> Row:
    return Row(
        case=case,
        seeds=tuple(dict.fromkeys(one.seed for run in runs for one in run.cases
                                  if one.name == case.name)),
        still=_still(runs, case, width),
        showings=tuple(_showing(runs[column.run], column, case, width) for column in columns),
    )  # fmt: skip


def _still(runs: Sequence[Run], case: Case, width: int) -> Strip | None:
    for run in runs:
        known = next(one for one in run.cases if one.name == case.name)
        if known.still is not None and (run.path / known.still).is_file():
            return strip(load_image(run.path / known.still)[None], width)
    return None


def _showing(run: Run, column: Column, case: Case, width: int) -> Showing:
    sample = run.samples.get((column.name, case.name))
    if sample is None:
        return Showing(column=column, strip=None, missing="not finished")
    path = run.path / sample.clip
    if not path.exists():
        return Showing(column=column, strip=None, sample=sample, missing=f"{sample.clip} is gone")
    try:
        made = strip(read_frames(path).frames, width)
    except InputError as error:  # one bad file is no reason to withhold the report
        return Showing(column=column, strip=None, sample=sample, missing=str(error))
    return Showing(column=column, strip=made, sample=sample)


def _resized(frames: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    # Even, since WebP has colours at half resolution and frames lie side by side.
    height = 2 * max(1, round(frames.shape[1] * width / frames.shape[2] / 2))
    size = (width, height)
    return np.stack(
        [
            np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS))
            for frame in frames
        ]
    )


def _remarks(rows: Sequence[Row], num_cases: int) -> Iterator[str]:
    if len(rows) < num_cases:
        yield f"{len(rows)} of {num_cases} cases are shown; the tables are of all."
    strips = [one.strip for row in rows for one in row.showings if one.strip]
    wide = [one for one in strips if one.width < one.of_width]
    if wide:
        yield (f"{len(wide)} of {len(strips)} clips are shown smaller, {wide[0].width} pixels "
               "wide, and compressed; all others are shown exactly.")  # fmt: skip
    elif strips:
        yield "All clips are shown exactly, pixel for pixel."
    if any(one.num_frames < one.of_frames for one in strips):
        yield f"Of clips with more than {MAX_FRAMES} frames, the first {MAX_FRAMES} are shown."
