"""The application without a network, and a stand-in for a worker that tests move by hand."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from PIL import Image
from tests.server.hostile import picture_bytes

from stillmotion.queueing.leases import Leases
from stillmotion.queueing.views import Claim, JobView, NewArtifact
from stillmotion.server.app import create_app
from stillmotion.server.guards import LOOPBACK_NAMES
from stillmotion.server.limits import ServerLimits, TokenLimits
from stillmotion.server.problems import MEDIA_TYPE
from stillmotion.server.service import Service, make_service
from stillmotion.server.tokens import TokenBook, add_token

DRAW = {"kind": "draw", "prompt": "a red balloon over green hills", "seed": 7, "steps": 4}
Answer = dict[str, Any]


@dataclass(frozen=True)
class Api:
    """Requests to an application, each answered whole."""

    app: FastAPI
    service: Service
    token: str | None = None

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = dict(options.pop("headers", {}))
        if self.token is not None:
            headers.setdefault("authorization", f"Bearer {self.token}")

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as to:
                return await to.request(method, path, headers=headers, **options)

        return asyncio.run(send())

    def get(self, path: str, **options: Any) -> Any:
        """The JSON of an answer that has to be a good one."""
        answer = self.ask("GET", path, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def submit(self, job: Answer | None = None, **more: Any) -> Answer:
        answer = self.ask("POST", "/v1/jobs", json={"job": job or DRAW, **more})
        assert answer.status_code == 202, answer.text
        found: Answer = answer.json()
        return found

    def upload(self, content: bytes | None = None) -> Answer:
        answer = self.ask("POST", "/v1/pictures", content=content or picture_bytes())
        assert answer.status_code == 201, answer.text
        found: Answer = answer.json()
        return found


def check_problem(response: httpx.Response, status: int, said: str, field: str = "") -> None:
    """A refusal in the one form, with this in its sentence and, if given, this field."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == MEDIA_TYPE
    details = response.json()
    assert said in details["detail"], details
    assert details["detail"].endswith(".")
    assert "Traceback" not in response.text
    if field:
        assert details["field"] == field


@dataclass(frozen=True)
class Hand:
    """A worker moved by hand."""

    leases: Leases

    def claim(self) -> Claim:
        claim = self.leases.claim("hand")
        assert claim is not None
        return claim

    def complete(self, claim: Claim | None = None) -> JobView:
        """Finish a job with one still and its latents."""
        claim = claim or self.claim()
        picture = Image.new("RGB", (8, 8), (claim.attempt, 20, 30))
        picture.save(claim.folder / "still.png")
        (claim.folder / "still.latents.safetensors").write_bytes(bytes(range(256)) * 40)
        small = io.BytesIO()
        picture.save(small, "WEBP")
        still = NewArtifact(
            file="still.png", kind="still", content_type="image/png", width=8, height=8,
            num_frames=1, thumbnail=small.getvalue(),
        )  # fmt: skip
        latents = NewArtifact(
            file="still.latents.safetensors", kind="latents", main="still.png",
            content_type="application/octet-stream",
        )  # fmt: skip
        return self.leases.complete(claim, [still, latents])


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return tmp_path / "library"


@pytest.fixture
def api(library: Path) -> Api:
    """A server without tokens, as it stands on one's own machine."""
    service = make_service(library, hosts=LOOPBACK_NAMES)
    return Api(create_app(service), service)


@pytest.fixture
def hand(library: Path) -> Hand:
    return Hand(Leases(library))


WithTokens = Callable[..., dict[str, Api]]


@pytest.fixture
def with_tokens(library: Path, tmp_path: Path) -> WithTokens:
    """The same for ada, bob and an operator, who is an admin, with these limits of a token."""

    def build(limits: ServerLimits | None = None, **of_token: Any) -> dict[str, Api]:
        path = tmp_path / "tokens.json"
        tokens = {
            name: add_token(path, name, admin=name == "operator", limits=TokenLimits(**of_token))
            for name in ("ada", "bob", "operator")
        }
        service = make_service(library, book=TokenBook(path), limits=limits)
        app = create_app(service)
        return {name: Api(app, service, token) for name, token in tokens.items()}

    return build
