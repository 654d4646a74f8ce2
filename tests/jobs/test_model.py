"""The model of a job: strict, whole, and the same through JSON."""

from __future__ import annotations

import json
from inspect import signature
from pathlib import Path
from typing import Any, get_args

import pytest

from stillmotion.animatezero.ingredients import SCHEDULERS
from stillmotion.animatezero.photograph import FirstFrame, Trajectory
from stillmotion.animatezero.settings import (
    FIG6_ROWS,
    FrameNorm,
    KeyValueSource,
    QueryPosition,
    WindowBlock,
    WindowKind,
)
from stillmotion.apps import animate, draw, edit, evaluate_score
from stillmotion.errors import InputError
from stillmotion.jobs.formats import clip_format, file_name, suffix_of
from stillmotion.jobs.mistakes import FieldError
from stillmotion.jobs.model import (
    KINDS,
    AnimateJob,
    DrawJob,
    InterpolateJob,
    LoopJob,
    job_json,
    job_schema,
    local_paths,
    parse_job,
    settled,
)
from stillmotion.jobs.sources import FileSource, find_file
from stillmotion.media.clips import CLIP_SUFFIXES
from stillmotion.media.control_maps import CONTROLS
from stillmotion.media.fit import FitMode
from stillmotion.runtime.memory import AUTO, PRESETS

CAT = {"artifact": "a" * 32}
WHOLE: list[dict[str, Any]] = [
    {"kind": "draw", "prompt": "a", "steps": 4, "lora": ["x.safetensors:0.5"], "ip_image": CAT},
    {
        "kind": "animate", "still": CAT, "prompt_at": [{"frame": 3, "text": "b"}],
        "time_travel": 2, "time_travel_window": [0.25, 8], "window_blocks": ["down", "up"],
        "gate_scale": {"5": 0.5, "mid.attn2": 2},
    },
    {"kind": "interpolate", "still": CAT, "last_frame": {"artifact": "b" * 32, "name": "b.png"}},
    {"kind": "loop", "still": {"path": "cat.png"}, "seamless": True, "format": "frames"},
    {"kind": "edit", "clip": CAT, "prompt": "b", "format": "png", "count": 4},
    {
        "kind": "story",
        "script": {
            "defaults": {"transition": {"fade": 2}},
            "shots": [
                {"image": "cat.png"},
                {"continue": True, "prompt": "c", "transition": "cut"},
                {"draw": "d", "transition": {"crossfade": 8}, "model": "other"},
            ],
        },
        "pictures": {"cat.png": CAT},
    },
    {"kind": "evaluate", "clips": [CAT, {"artifact": "c" * 32}], "still": CAT},
]  # fmt: skip


@pytest.mark.parametrize("fields", WHOLE, ids=lambda fields: str(fields["kind"]))
def test_a_job_is_the_same_through_json(fields: dict[str, Any]) -> None:
    job = parse_job(fields)
    assert parse_job(job_json(job)) == job
    assert parse_job(json.loads(job_json(job))) == job
    assert job_json(parse_job(job_json(job))) == job_json(job)
    assert type(job) is KINDS[fields["kind"]]


def test_numbers_and_shares_of_steps_stay_what_they_are() -> None:
    job = parse_job(job_json(parse_job(WHOLE[1])))
    assert isinstance(job, AnimateJob)
    assert [type(edge) for edge in job.time_travel_window or ()] == [float, int]


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({}, "kind", "it can be draw, animate"),
        ({"kind": "paint"}, "kind", "it can be draw, animate"),
        ({"kind": "draw"}, "prompt", "prompt is missing; give it."),
        ({"kind": "draw", "prompt": "a", "step": 3}, "step", "no field 'step'; there is: steps."),
        ({"kind": "draw", "prompt": "a", "steps": 0}, "steps", "steps is 0; give a number from 1"),
        ({"kind": "draw", "prompt": "a", "steps": "3"}, "steps", "give a whole number"),
        ({"kind": "draw", "prompt": "a", "steps": True}, "steps", "give a whole number"),
        ({"kind": "draw", "prompt": "a", "guidance": float("nan")}, "guidance", "finite"),
        ({"kind": "draw", "prompt": "a", "seed": -1}, "seed", "give a number from 0 up"),
        ({"kind": "draw", "prompt": "a", "schema_version": 2}, "schema_version", "it can be 1"),
        ({"kind": "animate"}, "", "there is nothing to animate"),
        ({"kind": "animate", "still": "cat.png"}, "still", "still is 'cat.png'; give fields"),
        ({"kind": "animate", "still": {}}, "still", "exactly one of path and artifact"),
        ({"kind": "animate", "still": {"artifact": "../x"}}, "still.artifact", "pattern"),
        ({"kind": "interpolate", "still": CAT}, "last_frame", "is missing"),
        ({"kind": "animate", "still": CAT, "window": "x"}, "window", "off, uncorrected or corr"),
        ({"kind": "story", "script": {"shots": []}}, "script.shots", "at least one"),
        ({"kind": "evaluate", "still": CAT, "clips": []}, "clips", "at least one"),
    ],
)
def test_what_is_no_job_is_refused_with_its_field(
    fields: dict[str, Any], field: str, said: str
) -> None:
    with pytest.raises(FieldError) as caught:
        parse_job(fields)
    assert caught.value.field == field
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', b"\xff"])
def test_what_is_no_json_object_is_refused(text: str | bytes) -> None:
    with pytest.raises(FieldError):
        parse_job(text)


