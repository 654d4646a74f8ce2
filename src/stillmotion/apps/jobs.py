"""What `draw` and `animate` do: from a request to written files with their provenance."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from stillmotion.animatezero.loading import LoadedModel
from stillmotion.animatezero.prompt import truncated_prompt_part
from stillmotion.animatezero.settings import FIG6_ROWS, AnimateZeroSettings, SamplingSettings
from stillmotion.animatezero.still import Still
from stillmotion.errors import InputError
from stillmotion.media.clips import save_clip
from stillmotion.media.provenance import (
    InputIdentity,
    ModelIdentity,
    Provenance,
    StillRecipe,
    fingerprint_pixels,
)

Progress = Callable[[int, int], None]
Say = Callable[[str], None]
_SEED_RANGE = 2**31


@dataclass(frozen=True, kw_only=True)
class DrawRequest:
    """Stills to draw; the first has `seed`, the next the number after it, and so on."""

    prompt: str
    output: Path
    count: int = 1
    seed: int | None = None
    sampling: SamplingSettings
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.count < 1:
            raise InputError(f"count is {self.count}; draw at least one still.")


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """How a clip is written."""

    fps: float = 8.0
    scale: int = 1
    overwrite: bool = False


@dataclass(frozen=True, kw_only=True)
class AnimateRequest:
    """A clip to make of a still."""

    still: Still
    output: Path
    prompt: str
    seed: int | None = None
    num_frames: int = 16
    sampling: SamplingSettings
    control: AnimateZeroSettings = field(default_factory=AnimateZeroSettings)
    options: ClipOptions = field(default_factory=ClipOptions)
    still_name: str | None = None


Settings = TypeVar("Settings", SamplingSettings, AnimateZeroSettings)


def with_changes(settings: Settings, **changes: Any) -> Settings:
    """`settings` with the changes that are not `None`."""
    return replace(settings, **{k: v for k, v in changes.items() if v is not None})


def chosen_seed(seed: int | None) -> int:
    """The seed given, or one by chance; either way it is recorded."""
    return secrets.randbelow(_SEED_RANGE) if seed is None else seed


def still_paths(output: Path, count: int) -> list[Path]:
    """`a.png` for one still; `a-1.png`, `a-2.png`, ... for several."""
    if count == 1:
        return [output]
    return [output.with_name(f"{output.stem}-{i}{output.suffix}") for i in range(1, count + 1)]


def draw(model: LoadedModel, request: DrawRequest, progress: Progress, say: Say) -> dict[str, Any]:
    """Draw and write stills; each is on disk as soon as it is finished.

    Returns:
        The facts: seeds, and per still its path and that of its latents.
    """
    paths = still_paths(request.output, request.count)
    for path in paths:
        check_writable_still(path, overwrite=request.overwrite)
    prompt = model.styled(request.prompt)
    tell_what_is_cut(model, prompt, say)
    first = chosen_seed(request.seed)
    steps = request.sampling.num_inference_steps
    rows = []
    for index, path in enumerate(paths):
        [still] = model.pipeline.draw(
            prompt,
            seeds=[first + index],
            sampling=request.sampling,
            progress=lambda done, _, index=index: progress(  # type: ignore[misc]
                index * steps + done, steps * len(paths)
            ),
        )
        still.save(path, overwrite=request.overwrite)
        rows.append({"path": str(path), "seed": first + index})
    return {"model": model.reference, "prompt": prompt, "stills": rows}


def animate(
    model: LoadedModel, request: AnimateRequest, progress: Progress, say: Say
) -> dict[str, Any]:
    """Animate a still and write the clip with its provenance.

    Returns:
        The facts: path, seed, frames, and whether the first frame is the still exactly.
    """
    prompt = model.styled(request.prompt)
    tell_what_is_cut(model, prompt, say)
    if request.still.latents is None and request.control.needs_trajectory:
        say(
            "this picture has no latents of its own drawing, so it is animated as a photograph: "
            "its pixels are diffused with one fixed noise"
        )
    seed = chosen_seed(request.seed)
    made = model.pipeline.animate(
        request.still,
        prompt,
        seed=seed,
        num_frames=request.num_frames,
        sampling=request.sampling,
        control=request.control,
        progress=progress,
    )
    provenance = clip_provenance(model, replace(request, prompt=prompt, seed=seed))
    is_tensors = request.output.suffix == ".safetensors"
    save_clip(
        made.frames[0],
        request.output,
        fps=request.options.fps,
        provenance=provenance,
        overwrite=request.options.overwrite,
        latents=made.latents if is_tensors else None,
        scale=request.options.scale,
    )
    exact = bool((made.frames[0, 0] == request.still.image).all())
    return {
        "path": str(request.output),
        "model": model.reference,
        "prompt": prompt,
        "seed": seed,
        "num_frames": int(made.frames.shape[1]),
        "first_frame_is_the_still": exact,
    }


def clip_provenance(model: LoadedModel, request: AnimateRequest) -> Provenance:
    """The record from which the same clip can be made again."""
    still, control = request.still, request.control
    assert request.seed is not None
    return Provenance(
        kind="clip",
        method="animatezero" if control != FIG6_ROWS["a"] else "animatediff",
        prompt=request.prompt,
        negative_prompt=request.sampling.negative_prompt,
        seed=request.seed,
        model=ModelIdentity(name=model.reference, fingerprint=model.pipeline.model_fingerprint),
        settings={
            "num_frames": request.num_frames,
            "sampling": asdict(request.sampling),
            "control": asdict(control) | {"window_blocks": list(control.window_blocks)},
            "fps": request.options.fps,
            "scale": request.options.scale,
        },
        inputs=(
            InputIdentity(
                role="still", sha256=fingerprint_pixels(still.image), name=request.still_name
            ),
        ),
        still=_still_recipe(still),
    )


def _still_recipe(still: Still) -> StillRecipe | None:
    if still.latents is None or still.seed is None or still.settings is None:
        return None
    return StillRecipe(
        prompt=still.prompt,
        negative_prompt=still.settings.negative_prompt,
        seed=still.seed,
        settings=asdict(still.settings),
    )


def redrawn(model: LoadedModel, recipe: StillRecipe, progress: Progress) -> Still:
    """Draw the still of a clip again, from the clip's provenance."""
    [still] = model.pipeline.draw(
        recipe.prompt,
        seeds=[recipe.seed],
        sampling=SamplingSettings(**recipe.settings),  # type: ignore[arg-type]
        progress=progress,
    )
    return still


def tell_what_is_cut(model: LoadedModel, prompt: str, say: Say) -> None:
    """Say which part of a long prompt the text encoder does not see."""
    cut = truncated_prompt_part(model.pipeline.tokenizer, prompt)
    if cut:
        limit = model.pipeline.tokenizer.model_max_length - 2
        say(f"the prompt is longer than {limit} tokens; this part of it is not seen: '{cut}'")


def check_writable_still(path: Path, *, overwrite: bool) -> None:
    """Refuse a name that cannot be written before an hour of drawing is spent on it.

    Raises:
        InputError: not a .png, or taken.
    """
    if path.suffix.lower() != ".png":
        raise InputError(f"'{path}' cannot hold a still; use the ending .png.")
    _check_free(path, overwrite=overwrite)


def check_writable_clip(path: Path, *, overwrite: bool) -> None:
    """Refuse a taken name before a clip is made.

    Raises:
        InputError: taken.
    """
    _check_free(path, overwrite=overwrite)


def _check_free(path: Path, *, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise InputError(f"'{path}' exists already; choose another name, or add --force.")
