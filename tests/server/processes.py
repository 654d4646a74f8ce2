"""A server in a process of its own, as people start it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stillmotion.client.connection import Client

REPOSITORY = Path(__file__).parents[2]
STARTING_SECONDS = 120
LIGHT = """
from pathlib import Path
from stillmotion.queueing.tasks import WorkerSettings
from stillmotion.server.serving import ServeSettings, serve
from tests.server.light import light_runner
settings = ServeSettings(
    folder=Path({folder!r}), port=0, runner=light_runner, drain_seconds={drain},
    worker=WorkerSettings(lease_seconds=2.0, heartbeat_seconds=0.2, poll_seconds=0.05),
)
serve(settings, announce=lambda address: print(address, flush=True))
"""


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    process: subprocess.Popen[str]
    address: str

    def client(self) -> Client:
        return Client(self.address)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal it, and wait for its end."""
        self.process.send_signal(number)
        return self.process.wait(60)


@contextmanager
def running(arguments: Sequence[str]) -> Iterator[Running]:
    """Start Python with these arguments; the first line that it prints is the address."""
    environment = os.environ | {"PYTHONPATH": f"{REPOSITORY / 'src'}:{REPOSITORY}"}
    with subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, text=True, env=environment,
        stderr=subprocess.DEVNULL, cwd=REPOSITORY,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:"), f"the server did not start: {address}"
            yield Running(process, address)
        finally:
            if process.poll() is None:
                process.kill()


def light_server(folder: Path, drain: float = 0.0) -> Sequence[str]:
    """Arguments for a server whose jobs take a second and cost nothing."""
    return ["-c", LIGHT.format(folder=str(folder), drain=drain)]


def real_server(folder: Path) -> Sequence[str]:
    return ["-m", "stillmotion", "serve", "--port", "0", "--library", str(folder)]
