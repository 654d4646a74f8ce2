"""Health, numbers and models; what the logs hold."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.server.conftest import DRAW, Api, Hand, WithTokens, check_problem
from tests.server.hostile import picture_bytes

from stillmotion.server.app import create_app
from stillmotion.server.logs import JsonLines
from stillmotion.server.service import make_service


class Workers:
    """An engine of so many workers."""

    def __init__(self, count: int) -> None:
        self.count = count

    def start(self) -> None: ...

    def stop(self, drain_seconds: float = 0.0) -> None: ...

    def alive(self) -> int:
        return self.count


def numbers(api: Api) -> dict[str, float]:
    text = api.ask("GET", "/metrics").text
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.parametrize("count", [0, 2])
def test_a_server_is_ready_when_somebody_makes_jobs(library: Path, count: int) -> None:
    service = make_service(library, engine=Workers(count))
    api = Api(create_app(service), service)
    assert api.get("/healthz") == {"status": "ok"}
    if count:
        assert api.get("/readyz") == {"status": "ready", "workers": 2}
    else:
        check_problem(api.ask("GET", "/readyz"), 503, "No worker")


def test_a_queue_that_cannot_be_read_is_not_ready(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(api.service.queue, "last_event", broken)
    check_problem(api.ask("GET", "/readyz"), 503, "cannot be read")


def test_what_happens_is_counted(api: Api, hand: Hand) -> None:
    api.submit()
    api.submit()
    hand.complete()
    api.ask("GET", "/nothing")
    api.upload()
    found = numbers(api)
    assert found["stillmotion_jobs queued"] == found["stillmotion_jobs done"] == 1
    assert found["stillmotion_http_requests_total POST /v1/jobs 202"] == 2
    assert found["stillmotion_http_requests_total GET other 404"] == 1
    assert found["stillmotion_uploaded_bytes_total"] == len(picture_bytes())
    assert found["stillmotion_event_streams"] == 0
    assert not any("0" * 8 in name for name in found)


def test_only_allowed_models_are_offered(library: Path) -> None:
    allowed = frozenset({"miniature", "my-own", "sd15"})
    service = make_service(library, allowed_models=allowed)
    api = Api(create_app(service), service)
    mini, own, sd15 = api.get("/v1/models")["models"]
    assert (mini["name"], mini["ready"], mini["origin"]) == ("miniature", True, "package")
    assert "neon" in mini["looks"]
    assert (own["name"], own["origin"]) == ("my-own", "named")
    assert (sd15["ready"], sd15["origin"]) == (False, "catalogue")
    job = DRAW | {"model": "miniature-dynamicrafter"}
    answer = api.ask("POST", "/v1/jobs", json={"job": job})
    check_problem(answer, 422, "offered here: miniature, my-own, sd15", "job.model")
    default = make_service(library, allowed_models=frozenset({"my-own"}))
    answer = Api(create_app(default), default).ask("POST", "/v1/jobs", json={"job": DRAW})
    check_problem(answer, 422, "'miniature'", "job.model")


def test_logs_hold_neither_prompts_nor_tokens(
    with_tokens: WithTokens, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ada = with_tokens()["ada"]
    secret = "xylophone"
    job = ada.submit(DRAW | {"prompt": secret})
    ada.ask("GET", f"/v1/jobs?kind={secret}")
    ada.ask("POST", "/v1/jobs", json={"job": {"kind": "draw", "prompt": secret, "steps": secret}})
    ada.ask("GET", f"/v1/{secret}")
    lines = [JsonLines().format(record) for record in caplog.records]
    own = [json.loads(line) for line in lines if '"request"' in line]
    assert {line["status"] for line in own} >= {202, 200, 422, 404}
    assert {line["token"] for line in own} == {"ada"}
    told = "".join(line for line in lines if "stillmotion" in line or '"request"' in line)
    assert secret not in told
    assert str(ada.token) not in told
    assert job["id"] not in told  # routes, not addresses
