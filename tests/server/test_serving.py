"""The server as a process: started, stopped, killed, and started again."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import time
from pathlib import Path

import pytest
from tests.server.light import content_of
from tests.server.processes import light_server, running

from stillmotion.errors import InputError
from stillmotion.server.serving import ServeSettings, _forms_in, is_loopback, serve


def test_others_are_let_in_with_tokens_only(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::", "192.168.1.2", "example.org", "127.0.0.1.example.org"):
        assert not is_loopback(host)
        with pytest.raises(InputError, match="token"):
            ServeSettings(folder=tmp_path, host=host)
        ServeSettings(folder=tmp_path, host=host, token_file=tmp_path / "tokens")
    for host in ("127.0.0.1", "127.3.2.1", "localhost", "::1"):
        assert is_loopback(host)
        ServeSettings(folder=tmp_path, host=host)


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = ServeSettings(folder=tmp_path, port=taken.getsockname()[1], devices=())
        with pytest.raises(InputError, match="choose another --port"):
            serve(settings, announce=print)


def test_forms_lie_in_the_library(tmp_path: Path) -> None:
    before = tempfile.gettempdir()
    with _forms_in(tmp_path), tempfile.SpooledTemporaryFile(max_size=1) as form:
        assert tempfile.gettempdir() == str(tmp_path)
        form.write(b"larger than that")
        assert os.fstat(form.fileno()).st_dev == tmp_path.stat().st_dev
    assert tempfile.gettempdir() == before
    assert list(tmp_path.iterdir()) == []


def wait_for(said: str, condition: object) -> None:
    """Wait until a callable holds."""
    assert callable(condition)
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, said
        time.sleep(0.05)


@pytest.mark.slow
def test_a_killed_server_goes_on_where_it_was(tmp_path: Path) -> None:
    """kill -9 in the middle of a job: it is made once, and what waited is made, too."""
    folder = tmp_path / "library"
    with running(light_server(folder)) as server, server.client() as client:
        jobs = [client.submit({"kind": "draw", "prompt": "a", "seed": n})["id"] for n in range(3)]
        wait_for("a job is half done", lambda: 0 < client.job(jobs[0])["progress"] < 1)
        server.stop(signal.SIGKILL)
    with running(light_server(folder)) as server, server.client() as client:
        for seed, job in enumerate(jobs):
            assert client.wait(job)["state"] == "done"
            [artifact] = client.artifacts(job=job)
            path = tmp_path / f"{seed}.png"
            assert client.download(artifact["id"], path) == artifact["sha256"]
            assert path.read_bytes() == content_of(seed)
        assert len(list(client.artifacts())) == 3
        kinds = [event.kind for event in client.events(jobs[0])]
        assert kinds.count("done") == 1
        assert not list((folder / "work").iterdir())
        assert server.stop() == 0


@pytest.mark.slow
def test_a_server_that_is_asked_to_stop_finishes_what_runs(tmp_path: Path) -> None:
    """And a client that follows a job goes on with the next server."""
    folder = tmp_path / "library"
    with running(light_server(folder, drain=20)) as server, server.client() as client:
        first, second = (
            client.submit({"kind": "draw", "prompt": "a", "seed": n})["id"] for n in range(2)
        )
        wait_for("a job runs", lambda: client.job(first)["state"] == "running")
        assert server.stop() == 0
    with running(light_server(folder)) as server, server.client() as client:
        assert client.job(first)["state"] == "done"
        assert client.job(first)["attempts"] == 1
        assert client.wait(second)["state"] == "done"
        client.cancel(client.submit({"kind": "draw", "prompt": "a"}, priority=-1)["id"])
        running_one = client.submit({"kind": "draw", "prompt": "a"})["id"]
        wait_for("a job runs", lambda: client.job(running_one)["state"] == "running")
        client.cancel(running_one)
        assert client.wait(running_one)["state"] == "cancelled"


@pytest.mark.slow
def test_a_head_that_never_ends_is_given_up(tmp_path: Path) -> None:
    """Connections that say nothing, or half a head, do not stay: the server's own limits."""
    with running(light_server(tmp_path / "library")) as server:
        port = int(server.address.rpartition(":")[2])
        for said, answer in ((b"", b""), (b"GET / HTTP/1.1\r\nHost: ", b"HTTP/1.1 408")):
            with socket.create_connection(("127.0.0.1", port), timeout=30) as line:
                line.sendall(said)
                assert line.recv(12) == answer
