"""Chapters of a film as WebVTT, which players and web pages read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Chapter:
    """A part of a film: its frames from `start` to before `stop`."""

    title: str
    start: int
    stop: int


def webvtt(chapters: Sequence[Chapter], fps: float) -> str:
    """The text of a chapter file; `chapters` must not overlap, which the format forbids."""
    cues = [
        f"{number}\n{timestamp(chapter.start, fps)} --> {timestamp(chapter.stop, fps)}\n"
        f"{_cue_text(chapter.title)}\n"
        for number, chapter in enumerate(chapters, 1)
    ]
    return "\n".join(["WEBVTT\n", *cues])


def timestamp(frame: int, fps: float) -> str:
    """When a frame begins: `hh:mm:ss.mmm`, rounded to the nearest millisecond."""
    seconds, milliseconds = divmod(round(frame * 1000 / Fraction(fps)), 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}.{milliseconds:03d}"


def _cue_text(title: str) -> str:
    """One line, in which nothing reads as markup or as an arrow between times."""
    line = " ".join(title.split())
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
