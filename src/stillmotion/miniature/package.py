"""A run folder of the miniature -> the folder that ships: fp16 safetensors, diffusers' layout."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, MotionAdapter, UNet2DConditionModel
from transformers import CLIPModel, CLIPTextModel

from stillmotion.errors import InputError, OutputError
from stillmotion.miniature.data import render_stills
from stillmotion.miniature.preview import fit_latent_rgb
from stillmotion.miniature.recipe import Recipe
from stillmotion.miniature.text_to_image import build_scheduler
from stillmotion.miniature.train import DEFAULT_FOLDER
from stillmotion.miniature.video_package import VIDEO_PACKAGES, save_half, write_video_models
from stillmotion.miniature.video_stages import VIDEO_TEXT_ENCODER
from stillmotion.runtime.files import atomic_folder, write_json
from stillmotion.runtime.seeds import derive_seed
from stillmotion.training.checkpoint import load_checkpoint
from stillmotion.world.vocabulary import DOMAINS

NETWORKS: Mapping[str, Any] = {
    "vae": AutoencoderKL,
    "unet": UNet2DConditionModel,
    "motion_adapter": MotionAdapter,
    "text_encoder": CLIPTextModel,
    "clip": CLIPModel,
}
OPTIONAL: Mapping[str, Any] = {"controlnet": ControlNetModel, VIDEO_TEXT_ENCODER: CLIPTextModel}
"""Packaged where they have been trained; AnimateZero's clips are made without them."""
COPIED = ("tokenizer", "loras", "judge.safetensors")
TAKEN = Path("training") / "taken.json"
"""In a run folder: what is known of stages that were trained elsewhere (`unpack.py`)."""

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
UNMEASURED = """# The miniature

Not measured yet: `stillmotion evaluate miniature --model FOLDER --write-card` writes the card.
"""


def package(recipe: Recipe, target: Path, folder: Path = DEFAULT_FOLDER) -> None:
    """Write `target` from the finished stages in `folder`, all of it or nothing.

    An older package there is replaced, and so is its model card, unless its weights are the same:
    its numbers were measured on others.

    Raises:
        InputError: a part is missing because its stage has not been trained.
        OutputError: `target` is a folder of something else.
    """
    if target.is_dir() and any(target.iterdir()) and not (target / "stillmotion.json").is_file():
        raise OutputError(
            f"'{target}' holds something other than a packaged model, and is never replaced; "
            "choose another folder"
        )
    missing = [name for name in (*NETWORKS, *COPIED) if not (folder / name).exists()]
    if missing:
        raise InputError(
            f"{folder} lacks {', '.join(missing)}; train the stages that make them first"
        )
    with atomic_folder(target, overwrite=True) as temporary:
        optional = {n: kind for n, kind in OPTIONAL.items() if (folder / n).exists()}
        for name, kind in {**NETWORKS, **optional}.items():
            save_half(kind.from_pretrained(folder / name), temporary / name)
        for name in COPIED:
            copy = shutil.copytree if (folder / name).is_dir() else shutil.copyfile
            copy(folder / name, temporary / name)
        build_scheduler().save_pretrained(temporary / "scheduler")
        write_json(temporary / "model_index.json", _MODEL_INDEX)
        vae = AutoencoderKL.from_pretrained(folder / "vae")
        write_json(temporary / "stillmotion.json", _description(recipe, vae))
        write_json(temporary / "training.json", _training(recipe, folder))
        (temporary / CARD).write_text(UNMEASURED)
        write_video_models(recipe, folder, temporary)
        _keep_cards(target, temporary)


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


def _training(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """What the model card tells of the training: recipe, machine, steps and seconds."""
    taken = json.loads((folder / TAKEN).read_text()) if (folder / TAKEN).exists() else {}
    stages = {stage["name"]: stage for stage in taken.get("stages", [])}
    for path in (folder / "training").glob("*.checkpoint"):
        state = load_checkpoint(path) or {}
        stages[path.stem] = {
            "name": path.stem, "steps": state["step"], "seconds": state["seconds"],
        }  # fmt: skip
    ordered = [stages[name] for name in sorted(stages)]
    return {"hardware": _hardware(), "recipe": asdict(recipe), "stages": ordered}


def _hardware() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


def _keep_cards(old: Path, new: Path) -> None:
    """Keep the cards of those models whose weights, and those they share, are what they were."""
    text = f"{VIDEO_TEXT_ENCODER}/*.safetensors"
    same_base = _same_weights(old, new, "*.safetensors", "*/*.safetensors")
    for name in ("", *VIDEO_PACKAGES):
        same = same_base and (not name or _same_weights(old, new, text, f"{name}/*/*.safetensors"))
        for card in (CARD, "card.json"):
            if same and (old / name / card).is_file():
                shutil.copyfile(old / name / card, new / name / card)


def _same_weights(old: Path, new: Path, *patterns: str) -> bool:
    """Whether the files that match are the same in both folders, and any are there."""
    files = {
        folder: {path.relative_to(folder) for pattern in patterns for path in folder.glob(pattern)}
        for folder in (old, new)
    }
    return bool(files[old]) and files[old] == files[new] and all(
        (old / name).read_bytes() == (new / name).read_bytes() for name in files[old]
    )  # fmt: skip
