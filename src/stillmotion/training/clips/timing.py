"""Which frames of a clip a sample shows.

A clip is read at an even rate: step k is the frame on display in the middle of the k-th interval
of 1/fps seconds after the first frame.  Of a clip with an even rate these are its frames one by
one, however its container rounds times; of an uneven one (phones, screen recordings) a frame that
stays longer counts more often.  A number of frames divided by an average rate would be wrong
there.

Source of stride and pace: DynamiCrafter's released lvdm/data/webvid.py.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch

from stillmotion.errors import InputError
from stillmotion.media.container import DEFAULT_FPS
from stillmotion.training.clips.samples import ClipSettings

_SAME_RATE = Fraction(1, 50)
"""Declared and measured rates that differ by less are one rate, told with rounded times."""


@dataclass(frozen=True)
class Timeline:
    """A clip, or a part of it, read at an even rate."""

    times: Sequence[Fraction]
    """Presentation time of each frame that the part holds, in seconds, ascending."""
    seconds: Fraction
    """How long it lasts, its last frame included."""
    fps: Fraction
    """The even rate."""
    first: int
    """Number, in the whole clip, of the frame that `times` begins with."""

    @property
    def num_steps(self) -> int:
        """Even steps of 1/fps seconds that the clip lasts."""
        return max(math.floor(self.seconds * self.fps + Fraction(1, 2)), 1)

    def frame(self, step: int) -> int:
        """The number, in the whole clip, of the frame on display at a step."""
        middle = self.times[0] + (step + Fraction(1, 2)) / self.fps
        return self.first + bisect_right(self.times, middle) - 1


@dataclass(frozen=True)
class Excerpt:
    """The steps start, start + stride, ... of a timeline."""

    start: int
    stride: int


def timeline(
    times: Sequence[Fraction],
    *,
    declared_fps: Fraction | None = None,
    fps: float | None = None,
    start: float = 0.0,
    end: float | None = None,
) -> Timeline:
    """A part of a clip; `start` and `end` are in seconds after its first frame.

    Args:
        times: presentation time of every frame in seconds, ascending.
        declared_fps: what the file says of its rate; believed if the times agree with it.
        fps: the rate to read it at instead; None: the clip's own, on average.
        start: where the part begins.
        end: where it ends, this moment not included; None: with the clip.

    Raises:
        InputError: no frame is shown there.
    """
    origin = times[0]
    first = bisect_left(times, origin + _moment(start))
    stop = len(times) if end is None else bisect_left(times, origin + _moment(end))
    part = times[first:stop]
    if not part:
        until = "its end" if end is None else f"{end:g} s"
        raise InputError(
            f"no frame begins between {start:g} s and {until}; the last one begins at "
            f"{float(times[-1] - origin):.3f} s."
        )
    own = _own_rate(part, declared_fps)
    seconds = part[-1] - part[0] + 1 / own  # how long the last frame stays is not always told
    rate = own if fps is None else Fraction(fps).limit_denominator(1001)
    return Timeline(part, seconds, rate, first)


def excerpt(num_steps: int, settings: ClipSettings, generator: torch.Generator) -> Excerpt:
    """Draw a stride, shortened if the clip is too short for it, and a start.

    Raises InputError if the clip is too short for any stride.
    """
    check_length(num_steps, settings.num_frames)
    stride = _uniform(settings.min_stride, settings.max_stride, generator)
    if num_steps < _span(stride, settings):
        stride = num_steps // settings.num_frames
    return Excerpt(_uniform(0, num_steps - _span(stride, settings), generator), stride)


def check_length(num_steps: int, num_frames: int) -> None:
    """Raise InputError for a clip that is too short for a sample of `num_frames`."""
    if num_steps < num_frames:
        raise InputError(
            f"the clip has {num_steps} frames and a sample takes {num_frames}; leave it out, or "
            "take fewer frames."
        )


def conditioning_fps(fps: Fraction, stride: int) -> int:
    """Frames per second of every `stride`-th frame, rounded down as the released code does.

    Never below 1: the released code would tell the model 0, a clip that never goes on.
    """
    return max(math.floor(fps / stride), 1)


def _own_rate(times: Sequence[Fraction], declared: Fraction | None) -> Fraction:
    if len(times) == 1:
        return declared or Fraction(DEFAULT_FPS)
    measured = (len(times) - 1) / (times[-1] - times[0])
    if declared is not None and abs(declared - measured) <= _SAME_RATE * measured:
        return declared
    return measured


def _moment(seconds: float) -> Fraction:
    """As it was written: 0.1 is a tenth, and the frame of that moment is not before it."""
    return Fraction(seconds).limit_denominator(1_000_000)


def _span(stride: int, settings: ClipSettings) -> int:
    return stride * (settings.num_frames - 1) + 1


def _uniform(low: int, high: int, generator: torch.Generator) -> int:
    return int(torch.randint(low, high + 1, (1,), generator=generator))
