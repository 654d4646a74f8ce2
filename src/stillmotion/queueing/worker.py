"""One worker: claim a job, make it, complete it; and again.

A thread keeps the lease while the job is made.  The job stops after the step it is at when someone
cancels it, when the lease is lost, or when the worker is to stop and hands it back.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from stillmotion.errors import StillmotionError
from stillmotion.jobs.context import JobCancelledError
from stillmotion.jobs.failures import sentence_for
from stillmotion.jobs.model import parse_job
from stillmotion.queueing.leases import Leases
from stillmotion.queueing.library import Library
from stillmotion.queueing.tasks import Runner, Task, WorkerSettings
from stillmotion.queueing.views import Claim, LeaseLostError

_LOG = logging.getLogger(__name__)


@dataclass
class Orders:
    """What a worker was told, by signals or by other threads."""

    stop: threading.Event = field(default_factory=threading.Event)
    """Take no more jobs."""
    hand_back: threading.Event = field(default_factory=threading.Event)
    """Stop the job that runs after its step, and give it back to the queue."""


@dataclass
class _News:
    """What the job that runs has to tell at the next heartbeat."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    progress: float | None = None
    message: str | None = None
    preview: bytes | None = None

    def take(self) -> tuple[float | None, str | None, bytes | None]:
        """All that is new, once."""
        with self.lock:
            told = (self.progress, self.message, self.preview)
            self.progress = self.message = self.preview = None
        return told


class Worker:
    """Works through the queue in a folder with a runner, in the thread that calls `work`."""

    def __init__(
        self,
        folder: Path,
        runner: Runner,
        *,
        name: str,
        settings: WorkerSettings | None = None,
        orders: Orders | None = None,
    ) -> None:
        self._settings = settings or WorkerSettings()
        self._leases = Leases(folder)
        self._library = Library(folder, max_bytes=self._settings.max_bytes)
        self._folder, self._runner, self._name = folder, runner, name
        self.orders = orders or Orders()

    def work(self, *, until_empty: bool = False) -> int:
        """Make jobs until told to stop, or until none is left; how many were begun."""
        count = 0
        while not self.orders.stop.is_set():
            claim = self._leases.claim(self._name, lease_seconds=self._settings.lease_seconds)
            if claim is not None:
                count += 1
                self._make(claim)
            elif until_empty:
                break
            else:
                self.orders.stop.wait(self._settings.poll_seconds)
        return count

    def _make(self, claim: Claim) -> None:
        news, ended, lost = _News(), threading.Event(), threading.Event()
        beat = threading.Thread(
            target=self._keep_lease, args=(claim, news, ended, lost), name="heartbeat", daemon=True
        )
        beat.start()
        try:
            self._run(claim, news, lost)
        except LeaseLostError as error:
            _LOG.warning("%s; what was made of it here is thrown away", error)
        finally:
            ended.set()
            beat.join()

    def _run(self, claim: Claim, news: _News, lost: threading.Event) -> None:
        """Make the job, and say how it ended.  Raises LeaseLostError."""
        try:
            made = self._runner(self._task(claim, news, lost))
            self._leases.complete(claim, made)
            self._library.make_room()
        except JobCancelledError:
            self._stopped(claim)
        except LeaseLostError:
            raise
        except Exception as error:
            if lost.is_set():
                raise LeaseLostError(f"the job {claim.job_id} was given to another") from error
            self._failed(claim, error)

    def _stopped(self, claim: Claim) -> None:
        """Whoever asked for it: the lease lost, a job cancelled, or a worker that is to stop."""
        if self.orders.hand_back.is_set():
            self._leases.release(claim)
        else:
            self._leases.cancelled(claim)

    def _failed(self, claim: Claim, error: Exception) -> None:
        sentence = sentence_for(error)
        if sentence is None:
            _LOG.exception("the job %s met a defect", claim.job_id)
            sentence = (
                f"a defect of stillmotion stopped the job ({type(error).__name__}); the log of the "
                "worker says where."
            )
        # What the user's own job causes comes again; trouble with files and memory may pass.
        may_pass = isinstance(error, OSError | MemoryError | sqlite3.OperationalError)
        may_pass = may_pass and not isinstance(error, StillmotionError)
        self._leases.fail(claim, self._without_folders(sentence, claim), retryable=may_pass)

    def _without_folders(self, sentence: str, claim: Claim) -> str:
        """Where things lie on this machine concerns nobody who reads why a job failed."""
        for folder in (claim.folder, claim.keep, self._folder):
            for form in dict.fromkeys((str(folder), str(folder.resolve()))):
                sentence = sentence.replace(f"{form}/", "").replace(form, "the library")
        return sentence

    def _task(self, claim: Claim, news: _News, lost: threading.Event) -> Task:
        def progress(done: int, total: int) -> None:
            with news.lock:
                news.progress = done / max(total, 1)

        def say(text: str) -> None:
            with news.lock:
                news.message = self._without_folders(text, claim)

        def preview(picture: bytes) -> None:
            with news.lock:
                news.preview = picture

        def cancelled() -> bool:
            stop = lost.is_set() or self.orders.hand_back.is_set()
            return stop or self._leases.is_cancelled(claim)

        return Task(
            claim=claim, job=parse_job(claim.job), progress=progress, preview=preview, say=say,
            cancelled=cancelled,
        )  # fmt: skip

    def _keep_lease(
        self, claim: Claim, news: _News, ended: threading.Event, lost: threading.Event
    ) -> None:
        """Heartbeats, until the job has ended; in a thread of its own."""
        seconds = self._settings.lease_seconds
        last_beat = time.monotonic()
        try:
            while not ended.wait(self._pause()):
                progress, message, preview = news.take()
                is_due = time.monotonic() - last_beat >= self._settings.heartbeat_seconds
                if not is_due and progress is None and message is None and preview is None:
                    continue
                try:
                    self._leases.heartbeat(
                        claim, lease_seconds=seconds, progress=progress, message=message,
                        preview=preview,
                    )  # fmt: skip
                except sqlite3.OperationalError as error:  # such as a lock held for too long
                    _LOG.warning("no heartbeat for the job %s: %s", claim.job_id, error)
                last_beat = time.monotonic()
        except LeaseLostError:
            lost.set()
        finally:
            self._leases.close()

    def _pause(self) -> float:
        """Between looks at the news: people who watch see a step soon after it is done."""
        return min(self._settings.heartbeat_seconds, 0.25)
