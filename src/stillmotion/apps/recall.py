"""From what the user said, the still's own record and a clip's record, to a request.

What the user said comes first, then the record of the clip to make again, then that of the still,
then the model's defaults.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillmotion.animatezero.loading import LoadedModel, load_model, split_reference
from stillmotion.animatezero.settings import FIG6_ROWS, AnimateZeroSettings, SamplingSettings
from stillmotion.animatezero.still import Still, latents_path
from stillmotion.apps.advice import Say
from stillmotion.apps.jobs import AnimateRequest, chosen_seed, with_changes
from stillmotion.apps.records import ClipRecipe, motion_fingerprint, recorded_sampling
from stillmotion.errors import InputError, ModelError
from stillmotion.media.clips import read_provenance
from stillmotion.media.provenance import Provenance, StillRecipe, fingerprint_pixels
from stillmotion.models.registry import MINIATURE
from stillmotion.runtime.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the user said; `None` (also inside the dictionaries) is what was left open."""

    still: Path | None
    prompt: str | None
    source: Path | None
    photograph: bool
    seed: int | None
    model: str | None
    look: str | None
    num_frames: int | None
    sampling: dict[str, Any]
    row: str | None
    control: dict[str, Any]
    fps: float | None
    scale: int | None
    output: Path
    overwrite: bool
    device: str
    download: bool
    quiet: bool


@dataclass(frozen=True)
class Recording:
    """The record of a clip that is to be made again."""

    source: Path
    provenance: Provenance
    recipe: ClipRecipe

    @property
    def still_fingerprint(self) -> str | None:
        """sha256 of the pixels of the still that went in."""
        inputs = self.provenance.inputs
        return next((given.sha256 for given in inputs if given.role == "still"), None)

    @property
    def still_name(self) -> str | None:
        """File name of the still that went in."""
        inputs = self.provenance.inputs
        return next((given.name for given in inputs if given.role == "still"), None)


def prepare(wish: Wish, say: Say) -> tuple[LoadedModel, AnimateRequest]:
    """Load the model and the still, and fill in what was left open.

    Raises:
        InputError: nothing to animate, or a record or still that does not fit.
        ModelError: the model is not here.
    """
    recording = _read_recording(wish.source) if wish.source is not None else None
    given = _given_still(wish, recording)
    if given is None and (recording is None or recording.provenance.still is None):
        raise InputError(_what_is_missing(recording))
    control = _control(wish, recording)
    model = _load(wish, recording, given)
    if given is not None and given.latents is not None:
        _check_latents_fit(model, given, wish)
    if given is not None and given.latents is None:
        _tell_what_is_lost(wish, recording, given, say)
    if recording is not None:
        _tell_what_differs(model, recording, given, say)
    still = given if given is not None else _still_again(model, wish, recording)
    return model, _request(wish, model, still, recording, control)


def _read_recording(source: Path) -> Recording:
    if source.is_file() and source.suffix.lower() == ".png":
        raise InputError(f"'{source}' is a picture, not a clip; give it without --from.")
    provenance = read_provenance(source)
    if provenance.kind != "clip":
        raise InputError(f"'{source}' is a still, not a clip; give it without --from.")
    return Recording(source, provenance, ClipRecipe.from_record(provenance, source))


def _given_still(wish: Wish, recording: Recording | None) -> Still | None:
    """The still that the user named; without latents if it is to be taken as a photograph."""
    if wish.still is None:
        return None
    still = Still.load(wish.still)
    photograph = wish.photograph or (recording is not None and recording.recipe.photograph)
    return still.without_latents() if photograph else still


def _what_is_missing(recording: Recording | None) -> str:
    if recording is None:
        return "there is nothing to animate: give a still, or a clip with --from CLIP."
    name = f" ('{recording.still_name}')" if recording.still_name else ""
    return (
        f"'{recording.source}' was made from a picture{name} that it does not hold; give that "
        f"again: stillmotion animate PICTURE --from {recording.source} -o OUTPUT"
    )


def _load(wish: Wish, recording: Recording | None, given: Still | None) -> LoadedModel:
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
        return load_model(
            wish.model if wish.model is not None else name,
            look=wish.look if wish.look is not None else look,
            device=wish.device,
            download=wish.download,
        )
    except ModelError as error:
        if wish.model is not None or recorded is None or name == MINIATURE:
            raise
        what = wish.source if recording is not None else wish.still
        raise ModelError(
            f"'{what}' was made with the model '{name}', which is not at hand ({error}); say "
            "where it is with --model FOLDER, or which other one to use"
        ) from error