def test_what_goes_in_is_found() -> None:
    draw_job, _, _, loop, _, story, score = map(parse_job, WHOLE)
    assert [field for field, _ in draw_job.sources()] == ["ip_image"]
    named = [weights.reference for weights in draw_job.weights()]
    assert named == ["miniature", "x.safetensors:0.5"]
    assert [field for field, _ in local_paths(loop)] == ["still"]
    assert [field for field, _ in story.sources()] == ["pictures"]
    assert [(w.field, w.reference) for w in story.weights()] == [("script.shots.2.model", "other")]
    assert [field for field, _ in score.sources()] == ["clips", "clips", "still"]


def test_a_path_is_taken_from_python_alone(tmp_path: Path) -> None:
    job = AnimateJob(still=tmp_path / "cat.png")  # type: ignore[arg-type]
    assert job.still == FileSource(path=str(tmp_path / "cat.png"))
    with pytest.raises(InputError, match="no library is at hand"):
        find_file(FileSource(artifact="a" * 32))
    with pytest.raises(InputError, match="check the name"):
        find_file(FileSource(path=str(tmp_path / "cat.png")))


def test_a_seed_is_chosen_unless_a_record_says_one() -> None:
    job = parse_job({"kind": "draw", "prompt": "a"})
    first, second = settled(job), settled(job)
    assert isinstance(first, DrawJob)
    assert first != second
    assert settled(first) is first
    recalled = parse_job({"kind": "animate", "from_clip": CAT})
    assert settled(recalled) is recalled


@pytest.mark.parametrize("fields", [WHOLE[0], WHOLE[4]], ids=lambda fields: str(fields["kind"]))
def test_where_no_record_names_a_model_it_is_the_miniature(fields: dict[str, Any]) -> None:
    named = parse_job(fields | {"model": "miniature"})
    assert parse_job(fields) == parse_job(fields | {"model": None}) == named
    assert "model" not in json.loads(job_json(named))
    assert parse_job(fields | {"model": "other"}) != named
    assert "model" in json.loads(job_json(parse_job(WHOLE[1] | {"model": "miniature"})))


def test_the_schema_tells_every_field() -> None:
    schema = job_schema()
    assert {ref["$ref"].rpartition("/")[2] for ref in schema["oneOf"]} == {
        model.__name__ for model in KINDS.values()
    }
    for model in KINDS.values():
        told = schema["$defs"][model.__name__]
        assert told["additionalProperties"] is False
        assert set(told["properties"]) == set(model.model_fields)


def test_choices_are_those_of_the_settings() -> None:
    def choices(name: str) -> set[Any]:
        found: set[Any] = set()
        open_types = [AnimateJob.model_fields[name].annotation]
        while open_types:
            one = open_types.pop()
            inner = get_args(one)
            found |= {one} if not inner and isinstance(one, str) else set()
            open_types += inner
        return found

    for name, allowed in (
        ("trajectory", get_args(Trajectory)),
        ("first_frame", get_args(FirstFrame)),
        ("fit", get_args(FitMode)),
        ("kv_source", get_args(KeyValueSource)),
        ("window", get_args(WindowKind)),
        ("window_blocks", get_args(WindowBlock)),
        ("query_position", get_args(QueryPosition)),
        ("frame_norm", get_args(FrameNorm)),
        ("row", FIG6_ROWS),
        ("scheduler", SCHEDULERS),
        ("memory", (AUTO, *PRESETS)),
    ):
        assert choices(name) == set(allowed), name
    control = job_schema()["$defs"]["EditJob"]["properties"]["control"]
    assert set(control["enum"]) == set(CONTROLS)


# What is not the job's: where the result goes, which machine makes it, and how it is told.
BESIDE = {"output", "preview", "device", "compiling", "download", "force", "as_json", "quiet"}
RENAMED = {"source": "from_clip", "last_frame": "last_frame", "motion_off": "animatediff"}


@pytest.mark.parametrize(
    ("command", "model"),
    [
        (draw.draw, DrawJob),
        (animate.animate, InterpolateJob),
        (edit.edit, KINDS["edit"]),
        (evaluate_score.score, KINDS["evaluate"]),
    ],
)
def test_every_option_is_in_the_job_or_beside_it(command: Any, model: Any) -> None:
    options = {RENAMED.get(name, name) for name in signature(command).parameters} - BESIDE
    of_ends = {"loop", "seamless"}
    assert options - of_ends <= model.model_fields.keys()
    assert options & of_ends <= {"loop"} | LoopJob.model_fields.keys()
    unsaid = model.model_fields.keys() - options - {"kind", "schema_version", "format"}
    assert unsaid == set()


def test_names_of_files_fit_the_format() -> None:
    assert [file_name(parse_job(fields)) for fields in WHOLE] == [
        "still.png", "clip.mp4", "clip.mp4", "clip", "still.png", "film.mp4", "scores.json",
    ]  # fmt: skip
    for suffix in (*CLIP_SUFFIXES, ""):
        job = parse_job(WHOLE[1] | {"format": clip_format(Path(f"a{suffix}"))})
        assert suffix_of(job) == suffix
    with pytest.raises(InputError, match="use one of"):
        clip_format(Path("a.avi"))
