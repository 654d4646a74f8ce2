"""Chapter files, to the letter."""

from __future__ import annotations

import pytest

from stillmotion.media.chapters import Chapter, timestamp, webvtt


def test_a_chapter_file() -> None:
    chapters = [Chapter("Morning", 0, 5), Chapter("a <b> & --> c\nd", 5, 12)]
    assert webvtt(chapters, 8) == (
        "WEBVTT\n\n"
        "1\n00:00:00.000 --> 00:00:00.625\nMorning\n\n"
        "2\n00:00:00.625 --> 00:00:01.500\na &lt;b&gt; &amp; --&gt; c d\n"
    )


@pytest.mark.parametrize(
    ("frame", "fps", "said"),
    [
        (0, 8, "00:00:00.000"),
        (1, 24, "00:00:00.042"),
        (1439, 24, "00:00:59.958"),
        (1440, 24, "00:01:00.000"),
        (3600 * 25 + 61 * 25, 25, "01:01:01.000"),
        (1, 0.01, "00:01:40.000"),
        (2999, 29.97, "00:01:40.067"),
        (360000 * 10, 10, "100:00:00.000"),
    ],
)
def test_times(frame: int, fps: float, said: str) -> None:
    assert timestamp(frame, fps) == said
