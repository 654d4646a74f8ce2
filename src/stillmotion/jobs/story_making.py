"""What `stillmotion story` does: shots that are missing are made, and all become one film.

facts = make_film(Path("story.yaml"), Path("film.mp4"), StorySettings(memory="lean"))
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillmotion.jobs.context import Progress as Told
from stillmotion.jobs.context import Say
from stillmotion.jobs.sources import Found
from stillmotion.jobs.story_film import Plan, Shooting
from stillmotion.jobs.story_mistakes import naming
from stillmotion.jobs.story_plan import Place, Script, plan_film
from stillmotion.jobs.story_shots import Studio, Target, clip_making, still_making
from stillmotion.media.chapters import timestamp
from stillmotion.media.clips import load_clip, read_provenance, save_clip
from stillmotion.media.fit import fit_picture
from stillmotion.media.images import side_car_path, write_picture
from stillmotion.media.provenance import Provenance
from stillmotion.media.transitions import join_shots
from stillmotion.runtime.files import atomic_path
from stillmotion.runtime.progress import Progress


@dataclass(frozen=True)
class Part:
    """A still or clip that is made for a film."""

    number: int
    """Of its shot, from 1."""
    num_shots: int
    doing: str
    """"draw" or "animate"."""

    @property
    def name(self) -> str:
        """For those who watch."""
        return f"shot {self.number}/{self.num_shots}, {self.doing}"


Watch = Callable[[Part], AbstractContextManager[Told]]


@contextmanager
def _on_terminal(part: Part, *, quiet: bool) -> Iterator[Told]:
    """Progress on the terminal."""
    with Progress(part.name, quiet=quiet) as progress:
        yield lambda done, total: progress.update(completed=done, total=total)


@dataclass(frozen=True, kw_only=True)
class StorySettings:
    """How a film is made; what it shows is in its script."""

    folder: Path | None = None
    """Where finished shots are kept; None: `film.shots` beside `film.mp4`."""
    studio: Studio = field(default_factory=Studio)
    dry_run: bool = False
    """Check and plan everything, and make nothing."""
    overwrite: bool = False
    quiet: bool = True
    """Show no progress."""
    watch: Watch | None = None
    """Shows the progress of a part in another way, or elsewhere."""
    on_preview: Callable[[bytes], None] | None = None
    """Given pictures of what the clip of a shot seems to become."""

    def watching(self, part: Part) -> AbstractContextManager[Told]:
        """For as long as a part is made."""
        return _on_terminal(part, quiet=self.quiet) if self.watch is None else self.watch(part)


def make_film(
    script: Path | Script,
    output: Path,
    settings: StorySettings | None = None,
    say: Say = lambda text: None,
) -> dict[str, Any]:
    """Make a film, its record and its chapter file; shots that are finished are not made again.

    `say` is told what is worth knowing.

    Returns:
        The facts: paths, size, length, and of each shot where it lies and whether it was made now.

    Raises:
        InputError, ModelError, OutputError: what is wrong with the script, before anything is
            computed; or the film cannot be written.
    """
    settings = settings or StorySettings()
    place = Place(
        output=output, folder=settings.folder, overwrite=settings.overwrite or settings.dry_run
    )
    read = Script.read(script) if isinstance(script, Path) else script
    plan = plan_film(read, place, settings.studio, say)
    if settings.dry_run:
        is_there = [plan.work.clip(shot.key) is not None for shot in plan.shots]
        return _facts(plan, dry_run=True, missing=[not there for there in is_there])
    clips: list[Path] = []
    missing = []
    for shot in plan.shots:
        found = plan.work.clip(shot.key)
        missing.append(found is None)
        with naming(shot.scene.label):
            clips.append(found or _make_clip(shot, plan, clips, settings))
    _save(plan, clips, overwrite=settings.overwrite)
    return _facts(plan, dry_run=False, missing=missing, clips=clips)


def _make_clip(shot: Shooting, plan: Plan, before: list[Path], settings: StorySettings) -> Path:
    """The file of a clip that was made now; `before` are those of the shots before it."""
    scene, studio = shot.scene, settings.studio
    path = plan.work.new_clip(scene.number, shot.key)
    with tempfile.TemporaryDirectory(prefix="stillmotion-") as stage:
        picture = scene.picture
        if scene.shot.draw is not None:
            drawn = _drawn(shot, plan, settings)
            picture = Found(drawn, drawn.name)
        elif picture is None:
            last = Path(stage) / f"last-of-shot-{scene.number - 1}.png"
            write_picture(load_clip(before[-1]).frames[-1], last, format="PNG")
            picture = Found(last, last.name)
        # What is worth knowing was said when it was checked.
        target = Target(path, settings.on_preview)
        making = clip_making(scene, picture, target, studio, lambda text: None)
        with settings.watching(Part(scene.number, len(plan.shots), "animate")) as told:
            making.make(told)
    return path


def _drawn(shot: Shooting, plan: Plan, settings: StorySettings) -> Path:
    """The still of a shot, drawn now unless it is there."""
    assert shot.still_key is not None
    found = plan.work.still(shot.still_key)
    if found is not None:
        return found
    path = plan.work.new_still(shot.scene.number, shot.still_key)
    making = still_making(shot.scene, path, plan.story.size, settings.studio)
    with settings.watching(Part(shot.scene.number, len(plan.shots), "draw")) as told:
        making.make(told)
    return path


def _save(plan: Plan, clips: list[Path], *, overwrite: bool) -> None:
    """Write the film and, once it is there, its chapters."""
    film = join_shots(_shown(plan, clips), plan.lengths, plan.transitions)
    replace = overwrite or plan.has_chapters()
    with atomic_path(plan.chapter_file, overwrite=replace) as temporary:
        temporary.write_bytes(plan.chapter_text.encode())
        save_clip(
            film,
            plan.output,
            fps=plan.story.fps,
            provenance=plan.record([_record(path) for path in clips]),
            overwrite=overwrite,
            scale=plan.story.scale,
        )


def _record(clip: Path) -> Provenance:
    """Of a finished clip, without what only its own file has to say."""
    return read_provenance(clip).model_copy(update={"output": None})


def _shown(plan: Plan, clips: list[Path]) -> Iterator[NDArray[np.uint8]]:
    """The frames of each shot that the film shows, in the film's size."""
    for shot, path in zip(plan.shots, clips, strict=True):
        frames = load_clip(path).frames[shot.num_frames - shot.num_shown :]
        yield np.stack([fit_picture(frame, plan.size)[0] for frame in frames])


