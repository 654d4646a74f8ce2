"""The shots of a script with all that was left open filled in: what each says, or its defaults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stillmotion.errors import InputError
from stillmotion.jobs.methods import ANIMATEZERO, DYNAMICRAFTERS_OWN, chosen_method, refuse_options
from stillmotion.jobs.sources import Found
from stillmotion.jobs.story_mistakes import naming, shot_label
from stillmotion.jobs.story_script import Options, Shot, Story
from stillmotion.media.transitions import CUT, Transition

_ANIMATEZEROS_OWN = ("look", "photograph", "motion_strength")


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A shot that is ready to be checked against its model."""

    number: int
    """From 1."""
    shot: Shot
    method: str
    seed: int
    transition: Transition
    picture: Found | None
    """The picture that it begins with, if one is given."""
    last_frame: Found | None

    @property
    def label(self) -> str:
        """For messages."""
        return shot_label(self.number, self.shot.title)

    @property
    def chapter(self) -> str:
        """What viewers are told."""
        shot = self.shot
        text = shot.title or shot.prompt or shot.draw or f"Shot {self.number}"
        return " ".join(text.split())

    @property
    def repeats_a_frame(self) -> bool:
        """Whether its first frame is the one shown just before, and is left out of the film."""
        return self.shot.continues and self.transition == CUT


FindPicture = Callable[[str], Found]
"""Finds a picture by the name that a script has for it.  Raises InputError if it is not there."""


def beside_script(folder: Path) -> FindPicture:
    """Names are paths, relative to the folder of the script."""

    def find(name: str) -> Found:
        path = folder / Path(name).expanduser()
        if not path.is_file():
            raise InputError(f"there is no picture '{path}'; paths are relative to the script.")
        return Found(path, path.name)

    return find


def cast(story: Story, find: FindPicture) -> list[Scene]:
    """The shots.

    Raises InputError, with the shot, for a picture that is not there, a first shot with nothing
    to continue, or an option that the shot's method does not have.
    """
    scenes = []
    useless = set(Options.model_fields) - {"method", "transition"}
    for number, shot in enumerate(story.shots, 1):
        with naming(shot_label(number, shot.title)):
            scenes.append(_scene(number, shot, story, find))
        useless &= _not_for(shot, scenes[-1].method, story.defaults)
    for name in sorted(useless):
        if getattr(story.defaults, name) is not None:
            raise InputError(f"defaults: {name} is for none of the shots; leave it out.")
    return scenes


def _scene(number: int, shot: Shot, story: Story, find: FindPicture) -> Scene:
    if shot.continues and number == 1:
        raise InputError("there is no shot before it to continue; give an image, or draw one.")
    method = _method(shot, story.defaults)
    _refuse(shot, method)
    filled = _filled(shot, story.defaults, method)
    default = story.defaults.transition or CUT
    # What continues goes on without a seam, unless the shot itself says otherwise; and a
    # crossfade needs a shot before it.
    cannot = shot.continues or (number == 1 and default.kind == "crossfade")
    return Scene(
        number=number,
        shot=filled,
        method=method,
        seed=story.seed + number - 1 if shot.seed is None else shot.seed,
        transition=shot.transition or (CUT if cannot else default),
        picture=find(shot.image) if shot.image is not None else None,
        last_frame=find(shot.last_frame) if shot.last_frame is not None else None,
    )


def _method(shot: Shot, defaults: Options) -> str:
    if shot.method is None and shot.model is None:
        return chosen_method(defaults.method, defaults.model, None)
    return chosen_method(shot.method, shot.model, None)


def _refuse(shot: Shot, method: str) -> None:
    """Raises InputError for options that the shot says and its method does not have."""
    foreign = _foreign(shot, method) - {"drawing_model"}
    refuse_options(method, {name: getattr(shot, name) for name in sorted(foreign)})
    if shot.drawing_model is not None and "drawing_model" in _foreign(shot, method):
        raise InputError(
            "drawing_model is for shots that draw a still and animate it by dynamicrafter; leave "
            "it out" + (", or say model." if shot.draw else ".")
        )


def _foreign(shot: Shot, method: str) -> set[str]:
    """Options that a shot cannot have."""
    names = {*(DYNAMICRAFTERS_OWN if method == ANIMATEZERO else _ANIMATEZEROS_OWN)}
    if shot.draw is not None:
        names.discard("look")  # it is also one of drawing
    if shot.draw is None or method == ANIMATEZERO:
        names.add("drawing_model")
    return names


def _not_for(shot: Shot, method: str, defaults: Options) -> set[str]:
    """Defaults that a shot does not take."""
    names = _foreign(shot, method)
    if defaults.model is not None and chosen_method(None, defaults.model, None) != method:
        names.add("model")
    return names


def _filled(shot: Shot, defaults: Options, method: str) -> Shot:
    """The shot with the defaults that it can have."""
    unused = {"method", "transition"} | _not_for(shot, method, defaults)
    left_open = {
        name: getattr(defaults, name)
        for name in Options.model_fields
        if name not in unused and getattr(shot, name) is None
    }
    return shot.model_copy(update=left_open)
