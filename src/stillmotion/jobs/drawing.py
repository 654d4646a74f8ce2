"""What `draw` does: from a request to written stills with their provenance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillmotion.animatezero.checks import completed
from stillmotion.animatezero.guide import ControlGuide
from stillmotion.animatezero.loading import LoadedModel
from stillmotion.animatezero.requests import seeded
from stillmotion.diffusion.settings import SamplingSettings
from stillmotion.diffusion.speed import EXACT, SpeedSettings
from stillmotion.jobs.advice import tell_about_prompt, tell_about_speed
from stillmotion.jobs.context import Progress, Say
from stillmotion.jobs.outputs import numbered_paths
from stillmotion.jobs.previews import small_picture
from stillmotion.media.images import side_car_path
from stillmotion.media.still import latents_path


@dataclass(frozen=True, kw_only=True)
class DrawRequest:
    """Stills to draw; the first has `seed`, the next the number after it, and so on."""

    prompt: str
    output: Path
    count: int = 1
    seed: int
    sampling: SamplingSettings
    speed: SpeedSettings = EXACT
    guide: ControlGuide | None = None
    on_preview: Callable[[bytes], None] | None = None
    """Given a small picture of each still."""
    overwrite: bool = False


def check_drawing(model: LoadedModel, request: DrawRequest, say: Say) -> None:
    """Raises InputError for what cannot be drawn, before anything is computed."""
    completed(request.sampling, model.drawing_pipeline, None)
    seeded(request.seed)
    seeded(request.seed + request.count - 1)
    tell_about_prompt(model, request.prompt, say)
    tell_about_speed(request.speed, say)


def draw(model: LoadedModel, request: DrawRequest, progress: Progress) -> dict[str, Any]:
    """Draw and write stills; each is on disk as soon as it is finished.

    Returns:
        The facts: model, prompt, seed, and of each still its seed and the paths of its files.
    """
    paths = numbered_paths(request.output, request.count)
    steps = request.sampling.num_inference_steps
    image_embeds = model.image_embeds(uses_guidance=request.sampling.uses_guidance)
    rows = []
    for index, path in enumerate(paths):
        seed, before = request.seed + index, index * steps

        def tick(done: int, _: int, before: int = before) -> None:
            progress(before + done, steps * len(paths))

        [still] = model.drawing_pipeline.draw(
            request.prompt, seeds=[seed], sampling=request.sampling, guide=request.guide,
            speed=request.speed, image_embeds=image_embeds, progress=tick,
        )  # fmt: skip
        still.save(path, overwrite=request.overwrite)
        if request.on_preview is not None:
            request.on_preview(small_picture(still.image))
        rows.append(
            {
                "path": str(path),
                "latents": str(latents_path(path)),
                "record": str(side_car_path(path)),
                "seed": seed,
            }
        )
    return {
        "model": model.reference,
        "prompt": request.prompt,
        "seed": request.seed,
        "stills": rows,
    }
