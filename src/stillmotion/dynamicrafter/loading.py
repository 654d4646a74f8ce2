"""A model's name -> a DynamiCrafter pipeline with what its folder says about it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from stillmotion.adapters.steady_convolutions import keep_rounding_alike
from stillmotion.dynamicrafter.pipeline import DynamiCrafterPipeline
from stillmotion.dynamicrafter.settings import DynamiCrafterSettings
from stillmotion.models.loading import explained, shareable, silent_libraries
from stillmotion.models.registry import ModelFolder, resolve_model
from stillmotion.runtime.compiling import OFF, check_compiler
from stillmotion.runtime.system import choose_device


@dataclass(frozen=True)
class LoadedDynamiCrafter:
    """A pipeline with what its folder says about it."""

    reference: str
    """Loads the same again."""
    folder: ModelFolder
    pipeline: DynamiCrafterPipeline

    @property
    def name(self) -> str:
        """The reference as records carry it: of a folder the last part, which tells no user."""
        return shareable(self.reference)

    @property
    def settings(self) -> DynamiCrafterSettings:
        """The model's own defaults."""
        says = self.folder.description
        return DynamiCrafterSettings(
            num_inference_steps=says.num_inference_steps,
            guidance_scale=says.guidance_scale,
            guidance_rescale=says.guidance_rescale,
            negative_prompt=says.negative_prompt,
        )


def load_dynamicrafter(
    reference: str, *, device: str = "auto", download: bool = False, compiling: str = OFF
) -> LoadedDynamiCrafter:
    """Load a model that animates pictures by DynamiCrafter.

    Args:
        reference: a name for `resolve_model`.
        device: for `choose_device`; networks run in float32 on a CPU and in float16 elsewhere.
        download: whether what lies on a hub may be fetched.
        compiling: how the pipeline compiles its U-Net unless a call says otherwise, one of
            `CHOICES` in `runtime/compiling.py`.

    Raises:
        ModelError: no such model, one for another method, or one that is damaged.
        InputError: no such device, or no compiler for it.
    """
    place = choose_device(device)
    check_compiler(compiling, place)
    dtype = torch.float32 if place.type == "cpu" else torch.float16
    folder = resolve_model(reference, download=download)
    with silent_libraries(), explained(folder.name):
        pipeline = DynamiCrafterPipeline.from_pretrained(folder.path, dtype)
        pipeline.to(place)
        if place.type == "cpu":
            keep_rounding_alike(pipeline.unet, pipeline.vae)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.compiling = compiling
    return LoadedDynamiCrafter(reference, folder, pipeline)
