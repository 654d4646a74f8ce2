"""The whole way: a server, a worker, the miniature, the shell; and the same bytes as without."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pytest
from tests.jobs.doors import CASES, DRAW, Case, Http, in_folder, lay_out
from tests.server.processes import REPOSITORY, Running, real_server, running

pytestmark = pytest.mark.slow
PROMPT = "a red balloon over green hills"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(real_server(tmp_path_factory.mktemp("served") / "library")) as found:
        yield found
        assert found.stop() == 0


@pytest.fixture(scope="module")
def http(server: Running) -> Iterator[Http]:
    """With the stills that the cases take."""
    with server.client() as client:
        found = Http(client)
        found.draw_stills()
        yield found


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that the cases name."""
    folder = tmp_path_factory.mktemp("here")
    lay_out(folder, shell)
    return folder


def shell(folder: Path, *words: str, address: str = "") -> str:
    """Run `stillmotion` in a folder; what it printed."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "src")}
    if address:
        environment["STILLMOTION_SERVER"] = address
    done = subprocess.run(
        [sys.executable, "-m", "stillmotion", *words],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_server_makes_the_bytes_of_the_command_line(
    case: Case, http: Http, here: Path, tmp_path: Path
) -> None:
    local = here / "draw"
    if case != DRAW:
        local = tmp_path / "local"
        local.mkdir()
        shell(here, *case.words(local))
    with chdir(here):
        job = http.make(case.job)
    made = http.fetched(job, tmp_path / "fetched")
    assert made == in_folder(local)
    assert tuple(sorted(made)) == case.makes


def test_progress_is_heard_in_order(http: Http) -> None:
    job = http.client.submit(DRAW.fields | {"seed": 1})["id"]
    heard = list(http.client.events(job))
    progress = [event.data["progress"] for event in heard if event.kind == "progress"]
    assert progress == sorted(progress)
    assert heard[-1].data["state"] == "done", heard[-1].data["error"]


def test_the_shell_submits_watches_and_lists(server: Running, tmp_path: Path) -> None:
    at = {"address": server.address}
    settings = ["--set", "seed=7", "--set", "steps=2"]
    shell(tmp_path, "submit", "draw", PROMPT, *settings, "-o", "made", "-q", **at)
    [still] = [path for path in (tmp_path / "made").iterdir() if path.suffix == ".png"]
    options = ["--set", "frames=8", "--set", "steps=2", "--set", "format=webp", "--json"]
    told = shell(tmp_path, "submit", "animate", str(still), "rising", *options, **at)
    job = json.loads(told)["id"]
    shell(tmp_path, "watch", job, "-o", "clip", "-q", **at)
    assert [path for path in (tmp_path / "clip").iterdir() if path.suffix == ".webp"]
    assert job in shell(tmp_path, "jobs", **at)
    assert "the queue is paused" in shell(tmp_path, "jobs", "pause", **at)
    waiting = shell(tmp_path, "submit", "draw", "x", **at).strip()
    shell(tmp_path, "jobs", "change", waiting, "--priority", "4", "--set", "seed=1", **at)
    assert "cancelled" in shell(tmp_path, "jobs", "cancel", waiting, **at)
    assert "the queue runs" in shell(tmp_path, "jobs", "resume", **at)