def _facts(
    plan: Plan, *, dry_run: bool, missing: list[bool], clips: list[Path] | None = None
) -> dict[str, Any]:
    fps, (height, width) = plan.story.fps, plan.size
    rows = [
        {
            "number": shot.scene.number,
            "title": shot.scene.shot.title,
            "chapter": shot.scene.chapter,
            "method": shot.scene.method,
            "model": shot.record.model.name,
            "prompt": shot.record.prompt,
            "seed": shot.scene.seed,
            "transition": shot.scene.transition.kind,
            "num_frames": shot.num_shown,
            "start_frame": place.start,
            "stop_frame": place.stop,
            "start": timestamp(place.start, fps),
            "stop": timestamp(place.stop, fps),
            "is_missing" if dry_run else "was_made": is_missing,
            **({} if clips is None else {"clip": str(clips[index])}),
        }
        for index, (shot, place, is_missing) in enumerate(
            zip(plan.shots, plan.spans, missing, strict=True)
        )
    ]
    return {
        "path": str(plan.output),
        "record": str(side_car_path(plan.output)),
        "chapters": str(plan.chapter_file),
        "folder": str(plan.work.path),
        "dry_run": dry_run,
        "title": plan.story.title,
        "num_frames": plan.num_frames,
        "fps": fps,
        "width": width * plan.story.scale,
        "height": height * plan.story.scale,
        "shots": rows,
    }
