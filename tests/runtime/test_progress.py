"""A bar on a terminal, few plain lines elsewhere, silence when asked."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from stillmotion.runtime.progress import Progress, format_seconds


class Clock:
    """Time that passes only when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines_are_few_and_tell_the_time_left() -> None:
    stream, clock = io.StringIO(), Clock()
    with Progress("draw", 25, stream=stream, clock=clock) as progress:
        for _ in range(25):
            clock.now += 1.0
            progress.advance()
    assert stream.getvalue().splitlines() == [
        "draw 1/25, 24 s left",
        "draw 6/25, 19 s left",
        "draw 11/25, 14 s left",
        "draw 16/25, 9 s left",
        "draw 21/25, 4 s left",
        "draw 25/25",
    ]


def test_what_an_earlier_run_did_says_nothing_of_the_speed_now() -> None:
    stream, clock = io.StringIO(), Clock()
    with Progress("train", 100, stream=stream, clock=clock) as progress:
        progress.start_at(50)
        clock.now += 10.0
        progress.update(completed=60)
    assert stream.getvalue().splitlines() == ["train 50/100", "train 60/100, 40 s left"]


def test_a_total_may_be_unknown_or_change() -> None:
    stream, clock = io.StringIO(), Clock()
    with Progress("train", stream=stream, clock=clock) as progress:
        progress.advance()
        clock.now += 60
        progress.update(completed=10, total=100)
        clock.now += 1
        progress.advance(5)
    assert stream.getvalue().splitlines() == [
        "train 1",
        "train 10/100, 9 min 0 s left",
        "train 15/100, 5 min 46 s left",
    ]


def test_an_interrupted_run_tells_how_far_it_got() -> None:
    def draw(progress: Progress) -> None:
        progress.advance(1)
        progress.advance(3)
        raise KeyboardInterrupt

    stream = io.StringIO()
    with pytest.raises(KeyboardInterrupt), Progress("draw", 9, stream=stream) as progress:
        draw(progress)
    assert stream.getvalue().splitlines()[-1].startswith("draw 4/9")


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_quiet_is_silent(stream: io.StringIO) -> None:
    with Progress("draw", 3, quiet=True, stream=stream) as progress:
        progress.advance(3)
        progress.log("loss 0.1")
    assert stream.getvalue() == ""


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_log_lines_are_printed_as_they_are(stream: io.StringIO) -> None:
    with Progress("draw [red]", 3, stream=stream) as progress:
        progress.log("loss [bold]0.1[/bold] :smile:")
        progress.advance(3)
    assert "loss [bold]0.1[/bold] :smile:" in stream.getvalue()
    assert "draw [red]" in stream.getvalue()


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    with Progress("draw", 25, stream=stream) as progress:
        progress.advance(20)
        progress.advance(5)
    assert "25/25" in stream.getvalue()
    assert "\x1b[" in stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (75, "1 min 15 s"), (7260, "2 h 1 min")],
)
def test_times_are_readable(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_stdout_stays_free_and_only_rich_is_needed() -> None:
    program = (
        "import sys; from stillmotion.runtime.progress import Progress\n"
        "with Progress('draw', 2) as p: p.advance(2); p.log('x')\n"
        "sys.exit(sum(m in sys.modules for m in ('torch', 'numpy', 'av', 'PIL', 'pydantic')))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (answer.returncode, answer.stdout) == (0, "")
    assert answer.stderr.splitlines() == ["draw 2/2", "x"]
