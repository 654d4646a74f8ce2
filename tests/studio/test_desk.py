"""One person at the queue: jobs submitted under the server's rules, and what others may not see."""

from __future__ import annotations

import pytest
from tests.jobs.test_drawn_steps import drawn_still
from tests.studio.conftest import Hand, guest

from stillmotion.jobs.mistakes import FieldError
from stillmotion.jobs.model import AnyJob, parse_job
from stillmotion.media.images import load_image
from stillmotion.media.reading import read_frames
from stillmotion.queueing.publishing import made_in
from stillmotion.server.service import Service
from stillmotion.studio.actions import animate_jobs, changed_job, draw_jobs, editable_values
from stillmotion.studio.desk import Desk, Refusal
from stillmotion.studio.results import again, last_frame, record_of

DRAW = {"prompt": "a red balloon", "seed": 1, "count": 1, "steps": 4}


def draw(desk: Desk, **more: object) -> tuple[str, ...]:
    return desk.submit(lambda: draw_jobs({**DRAW, **more}))


def clip(desk: Desk, hand: Hand, **more: object) -> str:
    """A still drawn and animated; the clip."""
    [drawn] = draw(desk)
    hand.finish()
    still = desk.mains(desk.job(drawn))[0]
    values = {"still_id": still.id, "prompt": "it rises", "seed": 2, "frames": 6, **more}
    [made] = desk.submit(lambda: animate_jobs(values))
    hand.finish()
    return desk.mains(desk.job(made))[0].id


def test_jobs_are_queued_with_their_cost_and_owner(desk: Desk, service: Service) -> None:
    ids = draw(guest(service), count=2)
    jobs = service.queue.waiting()
    assert tuple(job.id for job in jobs) == ids
    assert {job.owner for job in jobs} == {"ada"}
    assert all(job.cost == 64 * 64 * 4 for job in jobs)


def test_refusals_name_the_field_of_the_form(desk: Desk) -> None:
    with pytest.raises(Refusal) as caught:
        draw(desk, steps="0")
    assert (caught.value.field, caught.value.sentence) == (
        "steps", "Steps is 0; give a number from 1 up.",
    )  # fmt: skip


def test_other_steps_than_the_stills_are_refused_at_their_field(desk: Desk, hand: Hand) -> None:
    [drawn] = draw(desk)
    claim = hand.claim()
    drawn_still(claim.folder / "still.png", steps=4)
    hand.leases.complete(claim, made_in(claim.folder))
    [still] = desk.mains(desk.job(drawn))
    values = {"still_id": still.id, "prompt": "it rises", "seed": 2, "steps": "6"}
    with pytest.raises(Refusal, match=r"'still\.png' was drawn in 4 steps") as caught:
        desk.submit(lambda: animate_jobs(values))
    assert caught.value.field == "steps"
    assert desk.queue.waiting() == ()
    [job_id] = desk.submit(lambda: animate_jobs(values | {"steps": "4"}))

    def more(job: AnyJob) -> AnyJob:
        return changed_job(job, editable_values(job) | {"steps": "7"})

    with pytest.raises(Refusal, match="not 7"):
        desk.edit(job_id, more)


def test_models_that_the_operator_has_not_allowed_are_refused(desk: Desk) -> None:
    with pytest.raises(Refusal, match="offered here") as caught:
        draw(desk, model="sd15")
    assert caught.value.field == "model"
    assert desk.queue.waiting() == ()


def test_paths_are_refused(desk: Desk) -> None:
    job = parse_job({"kind": "animate", "still": {"path": "/etc/passwd"}, "seed": 1})
    with pytest.raises(Refusal, match="is a path"):
        desk.submit(lambda: (job,))


def test_costly_jobs_are_refused_and_none_of_several_is_queued(service: Service) -> None:
    with pytest.raises(Refusal, match=r"[Cc]ost"):
        draw(Desk(service, guest(service).principal), steps=9000, width=2048, height=2048)
    poor = guest(service, max_waiting=2)
    with pytest.raises(Refusal):
        draw(poor, count=3)
    assert service.queue.waiting() == ()


