"""What forms say, as jobs, and the sentences about what they cannot say."""

from __future__ import annotations

from typing import Any

import pytest

from stillmotion.jobs.mistakes import FieldError
from stillmotion.jobs.model import AnimateJob, DrawJob, EditJob, InterpolateJob, LoopJob, parse_job
from stillmotion.studio.actions import (
    CHOOSE_CLIP,
    CHOOSE_END,
    CHOOSE_FIRST,
    animate_jobs,
    changed_job,
    draw_jobs,
    dynamicrafter_jobs,
    edit_jobs,
    editable_values,
    texts_at,
)
from stillmotion.studio.forms import shown

STILL, END, CLIP = "a" * 32, "b" * 32, "c" * 32
DRAW = {"prompt": " a red balloon ", "count": 3, "seed": "7", "steps": "5", "guidance": "7,5",
        "look": "", "negative": " ", "width": None}  # fmt: skip
MOVE: dict[str, Any] = {"still_id": STILL, "prompt": "it rises", "frames": 8, "format": "gif",
                        "motion_strength": 1.5, "end": "open", "seed": 3}  # fmt: skip


def test_stills_are_jobs_of_their_own_with_seeds_that_count_up() -> None:
    jobs = draw_jobs(DRAW)
    assert jobs == tuple(
        DrawJob(prompt="a red balloon", seed=seed, steps=5, guidance=7.5) for seed in (7, 8, 9)
    )


def test_a_seed_left_open_is_one_by_chance() -> None:
    seeds = {draw_jobs(DRAW | {"seed": "", "count": 1})[0].seed for _ in range(8)}  # type: ignore[union-attr]
    assert len(seeds) > 1
    assert None not in seeds


@pytest.mark.parametrize(
    ("end", "kind", "more"),
    [
        ("open", AnimateJob, {}),
        ("loop", LoopJob, {}),
        ("seamless", LoopJob, {"seamless": True}),
        ("picture", InterpolateJob, {"last_frame": {"artifact": END}}),
    ],
)
def test_ends(end: str, kind: Any, more: dict[str, Any]) -> None:
    [job] = animate_jobs(MOVE | {"end": end, "end_id": END})
    assert job == kind.model_validate(
        {"still": {"artifact": STILL}, "prompt": "it rises", "frames": 8, "format": "gif",
         "motion_strength": 1.5, "seed": 3, **more}
    )  # fmt: skip


def test_text_along_the_clip() -> None:
    [job] = animate_jobs(MOVE | {"prompt_at": "3: a star\n\n 6 :b:c \n", "towards": ""})
    assert isinstance(job, AnimateJob)
    assert [(at.frame, at.text) for at in job.prompt_at] == [(3, "a star"), (6, "b:c")]


def test_dynamicrafter() -> None:
    values = MOVE | {"motion_strength": None, "exact_first_frame": True, "conditioning_fps": "10"}
    [job] = dynamicrafter_jobs(values)
    assert isinstance(job, AnimateJob)
    assert (job.method, job.exact_first_frame, job.conditioning_fps) == ("dynamicrafter", True, 10)
    assert not dynamicrafter_jobs(values | {"exact_first_frame": False})[0].exact_first_frame  # type: ignore[union-attr]


def test_editing_draws_first_frames_or_the_clip() -> None:
    values = {"clip_id": CLIP, "prompt": "a blue balloon", "control": "edges", "format": "webp",
              "still_id": STILL, "seed": 1, "count": 2}  # fmt: skip
    stills = edit_jobs(values, stills=True)
    assert [(job.format, job.still, job.seed) for job in stills if isinstance(job, EditJob)] == [
        ("png", None, 1), ("png", None, 2),
    ]  # fmt: skip
    clip = edit_jobs(values, stills=False)[0]
    assert isinstance(clip, EditJob)
    assert clip.still is not None
    assert (clip.still.artifact, clip.format) == (STILL, "webp")


