"""A run folder of the miniature -> the folder that ships: fp16 safetensors, diffusers' layout."""

from __future__ import annotations

import json
import platform
import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from diffusers import AutoencoderKL, ControlNetModel, MotionAdapter, UNet2DConditionModel
from transformers import CLIPModel, CLIPTextModel

from stillmotion.errors import InputError, OutputError
from stillmotion.miniature.data import render_stills
from stillmotion.miniature.preview import fit_latent_rgb
from stillmotion.miniature.recipe import Recipe
from stillmotion.miniature.text_to_image import build_scheduler
from stillmotion.miniature.train import DEFAULT_FOLDER
from stillmotion.runtime.files import atomic_folder, atomic_path
from stillmotion.runtime.seeds import derive_seed
from stillmotion.training.checkpoint import load_checkpoint
from stillmotion.world.vocabulary import DOMAINS

_NETWORKS = {
    "vae": AutoencoderKL,
    "unet": UNet2DConditionModel,
    "motion_adapter": MotionAdapter,
    "text_encoder": CLIPTextModel,
    "clip": CLIPModel,
}
_OPTIONAL = {"controlnet": ControlNetModel}
"""Packaged where it has been trained; a clip can be made without it."""
_COPIED = ("tokenizer", "loras", "judge.safetensors")

_MODEL_INDEX = {
    "_class_name": "AnimateDiffPipeline",
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "motion_adapter": ["diffusers", "MotionAdapter"],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}

_LOOK_WORDS = {
    "pixel-art": "pixel art,",
    "neon": "neon,",
    "sketch": "sketch,",
    "watercolour": "watercolour,",
}

GUIDANCE_SCALE = 4.0
_PREVIEW_STILLS = 500
"""Stills of all looks that the map from latents to colours is fitted to."""
CARD = "README.md"
_UNMEASURED = """# The miniature

Not measured yet: `stillmotion evaluate miniature --model FOLDER --write-card` writes the card.
"""


def package(recipe: Recipe, target: Path, folder: Path = DEFAULT_FOLDER) -> None:
    """Write `target` from the finished stages in `folder`, all of it or nothing.

    An older package there is replaced, and its model card with it: its numbers were measured on
    other weights.

    Raises:
        InputError: a part is missing because its stage has not been trained.
        OutputError: `target` is a folder of something else.
    """
    if target.is_dir() and any(target.iterdir()) and not (target / "stillmotion.json").is_file():
        raise OutputError(
            f"'{target}' holds something other than a packaged model, and is never replaced; "
            "choose another folder"
        )
    missing = [name for name in (*_NETWORKS, *_COPIED) if not (folder / name).exists()]
    if missing:
        raise InputError(
            f"{folder} lacks {', '.join(missing)}; train the stages that make them first"
        )
    with atomic_folder(target, overwrite=True) as temporary:
        optional = {n: kind for n, kind in _OPTIONAL.items() if (folder / n).exists()}
        for name, kind in {**_NETWORKS, **optional}.items():
            network = kind.from_pretrained(folder / name)
            network.to(torch.float16).save_pretrained(temporary / name)
            _forget_path(temporary / name / "config.json")
        for name in _COPIED:
            copy = shutil.copytree if (folder / name).is_dir() else shutil.copyfile
            copy(folder / name, temporary / name)
        build_scheduler().save_pretrained(temporary / "scheduler")
        write_json(temporary / "model_index.json", _MODEL_INDEX)
        vae = AutoencoderKL.from_pretrained(folder / "vae")
        write_json(temporary / "stillmotion.json", _description(recipe, vae))
        write_json(temporary / "training.json", _training(recipe, folder / "training"))
        (temporary / CARD).write_text(_UNMEASURED)


def _description(recipe: Recipe, vae: AutoencoderKL) -> dict[str, object]:
    seed = derive_seed(recipe.seed, "preview")
    stills = render_stills(_PREVIEW_STILLS, seed, recipe.image_size)
    looks = {
        domain: {"lora": f"loras/{domain}.safetensors", "prompt_prefix": _LOOK_WORDS[domain]}
        for domain in DOMAINS
        if domain != "plain"
    }
    return {
        "schema_version": 1,
        "title": "The miniature: small models of a procedural world, trained on it from nothing",
        "height": recipe.image_size,
        "width": recipe.image_size,
        "num_frames": recipe.num_frames,
        "num_inference_steps": 25,
        "guidance_scale": GUIDANCE_SCALE,
        "latent_rgb": fit_latent_rgb(vae.eval(), stills.images).rows(),
        "negative_prompt": "",
        "looks": looks,
        "card": CARD,
    }


def _training(recipe: Recipe, logs: Path) -> dict[str, object]:
    """What the model card tells of the training: recipe, machine, steps and seconds."""
    stages = []
    for path in sorted(logs.glob("*.checkpoint")):
        state = load_checkpoint(path) or {}
        stages.append({"name": path.stem, "steps": state["step"], "seconds": state["seconds"]})
    return {"hardware": _hardware(), "recipe": asdict(recipe), "stages": stages}


def _hardware() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


def _forget_path(config: Path) -> None:
    """Take out where the network was loaded from: it tells of this machine, not of the network."""
    kept = {k: v for k, v in json.loads(config.read_text()).items() if k != "_name_or_path"}
    write_json(config, kept)


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON."""
    with atomic_path(path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n")
