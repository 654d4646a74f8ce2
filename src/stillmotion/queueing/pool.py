"""Several workers on this machine, behind an interface that others can take the place of.

What makes the jobs of a queue is an `Engine`.  `WorkerPool` starts one process for each device;
an existing cluster engine would start its own, which claim jobs by the same `Leases`.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from types import FrameType
from typing import Protocol

from stillmotion.queueing.library import Library
from stillmotion.queueing.tasks import RunnerFactory, WorkerSettings
from stillmotion.queueing.worker import Orders, Worker
from stillmotion.runtime.threads import (
    MOST_ALIKE,
    choose_threads,
    threads_in_use,
    usable_cores,
    use_threads,
)

_LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 0.2
_LONGEST_BACKOFF_SECONDS = 60.0
_HEALTHY_SECONDS = 30.0
"""A worker that lived so long did not fail at its start."""
_HAND_BACK_SECONDS = 30.0
"""How long a worker may take for the step it is at before it is ended."""


class Engine(Protocol):
    """Makes the jobs of a queue."""

    def start(self) -> None:
        """Begin to make jobs."""
        ...

    def stop(self, drain_seconds: float = 0.0) -> None:
        """Take no more; those that run may end within `drain_seconds`, then they are given back."""
        ...

    def alive(self) -> int:
        """How many workers there are now."""
        ...

    def ready(self) -> int:
        """How many of them have loaded what they load at their start, and take jobs."""
        ...

    @property
    def warm_up(self) -> str | None:
        """The model that they load at their start."""
        ...


@dataclass
class _Seat:
    """A device with the worker that is on it."""

    device: str
    process: SpawnProcess | None = None
    ready: Event | None = None
    """Set by the worker when it takes jobs."""
    began: float = 0.0
    deaths: int = 0
    not_before: float = 0.0


class WorkerPool:
    """One worker process for each of `devices`; one that dies is replaced, later each time.

    Raises InputError for fewer than one thread.
    """

    def __init__(
        self,
        folder: Path,
        *,
        devices: Sequence[str] = ("cpu",),
        settings: WorkerSettings | None = None,
        runner: RunnerFactory | None = None,
    ) -> None:
        self._folder, self._runner = folder, runner
        settings = settings or WorkerSettings()
        threads = threads_of_each(len(devices), settings.threads)
        self._settings = replace(settings, threads=threads)
        self._seats = [_Seat(device) for device in devices]
        self._ending = threading.Event()
        self._watcher: threading.Thread | None = None

    def start(self) -> None:
        """Sweep the library, start the workers, and watch over them."""
        library = Library(self._folder)
        library.sweep()
        library.close()
        self._ending.clear()
        for seat in self._seats:
            self._fill(seat)
        self._watcher = threading.Thread(target=self._watch, name="workers", daemon=True)
        self._watcher.start()

    def stop(self, drain_seconds: float = 0.0) -> None:
        """End the workers; a job that is not finished in time goes back to the queue."""
        self._ending.set()
        if self._watcher is not None:
            self._watcher.join()
        self._signal(signal.SIGTERM)
        self._wait(drain_seconds)
        end = time.monotonic() + _HAND_BACK_SECONDS
        # Two signals that come at once can be taken for one.
        while self._living() and time.monotonic() < end:
            self._signal(signal.SIGTERM)
            self._wait(_LOOK_SECONDS)
        for process in self._living():
            process.kill()
            process.join()

    def alive(self) -> int:
        """How many workers there are now."""
        return len(self._living())

    def ready(self) -> int:
        """How many of them have loaded what they load at their start, and take jobs."""
        seats = [seat for seat in self._seats if seat.process and seat.process.is_alive()]
        return sum(seat.ready is not None and seat.ready.is_set() for seat in seats)

    @property
    def warm_up(self) -> str | None:
        """The model that they load at their start."""
        return self._settings.warm_up

    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers."""
        return tuple(process.pid for process in self._living() if process.pid is not None)

    def _living(self) -> list[SpawnProcess]:
        found = [seat.process for seat in self._seats]
        return [process for process in found if process is not None and process.is_alive()]

    def _signal(self, number: signal.Signals) -> None:
        for process in self._living():
            with suppress(ProcessLookupError):
                os.kill(process.pid or 0, number)

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        for process in self._living():
            process.join(max(0.0, end - time.monotonic()))

    def _watch(self) -> None:
        while not self._ending.wait(_LOOK_SECONDS):
            for seat in self._seats:
                self._mind(seat)

    def _mind(self, seat: _Seat) -> None:
        now = time.monotonic()
        if seat.process is not None:
            if seat.process.is_alive():
                return
            seat.deaths = 1 if now - seat.began > _HEALTHY_SECONDS else seat.deaths + 1
            wait = min(_LONGEST_BACKOFF_SECONDS, 0.25 * 2**seat.deaths)
            _LOG.warning(
                "the worker on %s ended with %s; another starts in %.1f s",
                seat.device, seat.process.exitcode, wait,
            )  # fmt: skip
            seat.process, seat.not_before = None, now + wait
        if now >= seat.not_before:
            self._fill(seat)

    def _fill(self, seat: _Seat) -> None:
        name = f"{seat.device}-{uuid.uuid4().hex[:8]}"
        spawning = multiprocessing.get_context("spawn")
        seat.ready = spawning.Event()
        seat.process = spawning.Process(
            target=serve,
            args=(
                self._folder,
                seat.device,
                name,
                self._settings,
                self._runner,
                os.getpid(),
                seat.ready,
            ),
            name=f"stillmotion worker on {seat.device}",
        )
        seat.began = time.monotonic()
        seat.process.start()


def threads_of_each(num_workers: int, asked: int | None = None) -> int:
    """What was asked, here or of the whole command, else an equal share of the cores.

    At most as many as give the same bytes as one.  Raises InputError for fewer than one.
    """
    chosen = threads_in_use() if asked is None else choose_threads(asked)
    if chosen.is_asked:
        return chosen.count
    return max(1, min(MOST_ALIKE, usable_cores() // max(1, num_workers)))


def serve(
    folder: Path,
    device: str,
    name: str,
    settings: WorkerSettings,
    runner: RunnerFactory | None = None,
    parent: int | None = None,
    ready: Event | None = None,
) -> None:
    """Be a worker until told to stop; what a worker's process runs.

    SIGTERM: take no more jobs; a second one: give the job that runs back after its step.  If the
    process `parent` is gone, both at once.  `ready` is set when the first job can be taken.
    """
    orders = Orders()

    def heed(number: int, frame: FrameType | None) -> None:
        if orders.stop.is_set():
            orders.hand_back.set()
        orders.stop.set()

    signal.signal(signal.SIGTERM, heed)
    # Ctrl-C goes to all processes of a terminal; the parent says what becomes of its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if runner is None:
        from stillmotion.queueing.runner import job_runner  # heavy: not for who only watches

        runner = job_runner
    if parent is not None:
        threading.Thread(target=_follow, args=(parent, orders), daemon=True).start()
    # Before torch is imported: that is when it asks for the number of threads.
    with use_threads(settings.threads):
        worker = Worker(
            folder, runner(folder, device, settings), name=name, settings=settings, orders=orders
        )
        if ready is not None:
            ready.set()
        worker.work()


def _follow(parent: int, orders: Orders) -> None:
    """Stop when the parent is gone, however it went."""
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    orders.stop.set()
    orders.hand_back.set()
