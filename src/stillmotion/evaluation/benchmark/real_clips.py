"""Real clips as the cases of a benchmark: found in a folder, chosen, and cut.

The protocol of DynamiCrafter's Table 1, as its authors tell it: 2048 clips of a data set, 16
frames of each in steps of 3, at 256 x 256 pixels, the first of which is what the methods animate.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from stillmotion.errors import InputError
from stillmotion.evaluation.benchmark import clip_layouts
from stillmotion.evaluation.benchmark.clip_layouts import Layout, RealClip
from stillmotion.evaluation.benchmark.folder import Case
from stillmotion.media.fit import fit_picture
from stillmotion.media.reading import count_frames, read_frames
from stillmotion.runtime.seeds import derive_seed

NUM_CLIPS = 2048
NUM_FRAMES = 16
STRIDE = 3
SIZE = (256, 256)

_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")
_MAX_NAME = 100


@dataclass(frozen=True)
class FoundClips:
    """The clips of a folder."""

    layout: Layout
    """Whose layout it has, for those who asked for "auto"."""
    clips: tuple[RealClip, ...]


@dataclass(frozen=True)
class ChosenClips:
    """The clips that take part, and why others do not."""

    cases: tuple[Case, ...]
    """In the order of their names.  Facts: `file`, its absolute path; `frames`, how many it has;
    `class`, where there are classes."""
    skipped: tuple[str, ...]
    """A sentence for each clip that was looked at and cannot be used."""


def find_real_clips(
    folder: Path,
    layout: Literal["auto"] | Layout = "auto",
    prompts: Path | None = None,
    *,
    test_list: Path | None = None,
    split: str = "test",
) -> FoundClips:
    """All clips of a folder, with their words.

    Args:
        folder: where they lie, on any level.
        layout: "ucf101", "msrvtt", "folder" (any clips), or "auto" to recognise it.
        prompts: the words: an annotation of MSR-VTT's form, or for any clips .json, .csv or text
            by file name; None: what lies in the folder.  UCF-101 needs none.
        test_list: of UCF-101, an official list of those that are taken, `testlist01.txt`.
        split: of MSR-VTT, the split that is taken where the annotation tells of splits, or "all".

    Raises:
        InputError: no such folder or layout, no clips, two of one name, no words, or words that
            cannot be read.
    """
    if layout != "auto" and layout not in get_args(Layout):
        raise InputError(
            f"there is no layout '{layout}'; there are: auto, {', '.join(get_args(Layout))}"
        )
    files = clip_layouts.clip_files(folder)
    kind = clip_layouts.recognised(folder, files, prompts) if layout == "auto" else layout
    if test_list is not None and kind != "ucf101":
        raise InputError(
            f"{test_list} is for UCF-101, but {folder} has the layout '{kind}'; leave it out"
        )
    if kind == "ucf101":
        clips = clip_layouts.ucf101(folder, files, test_list)
    elif kind == "msrvtt":
        clips = clip_layouts.msrvtt(folder, files, prompts, split)
    else:
        clips = clip_layouts.any_folder(folder, files, prompts)
    _check_names(clips)
    return FoundClips(kind, tuple(clips))


def choose_clips(
    found: FoundClips,
    count: int = NUM_CLIPS,
    *,
    seed: int = 0,
    num_frames: int = NUM_FRAMES,
    stride: int = STRIDE,
    tick: Callable[[], None] | None = None,
) -> ChosenClips:
    """`count` of the clips, by lot, or as many as are long enough and whole.

    Each clip's lot follows from `seed` and its key alone, and so do its caption and the seed of
    its case: the choice is the same on every machine and in whatever order files are listed, and a
    clip that is taken away is replaced by one other.  A clip that cannot give `num_frames` frames
    in steps of `stride` is passed over; the stride is never lowered, for it is the pace that the
    distances between sets compare.  All clips that are looked at are decoded, so that those chosen
    can be relied on; `tick` is called for each one chosen.

    Raises:
        InputError: impossible numbers, or no clip can be used.
    """
    needed = _span(num_frames, stride)
    if count < 1:
        raise InputError(f"the number of clips must be at least 1, not {count}")
    cases: list[Case] = []
    skipped: list[str] = []
    lots = sorted(found.clips, key=lambda clip: (derive_seed(seed, "lot", clip.key), clip.key))
    for clip in lots:
        if len(cases) == count:
            break
        try:
            frames = count_frames(clip.path)
        except InputError as error:
            skipped.append(str(error))
            continue
        if frames < needed:
            skipped.append(
                f"'{clip.path}' has {frames} frames; {num_frames} in steps of {stride} need "
                f"{needed}."
            )
            continue
        cases.append(_case(clip, frames, seed))
        if tick is not None:
            tick()
    if not cases:
        raise InputError(
            f"none of the {len(found.clips)} clips can be used, the first because: {skipped[0]}"
        )
    return ChosenClips(tuple(sorted(cases, key=lambda case: case.name)), tuple(skipped))


def sample_clip(
    path: Path,
    num_frames: int = NUM_FRAMES,
    stride: int = STRIDE,
    size: tuple[int, int] = SIZE,
    seed: int = 0,
    *,
    total: int | None = None,
) -> NDArray[np.uint8]:
    """A part of a clip, as the protocol cuts it.

    Args:
        path: anything that `read_frames` reads.
        num_frames: how many are taken.
        stride: every so manieth is taken.
        size: height and width in pixels; frames are scaled to cover it and their middle is cut
            out.
        seed: of the first frame's place, uniform over all that leave enough frames behind it.
        total: how many frames the clip has, where that is known (a case's fact `frames`); it
            saves decoding the clip to count them.

    Returns:
        uint8 (f h w 3), RGB.

    Raises:
        InputError: impossible numbers, a clip that is too short, missing or damaged.
    """
    needed = _span(num_frames, stride)
    there = count_frames(path) if total is None else total
    if there < needed:
        raise InputError(
            f"'{path}' has {there} frames; {num_frames} in steps of {stride} need {needed}: leave "
            "it out, or lower the stride."
        )
    lot = random.Random(derive_seed(seed, "start"))
    start = lot.randrange(there - needed + 1)
    clip = read_frames(path, start=start, count=num_frames, stride=stride)
    return np.stack([fit_picture(frame, size)[0] for frame in clip.frames])


def _check_names(clips: Sequence[RealClip]) -> None:
    """Raises InputError for clips that no name of a case would keep apart."""
    named: dict[str, RealClip] = {}
    for clip in clips:
        other = named.setdefault(case_name(clip.key), clip)
        if other is not clip:
            raise InputError(f"{other.path} and {clip.path} have one name; keep one of them")


def _span(num_frames: int, stride: int) -> int:
    """How many frames lie from the first that is taken to the last, both included."""
    if num_frames < 1 or stride < 1:
        raise InputError(
            f"{num_frames} frames in steps of {stride} cannot be taken; both must be at least 1"
        )
    return (num_frames - 1) * stride + 1


def _case(clip: RealClip, frames: int, seed: int) -> Case:
    lot = random.Random(derive_seed(seed, "caption", clip.key))
    facts: dict[str, str | int] = {"file": str(clip.path.resolve()), "frames": frames}
    if clip.group:
        facts["class"] = clip.group
    name = case_name(clip.key)
    return Case(
        name=name, prompt=lot.choice(clip.prompts),
        seed=derive_seed(seed, "case", clip.key) % 2**31, still=f"stills/{name}.png",
        group=clip.group, facts=dict(facts),
    )  # fmt: skip


def case_name(key: str) -> str:
    """A name for files: the last part of the path where it says enough, else with a mark behind.

    "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01" -> "v_ApplyEyeMakeup_g01_c01"; of any other path
    below a folder, or with unfit characters, 8 digits of its sha256 keep it apart from others.
    """
    last = key.rpartition("/")[2]
    plain = _UNFIT.sub("-", last).lstrip("._-")[:_MAX_NAME]
    is_unique = "/" not in key or re.fullmatch(r"v_[A-Za-z]+_g\d+_c\d+", last)
    if plain == last and is_unique:
        return plain
    return f"{plain or 'clip'}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"