@pytest.mark.parametrize(
    ("make", "values", "field", "said"),
    [
        (draw_jobs, DRAW | {"prompt": "  "}, "prompt", "Say what"),
        (draw_jobs, DRAW | {"steps": "0"}, "steps", "steps is 0; give a number from 1 up."),
        (draw_jobs, DRAW | {"steps": "many"}, "steps", "steps is 'many'; give a whole number."),
        (draw_jobs, DRAW | {"steps": "2.5"}, "steps", "whole number"),
        (draw_jobs, DRAW | {"count": 0}, "count", "from 1 to 16"),
        (draw_jobs, DRAW | {"count": 17}, "count", "from 1 to 16"),
        (draw_jobs, DRAW | {"seed": "x"}, "seed", "seed is 'x'; give a whole number."),
        (draw_jobs, DRAW | {"seed": "-1"}, "seed", "from 0"),
        (draw_jobs, DRAW | {"seed": str(2**63 - 1)}, "seed", "2^63"),
        (draw_jobs, DRAW | {"guidance": "nan"}, "guidance", "guidance is nan"),
        (animate_jobs, MOVE | {"still_id": ""}, "still_id", CHOOSE_FIRST),
        (animate_jobs, MOVE | {"end": "picture"}, "end_id", CHOOSE_END),
        (animate_jobs, MOVE | {"end": "up"}, "end", "it can be open"),
        (animate_jobs, MOVE | {"motion_strength": 3}, "motion_strength", "at most 2"),
        (animate_jobs, MOVE | {"format": "avi"}, "format", "it can be mp4"),
        (animate_jobs, MOVE | {"prompt_at": "a star"}, "prompt_at", "no text at a frame"),
        (animate_jobs, MOVE | {"prompt_at": "3:"}, "prompt_at", "no text at a frame"),
        (dynamicrafter_jobs, MOVE | {"eta": "2"}, "eta", "at most 1"),
    ],
)
def test_sentences_name_their_field(make: Any, values: Any, field: str, said: str) -> None:
    with pytest.raises(FieldError) as caught:
        make(values)
    assert caught.value.field == field
    assert said in str(caught.value)
    assert str(caught.value).endswith(".")


def test_editing_needs_a_clip_and_a_text() -> None:
    with pytest.raises(FieldError, match=CHOOSE_CLIP):
        edit_jobs({"prompt": "a"}, stills=True)
    with pytest.raises(FieldError) as caught:
        edit_jobs({"clip_id": CLIP, "prompt": ""}, stills=False)
    assert caught.value.field == "prompt"


def test_a_waiting_job_is_changed_and_keeps_the_rest() -> None:
    job = animate_jobs(MOVE | {"negative": "rain", "fit": "pad"})[0]
    form = editable_values(job)
    assert form["frames"] == 8
    assert "width" not in form
    # Fields show numbers as text, and what is emptied is left open.
    texts = {name: "" if value is None else str(value) for name, value in form.items()}
    assert changed_job(job, texts) == job
    changed = changed_job(job, texts | {"frames": "12", "negative": ""})
    assert changed == parse_job(job.model_dump(mode="json") | {"frames": 12, "negative": None})
    with pytest.raises(FieldError, match="steps is 0"):
        changed_job(job, texts | {"steps": "0"})


def test_first_frames_stay_first_frames_when_they_are_changed() -> None:
    job = edit_jobs({"clip_id": CLIP, "prompt": "a", "seed": 1}, stills=True)[0]
    assert "format" not in editable_values(job)
    assert changed_job(job, editable_values(job) | {"format": "mp4"}) == job


def test_texts_at() -> None:
    assert texts_at("") == []
    assert texts_at("0: a") == [{"frame": 0, "text": "a"}]
    with pytest.raises(FieldError, match="'-1: a'"):
        texts_at("-1: a")


def test_numbers_are_shown_as_people_write_them() -> None:
    import gradio as gr

    text = gr.Textbox(render=False)
    assert [shown(text, value) for value in (None, 8.0, 0.25, 2**62)] == [
        "",
        "8",
        "0.25",
        str(2**62),
    ]
    assert shown(gr.Slider(render=False), 4) == 4
