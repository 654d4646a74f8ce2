"""`Client`: submit jobs, follow them, fetch what they made.

    client = Client()
    still = client.upload(Path("balloon.png"))
    job = client.submit({"kind": "animate", "still": {"artifact": still["id"]}, "seed": 7})
    done = client.wait(job["id"])
    for artifact in done["artifacts"]:
        client.download(artifact["id"], Path(artifact["id"] + artifact["suffix"]))

Answers are what the server sends: dictionaries as its OpenAPI describes them.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
from pydantic import BaseModel

from stillmotion.client.downloads import PART_BYTES, download
from stillmotion.client.refusals import Refusal, Unreachable, check, explained
from stillmotion.client.streams import Event, read_events
from stillmotion.errors import InputError

DEFAULT_ADDRESS = "http://127.0.0.1:8420"
Answer = dict[str, Any]
ENDED = frozenset({"done", "failed", "cancelled"})
_CLIPS = frozenset({".mp4", ".m4v", ".mov", ".webm", ".mkv", ".gif"})
_QUIET_SECONDS = 60.0
"""The server says something every 15 s."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0


class Client:
    """A connection to a server.

    Args:
        address: where it is; None: the environment's STILLMOTION_SERVER, or this machine.
        token: None: the environment's STILLMOTION_TOKEN, or none.
        patience: seconds that a server may be away (restarting, say) while a job is followed.
        transport: instead of the network, for tests.
    """

    def __init__(
        self,
        address: str | None = None,
        token: str | None = None,
        *,
        patience: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.address = address or os.environ.get("STILLMOTION_SERVER") or DEFAULT_ADDRESS
        token = token or os.environ.get("STILLMOTION_TOKEN")
        self._patience = patience
        with explained(self.address):
            self.http = httpx.Client(
                base_url=self.address,
                headers={"Authorization": f"Bearer {token}"} if token else {},
                timeout=httpx.Timeout(60.0, connect=10.0),
                transport=transport,
                # Neither a proxy nor a netrc: a token goes to the address that was given, only.
                trust_env=False,
            )

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.http.close()

    def submit(
        self, job: BaseModel | Mapping[str, Any], *, priority: int = 0, key: str | None = None
    ) -> Answer:
        """Queue a job; the answer has its `id`.

        `key` makes sending it twice harmless; one is made if none is given, and used for all
        tries.  Raises Refusal, Unreachable.
        """
        said = job.model_dump(mode="json") if isinstance(job, BaseModel) else dict(job)
        body = {"job": said, "priority": priority}
        headers = {"Idempotency-Key": key or secrets.token_hex(16)}
        return self._patiently("POST", "/v1/jobs", json=body, headers=headers)

    def job(self, job_id: str) -> Answer:
        """How a job stands."""
        return self._ask("GET", f"/v1/jobs/{job_id}")

    def jobs(self, **filters: Any) -> Iterator[Answer]:
        """Jobs, newest first; `filters`: state, kind, limit (of one page)."""
        yield from self._pages("/v1/jobs", "jobs", filters)

    def cancel(self, job_id: str) -> Answer:
        """Cancel a job that waits or runs."""
        return self._ask("DELETE", f"/v1/jobs/{job_id}")

    def change(self, job_id: str, **changes: Any) -> Answer:
        """Change a job before it starts: job, priority, paused."""
        return self._ask("PATCH", f"/v1/jobs/{job_id}", json=changes)

    def retry(self, job_id: str) -> Answer:
        """Queue a job again that failed or was cancelled."""
        return self._ask("POST", f"/v1/jobs/{job_id}/retry")

    def queue(self) -> Answer:
        """How the whole queue stands."""
        return self._ask("GET", "/v1/queue")

    def pause(self) -> Answer:
        """Let no further job start."""
        return self._ask("POST", "/v1/queue/pause")

    def resume(self) -> Answer:
        """Let jobs start again."""
        return self._ask("POST", "/v1/queue/resume")

    def order(self, job_id: str, *, before: str | None = None, after: str | None = None) -> Answer:
        """Move a waiting job before or after another."""
        body = {"id": job_id, "before": before, "after": after}
        return self._ask("POST", "/v1/queue/order", json=body)

    def models(self) -> list[Answer]:
        """The models that the server offers."""
        return list(self._ask("GET", "/v1/models")["models"])

    def artifacts(self, **filters: Any) -> Iterator[Answer]:
        """The gallery, newest first; `filters`: kind, job, limit (of one page)."""
        yield from self._pages("/v1/artifacts", "artifacts", filters)

    def delete(self, artifact_id: str) -> None:
        """Delete a result or an upload."""
        self._send("DELETE", f"/v1/artifacts/{artifact_id}")

    def upload(self, path: Path) -> Answer:
        """Send a picture or a clip, told apart by the ending; the answer has its `id`."""
        if not path.is_file():
            raise InputError(f"There is no file '{path}'; check the name.")
        where = "/v1/clips" if path.suffix.lower() in _CLIPS else "/v1/pictures"
        with path.open("rb") as stream:
            headers = {"Content-Type": "application/octet-stream"}
            answer: Answer = self._send("POST", where, content=stream, headers=headers).json()
        return answer

    def download(
        self, artifact_id: str, path: Path, *, overwrite: bool = False, part: int = PART_BYTES
    ) -> str:
        """Fetch a result into a file; returns its SHA-256."""
        address = f"/v1/artifacts/{artifact_id}"
        return download(self.http, address, path, overwrite=overwrite, part_bytes=part)

    def events(self, job_id: str, since: int = 0) -> Iterator[Event]:
        """Follow a job to its end, over broken connections and restarts of the server.

        `since`: the number of the last event that is known already.  Raises Refusal; Unreachable
        if the server stays away longer than `patience`.
        """
        last, pause, lost = since, _FIRST_PAUSE, time.monotonic()
        while True:
            try:
                for event in self._stream(job_id, last):
                    last = event.number if event.number is not None else last
                    pause, lost = _FIRST_PAUSE, time.monotonic()
                    yield event
                    if event.kind == "end":
                        return
            except (httpx.TransportError, Refusal) as error:
                self._give_up(error, time.monotonic() - lost)
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def wait(self, job_id: str) -> Answer:
        """Follow a job to its end and say how it stands then."""
        for _ in self.events(job_id):
            pass
        return self.job(job_id)

    def _stream(self, job_id: str, last: int) -> Iterator[Event]:
        headers = {"Accept": "text/event-stream"}
        if last:
            headers["Last-Event-ID"] = str(last)
        timeout = httpx.Timeout(_QUIET_SECONDS, connect=10.0)
        with self.http.stream(
            "GET", f"/v1/jobs/{job_id}/events", headers=headers, timeout=timeout
        ) as response:
            yield from read_events(check(response).iter_lines())

    def _give_up(self, error: httpx.TransportError | Refusal, seconds: float) -> None:
        """Raise what cannot be waited for."""
        if isinstance(error, Refusal):
            if error.status not in (429, 502, 503, 504) or seconds > self._patience:
                raise error
        elif seconds > self._patience:
            with explained(self.address):
                raise error

    def _pages(self, path: str, name: str, filters: Mapping[str, Any]) -> Iterator[Answer]:
        given = {key: value for key, value in filters.items() if value is not None}
        while True:
            page = self._ask("GET", path, params=given)
            yield from page[name]
            if page.get("next") is None:
                return
            given["after"] = page["next"]

    def _patiently(self, method: str, path: str, **options: Any) -> Answer:
        """Send what may be sent twice, once more if the connection broke."""
        try:
            return self._ask(method, path, **options)
        except Unreachable:
            return self._ask(method, path, **options)

    def _ask(self, method: str, path: str, **options: Any) -> Answer:
        answer: Answer = self._send(method, path, **options).json()
        return answer

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        with explained(self.address):
            return check(self.http.request(method, path, **options))