def test_others_jobs_and_artifacts_are_not_there(service: Service, hand: Hand) -> None:
    ada, bob = guest(service, "ada"), guest(service, "bob")
    [job_id] = draw(ada)
    hand.finish()
    [still] = ada.mains(ada.job(job_id))
    assert bob.jobs([job_id]) == ()
    assert bob.found(still.id) is None
    assert bob.history(9).artifacts == ()
    for act in (
        lambda: bob.act_on_job("forget", job_id),
        lambda: bob.delete(still.id),
        lambda: bob.pin(still.id),
        lambda: record_of(bob, still.id),
        lambda: bob.submit(lambda: again(bob, still.id)),
        lambda: bob.edit(job_id, lambda job: job),
        lambda: bob.pause_queue(True),
    ):
        with pytest.raises(Refusal):
            act()
    values = {"still_id": still.id, "prompt": "x", "seed": 1}
    with pytest.raises(Refusal, match="library") as caught:
        bob.submit(lambda: animate_jobs(values))
    assert caught.value.field == "still"
    assert ada.found(still.id) is not None


def test_order_pause_edit_cancel_retry_forget(desk: Desk) -> None:
    first, second, third = draw(desk, count=3)

    def order() -> list[str]:
        return [job.id for job in desk.queue.waiting()]

    desk.act_on_job("sooner", third)
    assert order() == [first, third, second]
    desk.act_on_job("later", first)
    assert order() == [third, first, second]
    desk.act_on_job("sooner", third)  # it is the first already
    assert order() == [third, first, second]
    desk.act_on_job("pause", first)
    assert desk.job(first).state == "paused"
    desk.act_on_job("resume", first)

    def fewer(job: AnyJob) -> AnyJob:
        return changed_job(job, editable_values(job) | {"steps": "2"})

    desk.edit(first, fewer)
    assert desk.job(first).job["steps"] == 2
    assert desk.job(first).cost == 64 * 64 * 2
    desk.act_on_job("cancel", first)
    assert desk.job(first).state == "cancelled"
    desk.act_on_job("retry", first)
    assert desk.job(first).state == "queued"
    with pytest.raises(Refusal, match="queued"):
        desk.act_on_job("retry", first)
    desk.act_on_job("cancel", first)
    desk.act_on_job("forget", first)
    with pytest.raises(Refusal, match="not there any more"):
        desk.job(first)


def test_a_job_that_runs_is_cancelled_but_not_changed(desk: Desk, hand: Hand) -> None:
    [job_id] = draw(desk)
    hand.claim()
    with pytest.raises(Refusal, match="only one that waits can be changed"):
        desk.edit(job_id, lambda job: job)
    desk.act_on_job("cancel", job_id)
    assert desk.job(job_id).state == "cancelling"


def test_retry_keeps_to_the_limits(service: Service) -> None:
    ada = guest(service, max_waiting=1)
    [job_id] = draw(ada)
    ada.act_on_job("cancel", job_id)
    draw(ada, seed=5)
    with pytest.raises(Refusal, match="1 of your jobs wait or run"):
        ada.act_on_job("retry", job_id)


def test_the_last_frame_becomes_a_picture(desk: Desk, hand: Hand) -> None:
    made = clip(desk, hand)
    frames = read_frames(desk.library.path(made)).frames
    found = last_frame(desk, made)
    assert found.kind == "picture"
    assert (load_image(desk.library.path(found.id)) == frames[-1]).all()
    with pytest.raises(Refusal, match="not a clip"):
        last_frame(desk, found.id)


def test_no_rest_is_left_of_a_last_frame(desk: Desk, hand: Hand) -> None:
    made = clip(desk, hand)
    last_frame(desk, made)
    assert list(desk.library.incoming().parent.iterdir()) == []


def test_settings_and_the_same_job_again(desk: Desk, hand: Hand) -> None:
    made = clip(desk, hand)
    record = record_of(desk, made)
    assert record is not None
    assert record["prompt"] == "a clip"
    [job] = again(desk, made)
    assert job == parse_job(desk.job(desk.artifact(made).job_id or "").job)
    assert getattr(job, "seed", None) == 2


def test_a_clip_is_made_again_from_its_record_when_its_job_is_forgotten(
    desk: Desk, hand: Hand
) -> None:
    made = clip(desk, hand)
    desk.act_on_job("forget", desk.artifact(made).job_id or "")
    [job] = again(desk, made)
    assert job == parse_job({"kind": "animate", "from_clip": {"artifact": made}})


def test_uploads_cannot_be_made_again(desk: Desk, hand: Hand) -> None:
    picture = last_frame(desk, clip(desk, hand))
    with pytest.raises(Refusal, match="dropped in"):
        again(desk, picture.id)


def test_nested_fields_become_those_of_the_form(desk: Desk) -> None:
    def make() -> tuple[AnyJob, ...]:
        raise FieldError("prompt_at.0.text", "it is empty; give text.")

    with pytest.raises(Refusal) as caught:
        desk.submit(make)
    assert (caught.value.field, caught.value.sentence) == ("prompt_at", "It is empty; give text.")
