"""uvicorn and the workers, from the first line to SIGTERM.

Everything that is waited for lies in the library's folder: a server that is started again, after
whatever ended the last one, goes on with it.
"""

from __future__ import annotations

import ipaddress
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from stillmotion.errors import InputError
from stillmotion.queueing.pool import Engine, WorkerPool
from stillmotion.queueing.runner import job_runner
from stillmotion.queueing.tasks import Runner, RunnerFactory, WorkerSettings
from stillmotion.server.app import create_app
from stillmotion.server.events import EventHub
from stillmotion.server.guards import LOOPBACK_NAMES
from stillmotion.server.limits import MAX_HEAD_BYTES, ServerLimits
from stillmotion.server.logs import tell, write_logs
from stillmotion.server.protocol import Patience, patient_protocol
from stillmotion.server.service import DEFAULT_MODELS, Service, make_service
from stillmotion.server.tokens import TokenBook

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 8420
_LEAVING_SECONDS = 10
_OTHER_FILES = 512
"""Open files that are no connections: the queue for each thread, uploads, downloads."""

Extend = Callable[[Any, Service], None]
"""Adds pages to the application before it is served."""


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """How to serve.  Raises InputError for what would not be safe, or cannot be."""

    folder: Path
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    """0: a free one."""
    devices: tuple[str, ...] = ("cpu",)
    """One worker on each; none: others make the jobs."""
    allowed_models: frozenset[str] = frozenset(DEFAULT_MODELS)
    token_file: Path | None = None
    host_names: frozenset[str] = frozenset()
    """Names that the server answers to, beside its own where it is bound to loopback."""
    limits: ServerLimits = field(default_factory=ServerLimits)
    max_bytes: int | None = None
    """Of the library's files."""
    drain_seconds: float = 30.0
    """How long running jobs may go on after SIGTERM; what is not done then goes back."""
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    runner: RunnerFactory = job_runner
    """Makes the jobs; another than the package's own for tests and measurements."""
    mounted: tuple[str, ...] = ()
    """Paths of pages that `extend` adds."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise InputError(f"The port is {self.port}; give one from 0 to 65535 (0: a free one).")
        if not is_loopback(self.host) and self.token_file is None:
            raise InputError(
                f"The host is '{self.host}', which others can reach; give --token-file with "
                f"tokens (`stillmotion token NAME --token-file FILE` makes them), or keep to "
                f"{DEFAULT_HOST}."
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serve(
    settings: ServeSettings,
    *,
    announce: Callable[[str], None],
    extend: Extend | None = None,
    quiet: bool = False,
) -> None:
    """Serve until SIGTERM or Ctrl-C; `announce` gets the address once requests are answered.

    Raises InputError if the address cannot be had or the tokens cannot be read.
    """
    book = TokenBook(settings.token_file) if settings.token_file is not None else None
    listener = _listen(settings.host, settings.port)
    address = _address(settings.host, listener.getsockname()[1])
    write_logs(quiet=quiet)
    engine: Engine | None = None
    try:
        if settings.devices:
            engine = WorkerPool(
                settings.folder,
                devices=settings.devices,
                settings=replace(settings.worker, max_bytes=settings.max_bytes),
                runner=_LoggedRunner(settings.runner, quiet),
            )
            # Before the loop: processes are best started while there are no threads.
            engine.start()
        service = _service(settings, book, engine)
        app = create_app(service, mounted=settings.mounted)
        if extend is not None:
            extend(app, service)
        with _forms_in(service.library.incoming().parent):
            _run(app, service.hub, listener, settings.limits, lambda: announce(address))
    finally:
        listener.close()
        if engine is not None:
            tell("draining", seconds=settings.drain_seconds)
            engine.stop(settings.drain_seconds)
        tell("stopped")


@contextmanager
def _forms_in(folder: Path) -> Iterator[None]:
    """Let forms that are being received lie there; the usual place is often a disk in memory."""
    before = tempfile.tempdir
    tempfile.tempdir = str(folder.absolute())
    try:
        yield
    finally:
        tempfile.tempdir = before


@dataclass(frozen=True)
class _LoggedRunner:
    """In a worker's process: its log as the server's, then the runner."""

    make: RunnerFactory
    quiet: bool

    def __call__(self, folder: Path, device: str, settings: WorkerSettings) -> Runner:
        write_logs(quiet=self.quiet)
        return self.make(folder, device, settings)


def _service(settings: ServeSettings, book: TokenBook | None, engine: Engine | None) -> Service:
    hosts = settings.host_names
    if is_loopback(settings.host):
        hosts = hosts | LOOPBACK_NAMES
    return make_service(
        settings.folder,
        limits=settings.limits,
        allowed_models=settings.allowed_models,
        book=book,
        hosts=hosts,
        max_bytes=settings.max_bytes,
        engine=engine,
    )


def _listen(host: str, port: int) -> socket.socket:
    """A socket bound to the address.  Raises InputError if it cannot be had."""
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, number)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise InputError(
            f"{host}:{port} cannot be served: {(error.strerror or str(error)).lower()}; choose "
            "another --port (0: a free one) or --host."
        ) from error
    return listener


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """uvicorn, which tells when it has started, and lets go of event streams when it ends."""

    def __init__(self, config: uvicorn.Config, hub: EventHub, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._hub, self._tell_started = hub, started

    async def startup(self, sockets: Sequence[socket.socket] | None = None) -> None:
        await super().startup(list(sockets or []))
        self._tell_started()

    async def shutdown(self, sockets: Sequence[socket.socket] | None = None) -> None:
        self._hub.close()
        await super().shutdown(list(sockets or []))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        # uvicorn would raise it again at the end; to be asked to stop is no failure here.
        self._captured_signals.clear()


def _room_for_connections(wanted: int) -> int:
    """How many connections there can be: each is an open file, of which a process may have few.

    The limit of open files is raised as far as the system lets it be; many allow 1024 at first.
    """
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    needed = wanted + _OTHER_FILES
    if soft < needed:
        raised = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
            soft = raised
    return max(1, min(wanted, soft - _OTHER_FILES))


def _run(
    app: Any,
    hub: EventHub,
    listener: socket.socket,
    limits: ServerLimits,
    started: Callable[[], None],
) -> None:
    _Server(uvicorn_config(app, limits), hub, started).run(sockets=[listener])


def uvicorn_config(app: Any, limits: ServerLimits) -> uvicorn.Config:
    """HTTP/1.1 alone, under the limits; nothing of the machine in the answers."""
    return uvicorn.Config(
        app,
        loop="asyncio",
        http=patient_protocol(
            Patience(
                head_seconds=limits.header_seconds,
                send_seconds=limits.send_seconds,
                max_connections=_room_for_connections(limits.max_connections),
            )
        ),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        # Behind a proxy the address of the client is not needed: tokens tell who it is.
        proxy_headers=False,
        timeout_graceful_shutdown=_LEAVING_SECONDS,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
    )
