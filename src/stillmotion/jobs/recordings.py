"""The record of a clip that is to be made again, and what it says of its pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stillmotion.animatezero.loading import LoadedModel
from stillmotion.errors import InputError
from stillmotion.jobs.context import Say
from stillmotion.jobs.pictures import Picture
from stillmotion.jobs.records import (
    LAST_FRAME,
    ClipRecipe,
    motion_fingerprint,
    recorded_sampling,
    refuse_film,
)
from stillmotion.jobs.wishes import Wish
from stillmotion.media.clips import read_provenance
from stillmotion.media.provenance import (
    InputIdentity,
    Provenance,
    StillRecipe,
    fingerprint_pixels,
)
from stillmotion.media.still import Still
from stillmotion.runtime.progress import Progress


@dataclass(frozen=True)
class Recording:
    """The record of a clip that is to be made again."""

    source: Path
    provenance: Provenance
    recipe: ClipRecipe

    def input(self, role: str) -> InputIdentity | None:
        """What went in as `role`."""
        inputs = self.provenance.inputs
        return next((given for given in inputs if given.role == role), None)

    def name_of(self, role: str) -> str | None:
        """What that is called, as far as the record says."""
        given = self.input(role)
        return given.name if given is not None else None


def read_recording(source: Path) -> Recording:
    """Raises InputError for what is no clip of one shot, and for an edited clip."""
    if source.is_file() and source.suffix.lower() == ".png":
        raise InputError(f"'{source}' is a picture, not a clip; give it without --from.")
    provenance = read_provenance(source)
    if provenance.kind != "clip":
        raise InputError(f"'{source}' is a still, not a clip; give it without --from.")
    refuse_film(provenance, source)
    recipe = ClipRecipe.from_record(provenance, source)
    if recipe.guide is not None:
        raise InputError(
            f"'{source}' was made by `stillmotion edit` from the clip '{recipe.guide.source}', "
            "which it does not hold; run that command again with the clip."
        )
    return Recording(source, provenance, recipe)


def check_last_is_given(wish: Wish, recording: Recording) -> None:
    """Raises InputError if the clip's last frame was a picture that has to be given again."""
    if wish.last_frame is not None or wish.loop or wish.seamless:
        return
    if recording.recipe.end == "still":
        name = recording.name_of(LAST_FRAME)
        raise InputError(
            f"'{recording.source}' ends with a picture{f' ({name!r})' if name else ''} that it "
            "does not hold; give that again with --last-frame PICTURE."
        )


def what_is_missing(recording: Recording | None) -> str:
    """Why there is no first frame: nothing was said, or the clip does not hold its picture."""
    if recording is None:
        return "there is nothing to animate: give a still, or a clip with --from CLIP."
    known = recording.name_of("still")
    name = f" ('{known}')" if known else ""
    return (
        f"'{recording.source}' was made from a picture{name} that it does not hold; give that "
        f"again: stillmotion animate PICTURE --from {recording.source} -o OUTPUT"
    )


def tell_what_differs(
    model: LoadedModel, recording: Recording, first: Picture, last: Picture | None, say: Say
) -> None:
    """Says why the clip cannot come out the same: other files, weights or pictures."""
    recorded, recipe = recording.provenance, recording.recipe
    missing = recipe.ingredients.keys() - model.ingredients.record().keys()
    if missing:
        names = ", ".join(sorted(missing))
        say(f"'{recording.source}' was made with files of your own ({names}); give them again")
    same_weights = recorded.model.fingerprint == model.pipeline.model_fingerprint
    if not (same_weights and recipe.motion_fingerprint == motion_fingerprint(model)):
        say(
            f"'{recording.source}' was made by '{recorded.model.name}' with other weights than "
            f"'{model.name}' has here; the new clip will differ"
        )
    for role, picture in (("still", first), (LAST_FRAME, last)):
        known = recording.input(role)
        if picture is None or known is None:
            continue
        if fingerprint_pixels(picture.given) != known.sha256:
            say(f"'{picture.name}' is not the picture that '{recording.source}' was made from")


def still_again(model: LoadedModel, recording: Recording, *, quiet: bool) -> Still:
    """The still of a recorded clip, drawn anew.  Raises InputError if it comes out differently."""
    recipe = recording.provenance.still
    assert recipe is not None
    with Progress("draw the still again", quiet=quiet) as progress:
        still = _drawn(model, recipe, recording.source, progress)
    known = recording.input("still")
    if known is None or fingerprint_pixels(still.image) != known.sha256:
        raise InputError(
            f"the still of '{recording.source}' comes out differently here, by '{model.name}' on "
            f"'{model.pipeline.device}' (other weights, or another kind of processor); give the "
            f"still itself: stillmotion animate STILL --from {recording.source} -o OUTPUT"
        )
    return still


def _drawn(model: LoadedModel, recipe: StillRecipe, source: Path, progress: Progress) -> Still:
    sampling, speed = recorded_sampling(recipe.settings, source)
    [still] = model.drawing_pipeline.draw(
        recipe.prompt,
        seeds=[recipe.seed],
        sampling=sampling,
        speed=speed,
        image_embeds=model.image_embeds(uses_guidance=sampling.uses_guidance),
        progress=lambda done, total: progress.update(completed=done, total=total),
    )
    return still
