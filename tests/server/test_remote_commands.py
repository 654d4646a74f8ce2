"""`stillmotion submit` and `jobs` against the application, without a network."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import pytest
from tests.server.conftest import Api

from stillmotion.apps.cli import main
from stillmotion.client import connection

Run = Callable[..., Any]


@pytest.fixture
def run(api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command and return what it said, as JSON; or, if it fails, its sentence."""

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode()
        found = api.ask(request.method, path, content=request.content, headers=request.headers)
        return httpx.Response(found.status_code, headers=found.headers, content=found.content)

    patched = partial(connection.Client, transport=httpx.MockTransport(answer))
    monkeypatch.setattr(connection, "Client", patched)
    monkeypatch.setenv("STILLMOTION_SERVER", "http://127.0.0.1")

    def call(*arguments: str) -> Any:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--json"])
        said = capsys.readouterr()
        if ended.value.code:
            assert "Traceback" not in said.err
            return said.out + said.err
        return json.loads(said.out)

    return call


def test_a_job_from_the_shell(run: Run, api: Api) -> None:
    job = run("submit", "draw", "a balloon", "--set", "seed=7", "--priority", "2")["id"]
    assert run("jobs", "show", job) == api.get(f"/v1/jobs/{job}")
    assert [one["id"] for one in run("jobs", "list")["jobs"]] == [job]
    changed = run("jobs", "change", job, "--set", "steps=3", "--priority", "5")
    assert (changed["job"]["steps"], changed["job"]["seed"], changed["priority"]) == (3, 7, 5)
    assert run("jobs", "pause", job)["state"] == "paused"
    assert run("jobs", "resume", job)["state"] == "queued"
    other = run("submit", "draw", "another", "--priority", "5")["id"]
    run("jobs", "move", other, "--before", job)
    assert [waiting.id for waiting in api.service.queue.waiting()] == [other, job]
    assert run("jobs", "cancel", job)["state"] == "cancelled"
    assert run("jobs", "list", "--state", "cancelled")["jobs"][0]["id"] == job
    assert run("jobs", "retry", job)["state"] == "queued"


def test_the_whole_queue_from_the_shell(run: Run, api: Api) -> None:
    assert run("jobs", "pause")["paused"]
    assert api.service.queue.state().paused
    assert not run("jobs", "resume")["paused"]
    assert not api.service.queue.state().paused


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("jobs", "show", "0" * 32), "There is no job"),
        (("jobs", "change", "0" * 32), "nothing to change"),
        (("jobs", "cancel",), "Missing argument"),
        (("submit", "paint", "a"), "not a job that fits on a line"),
        (("submit", "draw", "a", "--set", "steps=0"), "steps is 0"),
    ],
)  # fmt: skip
def test_mistakes_are_told(run: Run, arguments: tuple[str, ...], said: str) -> None:
    assert said in run(*arguments)
