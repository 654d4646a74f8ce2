"""The same jobs through every door: the command line, Python, the queue and HTTP."""

from __future__ import annotations

import asyncio
import random
import shlex
import shutil
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from PIL import Image

from stillmotion.apps.cli import main
from stillmotion.apps.job_words import with_uploads
from stillmotion.client.connection import Client
from stillmotion.jobs.context import Context, Output
from stillmotion.jobs.formats import file_name
from stillmotion.jobs.model import AnyJob, job_json, parse_job
from stillmotion.jobs.run import run_job
from stillmotion.jobs.shared_models import SharedModels
from stillmotion.queueing.library import Library
from stillmotion.queueing.queue import JobQueue
from stillmotion.world.render import render_clip
from stillmotion.world.scene import sample_scene

WORDS = "a red balloon over green hills"
Files = dict[str, bytes]
Shell = Callable[..., None]
"""Runs `stillmotion` in a folder with some words."""
SCRIPT = """
title: Two shots
seed: 5
defaults: {steps: 2, frames: 3}
shots:
  - draw: a red balloon over green hills
    prompt: it rises
  - image: photo.png
    prompt: it falls
    transition: {crossfade: 1}
"""
SHOTS: dict[str, Any] = {
    "title": "Two shots", "seed": 5, "defaults": {"steps": 2, "frames": 3},
    "shots": [
        {"draw": WORDS, "prompt": "it rises"},
        {"image": "photo.png", "prompt": "it falls", "transition": {"crossfade": 1}},
    ],
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A job as a command and as fields, with files that `lay_out` makes."""

    name: str
    command: str
    output: str
    fields: dict[str, Any]
    makes: tuple[str, ...]
    shown: tuple[str, int | None]
    """What the library calls the first of them, and its number of frames."""

    @property
    def job(self) -> AnyJob:
        return parse_job(self.fields)

    def words(self, folder: Path) -> list[str]:
        """The command line that writes into `folder`."""
        return [*shlex.split(self.command), "-o", str(folder / self.output), "-q"]


def _clip(
    name: str, output: str, options: str, fields: dict[str, Any], num_frames: int = 3
) -> Case:
    """Three frames of a still in two steps."""
    return Case(
        name, f"animate still-1.png {options} --seed 3 --frames 3 --steps 2", output,
        {"still": {"path": "still-1.png"}, "seed": 3, "frames": 3, "steps": 2, **fields},
        (output, f"{output}.json"), ("clip", num_frames),
    )  # fmt: skip


_END = {"last_frame": {"path": "still-2.png"}}
DRAW = Case(
    "draw", f"draw '{WORDS}' --seed 7 --steps 2 --count 2", "still.png",
    {"kind": "draw", "prompt": WORDS, "seed": 7, "steps": 2, "count": 2},
    tuple(f"still-{number}{ending}" for number in (1, 2)
          for ending in (".latents.safetensors", ".png", ".png.json")),
    ("still", None),
)  # fmt: skip
CASES = (
    DRAW,
    _clip("animate", "clip.mp4", "'it rises' --motion-strength 1.5",
          {"kind": "animate", "prompt": "it rises", "motion_strength": 1.5}),
    _clip("loop", "clip.gif", "--seamless", {"kind": "loop", "format": "gif", "seamless": True},
          num_frames=2),
    _clip("interpolate", "clip.webp", "--last-frame still-2.png",
          {"kind": "interpolate", "format": "webp", **_END}),
    _clip("dynamicrafter", "clip.gif", "--last-frame still-2.png --method dynamicrafter",
          {"kind": "interpolate", "format": "gif", "method": "dynamicrafter", **_END}),
    Case("edit", "edit source.gif 'a blue star' --seed 3 --frames 2 --steps 2 --stride 2",
         "clip.mp4",
         {"kind": "edit", "clip": {"path": "source.gif"}, "prompt": "a blue star", "seed": 3,
          "frames": 2, "steps": 2, "stride": 2},
         ("clip.mp4", "clip.mp4.json"), ("clip", 2)),
    Case("story", "story story.yaml", "film.mp4",
         {"kind": "story", "script": SHOTS, "pictures": {"photo.png": {"path": "photo.png"}}},
         ("film.chapters.vtt", "film.mp4", "film.mp4.json"), ("clip", 5)),
    Case("evaluate", f"evaluate score source.gif --still still-1.png --prompt '{WORDS}' "
         "--last-frame photo.png", "scores.json",
         {"kind": "evaluate", "clips": [{"path": "source.gif"}], "still": {"path": "still-1.png"},
          "prompt": WORDS, "last_frame": {"path": "photo.png"}},
         ("scores.json",), ("scores", None)),
)  # fmt: skip


def lay_out(folder: Path, shell: Shell) -> None:
    """The files that the cases name; `draw/` holds what `DRAW` makes."""
    frames = render_clip(sample_scene(random.Random(3)), 4, 64).frames.permute(0, 2, 3, 1)
    if frames.is_floating_point():
        frames = (frames * 255).round()
    first, *others = [Image.fromarray(frame.byte().numpy()) for frame in frames]
    first.save(folder / "photo.png")
    first.save(folder / "source.gif", save_all=True, append_images=others, duration=120)
    (folder / "story.yaml").write_text(SCRIPT, encoding="utf-8")
    (folder / "draw").mkdir()
    shell(folder, *DRAW.words(folder / "draw"))
    for path in (folder / "draw").iterdir():
        shutil.copy(path, folder / path.name)


def command_line(folder: Path, *words: str) -> None:
    """Run `stillmotion` in this process, in a folder."""
    with chdir(folder), pytest.raises(SystemExit) as end:
        main(list(words))
    assert end.value.code == 0


class _SeenError(Exception):
    """Raised in place of making a job."""


def job_of_command(folder: Path, *words: str) -> AnyJob:
    """The job that a command line builds."""
    built: list[AnyJob] = []

    def seen(job: AnyJob, output: Output, context: Context) -> None:
        built.append(job)
        raise _SeenError

    with pytest.MonkeyPatch.context() as patch, chdir(folder):
        patch.setattr("stillmotion.jobs.run.prepare_job", seen)
        with pytest.raises(_SeenError):
            main(list(words))
    return built[0]


def by_python(job: AnyJob, folder: Path, models: SharedModels) -> Files:
    """What a job makes into a new folder."""
    folder.mkdir()
    run_job(job, Output(path=folder / file_name(job)), Context(models=models))
    return in_folder(folder)


def in_folder(folder: Path) -> Files:
    """The files of a folder, but not those in folders below it."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def in_library(root: Path, job_id: str) -> Files:
    """What a job of the queue has made."""
    library = Library(root)
    return {
        library.get(artifact).name: library.path(artifact).read_bytes()
        for artifact in JobQueue(root).get(job_id).artifacts
    }


class InProcess(httpx.BaseTransport):
    """Requests to an application without a network, each answered whole."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        return asyncio.run(self._answer(request))

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        asked = httpx.Request(
            request.method, request.url, headers=request.headers, content=request.content
        )
        answer = await httpx.ASGITransport(app=self._app).handle_async_request(asked)
        content = await answer.aread()
        return httpx.Response(answer.status_code, headers=answer.headers, content=content)


@dataclass
class Http:
    """A server as `stillmotion submit` uses it."""

    client: Client
    work: Callable[[], None] = lambda: None
    """Makes what waits; not needed where a worker does."""
    _ids: dict[str, str] = field(default_factory=dict)
    _made: dict[str, str] = field(default_factory=dict)

    def artifact(self, path: Path) -> dict[str, str]:
        """What the server has under this name, made there or else sent to it, once."""
        if path.name not in self._ids:
            self._ids[path.name] = self.client.upload(path)["id"]
        return {"id": self._ids[path.name]}

    def told(self, job: AnyJob) -> dict[str, Any]:
        """The job with artifacts for files."""
        return with_uploads(job, self.artifact)

    def make(self, job: AnyJob) -> str:
        """The id of a job that is done, made now unless it was before."""
        key = job_json(job)
        if key not in self._made:
            job_id = self.client.submit(self.told(job))["id"]
            self.work()
            ended = self.client.wait(job_id)
            assert ended["state"] == "done", ended["error"]
            self._made[key] = job_id
        return self._made[key]

    def draw_stills(self) -> None:
        """Make the stills that the cases take, so that they need not be sent."""
        for still in self.client.artifacts(job=self.make(DRAW.job), kind="still"):
            self._ids[still["name"]] = still["id"]

    def fetched(self, job_id: str, folder: Path) -> Files:
        """All that a job made, fetched in small parts into a new folder."""
        folder.mkdir()
        for artifact in self.client.artifacts(job=job_id, companions=True):
            path = folder / artifact["name"]
            assert self.client.download(artifact["id"], path, part=3000) == artifact["sha256"]
        return in_folder(folder)
