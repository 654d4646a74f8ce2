"""Jobs over HTTP: submitted once, seen by their owners, changed until they start."""

from __future__ import annotations

from typing import Any

import pytest
from tests.server.conftest import DRAW, Api, Hand, WithTokens, check_problem

from stillmotion.server.limits import ServerLimits

NOWHERE = "0" * 32


def test_a_job_is_queued_and_found(api: Api) -> None:
    answer = api.ask("POST", "/v1/jobs", json={"job": DRAW, "priority": 3})
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["state"], job["priority"], job["kind"]) == ("queued", 3, "draw")
    assert job["job"]["prompt"] == DRAW["prompt"]
    assert job["cost"] == 64 * 64 * 4
    assert api.get(f"/v1/jobs/{job['id']}") == job
    assert api.get("/v1/jobs")["jobs"] == [job]


def test_a_key_makes_sending_twice_harmless(api: Api) -> None:
    headers = {"idempotency-key": "a-key"}
    first = api.ask("POST", "/v1/jobs", json={"job": DRAW}, headers=headers)
    again = api.ask("POST", "/v1/jobs", json={"job": DRAW}, headers=headers)
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json()["id"] == again.json()["id"]
    assert len(api.get("/v1/jobs")["jobs"]) == 1
    other = api.ask("POST", "/v1/jobs", json={"job": DRAW | {"seed": 8}}, headers=headers)
    check_problem(other, 422, "was used for another job", "Idempotency-Key")


@pytest.mark.parametrize(
    ("job", "said", "field"),
    [
        ({}, "kind is not one that there is", "job.kind"),
        ({"kind": "paint"}, "it can be draw, animate", "job.kind"),
        ({"kind": "draw"}, "job.prompt is missing", "job.prompt"),
        (DRAW | {"steps": 0}, "give a number from 1 up", "job.steps"),
        (DRAW | {"sted": 1}, "there is no field", "job.sted"),
        (DRAW | {"steps": "4"}, "give a whole number", "job.steps"),
        (DRAW | {"guidance": float("inf")}, "finite", "job.guidance"),
        ({"kind": "animate"}, "nothing to animate", "job"),
        ({"kind": "animate", "still": {"path": "/etc/passwd"}}, "is a path", "job.still"),
        ({"kind": "animate", "still": "http://evil.example/x.png"}, "", "job.still"),
        ({"kind": "animate", "still": {"url": "http://x"}}, "", ""),
        ({"kind": "animate", "still": {"artifact": "../../x"}}, "", "job.still.artifact"),
        ({"kind": "animate", "still": {"artifact": NOWHERE}}, "not in the library", "job.still"),
        (DRAW | {"model": "/srv/models/x"}, "offered here: miniature,", "job.model"),
        (DRAW | {"model": "user/model"}, "offered here", "job.model"),
        (DRAW | {"model": "miniature@../../x"}, "offered here", "job.model"),
        (DRAW | {"lora": ["/tmp/x.safetensors:0.5"]}, "offered here", "job.lora"),
        (DRAW | {"checkpoint": "x.ckpt"}, "offered here", "job.checkpoint"),
        (DRAW | {"vae": "https://evil.example/vae"}, "offered here", "job.vae"),
        (DRAW | {"count": 10**40}, "more than 10^15", "job.count"),
        (DRAW | {"count": 65}, "at most 64", "job.count"),
        (DRAW | {"height": 4096, "width": 4096}, "16777216 pixels", ""),
        (DRAW | {"height": 2048, "width": 2048, "steps": 9999}, "at most 2e+10", ""),
        (DRAW | {"steps": 10**300}, "more than 10^15", "job.steps"),
        ({"kind": "story", "script": {"scale": 17, "shots": [{"draw": "a"}]}},
         "at most 16", "job.script.scale"),
        ({"kind": "story", "script": {"shots": [{"draw": "a", "frames": 9999}]}},
         "at most 1024", "job.script.shots.0.frames"),
        ({"kind": "story", "script": {"shots": [{"image": "/etc/passwd"}]}}, "", ""),
        ({"kind": "story", "script": {"shots": [{"draw": "a", "model": "x/y"}]}},
         "offered here", "job.script.shots.0.model"),
    ],
)  # fmt: skip
def test_jobs_that_may_not_be_are_refused(api: Api, job: Any, said: str, field: str) -> None:
    content = {"job": job}
    if job.get("guidance") is not None:
        text = '{"job": {"kind": "draw", "prompt": "a", "guidance": Infinity}}'
        options: dict[str, Any] = {
            "content": text, "headers": {"content-type": "application/json"}
        }  # fmt: skip
    else:
        options = {"json": content}
    check_problem(api.ask("POST", "/v1/jobs", **options), 422, said, field)
    assert api.get("/v1/jobs")["jobs"] == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "job is missing"),
        ({"job": DRAW, "priority": 101}, "priority is 101"),
        ({"job": DRAW, "priority": "1"}, "whole number"),
        ({"job": DRAW, "owner": "bob"}, "there is no field 'owner'"),
        ([], ""),
        ("x", ""),
        (None, ""),
    ],
)
def test_other_requests_are_refused(api: Api, body: Any, said: str) -> None:
    check_problem(api.ask("POST", "/v1/jobs", json=body), 422, said)


