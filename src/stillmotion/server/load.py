"""How much a server bears, measured: status calls, queued jobs, listeners.

A server of its own is started in another process, on a temporary library and this machine's
loopback; no job is made, since what models cost is measured elsewhere.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

from stillmotion import __version__
from stillmotion.errors import InputError
from stillmotion.queueing.leases import Leases
from stillmotion.queueing.queue import JobQueue
from stillmotion.server.limits import ServerLimits
from stillmotion.server.load_client import Connection, connection
from stillmotion.server.serving import ServeSettings, serve

JOB = {"kind": "draw", "prompt": "a red balloon over green hills", "seed": 7, "steps": 4}
_LISTENED_JOBS = 4
_EVENTS_PER_JOB = 20
_EVENT_PAUSE = 0.25
_STARTING_SECONDS = 60
_STOPPING_SECONDS = 30


@dataclass(frozen=True, kw_only=True)
class LoadSettings:
    """How much to ask for; all is bounded.  Raises InputError outside of the bounds."""

    seconds: float = 5.0
    """Of each kind of call."""
    connections: int = 16
    jobs: int = 2000
    listeners: int = 300

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("seconds", self.seconds, 0.1, 120),
            ("connections", self.connections, 1, 200),
            ("jobs", self.jobs, 8, 20_000),
            ("listeners", self.listeners, 1, 900),
        ):
            if not least <= value <= most:
                raise InputError(f"--{name} is {value}; give {least} to {most}.")


@dataclass(frozen=True, kw_only=True)
class Calls:
    """Calls of one kind: how many, how fast, and what was answered."""

    count: int
    per_second: float
    milliseconds: dict[str, float]
    """`p50`, `p95`, `p99`, `max`."""
    statuses: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Listening:
    """Listeners, and how long after an event is written they hear it."""

    listeners: int
    sent: int
    """Events times their listeners."""
    received: int
    seconds: float
    milliseconds: dict[str, float]
    ended: int
    """Listeners that heard the end of their job."""


@dataclass(frozen=True, kw_only=True)
class LoadResult:
    """All that was measured."""

    machine: dict[str, Any]
    settings: LoadSettings
    submitted: Calls
    """Jobs put into the queue, until it held all of them."""
    beyond: Calls
    """Jobs beyond the queue's limit."""
    status: Calls
    """`GET /v1/jobs/ID`, of random jobs while all wait."""
    listed: Calls
    """`GET /v1/jobs`, 50 a page."""
    listening: Listening
    server_megabytes: float | None
    """The most memory that the server has used; None where the system does not tell."""

    def as_facts(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def measure(settings: LoadSettings, say: Callable[[str], None]) -> LoadResult:
    """Measure; `say` is told what is being done."""
    machine = _machine()
    with tempfile.TemporaryDirectory(prefix="stillmotion-load-") as name:
        folder = Path(name)
        with _server(folder, settings.jobs) as (port, process_id):
            found = asyncio.run(_measure(settings, folder, port, process_id, say))
    return replace(found, machine=machine)


@contextmanager
def _server(folder: Path, max_queue: int) -> Iterator[tuple[int, int]]:
    """A server in another process; yields its port and the number of the process."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(folder, max_queue, there), daemon=True)
    process.start()
    there.close()
    try:
        if not here.poll(_STARTING_SECONDS):
            raise InputError(f"The server did not start in {_STARTING_SECONDS} s; try again.")
        yield int(str(here.recv()).rpartition(":")[2]), process.pid or 0
    finally:
        process.terminate()
        process.join(_STOPPING_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()


def _serve(folder: Path, max_queue: int, pipe: Pipe) -> None:
    settings = ServeSettings(
        folder=folder, port=0, devices=(), limits=ServerLimits(max_queue=max_queue)
    )
    serve(settings, announce=pipe.send, quiet=True)


async def _measure(
    settings: LoadSettings, folder: Path, port: int, process_id: int, say: Callable[[str], None]
) -> LoadResult:
    say(f"{settings.jobs} jobs are queued")
    ids: list[str] = []

    async def submit(line: Connection) -> bool:
        answer = await line.ask("POST", "/v1/jobs", {"job": JOB})
        if line.statuses[-1] == 202:
            ids.append(answer["id"])
        return len(ids) < settings.jobs and line.statuses[-1] != 429

    submitted = await _calls(settings, port, submit, seconds=None)
    say("jobs beyond the limit are refused")
    few = LoadSettings(connections=min(4, settings.connections), jobs=settings.jobs)

    async def beyond(line: Connection) -> bool:
        await line.ask("POST", "/v1/jobs", {"job": JOB})
        return True

    refused = await _calls(few, port, beyond, seconds=min(1.0, settings.seconds))
    say("the state of jobs is asked for")
    status = await _calls(settings, port, _status_of(ids), seconds=settings.seconds)
    say("jobs are listed")

    async def listed(line: Connection) -> bool:
        await line.ask("GET", "/v1/jobs?limit=50")
        return True

    lists = await _calls(settings, port, listed, seconds=settings.seconds)
    say(f"{settings.listeners} listeners follow {_LISTENED_JOBS} jobs")
    listening = await _listen(settings, folder, port)
    return LoadResult(
        machine={}, settings=settings, submitted=submitted, beyond=refused, status=status,
        listed=lists, listening=listening, server_megabytes=_peak_megabytes(process_id),
    )  # fmt: skip


def _status_of(ids: list[str]) -> Callable[[Connection], Any]:
    """Asks for the jobs one after the other, far apart in the queue."""
    position = 0

    async def ask(line: Connection) -> bool:
        nonlocal position
        position = (position + 977) % len(ids)
        await line.ask("GET", f"/v1/jobs/{ids[position]}")
        return True

    return ask


async def _calls(
    settings: LoadSettings, port: int, ask: Callable[[Connection], Any], *, seconds: float | None
) -> Calls:
    """Call over several connections, for some seconds or until `ask` says that it is enough."""
    started = time.perf_counter()

    async def work() -> Connection:
        async with connection(port) as line:
            while await ask(line):
                if seconds is not None and time.perf_counter() - started > seconds:
                    break
            return line

    lines = await asyncio.gather(*(work() for _ in range(settings.connections)))
    took = time.perf_counter() - started
    times = [second for line in lines for second in line.seconds]
    statuses = [str(status) for line in lines for status in line.statuses]
    return Calls(
        count=len(times),
        per_second=round(len(times) / took, 1),
        milliseconds=_quantiles(times),
        statuses={status: statuses.count(status) for status in sorted(set(statuses))},
    )


async def _listen(settings: LoadSettings, folder: Path, port: int) -> Listening:
    """Listeners on jobs whose progress a stand-in for a worker tells."""
    queue, leases = JobQueue(folder), Leases(folder)
    claims = [leases.claim(f"load-{index}", lease_seconds=600) for index in range(_LISTENED_JOBS)]
    running = [claim for claim in claims if claim is not None]
    delays: list[float] = []
    ready = asyncio.Semaphore(0)
    ended = 0

    async def follow(index: int) -> None:
        nonlocal ended
        async with connection(port) as line:
            job_id = running[index % len(running)].job_id
            async for kind, data in line.listen(f"/v1/jobs/{job_id}/events"):
                if kind == "state":
                    ready.release()
                elif kind == "progress":
                    delays.append(time.time() - float(data["message"]))
                ended += kind == "end"

    listeners = [asyncio.create_task(follow(index)) for index in range(settings.listeners)]
    for _ in listeners:
        await ready.acquire()
    await asyncio.sleep(0.5)  # until all have read the past, in which there is no progress
    started = time.perf_counter()
    for step in range(_EVENTS_PER_JOB):
        for claim in running:
            share, now = (step + 1) / _EVENTS_PER_JOB, repr(time.time())
            leases.heartbeat(claim, lease_seconds=600, progress=share, message=now)
        await asyncio.sleep(_EVENT_PAUSE)
    took = time.perf_counter() - started
    for claim in running:
        queue.cancel(claim.job_id)
        leases.cancelled(claim)
    await asyncio.wait_for(asyncio.gather(*listeners), 60)
    return Listening(
        listeners=settings.listeners,
        sent=_EVENTS_PER_JOB * settings.listeners,
        received=len(delays),
        seconds=round(took, 2),
        milliseconds=_quantiles(delays),
        ended=ended,
    )


def _quantiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds) or [0.0]
    last = len(ordered) - 1
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {name: round(1000 * ordered[round(share * last)], 2) for name, share in shares.items()}


def _machine() -> dict[str, Any]:
    return {
        "stillmotion": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": len(os.sched_getaffinity(0)),
        "load_before": round(os.getloadavg()[0], 2),
    }


def _peak_megabytes(process_id: int) -> float | None:
    try:
        text = Path(f"/proc/{process_id}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = [line.split() for line in text.splitlines() if line.startswith("VmHWM:")]
    return round(int(found[0][1]) / 1024, 1) if found else None
