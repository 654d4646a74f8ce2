"""From a script to the plan of a film, with everything checked that can be before computing."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stillmotion.errors import InputError
from stillmotion.jobs.context import Say
from stillmotion.jobs.outputs import check_clip_outputs, check_file_output
from stillmotion.jobs.rehearsal import ClipAhead, rehearse
from stillmotion.jobs.sources import Found
from stillmotion.jobs.story_cast import FindPicture, Scene, beside_script, cast
from stillmotion.jobs.story_film import Plan, Shooting, beside
from stillmotion.jobs.story_folder import WorkFolder, key_of
from stillmotion.jobs.story_mistakes import in_script_words, naming
from stillmotion.jobs.story_script import Story, read_script
from stillmotion.jobs.story_shots import Studio, Target, clip_making, still_making
from stillmotion.media.images import write_picture
from stillmotion.media.transitions import check_transitions


@dataclass(frozen=True)
class Script:
    """A script, and where its pictures are."""

    story: Story
    find: FindPicture

    @classmethod
    def read(cls, path: Path) -> Script:
        """From a file.  Raises InputError, with the shot and the field, if it is no script."""
        return cls(read_script(path), beside_script(path.parent))


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a film is to be written, and where its finished shots are kept."""

    output: Path
    folder: Path | None
    """None: `film.shots` beside `film.mp4`."""
    overwrite: bool


def plan_film(script: Script, place: Place, studio: Studio, say: Say) -> Plan:
    """Check all of a script; nothing is drawn, animated or written.

    Raises a StillmotionError, with the shot that it is about, for whatever would stop the film.
    """
    story = script.story
    scenes = cast(story, script.find)
    check_clip_outputs(place.output, 1, overwrite=place.overwrite)
    work = WorkFolder(place.folder or beside(place.output, "shots"))
    check_file_output(work.path / "shot.safetensors", overwrite=True)
    shots: list[Shooting] = []
    with tempfile.TemporaryDirectory(prefix="stillmotion-") as stage:
        for scene in scenes:
            before = shots[-1] if shots else None
            with naming(scene.label):
                shots.append(_checked(scene, before, _Rehearsal(story, Path(stage), studio, say)))
    size = story.size or shots[0].size
    plan = Plan(story=story, output=place.output, work=work, size=size, shots=tuple(shots))
    check_transitions(plan.lengths, plan.transitions, [scene.label for scene in scenes])
    check_file_output(plan.chapter_file, overwrite=place.overwrite or plan.has_chapters())
    ahead = ClipAhead(num_frames=plan.num_frames, height=size[0], width=size[1], fps=story.fps,
                      scale=story.scale)  # fmt: skip
    with naming("the film"):
        rehearse(ahead, place.output, plan.record([shot.record for shot in shots]))
    return plan


@dataclass(frozen=True)
class _Rehearsal:
    story: Story
    stage: Path
    """A temporary folder for pictures in place of those that are not there yet."""
    studio: Studio
    say: Say


def _checked(scene: Scene, before: Shooting | None, rehearsal: _Rehearsal) -> Shooting:
    """A shot, checked with a black picture where its first frame is still to be made."""
    stage, studio, still_key = rehearsal.stage, rehearsal.studio, None

    def say(text: str) -> None:
        rehearsal.say(f"{scene.label}: {in_script_words(text)}")

    stand_in_file = stage / f"first-of-shot-{scene.number}.png"
    picture = scene.picture or Found(stand_in_file, stand_in_file.name)
    if scene.shot.draw is not None:
        still = still_making(scene, stand_in_file, rehearsal.story.size, studio)
        still.check(say)
        stand_in = still.stand_in()
        stand_in.save(stand_in_file)
        still_key = key_of(stand_in.provenance())
    elif scene.shot.continues:
        assert before is not None
        write_picture(np.zeros((*before.size, 3), np.uint8), stand_in_file, format="PNG")
    clip = clip_making(scene, picture, Target(stage / "clip.safetensors"), studio, say)
    clip.check(say)
    least = 1 + int(scene.repeats_a_frame)
    if clip.num_frames < least:
        raise InputError(
            f"frames is {clip.num_frames}; a shot that continues shows its first frame as the "
            f"last of the shot before, so give at least {least}."
        )
    parent = before.key if before is not None and scene.shot.continues else still_key
    return Shooting(
        scene=scene,
        key=key_of(clip.record, *([parent] if parent is not None else [])),
        still_key=still_key,
        record=clip.record,
        num_frames=clip.num_frames,
        size=clip.size,
    )
