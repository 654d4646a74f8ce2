"""Shots one after another as the frames of one film, with transitions between them.

A shot is uint8 (f h w 3).  Of every list of transitions, the one at index i leads from shot i - 1
into shot i; the first leads into the film.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stillmotion.errors import InputError

Frames = NDArray[np.uint8]
TransitionKind = Literal["cut", "crossfade", "fade"]


@dataclass(frozen=True)
class Transition:
    """How one shot gives way to the next.

    "cut": at once.  "crossfade": the last `num_frames` of the one are blended with as many first
    frames of the other, so that the film is that much shorter.  "fade": the last `num_frames` of
    the one darken until the last is black, then as many of the other brighten from black.
    """

    kind: TransitionKind = "cut"
    num_frames: int = 0


CUT = Transition()


@dataclass(frozen=True)
class Span:
    """Frames of the film in which a shot is seen: from `start` to before `stop`."""

    start: int
    stop: int


def spans(lengths: Sequence[int], transitions: Sequence[Transition]) -> list[Span]:
    """Where shots of `lengths` frames lie in the film; crossfaded ones overlap."""
    found: list[Span] = []
    for length, transition in zip(lengths, transitions, strict=True):
        start = found[-1].stop if found else 0
        if transition.kind == "crossfade":
            start -= transition.num_frames
        found.append(Span(start, start + length))
    return found


def check_transitions(
    lengths: Sequence[int], transitions: Sequence[Transition], names: Sequence[str]
) -> None:
    """Raises InputError, with the shot's name, if a shot is too short for its transitions."""
    if transitions and transitions[0].kind == "crossfade":
        raise InputError(
            f"{names[0]}: transition is a crossfade, but there is no shot before it; use fade to "
            "begin from black, or leave it out."
        )
    ends = [*transitions[1:], CUT]
    for length, begin, end, name in zip(lengths, transitions, ends, names, strict=True):
        for transition in (begin, end):
            if transition.kind == "crossfade" and transition.num_frames >= length:
                raise InputError(
                    f"{name}: a crossfade of {transition.num_frames} frames leaves nothing of its "
                    f"{length} frames; give one of at most {length - 1}, or the shot more frames."
                )
        if begin.num_frames + end.num_frames > length:
            raise InputError(
                f"{name}: its transitions take {begin.num_frames} frames at its beginning and "
                f"{end.num_frames} at its end, but it has {length}; make them shorter, or give it "
                "more frames."
            )


def join_shots(
    shots: Iterable[Frames], lengths: Sequence[int], transitions: Sequence[Transition]
) -> Frames:
    """The film, uint8 (f h w 3); `shots`, all of one size, are taken one by one.

    Frame i of a crossfade of n is the new shot by (i + 1) / (n + 1); of a fade, the old shot by
    (n - 1 - i) / n and then the new one by i / n.  Raises InputError for a shot of another length
    than was told, or of another size than the first.
    """
    places = spans(lengths, transitions)
    film: Frames | None = None
    for shot, place, transition in zip(shots, places, transitions, strict=True):
        if film is None:
            film = np.empty((places[-1].stop, *shot.shape[1:]), np.uint8)
        if shot.shape != (place.stop - place.start, *film.shape[1:]):
            raise InputError(
                f"A shot of shape {shot.shape} does not fit into a film of frames "
                f"{film.shape[1:]} where {place.stop - place.start} frames are expected."
            )
        _add(film, shot, place, transition)
    if film is None:
        raise InputError("There are no shots to join; give at least one.")
    return film


def _add(film: Frames, shot: Frames, place: Span, transition: Transition) -> None:
    """Write a shot to its place in the film, which holds the one before it already."""
    start, count = place.start, transition.num_frames
    film[start + count : place.stop] = shot[count:]
    black = np.zeros_like(shot[0])
    for index in range(count):
        if transition.kind == "crossfade":
            film[start + index] = _blend(film[start + index], shot[index], index + 1, count + 1)
            continue
        if start:
            darker = start - count + index
            film[darker] = _blend(black, film[darker], count - 1 - index, count)
        film[start + index] = _blend(black, shot[index], index, count)


def _blend(first: Frames, second: Frames, part: int, whole: int) -> Frames:
    """`second` by `part` / `whole` over `first`, rounded to the nearest, halves up."""
    mixed = first.astype(np.uint32) * (whole - part) + second.astype(np.uint32) * part
    return ((mixed + whole // 2) // whole).astype(np.uint8)
