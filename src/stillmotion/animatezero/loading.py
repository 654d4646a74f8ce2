"""A model's name -> a pipeline that is ready to draw and animate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from stillmotion.adapters.steady_convolutions import keep_rounding_alike
from stillmotion.adapters.text_encoder import check_clip_skip
from stillmotion.animatezero.assembly import (
    add_ingredients,
    assemble,
    build_scheduler,
    merge_loras,
)
from stillmotion.animatezero.image_prompt import ip_adapter_embeds
from stillmotion.animatezero.ingredients import NOTHING, Ingredients, find_motion
from stillmotion.animatezero.pipeline import AnimateZeroPipeline
from stillmotion.diffusion.settings import SamplingSettings
from stillmotion.errors import ModelError
from stillmotion.media.images import load_image
from stillmotion.models.description import Look, StillTrajectory
from stillmotion.models.loading import (
    LOOK_MARK,
    explained,
    shareable,
    silent_libraries,
    split_reference,
)
from stillmotion.models.motion_files import MotionVersion, version_of
from stillmotion.models.registry import ModelFolder, resolve_model
from stillmotion.models.sources import hub_folder
from stillmotion.runtime.compiling import OFF, check_compiler
from stillmotion.runtime.system import choose_device

PLAIN = "plain"


@dataclass(frozen=True)
class LoadedModel:
    """A pipeline with what its folder says about it."""

    reference: str
    """`name` or `name@look`: loads the same again, with the same ingredients."""
    folder: ModelFolder
    look: Look | None
    pipeline: AnimateZeroPipeline
    drawing_pipeline: AnimateZeroPipeline
    """What stills are drawn with: the same networks, perhaps with another scheduler."""
    ingredients: Ingredients = NOTHING

    @property
    def name(self) -> str:
        """The reference as records carry it: of a folder the last part, which tells no user."""
        return shareable(self.reference)

    @property
    def sampling(self) -> SamplingSettings:
        """The model's own defaults."""
        says = self.folder.description
        return SamplingSettings(
            num_inference_steps=says.num_inference_steps,
            guidance_scale=says.guidance_scale,
            height=says.height,
            width=says.width,
            negative_prompt=says.negative_prompt,
            clip_skip=self.clip_skip,
        )

    @property
    def drawing(self) -> SamplingSettings:
        """The model's own defaults for drawing a still, for `drawing_pipeline`."""
        own = self.folder.description.drawing
        if own is None:
            return self.sampling
        return replace(
            self.sampling,
            num_inference_steps=own.num_inference_steps,
            guidance_scale=own.guidance_scale,
        )

    @property
    def still_trajectory(self) -> StillTrajectory:
        """Whether frame 1 follows the latents of the drawing, or of the still diffused."""
        return self.folder.description.still_trajectory

    @property
    def motion_version(self) -> MotionVersion:
        """Which version of AnimateDiff the motion modules are built as."""
        return version_of(self.pipeline.unet)

    @property
    def clip_skip(self) -> int:
        """Last layers of the text encoder that are left out."""
        return _clip_skip(self.folder, self.ingredients)

    def styled(self, prompt: str) -> str:
        """The prompt with the words that call for model and look, unless it has them already."""
        for prefix in (self.look.prompt_prefix if self.look else "", self._prefix):
            if prefix and prefix.rstrip(",") not in prompt:
                prompt = f"{prefix} {prompt}"
        return prompt

    @property
    def _prefix(self) -> str:
        return self.folder.description.prompt_prefix

    def image_embeds(self, *, uses_guidance: bool) -> tuple[Tensor, ...]:
        """What the U-Net sees of the IP-Adapter's picture, see `ip_adapter_embeds`; else empty.

        Raises InputError if the picture cannot be read.
        """
        picture = self.ingredients.ip_adapter_image
        if picture is None:
            return ()
        with torch.no_grad():
            image = Image.fromarray(load_image(picture))
            return ip_adapter_embeds(self.pipeline, image, uses_guidance=uses_guidance)


