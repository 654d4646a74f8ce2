"""The same job with the same seed gives the same bytes by command line, Python and queue."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stillmotion.apps.cli import main
from stillmotion.jobs.context import Context, JobCancelledError, Output
from stillmotion.jobs.formats import file_name
from stillmotion.jobs.model import AnyJob, parse_job
from stillmotion.jobs.run import run_job
from stillmotion.jobs.shared_models import SharedModels
from stillmotion.queueing.leases import Leases
from stillmotion.queueing.library import Library
from stillmotion.queueing.queue import JobQueue
from stillmotion.queueing.runner import JobRunner
from stillmotion.queueing.tasks import Task, WorkerSettings
from stillmotion.queueing.views import JobView
from stillmotion.queueing.worker import Worker

WORDS = "a red balloon over green hills"
DRAW = {"kind": "draw", "prompt": WORDS, "seed": 7, "steps": 2, "count": 2}


@pytest.fixture(scope="module")
def models() -> SharedModels:
    return SharedModels(4)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """By the command line: two stills with latents and records."""
    folder = tmp_path_factory.mktemp("drawn")
    command_line("draw", WORDS, "--seed", 7, "--steps", 2, "--count", 2, "-o", folder / "still.png")
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("queue") / "library"


@pytest.fixture(scope="module")
def queued(root: Path, models: SharedModels) -> Callable[[dict[str, Any]], JobView]:
    """Makes a job by the queue."""
    runner = JobRunner(root, "auto", WorkerSettings())
    runner._models = models

    def make(fields: dict[str, Any]) -> JobView:
        queue = JobQueue(root)
        job_id = queue.submit(parse_job(fields)).job.id
        Worker(root, runner, name="w").work(until_empty=True)
        view = queue.get(job_id)
        assert view.state == "done", view
        return view

    return make


@pytest.fixture(scope="module")
def queued_stills(queued: Callable[[dict[str, Any]], JobView], root: Path) -> list[str]:
    """Ids of the stills of `DRAW`, as the queue made them."""
    library = Library(root)
    made = [library.get(artifact) for artifact in queued(DRAW).artifacts]
    return [artifact.id for artifact in made if artifact.kind == "still"]


def command_line(*arguments: object) -> None:
    with pytest.raises(SystemExit) as end:
        main([*map(str, arguments), "-q"])
    assert end.value.code == 0


def in_library(root: Path, view: JobView) -> dict[str, bytes]:
    library = Library(root)
    return {
        library.get(artifact).name: library.path(artifact).read_bytes()
        for artifact in view.artifacts
    }


def in_folder(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def by_python(job: AnyJob, folder: Path, models: SharedModels) -> dict[str, bytes]:
    folder.mkdir()
    run_job(job, Output(path=folder / file_name(job)), Context(models=models))
    return in_folder(folder)


def test_stills(
    drawn: Path, root: Path, queued_stills: list[str], models: SharedModels, tmp_path: Path
) -> None:
    expected = in_folder(drawn)
    assert sorted(expected) == [
        f"still-{number}{ending}" for number in (1, 2)
        for ending in (".latents.safetensors", ".png", ".png.json")
    ]  # fmt: skip
    job_id = Library(root).get(queued_stills[0]).job_id
    assert job_id is not None
    assert in_library(root, JobQueue(root).get(job_id)) == expected
    assert by_python(parse_job(DRAW), tmp_path / "python", models) == expected


CLIPS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("clip.mp4", {"kind": "animate", "prompt": "it rises", "motion_strength": 1.5},
     ["it rises", "--motion-strength", "1.5"]),
    ("clip.gif", {"kind": "loop", "format": "gif", "seamless": True}, ["--seamless"]),
    ("clip.webp", {"kind": "interpolate", "format": "webp"}, ["--last-frame", "still-2.png"]),
    ("clip.gif", {"kind": "interpolate", "format": "gif", "method": "dynamicrafter"},
     ["--method", "dynamicrafter", "--last-frame", "still-2.png"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "fields", "options"), CLIPS, ids=["animate", "loop", "interpolate", "dynamicrafter"]
)
def test_clips(
    name: str,
    fields: dict[str, Any],
    options: list[str],
    drawn: Path,
    queued: Callable[[dict[str, Any]], JobView],
    queued_stills: list[str],
    root: Path,
    models: SharedModels,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(drawn)
    folder = tmp_path / "command"
    folder.mkdir()
    alike = ["--seed", 3, "--frames", 3, "--steps", 2]
    command_line("animate", "still-1.png", *options, *alike, "-o", folder / name)
    expected = in_folder(folder)
    assert sorted(expected) == [name, f"{name}.json"]

    shared = {**fields, "seed": 3, "frames": 3, "steps": 2}
    of_files = {**shared, "still": {"path": "still-1.png"}}
    of_library = {**shared, "still": {"artifact": queued_stills[0]}}
    if fields["kind"] == "interpolate":
        of_files["last_frame"] = {"path": "still-2.png"}
        of_library["last_frame"] = {"artifact": queued_stills[1]}
    assert by_python(parse_job(of_files), tmp_path / "python", models) == expected
    view = queued(of_library)
    assert in_library(root, view) == expected
    clip = Library(root).get(view.artifacts[0])
    assert (clip.kind, clip.num_frames) == ("clip", 2 if fields["kind"] == "loop" else 3)


def test_a_film_and_its_scores(
    queued: Callable[[dict[str, Any]], JobView], queued_stills: list[str], root: Path
) -> None:
    script = {
        "defaults": {"frames": 3, "steps": 2},
        "shots": [{"image": "one"}, {"continue": True, "prompt": "b"}],
    }
    picture = {"artifact": queued_stills[0]}
    film = queued({"kind": "story", "script": script, "pictures": {"one": picture}})
    names = list(in_library(root, film))
    assert names == ["film.mp4", "film.mp4.json", "film.chapters.vtt"]
    clip = {"artifact": film.artifacts[0]}
    scores = queued({"kind": "evaluate", "clips": [clip], "still": picture, "prompt": WORDS})
    assert b'"i1_psnr"' in in_library(root, scores)["scores.json"]


def test_frames_come_in_one_file(
    queued: Callable[[dict[str, Any]], JobView], queued_stills: list[str], root: Path
) -> None:
    still = {"artifact": queued_stills[0]}
    view = queued({"kind": "animate", "still": still, "format": "frames", "frames": 2, "steps": 2})
    packed, record = (Library(root).get(artifact) for artifact in view.artifacts)
    assert (packed.content_type, packed.num_frames) == ("application/zip", 2)
    assert (record.kind, record.main) == ("record", packed.id)


@pytest.mark.parametrize(
    "fields",
    [
        DRAW,
        {"kind": "animate", "still": {"path": "still-1.png"}, "frames": 3},
        {"kind": "animate", "still": {"path": "still-1.png"}, "photograph": True, "frames": 3},
        {"kind": "loop", "still": {"path": "still-1.png"}, "method": "dynamicrafter", "steps": 3},
    ],
    ids=["draw", "animate", "photograph", "dynamicrafter"],
)
def test_a_job_is_cancelled_within_one_step(
    fields: dict[str, Any],
    drawn: Path,
    models: SharedModels,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(drawn)
    steps: list[int] = []
    job = parse_job(fields)
    context = Context(models=models, cancelled=lambda: len(steps) == 1)
    output = Output(path=tmp_path / file_name(job))
    with pytest.raises(JobCancelledError):
        run_job(job, output, context, lambda done, total: steps.append(done))
    assert steps == [1]
    assert in_folder(tmp_path) == {}


def test_why_a_job_failed_is_said_without_paths(
    root: Path, queued_stills: list[str], models: SharedModels
) -> None:
    queue = JobQueue(root)
    wrong = {"kind": "animate", "still": {"artifact": queued_stills[0]}, "steps": 9}
    job_id = queue.submit(parse_job(wrong)).job.id
    runner = JobRunner(root, "auto", WorkerSettings())
    runner._models = models
    Worker(root, runner, name="w").work(until_empty=True)
    view = queue.get(job_id)
    assert (view.state, view.attempts) == ("failed", 1)
    assert "'still-1.png' was drawn in 2 steps" in str(view.error)
    assert str(root) not in str(view.error)


def work(root: Path) -> None:
    """What the process of a worker does."""
    settings = WorkerSettings(lease_seconds=2, heartbeat_seconds=0.3)
    runner = JobRunner(root, "auto", settings)
    Worker(root, runner, name="w", settings=settings).work(until_empty=True)


def test_a_killed_worker_changes_no_byte(root: Path, drawn: Path) -> None:
    """In processes that have torch loaded already: the first is killed in mid-job."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "stillmotion.jobs.drawing_jobs"])
    queue = JobQueue(root)
    job_id = queue.submit(parse_job(DRAW)).job.id
    first = context.Process(target=work, args=(root,))
    first.start()
    wait(lambda: queue.get(job_id).progress > 0)
    first.kill()
    first.join()
    assert queue.get(job_id).state == "running"
    wait(lambda: Leases(root).reclaim() == 1)
    second = context.Process(target=work, args=(root,))
    second.start()
    second.join()
    view = queue.get(job_id)
    assert (view.state, view.attempts) == ("done", 2)
    assert in_library(root, view) == in_folder(drawn)


def test_previews_reach_who_watches(
    root: Path, queued_stills: list[str], models: SharedModels
) -> None:
    queue, seen = JobQueue(root), []
    still = {"artifact": queued_stills[0]}
    queue.submit(parse_job({"kind": "animate", "still": still, "frames": 2, "steps": 2}))
    leases = Leases(root)
    claim = leases.claim("w")
    assert claim is not None
    runner = JobRunner(root, "auto", WorkerSettings())
    runner._models = models
    task = Task(
        claim=claim, job=parse_job(claim.job), progress=lambda done, total: None,
        preview=seen.append, say=lambda text: None, cancelled=lambda: False,
    )  # fmt: skip
    leases.complete(claim, runner(task))
    assert len(seen) == 2
    assert all(picture.startswith(b"\x89PNG") for picture in seen)


def wait(reached: Callable[[], bool], seconds: float = 120.0) -> None:
    """Until something is so."""
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.02)
