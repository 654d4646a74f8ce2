"""Models, stills and a library that the tests of jobs share, made once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.jobs.doors import DRAW, Case, Files, Http, InProcess, command_line, in_folder, lay_out

from stillmotion.client.connection import Client
from stillmotion.jobs.shared_models import SharedModels
from stillmotion.queueing.runner import JobRunner
from stillmotion.queueing.tasks import WorkerSettings
from stillmotion.queueing.worker import Worker
from stillmotion.server.app import create_app
from stillmotion.server.guards import LOOPBACK_NAMES
from stillmotion.server.service import make_service


@pytest.fixture(scope="session")
def models() -> SharedModels:
    return SharedModels(4)


@pytest.fixture(scope="session")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that the cases name; not to be written to."""
    folder = tmp_path_factory.mktemp("here")
    lay_out(folder, command_line)
    return folder


@pytest.fixture(scope="session")
def by_command(here: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], Files]:
    """What the command line makes of a case."""

    def made(case: Case) -> Files:
        if case == DRAW:
            return in_folder(here / "draw")
        folder = tmp_path_factory.mktemp(case.name)
        command_line(here, *case.words(folder))
        return in_folder(folder)

    return made


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the library."""
    return tmp_path_factory.mktemp("queue") / "library"


@pytest.fixture(scope="session")
def runner(root: Path, models: SharedModels) -> JobRunner:
    found = JobRunner(root, "auto", WorkerSettings())
    found._models = models
    return found


@pytest.fixture(scope="session")
def server(root: Path, runner: JobRunner) -> Iterator[Http]:
    """The application over the library, whose jobs are made in this process."""
    app = create_app(make_service(root, hosts=LOOPBACK_NAMES))
    address = "http://127.0.0.1"
    with Client(address, transport=InProcess(app), patience=0) as client:
        yield Http(client, lambda: Worker(root, runner, name="w").work(until_empty=True))


@pytest.fixture(scope="session")
def stills(server: Http) -> list[str]:
    """Ids of the stills of `DRAW`, as the server has made them, which takes them from now on."""
    server.draw_stills()
    return [server.artifact(Path(f"still-{number}.png"))["id"] for number in (1, 2)]
