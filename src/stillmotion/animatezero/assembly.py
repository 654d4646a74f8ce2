"""A model's folder and the files that take the place of its parts -> a pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import nn

from stillmotion.adapters.diffusers_sites import is_motion_parameter
from stillmotion.animatezero.image_prompt import load_ip_adapter
from stillmotion.animatezero.ingredients import SCHEDULERS, Ingredients
from stillmotion.animatezero.pipeline import AnimateZeroPipeline
from stillmotion.errors import ModelError
from stillmotion.models.checkpoints import load_checkpoint, load_vae
from stillmotion.models.description import SchedulerChoice
from stillmotion.models.files import read_tensors
from stillmotion.models.fitting import fitted
from stillmotion.models.layouts import FileKind
from stillmotion.models.lora_files import load_lora
from stillmotion.models.motion_files import load_motion_adapter
from stillmotion.models.registry import ModelFolder, catalogue, draws_only, part_classes

# The model whose schedule AnimateDiff's motion modules were trained with.
_ANIMATEDIFF = "sd15"


def assemble(folder: ModelFolder, dtype: torch.dtype) -> AnimateZeroPipeline:
    """The pipeline of a model, on the CPU; LoRAs are left to `merge_loras`.

    Raises:
        ModelError: a file is of another kind or does not fit the folder.
        OSError, ValueError and others of the libraries: the folder is damaged.
    """
    has_video_unet = part_classes(folder.path).get("unet") == "UNetMotionModel"
    parts: dict[str, Any] = {}
    if folder.checkpoint is not None:
        if has_video_unet:
            raise ModelError(
                f"the model in {folder.path} has its motion built into its U-Net, where a "
                "checkpoint of an image model does not fit; give one as base that has them apart"
            )
        # Some checkpoints lack the text encoder; then the folder's own is used.
        held = vars(load_checkpoint(folder.checkpoint, folder.path))
        parts |= {name: network for name, network in held.items() if network is not None}
    if folder.vae is not None:
        parts["vae"] = load_vae(folder.vae, folder.path)
    if folder.motion is not None:
        parts["motion_adapter"] = load_motion_adapter(folder.motion).adapter
    for part in parts.values():
        part.to(dtype)
    scheduler = _own_scheduler(folder)
    if scheduler is not None:
        parts["scheduler"] = build_scheduler(scheduler, _prediction_type(folder.path))
    pipeline: AnimateZeroPipeline = AnimateZeroPipeline.from_pretrained(
        folder.path, dtype=dtype, local_files_only=True, **parts
    )
    if folder.motion is not None and has_video_unet:
        _replace_motion(pipeline.unet, parts["motion_adapter"], folder.motion)
    pipeline.unet.eval()  # built anew from U-Net and motion adapter, which leaves it in training
    return pipeline


def build_scheduler(choice: SchedulerChoice, prediction_type: str = "epsilon") -> Any:
    """The scheduler that a description asks for, for a network that predicts that."""
    scheduler_class = getattr(diffusers, choice.name)
    return scheduler_class(**{"prediction_type": prediction_type, **choice.config})


def renamed_scheduler(scheduler: Any, name: str) -> Any:
    """Another scheduler, by its name in `SCHEDULERS`, on the same schedule of noise."""
    class_name, changes = SCHEDULERS[name]
    return getattr(diffusers, class_name).from_config(scheduler.config, **changes)


def merge_loras(pipeline: AnimateZeroPipeline, loras: tuple[tuple[Path, float], ...]) -> None:
    """Merge LoRAs into the weights, in order; nothing of them is left but their effect.

    Raises ModelError if one is of another kind or changes nothing here.
    """
    for path, weight in loras:
        pipeline.load_lora_weights(load_lora(path))
        if not pipeline.get_active_adapters():
            raise ModelError(f"the LoRA '{path.name}' changes no layer of this model")
        pipeline.fuse_lora(lora_scale=weight)
        pipeline.unload_lora_weights()


def add_ingredients(pipeline: AnimateZeroPipeline, ingredients: Ingredients) -> None:
    """What goes into a pipeline that is complete: words, an IP-Adapter, another scheduler.

    Raises ModelError if a file is of another kind or does not fit.
    """
    for path in ingredients.embeddings:
        add_embedding(pipeline, path)
    if ingredients.ip_adapter is not None:
        load_ip_adapter(pipeline, ingredients.ip_adapter, ingredients.ip_adapter_scale)
    if ingredients.scheduler is not None:
        pipeline.scheduler = renamed_scheduler(pipeline.scheduler, ingredients.scheduler)


def add_embedding(pipeline: AnimateZeroPipeline, path: Path) -> None:
    """Teach a pipeline the word that a textual inversion stands for: the name of its file.

    Raises ModelError if the file is of another kind, for another text encoder, or its word is
    known already.
    """
    [vectors] = read_tensors(path, FileKind.EMBEDDING).values()
    word = path.stem
    width = pipeline.text_encoder.config.hidden_size
    if vectors.shape[-1] != width:
        raise ModelError(
            f"'{path.name}' has vectors of {vectors.shape[-1]} numbers; the text encoder of this "
            f"model takes {width}"
        )
    if word in pipeline.tokenizer.get_vocab():
        raise ModelError(
            f"the word '{word}' has a meaning already; give '{path.name}' another name"
        )
    pipeline.load_textual_inversion({word: vectors})


def _replace_motion(unet: nn.Module, adapter: nn.Module, path: Path) -> None:
    """Put a motion module's weights into a U-Net that has its motion built in."""
    own = {n: t for n, t in unet.state_dict().items() if is_motion_parameter(n)}
    unet.load_state_dict(fitted(adapter.state_dict(), own, f"'{path.name}'"), strict=False)


def _own_scheduler(folder: ModelFolder) -> SchedulerChoice | None:
    """The description's; for an image model that was given motion, AnimateDiff's."""
    if folder.description.scheduler is not None or not draws_only(folder.path):
        return folder.description.scheduler
    return catalogue()[_ANIMATEDIFF].scheduler


def _prediction_type(folder: Path) -> str:
    """What the folder's network was trained to predict."""
    path = folder / "scheduler" / "scheduler_config.json"
    said = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return str(said.get("prediction_type", "epsilon"))
