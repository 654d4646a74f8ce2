"""Server-sent events: one reader of the queue tells all who listen.

A listener gets first what happened since the event that it knows, then what happens.  Each event
of the queue is encoded once, however many listen to it.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool

from stillmotion.queueing.queue import JobQueue
from stillmotion.queueing.views import ENDED, Event, JobView, NoSuchJobError
from stillmotion.server.logs import places, tell

POLL_SECONDS = 0.1
PING_SECONDS = 15.0
_WAITING_EVENTS = 256
_BATCH = 500
_MAY_END = frozenset({"done", "failed", "cancelled", "deleted"})
T = TypeVar("T")
PING = b": ping\n\n"


def encode(kind: str, data: Mapping[str, Any], number: int | None = None) -> bytes:
    """One event as it goes over the line; `number` is what a client may go on from."""
    head = "" if number is None else f"id: {number}\n"
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return f"{head}event: {kind}\ndata: {text}\n\n".encode()


@dataclass(frozen=True)
class _Told:
    """An event, and how it is told."""

    number: int
    may_end: bool
    frame: bytes


@dataclass(eq=False)
class _Listener:
    """One open stream."""

    job_id: str
    waiting: asyncio.Queue[_Told | None] = field(
        default_factory=lambda: asyncio.Queue(_WAITING_EVENTS)
    )

    def tell(self, told: _Told | None) -> None:
        """None ends the stream; so does falling far behind, after which a client comes again."""
        try:
            self.waiting.put_nowait(told)
        except asyncio.QueueFull:
            while not self.waiting.empty():
                self.waiting.get_nowait()
            self.waiting.put_nowait(None)


@dataclass
class EventHub:
    """Reads the queue while anybody listens."""

    queue: JobQueue
    _listeners: dict[str, set[_Listener]] = field(default_factory=dict)
    _reader: asyncio.Task[None] | None = None
    _closing: bool = False
    # One thread: what SQLite tells of changes holds for one connection, which is a thread's own.
    _thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="events")
    )

    @property
    def listening(self) -> int:
        """How many streams are open."""
        return sum(len(listeners) for listeners in self._listeners.values())

    def close(self) -> None:
        """End all streams, and every new one at once; for the loop that they run in."""
        self._closing = True
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.tell(None)
        self._thread.shutdown(wait=False)

    async def follow(self, job_id: str, since: int) -> AsyncGenerator[bytes]:
        """The stream of a job: its state, what happened after `since`, and so on to its end.

        The last event is `end`, with the job as it is then; a stream that ends without it is to
        be opened again from the last number seen.
        """
        listener = _Listener(job_id)
        # Before the past is read: what happens meanwhile waits, and is told once.
        self._listeners.setdefault(job_id, set()).add(listener)
        try:
            last = since
            await self._start()
            yield encode("state", _state(await run_in_threadpool(self.queue.get, job_id)))
            async for told in self._past(job_id, since):
                last = told.number
                yield told.frame
            if (end := await self._end(job_id)) is not None:
                yield end
                return
            async for part in self._present(listener, last):
                yield part
        finally:
            listeners = self._listeners[job_id]
            listeners.discard(listener)
            if not listeners:
                del self._listeners[job_id]

    async def _present(self, listener: _Listener, last: int) -> AsyncIterator[bytes]:
        while not self._closing:
            try:
                async with asyncio.timeout(PING_SECONDS):
                    told = await listener.waiting.get()
            except TimeoutError:
                yield PING
                continue
            if told is None:
                return
            if told.number <= last:
                continue
            last = told.number
            yield told.frame
            if told.may_end and (end := await self._end(listener.job_id)) is not None:
                yield end
                return

    async def _past(self, job_id: str, since: int) -> AsyncIterator[_Told]:
        """In batches: a job that was paused and resumed all day has a long past."""

        def read(after: int) -> list[_Told]:
            events = self.queue.events(after, job_id=job_id, limit=_BATCH)
            return [self._tell(event, with_preview=False) for event in events]

        found = await run_in_threadpool(read, since)
        while found:
            for told in found:
                yield told
            if len(found) < _BATCH:
                return
            found = await run_in_threadpool(read, found[-1].number)

    async def _end(self, job_id: str) -> bytes | None:
        """The last event, if the job has ended."""

        def read() -> bytes | None:
            try:
                job = self.queue.get(job_id)
            except NoSuchJobError:
                return encode("end", {"id": job_id, "state": "deleted"})
            return encode("end", _state(job)) if job.state in ENDED else None

        return await run_in_threadpool(read)

    def _tell(self, event: Event, *, with_preview: bool = True) -> _Told:
        data = {"at": event.at, **event.data}
        if event.kind == "preview" and with_preview and event.job_id is not None:
            with suppress(NoSuchJobError):
                if (picture := self.queue.preview(event.job_id)) is not None:
                    data["image"] = base64.b64encode(picture).decode("ascii")
                    data["content_type"] = "image/png"
        frame = encode(event.kind, data, event.number)
        return _Told(event.number, event.kind in _MAY_END, frame)

    async def _start(self) -> None:
        """Have a reader, whose first look was at the last event there was."""
        if self._reader is None or self._reader.done():
            since = await run_in_threadpool(self.queue.last_event)
            if self._reader is None or self._reader.done():
                self._reader = asyncio.create_task(self._read(since))

    async def _read(self, since: int) -> None:
        seen: tuple[int, int] | None = None
        while self._listeners and not self._closing:
            try:
                changes = await self._aside(self.queue.changes)
                if changes != seen:
                    since = await self._spread(since)
                    seen = changes
            except Exception as error:  # a disk that is full for a while must not end all streams
                tell("events", error=type(error).__name__, at=places(error))
            await asyncio.sleep(POLL_SECONDS)

    async def _aside(self, call: Callable[[], T]) -> T:
        """Call in the reader's own thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def _spread(self, since: int) -> int:
        """Tell the listeners what is new; returns the number of the last event seen."""
        while True:
            events = await self._aside(partial(self.queue.events, since, limit=_BATCH))
            heard = [event for event in events if event.job_id in self._listeners]
            latest = {event.job_id: event.number for event in heard if event.kind == "preview"}
            for event in heard:
                # Of several previews only the last is still there to be shown.
                newest = latest.get(event.job_id) == event.number
                told = await self._aside(partial(self._tell, event, with_preview=newest))
                for listener in self._listeners.get(event.job_id or "", ()):
                    listener.tell(told)
            if events:
                since = events[-1].number
            if len(events) < _BATCH:
                return since


def _state(job: JobView) -> dict[str, Any]:
    return job.model_dump(mode="json")
