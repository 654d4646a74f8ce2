"""The same job with the same seed gives the same bytes by command line, Python, queue and HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path

import pytest
from tests.jobs.doors import (
    CASES,
    DRAW,
    Case,
    Files,
    Http,
    by_python,
    in_folder,
    in_library,
    job_of_command,
)

from stillmotion.jobs.model import KINDS, job_json, parse_job
from stillmotion.jobs.shared_models import SharedModels
from stillmotion.queueing.library import Library
from stillmotion.queueing.queue import JobQueue

each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def test_every_kind_is_among_them() -> None:
    assert {case.job.kind for case in CASES} == set(KINDS)


@each
def test_the_command_line_builds_that_job(case: Case, here: Path, tmp_path: Path) -> None:
    assert job_of_command(here, *case.words(tmp_path)) == case.job


@each
@pytest.mark.usefixtures("stills")
def test_the_same_bytes(
    case: Case,
    here: Path,
    by_command: Callable[[Case], Files],
    models: SharedModels,
    server: Http,
    root: Path,
    tmp_path: Path,
) -> None:
    expected = by_command(case)
    assert tuple(sorted(expected)) == case.makes
    with chdir(here):
        assert by_python(case.job, tmp_path / "python", models) == expected
        job_id = server.make(case.job)
        told = parse_job(server.told(case.job))
    assert in_library(root, job_id) == expected
    assert server.fetched(job_id, tmp_path / "http") == expected

    # The queue holds what it would hold had the job been given to it, and not to the server.
    view = JobQueue(root).get(job_id)
    assert view.job == json.loads(job_json(told))
    first = Library(root).get(view.artifacts[0])
    assert (first.kind, first.num_frames) == case.shown


def test_one_of_several_is_what_its_seed_alone_gives(
    here: Path, models: SharedModels, tmp_path: Path
) -> None:
    """The pages ask for each still by a job of its own."""
    alone = parse_job(DRAW.fields | {"seed": 8, "count": 1})
    assert {
        name.replace("still", "still-2"): content
        for name, content in by_python(alone, tmp_path / "python", models).items()
    } == {name: made for name, made in in_folder(here / "draw").items() if "still-2" in name}
