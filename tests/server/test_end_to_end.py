"""The whole way: a server, a worker, the miniature, the shell; and the same bytes as without."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.server.processes import REPOSITORY, Running, real_server, running

pytestmark = pytest.mark.slow
PROMPT = "a red balloon over green hills"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(real_server(tmp_path_factory.mktemp("served") / "library")) as found:
        yield found
        assert found.stop() == 0


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


def fetched(client: Any, job: str, folder: Path) -> dict[str, bytes]:
    """All that a job made, fetched in small parts."""
    folder.mkdir(exist_ok=True)
    for artifact in client.artifacts(job=job, companions=True):
        path = folder / artifact["name"]
        assert client.download(artifact["id"], path, part=3000) == artifact["sha256"]
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def made(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_still_and_its_clip_are_those_of_the_command_line(
    server: Running, tmp_path: Path
) -> None:
    local = tmp_path / "local"
    local.mkdir()
    with server.client() as client:
        job = client.submit({"kind": "draw", "prompt": PROMPT, "seed": 7, "steps": 4})["id"]
        heard = list(client.events(job))
        progress = [event.data["progress"] for event in heard if event.kind == "progress"]
        assert heard[-1].data["state"] == "done", heard[-1].data["error"]
        assert progress == sorted(progress)
        [still] = client.artifacts(job=job)
        stills = fetched(client, job, tmp_path / "stills")
        animate = {
            "kind": "animate", "still": {"artifact": still["id"]}, "frames": 8, "seed": 3,
            "format": "gif", "prompt": "a red balloon rising",
        }  # fmt: skip
        clip = client.submit(animate)["id"]
        ended = client.wait(clip)
        assert ended["state"] == "done", ended["error"]
        clips = fetched(client, clip, tmp_path / "clips")
    name = still["name"]
    shell(local, "draw", PROMPT, "--seed", "7", "--steps", "4", "-o", name)
    assert made(local) == stills
    [gif] = [name for name in clips if name.endswith(".gif")]
    options = ["--frames", "8", "--seed", "3", "-o", f"clip/{gif}"]
    shell(local, "animate", name, "a red balloon rising", *options)
    assert made(local / "clip") == clips


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
