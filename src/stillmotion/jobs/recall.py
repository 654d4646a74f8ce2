"""From what the user said, the still's own record and a clip's record, to a request.

What the user said comes first, then the record of the clip to make again, then that of the still,
then the model's defaults.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from stillmotion.animatezero.ingredients import Ingredients
from stillmotion.animatezero.loading import LoadedModel, load_model
from stillmotion.animatezero.photograph import PhotographSettings
from stillmotion.animatezero.prompt import PromptTrack
from stillmotion.animatezero.settings import AnimateZeroSettings
from stillmotion.diffusion.settings import SamplingSettings
from stillmotion.diffusion.speed import SpeedSettings
from stillmotion.errors import InputError, ModelError
from stillmotion.jobs.clip_requests import AnimateRequest
from stillmotion.jobs.common import chosen_seed, chosen_speed, with_changes
from stillmotion.jobs.context import Say
from stillmotion.jobs.drawn_steps import steps_differ, steps_do_not_fit
from stillmotion.jobs.pictures import Picture, fitted, fitted_to, load_picture
from stillmotion.jobs.recordings import (
    Recording,
    check_last_is_given,
    read_recording,
    still_again,
    tell_what_differs,
    what_is_missing,
)
from stillmotion.jobs.records import ClipRecipe
from stillmotion.jobs.wishes import Wish, chosen_control, chosen_photographs, text_along
from stillmotion.media.still import Still, latents_path
from stillmotion.models.loading import split_reference
from stillmotion.models.registry import MINIATURE

_NO_FILES = ("scheduler", "clip_skip")
"""Ingredients that a record tells in full."""
Load = Callable[..., LoadedModel]
"""`load_model`, or something in its place."""


def prepare(wish: Wish, say: Say, load: Load | None = None) -> tuple[LoadedModel, AnimateRequest]:
    """Load the model (by `load`) and the pictures, and fill in what was left open.

    Raises:
        InputError: nothing to animate, or a record or picture that does not fit.
        ModelError: the model is not here.
    """
    recording = read_recording(wish.source) if wish.source is not None else None
    kept = recording.recipe if recording is not None else None
    photograph = wish.photograph or (recording is not None and recording.recipe.photograph)
    given = load_picture(wish.still, photograph=photograph) if wish.still is not None else None
    if given is None and (recording is None or recording.provenance.still is None):
        raise InputError(what_is_missing(recording))
    if recording is not None:
        check_last_is_given(wish, recording)
    control, photographs = chosen_control(wish, kept), chosen_photographs(wish, kept)
    model = _load(wish, recording, given.still if given is not None else None, load or load_model)
    if given is None:
        assert recording is not None
        first = Picture(still_again(model, recording, quiet=wish.quiet), recording.name_of("still"))
    else:
        first = _usable(model, given, wish, photograph, say)
    first = fitted(model, first, photographs, say)
    last = _last_picture(model, wish, recording, first, photographs, say)
    if recording is not None:
        tell_what_differs(model, recording, first, last, say)
    return model, _request(wish, model, (first, last), recording, control, photographs)


def _usable(
    model: LoadedModel, picture: Picture, wish: Wish, photograph: bool, say: Say
) -> Picture:
    """A picture that the user named, as this model animates it."""
    still = picture.still
    if still.latents is not None and model.still_trajectory == "diffused":
        return replace(picture, still=still.without_latents())
    if still.latents is not None:
        _check_latents_fit(model, picture, wish)
    elif still.settings is not None and not photograph:
        assert picture.name is not None
        latents = latents_path(Path(picture.name))
        say(f"'{picture.name}' was drawn, but '{latents}' is not beside it any more")
    return picture


def _last_picture(
    model: LoadedModel,
    wish: Wish,
    recording: Recording | None,
    first: Picture,
    photographs: PhotographSettings,
    say: Say,
) -> Picture | None:
    """The last frame that was asked for, or recorded; the first picture itself for a loop."""
    kept = recording.recipe if recording is not None else None
    if wish.last_frame is not None:
        photograph = wish.photograph or (kept is not None and kept.last_photograph)
        given = load_picture(wish.last_frame, photograph=photograph)
        last = fitted_to(first, _usable(model, given, wish, photograph, say), photographs, say)
        _check_drawn_in_equal_steps(first, last)
        return last
    if wish.loop or wish.seamless or (kept is not None and kept.end == "loop"):
        return first
    return None


def _check_drawn_in_equal_steps(first: Picture, last: Picture) -> None:
    """Raises InputError if both pictures have latents, but not of the same steps."""
    steps = [
        picture.still.settings.num_inference_steps
        for picture in (first, last)
        if picture.still.latents is not None and picture.still.settings is not None
    ]
    if len(set(steps)) > 1:
        raise InputError(steps_differ(first.name, steps[0], last.name, steps[1]))


def _load(wish: Wish, recording: Recording | None, given: Still | None, load: Load) -> LoadedModel:
    """The model that the user named, else the one in the clip's record, else in the still's."""
    recorded = given.model.get("name") if given is not None else None
    if recording is not None:
        recorded = recording.provenance.model.name
    name, look = split_reference(recorded or MINIATURE)
    if wish.model is not None:
        own_look = split_reference(wish.model)[1]
        same = Path(wish.model).name == Path(name).name
        look = None if own_look is not None or not same else look
    try:
        return load(
            wish.model if wish.model is not None else name,
            look=wish.look if wish.look is not None else look,
            ingredients=_ingredients(wish, recording),
            device=wish.device,
            download=wish.download,
        )
    except ModelError as error:
        if wish.model is not None or recorded is None or name == MINIATURE:
            raise
        still = wish.still.path if wish.still is not None else None
        what = wish.source if recording is not None else still
        raise ModelError(
            f"'{what}' was made with the model '{name}', which is not at hand ({error}); say "
            "where it is with --model FOLDER, or which other one to use"
        ) from error


def _ingredients(wish: Wish, recording: Recording | None) -> Ingredients:
    """What was said, and of what was recorded that which is no file: scheduler and clip skip."""
    said = wish.ingredients
    recorded = recording.recipe.ingredients if recording is not None else {}
    left_open: dict[str, Any] = {name: recorded[name] for name in _NO_FILES if name in recorded}
    return replace(said, **{k: v for k, v in left_open.items() if getattr(said, k) is None})


def _check_latents_fit(model: LoadedModel, picture: Picture, wish: Wish) -> None:
    """Raises InputError if the still's latents are of another model or number of steps.

    The pipeline checks the same; this says it in the words of the command line.
    """
    still = picture.still
    if still.model.get("fingerprint") != model.pipeline.model_fingerprint:
        drawn_by = still.model.get("name", "an unknown model")
        now = model.name if model.name != drawn_by else f"{model.name} with other weights"
        raise InputError(
            f"'{picture.name}' was drawn by '{drawn_by}', and its latents fit no other model (now: "
            f"'{now}'); leave out --model and --look, give the files that it was drawn with, draw "
            "it again, or add --photograph to animate its pixels alone"
        )
    steps, drawn_in = wish.sampling["num_inference_steps"], still.settings
    if steps is not None and drawn_in is not None and steps != drawn_in.num_inference_steps:
        raise InputError(steps_do_not_fit(picture.name, drawn_in.num_inference_steps, steps))


def _request(
    wish: Wish,
    model: LoadedModel,
    ends: tuple[Picture, Picture | None],
    recording: Recording | None,
    control: AnimateZeroSettings,
    photographs: PhotographSettings,
) -> AnimateRequest:
    kept = recording.recipe if recording is not None else None
    first, last = ends
    num_frames = _first(wish.num_frames, kept and kept.num_frames)
    num_frames = num_frames or model.folder.description.num_frames
    seed = recording.provenance.seed if recording is not None else None
    return AnimateRequest(
        first=first,
        last=last,
        prompt=_prompt(wish, model, ends, recording, num_frames),
        seed=chosen_seed(wish.seed if wish.seed is not None else seed),
        count=wish.count,
        num_frames=num_frames,
        sampling=_sampling(wish, model, ends, kept),
        speed=chosen_speed(wish.speed, SpeedSettings.from_record(kept.speed) if kept else None),
        control=control,
        photographs=photographs,
        seamless=wish.seamless
        or (kept is not None and kept.seamless and last is first and not wish.loop),
        output=wish.output,
        fps=_first(wish.fps, kept and kept.fps, 8.0),
        scale=_first(wish.scale, kept and kept.scale, 1),
        memory=wish.memory,
        preview=wish.preview,
        on_preview=wish.on_preview,
        overwrite=wish.overwrite,
    )


def _prompt(
    wish: Wish,
    model: LoadedModel,
    ends: tuple[Picture, Picture | None],
    recording: Recording | None,
    num_frames: int,
) -> str | PromptTrack:
    """What was said, else what was recorded, else the stills' own; in the words of the look."""
    first, last = ends
    is_said = wish.prompt is not None or wish.towards is not None or bool(wish.prompt_at)
    if recording is not None and not is_said and recording.recipe.prompts is not None:
        return PromptTrack(recording.recipe.prompts)
    recorded = recording.provenance.prompt if recording is not None else first.still.prompt
    base = wish.prompt if wish.prompt is not None else recorded
    target = wish.towards
    own_words = recording is None and wish.prompt is None and not wish.prompt_at
    if target is None and last is not None and own_words:
        # Frames near the last still are drawn to it by its own words, as the first ones are.
        target = last.still.prompt or None
    return text_along(model.styled, base, target, wish.prompt_at, num_frames)


def _first(*values: Any) -> Any:
    """The first value that is not None."""
    return next((value for value in values if value is not None), None)


def _sampling(
    wish: Wish,
    model: LoadedModel,
    ends: tuple[Picture, Picture | None],
    kept: ClipRecipe | None,
) -> SamplingSettings:
    stills = [picture.still for picture in ends if picture is not None]
    # Latents fit one number of steps only, a photograph any.
    still = next((one for one in stills if one.latents is not None), stills[0])
    # A model whose stills are drawn in another way than its clips has settings of its own.
    drawn_alike = model.still_trajectory == "drawn"
    base = (still.settings if drawn_alike else None) or model.sampling
    if kept is not None:
        base = kept.sampling
    size = {"height": still.height, "width": still.width}
    return with_changes(base, **size, **wish.sampling)
