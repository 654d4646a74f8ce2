"""Stands for a pool of processes: works at once, in this process."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


class Pool:
    """As much of `ProcessPoolExecutor` as `evaluation.workers` uses."""

    def __init__(self, processes: int, context: object, prepare: Any, arguments: Any) -> None:
        self.processes = processes
        prepare(*arguments)

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(work(*arguments))
        except ValueError as error:
            future.set_exception(error)
        return future

    def shutdown(self, *, cancel_futures: bool) -> None:
        assert cancel_futures
