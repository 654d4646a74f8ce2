"""From what the user said, the still's own record and a clip's record, to a request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillmotion.animatezero.loading import LoadedModel, load_model
from stillmotion.animatezero.settings import FIG6_ROWS, AnimateZeroSettings, SamplingSettings
from stillmotion.animatezero.still import Still
from stillmotion.apps.jobs import AnimateRequest, ClipOptions, redrawn, with_changes
from stillmotion.errors import InputError
from stillmotion.media.clips import read_provenance
from stillmotion.media.provenance import Provenance, fingerprint_pixels

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the user said; `None` (also inside the dictionaries) is what was left open."""

    still: Path | None
    prompt: str | None
    source: Path | None
    seed: int | None
    model: str | None
    look: str | None
    num_frames: int | None
    sampling: dict[str, Any]
    control: dict[str, Any]
    clip: dict[str, Any]
    output: Path
    overwrite: bool
    device: str
    download: bool


def prepare(wish: Wish, progress: Progress) -> tuple[LoadedModel, AnimateRequest]:
    """Load the model and the still, and fill in what was left open.

    What the user said comes first, then the record of the clip to make again, then that of the
    still, then the model's defaults.

    Raises:
        InputError: nothing to animate, or a record that does not fit.
    """
    if wish.still is None and wish.source is None:
        raise InputError("there is nothing to animate: give a still, or a clip with --from CLIP")
    record = read_provenance(wish.source) if wish.source is not None else None
    if record is not None and record.kind != "clip":
        raise InputError(f"'{wish.source}' is a still; give it without --from")
    given = Still.load(wish.still) if wish.still is not None else None
    model = load_model(
        wish.model or _recorded_model(record, given) or "miniature",
        look=wish.look, device=wish.device, download=wish.download,
    )  # fmt: skip
    still = given if given is not None else _still_again(model, wish, record, progress)
    return model, _request(wish, model, still, record)


def _request(
    wish: Wish, model: LoadedModel, still: Still, record: Provenance | None
) -> AnimateRequest:
    kept: dict[str, Any] = dict(record.settings) if record is not None else {}
    base = still.settings or model.sampling
    if "sampling" in kept:
        base = SamplingSettings(**kept["sampling"])
    elif still.settings is None:
        base = with_changes(base, height=still.height, width=still.width)
    prompt = wish.prompt if wish.prompt is not None else (record.prompt if record else still.prompt)
    clip = {"fps": kept.get("fps", 8.0), "scale": kept.get("scale", 1)}
    clip |= {name: value for name, value in wish.clip.items() if value is not None}
    return AnimateRequest(
        still=still,
        output=wish.output,
        prompt=prompt,
        seed=wish.seed if wish.seed is not None else (record.seed if record else None),
        num_frames=wish.num_frames or kept.get("num_frames") or model.folder.description.num_frames,
        sampling=with_changes(base, **wish.sampling),
        control=_control(wish.control, kept.get("control")),
        options=ClipOptions(overwrite=wish.overwrite, **clip),
        still_name=wish.still.name if wish.still is not None else None,
    )


def _control(wished: dict[str, Any], recorded: dict[str, Any] | None) -> AnimateZeroSettings:
    """The row of Fig. 6 if one is named, else the recorded settings; then single changes."""
    row, changes = wished["row"], {k: v for k, v in wished.items() if k != "row"}
    if row is not None and row not in FIG6_ROWS:
        raise InputError(f"the row '{row}' is not in Fig. 6; it has: {', '.join(FIG6_ROWS)}")
    base = AnimateZeroSettings()
    if row is not None:
        base = FIG6_ROWS[row]
    elif recorded is not None:
        blocks = tuple(recorded["window_blocks"])
        base = AnimateZeroSettings(**(recorded | {"window_blocks": blocks}))
    return with_changes(base, **changes)


def _recorded_model(record: Provenance | None, still: Still | None) -> str | None:
    if record is not None:
        return record.model.name
    return still.model.get("name") if still is not None and still.latents is not None else None


def _still_again(
    model: LoadedModel, wish: Wish, record: Provenance | None, progress: Progress
) -> Still:
    """The still of a recorded clip, drawn anew, and proved to be the same."""
    assert record is not None
    if record.still is None:
        name = next((i.name for i in record.inputs if i.role == "still" and i.name), "the still")
        raise InputError(
            f"'{wish.source}' was made from a picture that was given ({name}); give it again: "
            f"stillmotion animate PICTURE --from {wish.source} -o OUTPUT"
        )
    still = redrawn(model, record.still, progress)
    expected = next((i.sha256 for i in record.inputs if i.role == "still"), None)
    if expected != fingerprint_pixels(still.image):
        raise InputError(
            f"the still of '{wish.source}' comes out differently here (model "
            f"'{record.model.name}', other weights or another kind of processor); give the still "
            f"itself: stillmotion animate STILL --from {wish.source} -o OUTPUT"
        )
    return still
