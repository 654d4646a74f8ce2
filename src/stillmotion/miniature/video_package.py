"""DynamiCrafter's models of a run folder -> folders within the miniature's package.

They share the VAE, the tokenizer and CLIP's image tower with the miniature around them and a text
encoder with each other, and say so in their descriptions.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from stillmotion.dynamicrafter.image_context import ImageContext
from stillmotion.dynamicrafter.stages import TrainingStage
from stillmotion.dynamicrafter.unet import DynamiCrafterUNet
from stillmotion.miniature.recipe import Recipe
from stillmotion.miniature.video import FULL_STRIDE, LATENTS_FILE, build_video_scheduler
from stillmotion.miniature.video_stages import OWN_STAGES, VIDEO_TEXT_ENCODER
from stillmotion.models.dynamicrafter_index import DYNAMICRAFTER_PIPELINE, PART_CLASSES
from stillmotion.runtime.files import write_json

VIDEO_PACKAGES = {"dynamicrafter": "finish", "dynamicrafter-interp": "interpolation"}
"""Folders in the package, and the stages of which they hold the networks."""
NUM_STEPS, GUIDANCE_SCALE, GUIDANCE_RESCALE = 25, 1.5, 0.7

_SHARED = {
    "vae": "vae",
    "text_encoder": VIDEO_TEXT_ENCODER,
    "tokenizer": "tokenizer",
    "image_encoder": "clip",
    "judge.safetensors": "judge.safetensors",
    "training.json": "training.json",
}
"""Parts of the miniature around a model: their names in the latter and in the former."""
_TITLES = {
    "dynamicrafter": "The miniature DynamiCrafter: animates pictures of the procedural world",
    "dynamicrafter-interp": "The miniature DynamiCrafter between two pictures",
}
_PICTURE_PARTS = ("image_encoder", "image_context")
_UNMEASURED = """# {title}

Not measured yet: `stillmotion evaluate miniature --model FOLDER --write-card` writes the card.
"""


def write_video_models(recipe: Recipe, folder: Path, package: Path) -> None:
    """Write below `package` what stages of the run folder `folder` have finished, if any."""
    for name, stage in VIDEO_PACKAGES.items():
        trained, target = folder / "dynamicrafter" / stage, package / name
        needed = (trained / "unet", trained / "image_context", folder / VIDEO_TEXT_ENCODER)
        if not all(path.is_dir() for path in needed):
            continue
        for part, kind in (("unet", DynamiCrafterUNet), ("image_context", ImageContext)):
            save_half(kind.from_pretrained(trained / part), target / part)
        # What lies in its own folder is no shared part.
        shared = {
            part: f"../{theirs}" for part, theirs in _SHARED.items() if theirs != f"{name}/{part}"
        }
        _describe(recipe, folder, target, OWN_STAGES[stage], _TITLES[name], shared)
        (target / "README.md").write_text(_UNMEASURED.format(title=_TITLES[name]))


def link_video_model(
    recipe: Recipe, folder: Path, networks: Path, target: Path, stage: TrainingStage
) -> None:
    """Write a model to `target`, inside the run folder `folder`, that consists of links alone.

    Args:
        recipe: of the run.
        folder: with the parts that all its models share.
        networks: with the U-Net and P that `stage` has made.
        target: a new folder.
        stage: decides what the model is told of pictures.
    """
    up = os.path.relpath(folder, target)
    shared = {part: f"{up}/{theirs}" for part, theirs in _SHARED.items()}
    for part in ("unet", "image_context"):
        shared[part] = os.path.relpath(networks / part, target)
    _describe(recipe, folder, target, stage, f"An ablation: {target.name}", shared)


def save_half(network: Any, folder: Path) -> None:
    """Save a network with 16 bits, without where it was loaded from: that tells of this machine."""
    network.to(torch.float16).save_pretrained(folder)
    config = folder / "config.json"
    kept = {k: v for k, v in json.loads(config.read_text()).items() if k != "_name_or_path"}
    write_json(config, kept)


def _describe(
    recipe: Recipe,
    folder: Path,
    target: Path,
    stage: TrainingStage,
    title: str,
    shared: Mapping[str, str],
) -> None:
    """Write the scheduler, the index and the description of a model."""
    build_video_scheduler().save_pretrained(target / "scheduler")
    index = {**_index(recipe, load_file(folder / LATENTS_FILE)["latents"]), **_facts(stage)}
    write_json(target / "model_index.json", index)
    description = {
        "schema_version": 1,
        "title": title,
        "height": recipe.image_size,
        "width": recipe.image_size,
        "num_frames": recipe.num_frames,
        "num_inference_steps": NUM_STEPS,
        "guidance_scale": GUIDANCE_SCALE,
        "guidance_rescale": GUIDANCE_RESCALE,
        "negative_prompt": "",
        "card": "README.md",
        "shared_parts": dict(shared),
    }
    write_json(target / "stillmotion.json", description)


def _facts(stage: TrainingStage) -> dict[str, Any]:
    """What the index says of a model by the stage that has made it."""
    absent = () if stage.context else _PICTURE_PARTS
    return {
        **{part: [None, None] if part in absent else kind for part, kind in PART_CLASSES.items()},
        "interpolates": stage.detail_guidance == "ends",
        "global_token_only": stage.global_token_only,
    }


def _index(recipe: Recipe, latents: Tensor) -> dict[str, Any]:
    """What all models have in common.

    `latents` (n f c h w) are of clips; their statistics are for `start_timestep`.
    """
    clips = latents.float()
    mean = clips.mean((0, 1, 3, 4))
    variance = (clips - mean[:, None, None]).square().mean()
    return {
        "_class_name": DYNAMICRAFTER_PIPELINE,
        "pace_kind": "frame_stride",
        "default_pace": FULL_STRIDE,
        "trained_frames": recipe.num_frames,
        "latent_mean": [round(float(value), 4) for value in mean],
        "latent_variance": round(float(variance), 4),
    }