def _check_latents_fit(model: LoadedModel, still: Still, wish: Wish) -> None:
    """Raises InputError if the still's latents are of another model or number of steps.

    The pipeline checks the same; this says it in the words of the command line.
    """
    if still.model.get("fingerprint") != model.pipeline.model_fingerprint:
        drawn_by = still.model.get("name", "an unknown model")
        now = model.name if model.name != drawn_by else f"{model.name} with other weights"
        raise InputError(
            f"'{wish.still}' was drawn by '{drawn_by}', and its latents fit no other model (now: "
            f"'{now}'); leave out --model and --look, draw it again, or add --photograph to "
            "animate its pixels alone"
        )
    steps, drawn_in = wish.sampling["num_inference_steps"], still.settings
    if steps is not None and drawn_in is not None and steps != drawn_in.num_inference_steps:
        raise InputError(
            f"'{wish.still}' was drawn in {drawn_in.num_inference_steps} steps, and its latents "
            f"fit no other number, not {steps}; leave out --steps, draw it again, or add "
            "--photograph to animate its pixels alone"
        )


def _tell_what_is_lost(wish: Wish, recording: Recording | None, given: Still, say: Say) -> None:
    """A still that was drawn here should have its latents beside it."""
    wanted = wish.photograph or (recording is not None and recording.recipe.photograph)
    if wish.still is not None and given.settings is not None and not wanted:
        say(f"'{wish.still}' was drawn, but '{latents_path(wish.still)}' is not there any more")


def _tell_what_differs(
    model: LoadedModel, recording: Recording, given: Still | None, say: Say
) -> None:
    recorded, recipe = recording.provenance, recording.recipe
    same_weights = recorded.model.fingerprint == model.pipeline.model_fingerprint
    if not (same_weights and recipe.motion_fingerprint == motion_fingerprint(model)):
        say(
            f"'{recording.source}' was made by '{recorded.model.name}' with other weights than "
            f"'{model.name}' has here; the new clip will differ"
        )
    if given is not None and fingerprint_pixels(given.image) != recording.still_fingerprint:
        say(f"this is not the picture that '{recording.source}' was made from")


def _request(
    wish: Wish,
    model: LoadedModel,
    still: Still,
    recording: Recording | None,
    control: AnimateZeroSettings,
) -> AnimateRequest:
    kept = recording.recipe if recording is not None else None
    prompt, seed, still_name = still.prompt, None, None
    if recording is not None:
        prompt, seed = recording.provenance.prompt, recording.provenance.seed
        still_name = recording.still_name
    return AnimateRequest(
        still=still,
        still_name=wish.still.name if wish.still is not None else still_name,
        prompt=model.styled(wish.prompt if wish.prompt is not None else prompt),
        seed=chosen_seed(wish.seed if wish.seed is not None else seed),
        num_frames=_first(wish.num_frames, kept and kept.num_frames)
        or model.folder.description.num_frames,
        sampling=_sampling(wish, model, still, kept),
        control=control,
        output=wish.output,
        fps=_first(wish.fps, kept and kept.fps, 8.0),
        scale=_first(wish.scale, kept and kept.scale, 1),
        overwrite=wish.overwrite,
    )


def _first(*values: Any) -> Any:
    """The first value that is not None."""
    return next((value for value in values if value is not None), None)


def _sampling(
    wish: Wish, model: LoadedModel, still: Still, kept: ClipRecipe | None
) -> SamplingSettings:
    base = still.settings or model.sampling
    if kept is not None:
        base = kept.sampling
    size = {"height": still.height, "width": still.width}
    return with_changes(base, **size, **wish.sampling)


def _control(wish: Wish, recording: Recording | None) -> AnimateZeroSettings:
    """The row of Fig. 6 if one is named, else the recorded settings; then single changes."""
    if wish.row is None:
        base = recording.recipe.control if recording is not None else AnimateZeroSettings()
    elif wish.row in FIG6_ROWS:
        base = FIG6_ROWS[wish.row]
    else:
        raise InputError(f"the row '{wish.row}' is not in Fig. 6; it has: {', '.join(FIG6_ROWS)}")
    return with_changes(base, **wish.control)


def _still_again(model: LoadedModel, wish: Wish, recording: Recording | None) -> Still:
    """The still of a recorded clip, drawn anew, and proved to be the same."""
    assert recording is not None
    recipe = recording.provenance.still
    assert recipe is not None
    with Progress("draw the still again", quiet=wish.quiet) as progress:
        still = _drawn(model, recipe, recording.source, progress)
    if fingerprint_pixels(still.image) != recording.still_fingerprint:
        raise InputError(
            f"the still of '{recording.source}' comes out differently here, by '{model.name}' on "
            f"'{model.pipeline.device}' (other weights, or another kind of processor); give the "
            f"still itself: stillmotion animate STILL --from {recording.source} -o OUTPUT"
        )
    return still


def _drawn(model: LoadedModel, recipe: StillRecipe, source: Path, progress: Progress) -> Still:
    [still] = model.pipeline.draw(
        recipe.prompt,
        seeds=[recipe.seed],
        sampling=recorded_sampling(recipe.settings, source),
        progress=lambda done, total: progress.update(completed=done, total=total),
    )
    return still