def test_forms_and_text_are_no_jobs(api: Api) -> None:
    """What a page of another site could send without asking."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = api.ask(
            "POST", "/v1/jobs", content=b'{"job": {"kind": "draw", "prompt": "a"}}',
            headers={"content-type": kind},
        )  # fmt: skip
        check_problem(answer, 422, "")


def test_the_queue_is_bounded(with_tokens: WithTokens) -> None:
    apis = with_tokens(ServerLimits(max_queue=3), max_waiting=2)
    ada, bob = apis["ada"], apis["bob"]
    ada.submit()
    job = ada.submit()
    refused = ada.ask("POST", "/v1/jobs", json={"job": DRAW})
    check_problem(refused, 429, "2 of your jobs")
    assert int(refused.headers["retry-after"]) >= 1
    bob.submit()
    check_problem(bob.ask("POST", "/v1/jobs", json={"job": DRAW}), 429, "3 jobs wait")
    # Nor can a retry go round it.
    ada.ask("DELETE", f"/v1/jobs/{job['id']}")
    ada.submit()
    check_problem(ada.ask("POST", f"/v1/jobs/{job['id']}/retry"), 429, "jobs wait")


def test_the_priority_of_a_token_is_bounded(with_tokens: WithTokens) -> None:
    """Else whoever asks for the highest each time is always the next."""
    ada = with_tokens(max_priority=0)["ada"]
    refused = ada.ask("POST", "/v1/jobs", json={"job": DRAW, "priority": 1})
    check_problem(refused, 422, "at most 0 is allowed", "priority")
    where = f"/v1/jobs/{ada.submit(priority=0)['id']}"
    change = {"priority": 1, "paused": True}
    check_problem(ada.ask("PATCH", where, json=change), 422, "at most 0", "priority")
    assert ada.get(where)["state"] == "queued"
    assert ada.ask("PATCH", where, json={"priority": -5}).json()["priority"] == -5


def test_the_cost_of_a_token_is_bounded(with_tokens: WithTokens) -> None:
    ada = with_tokens(max_cost=64 * 64 * 10.0)["ada"]
    job = ada.submit(DRAW | {"steps": 5})
    ada.submit(DRAW | {"steps": 5})
    check_problem(ada.ask("POST", "/v1/jobs", json={"job": DRAW}), 429, "cost")
    change = {"job": DRAW | {"steps": 6}}
    check_problem(ada.ask("PATCH", f"/v1/jobs/{job['id']}", json=change), 429, "with this one")
    change = {"job": DRAW | {"steps": 4}}
    assert ada.ask("PATCH", f"/v1/jobs/{job['id']}", json=change).status_code == 200


def test_others_jobs_are_not_there(with_tokens: WithTokens) -> None:
    apis = with_tokens()
    ada, bob, operator = (apis[name] for name in ("ada", "bob", "operator"))
    job = ada.submit()
    where = f"/v1/jobs/{job['id']}"
    for method, path in (
        ("GET", where),
        ("DELETE", where),
        ("PATCH", where),
        ("POST", f"{where}/retry"),
        ("GET", f"{where}/events"),
        ("GET", f"{where}/preview"),
    ):
        options = {"json": {"priority": 9}} if method == "PATCH" else {}
        check_problem(bob.ask(method, path, **options), 404, "There is no job")
    assert bob.get("/v1/jobs")["jobs"] == []
    assert ada.get(where)["owner"] == "ada"
    assert operator.get(where) == ada.get(where)
    for path in ("pause", "resume"):
        check_problem(ada.ask("POST", f"/v1/queue/{path}"), 403, "may not change the queue")
        assert operator.ask("POST", f"/v1/queue/{path}").status_code == 200


def test_a_job_is_changed_until_it_starts(api: Api, hand: Hand) -> None:
    where = f"/v1/jobs/{api.submit()['id']}"
    change = {"job": DRAW | {"seed": 9}, "priority": 4, "paused": True}
    job = api.ask("PATCH", where, json=change).json()
    assert (job["job"]["seed"], job["priority"], job["state"]) == (9, 4, "paused")
    assert api.ask("PATCH", where, json={"paused": True}).json()["state"] == "paused"
    assert api.ask("PATCH", where, json={"paused": False}).json()["state"] == "queued"
    assert api.ask("PATCH", where, json={}).json() == api.get(where)
    path = {"job": {"kind": "animate", "still": {"path": "x"}}}
    check_problem(api.ask("PATCH", where, json=path), 422, "is a path", "job.still")
    hand.claim()
    for change in ({"job": DRAW}, {"priority": 1}, {"paused": True}):
        check_problem(api.ask("PATCH", where, json=change), 409, "running")
    assert api.ask("PATCH", where, json={"paused": False}).json()["state"] == "running"


def test_a_change_is_made_wholly_or_not_at_all(api: Api) -> None:
    job = api.submit()
    where, events = f"/v1/jobs/{job['id']}", len(api.service.queue.events(job_id=job["id"]))
    connection = api.service.queue._database.connection()
    connection.execute(
        "CREATE TRIGGER fails BEFORE UPDATE OF state ON jobs BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    change = {"job": DRAW | {"seed": 9}, "priority": 4, "paused": True}
    check_problem(api.ask("PATCH", where, json=change), 500, "failed")
    assert api.get(where) == job
    assert len(api.service.queue.events(job_id=job["id"])) == events
    connection.execute("DROP TRIGGER fails")
    assert api.ask("PATCH", where, json=change).json()["state"] == "paused"


def test_jobs_are_cancelled_retried_and_forgotten(api: Api, hand: Hand) -> None:
    waiting, running = api.submit(priority=-1), api.submit()
    claim = hand.claim()
    assert claim.job_id == running["id"]
    assert api.ask("DELETE", f"/v1/jobs/{waiting['id']}").json()["state"] == "cancelled"
    for _ in range(2):
        assert api.ask("DELETE", f"/v1/jobs/{claim.job_id}").json()["state"] == "cancelling"
    hand.leases.cancelled(claim)
    where = f"/v1/jobs/{claim.job_id}"
    assert api.ask("DELETE", where).json()["state"] == "cancelled"
    assert api.ask("POST", f"{where}/retry").json()["state"] == "queued"
    hand.complete()
    check_problem(api.ask("POST", f"{where}/retry"), 409, "done")
    check_problem(api.ask("DELETE", where), 409, "done")
    assert api.ask("DELETE", f"{where}?forget=true").status_code == 200
    check_problem(api.ask("GET", where), 404, "There is no job")


def test_the_queue_is_ordered_and_paused(api: Api, hand: Hand) -> None:
    first, second = api.submit(), api.submit()
    order = {"id": second["id"], "before": first["id"]}
    assert api.ask("POST", "/v1/queue/order", json=order).status_code == 200
    assert api.ask("POST", "/v1/queue/pause").json()["paused"]
    assert hand.leases.claim("hand") is None
    assert not api.ask("POST", "/v1/queue/resume").json()["paused"]
    assert hand.claim().job_id == second["id"]
    state = api.get("/v1/queue")
    assert (state["counts"]["queued"], state["counts"]["running"]) == (1, 1)
    both = order | {"after": first["id"]}
    for wrong in (both, {"id": first["id"]}):
        check_problem(api.ask("POST", "/v1/queue/order", json=wrong), 422, "exactly one")
    unknown = {"id": NOWHERE, "after": first["id"]}
    check_problem(api.ask("POST", "/v1/queue/order", json=unknown), 404, "")
    check_problem(api.ask("POST", "/v1/queue/order", json=order), 409, "running")


def test_jobs_are_listed_in_pages(api: Api) -> None:
    ids = [api.submit()["id"] for _ in range(5)]
    api.ask("DELETE", f"/v1/jobs/{ids[0]}")
    found: list[str] = []
    after = ""
    while True:
        page = api.get(f"/v1/jobs?limit=2{after}")
        found += [job["id"] for job in page["jobs"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert found == ids[::-1]
    cancelled = api.get("/v1/jobs?state=cancelled&state=failed")["jobs"]
    assert [job["id"] for job in cancelled] == ids[:1]
    assert api.get("/v1/jobs?kind=animate")["jobs"] == []
    for query in ("state=lost", "limit=0", "limit=9999", "after=-1", "after=x", f"after={2**63}"):
        check_problem(api.ask("GET", f"/v1/jobs?{query}"), 422, "")


@pytest.mark.parametrize("name", ["x", "0" * 31, "0" * 33, "G" * 32, "%00", "..%2f..%2fetc"])
def test_other_ids_are_refused(api: Api, name: str) -> None:
    for where in ("jobs", "artifacts"):
        answer = api.ask("GET", f"/v1/{where}/{name}")
        assert answer.status_code in (404, 422)
        check_problem(answer, answer.status_code, "")


def test_previews_are_shown_while_a_job_runs(api: Api, hand: Hand) -> None:
    where = f"/v1/jobs/{api.submit()['id']}/preview"
    check_problem(api.ask("GET", where), 404, "no preview")
    claim = hand.claim()
    hand.leases.heartbeat(claim, preview=b"\x89PNG")
    answer = api.ask("GET", where)
    assert (answer.content, answer.headers["content-type"]) == (b"\x89PNG", "image/png")
