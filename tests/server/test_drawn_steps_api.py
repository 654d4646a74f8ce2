"""Over HTTP too: a still is animated in the steps in which it was drawn."""

from __future__ import annotations

from tests.jobs.test_drawn_steps import drawn_still
from tests.server.conftest import DRAW, Api, Hand, check_problem

from stillmotion.queueing.publishing import made_in


def test_other_steps_than_the_stills_are_refused_with_the_field(api: Api, hand: Hand) -> None:
    api.submit(DRAW)
    claim = hand.claim()
    drawn_still(claim.folder / "still.png", steps=4)
    still = hand.leases.complete(claim, made_in(claim.folder)).artifacts[0]
    job = {"kind": "loop", "still": {"artifact": still}, "seed": 1, "steps": 5}
    answer = api.ask("POST", "/v1/jobs", json={"job": job})
    said = "'still.png' was drawn in 4 steps, and its latents fit no other number, not 5; leave out"
    check_problem(answer, 422, f"{said} steps, draw it again, or add photograph", "job.steps")
    waiting = api.submit(job | {"steps": 4})
    changed = api.ask("PATCH", f"/v1/jobs/{waiting['id']}", json={"job": job})
    check_problem(changed, 422, "drawn in 4 steps", "job.steps")
