"""How far the work has got: a bar with the time left on a terminal, plain lines elsewhere.

    with Progress("draw", total=25) as progress:
        for step in steps:
            ...
            progress.advance()

Everything goes to stderr, so that stdout stays free for results.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

LINE_INTERVAL_SECONDS = 5.0


class Progress:
    """A context manager that counts `total` steps (None: not known yet) of one piece of work.

    On a terminal a bar is drawn; otherwise lines such as `draw 5/25, 3 s left` are printed, the
    first and last step always and one in `LINE_INTERVAL_SECONDS` between.  `quiet` shows nothing.
    """

    def __init__(
        self,
        description: str,
        total: int | None = None,
        *,
        quiet: bool = False,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.description = description
        self.total = total
        self.completed = 0
        self._quiet = quiet
        self._stream = stream if stream is not None else sys.stderr
        self._clock = clock
        self._started = clock()
        self._done_before = 0
        self._last_line: float | None = None
        self._printed: int | None = None
        self._bar = None if quiet or not self._stream.isatty() else self._make_bar()

    def _make_bar(self) -> RichProgress:
        from rich.console import Console  # heavy, and of no use but on a terminal
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        bar = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=Console(file=self._stream),
        )
        self._task = bar.add_task(self.description, total=self.total)
        return bar

    def __enter__(self) -> Progress:
        self._started = self._clock()
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif self._printed != self.completed:
            self._print_line()

    def start_at(self, completed: int) -> None:
        """Count what an earlier run has done already; the time left is judged by what follows."""
        self._done_before = completed
        self._started = self._clock()
        self.update(completed=completed)

    def advance(self, steps: int = 1) -> None:
        """Count `steps` more."""
        self.update(completed=self.completed + steps)

    def update(self, *, completed: int | None = None, total: int | None = None) -> None:
        """Set how much is done, of how much."""
        self.completed = self.completed if completed is None else completed
        self.total = self.total if total is None else total
        if self._bar is not None:
            self._bar.update(self._task, completed=self.completed, total=self.total)
        elif self._line_is_due():
            self._print_line()

    def log(self, text: str) -> None:
        """Print a line above the bar."""
        if self._quiet:
            return
        if self._bar is not None:
            from rich.text import Text

            self._bar.console.print(Text(text), soft_wrap=True)
        else:
            print(text, file=self._stream, flush=True)

    def _line_is_due(self) -> bool:
        if self._last_line is None:
            return True
        return self._clock() - self._last_line >= LINE_INTERVAL_SECONDS

    def _print_line(self) -> None:
        self._last_line = self._clock()
        self._printed = self.completed
        count = f"{self.completed}" if self.total is None else f"{self.completed}/{self.total}"
        self.log(f"{self.description} {count}{self._time_left()}")

    def _time_left(self) -> str:
        done = self.completed - self._done_before
        if done <= 0 or self.total is None or self.completed >= self.total:
            return ""
        per_step = (self._clock() - self._started) / done
        return f", {format_seconds(per_step * (self.total - self.completed))} left"


def format_seconds(seconds: float) -> str:
    """`75.2` -> `1 min 15 s`; the largest two units are shown."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
