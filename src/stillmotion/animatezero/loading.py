"""A model's name -> a pipeline that is ready to draw and animate."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from stillmotion.animatezero.pipeline import AnimateZeroPipeline
from stillmotion.animatezero.settings import SamplingSettings
from stillmotion.errors import ModelError
from stillmotion.models.description import Look
from stillmotion.models.registry import ModelFolder, resolve_model
from stillmotion.runtime.system import choose_device

_LOOK_MARK = "@"


@dataclass(frozen=True)
class LoadedModel:
    """A pipeline with what its folder says about it."""

    reference: str
    """`name` or `name@look`: loads the same again."""
    folder: ModelFolder
    look: Look | None
    pipeline: AnimateZeroPipeline

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
        )

    def styled(self, prompt: str) -> str:
        """The prompt with the words that call for the look, unless it has them already."""
        prefix = self.look.prompt_prefix if self.look else ""
        if not prefix or prefix.rstrip(",") in prompt:
            return prompt
        return f"{prefix} {prompt}"


def load_model(
    reference: str = "miniature",
    *,
    look: str | None = None,
    device: str = "auto",
    download: bool = False,
) -> LoadedModel:
    """Load a model, with the LoRA of a look merged into its weights.

    Args:
        reference: a name for `resolve_model`, with `@look` behind it if one is wanted.
        look: the same look, given apart.
        device: for `choose_device`; networks run in float32 on a CPU and in float16 elsewhere.
        download: whether a hub id may be fetched.

    Raises:
        ModelError: no such model or look, or the folder cannot be loaded.
    """
    name, _, named_look = reference.partition(_LOOK_MARK)
    look = look or named_look or None
    folder = resolve_model(name, download=download)
    found = _find_look(folder, look)
    place = choose_device(device)
    pipeline = _load(folder, torch.float32 if place.type == "cpu" else torch.float16)
    if found is not None:
        pipeline.load_lora_weights(folder.path, weight_name=found.lora)
        pipeline.fuse_lora()
        pipeline.unload_lora_weights()
    full = name if look is None else f"{name}{_LOOK_MARK}{look}"
    pipeline.register_to_config(_name_or_path=full)
    pipeline.set_progress_bar_config(disable=True)
    return LoadedModel(full, folder, found, pipeline.to(place))


def load_pipeline(reference: str = "miniature", **options: str | bool) -> AnimateZeroPipeline:
    """The pipeline of `load_model`, which says more; same arguments."""
    return load_model(reference, **options).pipeline  # type: ignore[arg-type]


def _load(folder: ModelFolder, dtype: torch.dtype) -> AnimateZeroPipeline:
    try:
        pipeline = AnimateZeroPipeline.from_pretrained(
            folder.path, dtype=dtype, local_files_only=True
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        first = str(error).strip().splitlines()[0]
        raise ModelError(f"the model '{folder.name}' cannot be loaded: {first}") from error
    assert isinstance(pipeline, AnimateZeroPipeline)
    return pipeline


def _find_look(folder: ModelFolder, look: str | None) -> Look | None:
    if look is None or look == "plain":
        return None
    looks = folder.description.looks
    if look not in looks:
        known = ", ".join(["plain", *looks])
        raise ModelError(f"the model '{folder.name}' has no look '{look}'; it has: {known}")
    return looks[look]
