"""The server against its own description: whatever is sent, it answers as it says, and lives."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.server.conftest import Api

from stillmotion.server.app import create_app
from stillmotion.server.problems import MEDIA_TYPE
from stillmotion.server.service import make_service

EXAMPLES = 12
UPLOADS = ("/v1/pictures", "/v1/clips")
EXAMPLES_OF_UPLOADS = 4
"""Each is looked at in a process of its own, which takes a second."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


QUIETLY = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[dict[str, Any]]:
    """The operations of a server with a job in it."""
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(make_service(Path(folder)))
        Api(app, app.state.service).submit()
        schema = schemathesis.openapi.from_asgi("/openapi.json", app)
        found = [result.ok() for result in schema.get_all_operations()]
        yield {operation.label: operation for operation in found}


def test_every_request_is_answered_as_described(
    fuzzed: dict[str, Any], subtests: pytest.Subtests
) -> None:
    for name, operation in fuzzed.items():
        for mode in GenerationMode:
            with subtests.test(f"{name}, {mode}"):
                send_all(operation, mode)


def send_all(operation: Any, mode: GenerationMode) -> None:
    """Send examples of one kind: as described, or not."""

    few = EXAMPLES_OF_UPLOADS if operation.path in UPLOADS else EXAMPLES

    @settings(QUIETLY, max_examples=few)
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        case.call_and_validate(checks=CHECKS)

    with suppress(Unsatisfiable):  # of some nothing wrong can be sent, of others nothing right
        check()


def described(app: FastAPI) -> dict[str, Any]:
    found: dict[str, Any] = app.openapi()
    return found


def test_refusals_and_tokens_are_described(api: Api) -> None:
    found = described(api.app)
    assert found["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    every = [(path, one) for path, all_ in found["paths"].items() for one in all_.values()]
    assert len(every) >= 22
    for path, operation in every:
        refused = operation["responses"]["default"]["content"]
        assert refused.keys() == {MEDIA_TYPE}, path
        assert operation["summary"]
        assert "HTTPValidationError" not in str(operation)


def test_examples_are_good_requests(api: Api) -> None:
    content = described(api.app)["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]
    examples = content["application/json"]["examples"]
    assert examples.keys() == {"draw", "animate"}
    answer = api.ask("POST", "/v1/jobs", json=examples["draw"]["value"])
    assert answer.status_code == 202
    animate = examples["animate"]["value"]
    animate["job"]["still"]["artifact"] = api.upload()["id"]
    assert api.ask("POST", "/v1/jobs", json=animate).status_code == 202


def test_all_kinds_of_jobs_are_described(api: Api) -> None:
    found = described(api.app)["components"]["schemas"]
    kinds = found["JobRequest"]["properties"]["job"]["discriminator"]["mapping"]
    assert kinds.keys() == {"draw", "animate", "interpolate", "loop", "edit", "story", "evaluate"}
    assert api.get("/v1/schema")["discriminator"]["mapping"].keys() == kinds.keys()


def test_no_page_fetches_from_elsewhere(api: Api) -> None:
    for path in ("/docs", "/redoc", "/"):
        assert api.ask("GET", path).status_code == 404
