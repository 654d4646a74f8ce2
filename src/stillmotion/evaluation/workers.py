"""Work spread over processes: each result is handed over as soon as it is there."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from typing import Any, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def spread(
    tasks: Sequence[Task],
    work: Callable[[Task], Result],
    processes: int,
    prepare: Callable[..., None],
    *arguments: Any,
) -> Iterator[tuple[Task, Result]]:
    """Each task with its result, as they come.

    Args:
        tasks: what is done; tasks, results and arguments are sent to other processes.
        work: a function of a module, called for each task.
        processes: how many work at once, at most one for each task.
        prepare: a function of a module, called with `arguments` once in each process.

    An error in a process is raised here, as it is when the caller stops early; either ends the
    processes.
    """
    if not tasks:
        return
    # Spawned and not forked: a fork of a process that has used threads can hang.
    pool = ProcessPoolExecutor(min(processes, len(tasks)), get_context("spawn"), prepare, arguments)
    others = set(active_children())
    with _deaf_to_interrupts():
        futures = {pool.submit(work, task): task for task in tasks}
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BaseException:
        for worker in set(active_children()) - others:
            worker.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Let processes that start inside ignore Ctrl-C; who started them ends them, without a word."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)