def load_model(
    reference: str = "miniature",
    *,
    ingredients: Ingredients = NOTHING,
    look: str | None = None,
    device: str = "auto",
    download: bool = False,
    compiling: str = OFF,
) -> LoadedModel:
    """Load a model, with LoRAs (that of a look among them) merged into its weights.

    Args:
        reference: a name for `resolve_model`, with `@look` behind it if one is wanted.
        ingredients: files that replace parts of the model or are added to it.
        look: the same look, given apart; "plain" is none.
        device: for `choose_device`; networks run in float32 on a CPU and in float16 elsewhere.
        download: whether what lies on a hub may be fetched.
        compiling: how the pipeline compiles its U-Net unless a call says otherwise, one of
            `CHOICES` in `runtime/compiling.py`.

    Raises:
        ModelError: no such model or look, a file of another kind, or one that does not fit.
        InputError: no such device, no compiler for it, or no such layer of the text encoder.
    """
    name, named_look = split_reference(reference)
    if look is not None and named_look is not None and look != named_look:
        raise ModelError(
            f"two looks are named, '{named_look}' in '{reference}' and '{look}'; name one"
        )
    place = choose_device(device)
    check_compiler(compiling, place)
    dtype = torch.float32 if place.type == "cpu" else torch.float16
    folder = resolve_model(name, download=download, replaced=ingredients.replaced)
    folder = _with(folder, ingredients, download=download)
    found, full = None, name
    wanted = look if look is not None else named_look
    if wanted is not None and wanted != PLAIN:
        found, full = _find_look(folder, wanted), f"{name}{LOOK_MARK}{wanted}"
    with silent_libraries(), explained(folder.name):
        pipeline = assemble(folder, dtype)
        look_lora = () if found is None else ((folder.path / found.lora, 1.0),)
        merge_loras(pipeline, (*folder.loras, *look_lora, *ingredients.motion_loras))
        add_ingredients(pipeline, ingredients)
        check_clip_skip(_clip_skip(folder, ingredients), pipeline.text_encoder)
        pipeline.to(place)
        if place.type == "cpu":
            keep_rounding_alike(pipeline.unet, pipeline.vae)
        drawing = _drawing_pipeline(pipeline, folder)
    for one in (pipeline, drawing):
        one.register_to_config(_name_or_path=shareable(full))
        one.set_progress_bar_config(disable=True)
        one.compiling = compiling
    return LoadedModel(full, folder, found, pipeline, drawing, ingredients)


def _with(folder: ModelFolder, ingredients: Ingredients, *, download: bool) -> ModelFolder:
    """`folder` with the files of the user in place of its own."""
    motion = folder.motion
    if ingredients.motion is not None:
        place = find_motion(ingredients.motion)
        motion = place if isinstance(place, Path) else hub_folder(place, download=download)
    return replace(
        folder,
        checkpoint=ingredients.checkpoint or folder.checkpoint,
        vae=ingredients.vae or folder.vae,
        motion=motion,
        loras=(*folder.loras, *ingredients.loras),
    )


def _clip_skip(folder: ModelFolder, ingredients: Ingredients) -> int:
    asked = ingredients.clip_skip
    return folder.description.clip_skip if asked is None else asked


def _drawing_pipeline(pipeline: AnimateZeroPipeline, folder: ModelFolder) -> AnimateZeroPipeline:
    """`pipeline` itself, or one around the same networks with the scheduler for stills."""
    own = folder.description.drawing
    if own is None:
        return pipeline
    scheduler = build_scheduler(own.scheduler, pipeline.scheduler.config.prediction_type)
    return AnimateZeroPipeline(**{**pipeline.components, "scheduler": scheduler})


def load_pipeline(reference: str = "miniature", **options: Any) -> AnimateZeroPipeline:
    """The pipeline of `load_model`, which says more; same arguments."""
    return load_model(reference, **options).pipeline


def _find_look(folder: ModelFolder, look: str) -> Look:
    looks = folder.description.looks
    if look not in looks:
        known = ", ".join([PLAIN, *looks])
        raise ModelError(f"the model '{folder.name}' has no look '{look}'; it has: {known}")
    return looks[look]
