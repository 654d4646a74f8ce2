"""Interrupts that wait: Ctrl-C and SIGTERM take effect between two steps, never inside one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

Handler = Callable[[int, FrameType | None], None]


@dataclass
class Interruption:
    """Whether an interrupt is waiting to take effect."""

    arrived: bool = False


@contextmanager
def interrupts_held() -> Iterator[Interruption]:
    """Hold an interrupt back until the end of the block, and raise it there.

    The block looks at `arrived` where it can stop.  A second interrupt does not wait, and errors
    of the block take precedence.

    Raises:
        KeyboardInterrupt: at the end of the block, if Ctrl-C or SIGTERM came meanwhile.
    """
    interruption = Interruption()

    def hold(number: int, frame: FrameType | None) -> None:
        if interruption.arrived:
            raise KeyboardInterrupt
        interruption.arrived = True

    with _handling((signal.SIGINT, signal.SIGTERM), hold):
        yield interruption
    if interruption.arrived:
        raise KeyboardInterrupt


@contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Let SIGTERM raise KeyboardInterrupt inside the block, as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handling((signal.SIGTERM,), interrupt):
        yield


@contextmanager
def _handling(signals: tuple[signal.Signals, ...], handler: Handler) -> Iterator[None]:
    """Handle signals inside the block; those that the process ignores stay ignored.

    Python delivers signals to the main thread alone and lets no other one set handlers: in other
    threads nothing is changed, and nothing can be interrupted.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heeded = [number for number in signals if signal.getsignal(number) != signal.SIG_IGN]
    former = {number: signal.signal(number, handler) for number in heeded}
    try:
        yield
    finally:
        for number, old in former.items():
            signal.signal(number, old)
