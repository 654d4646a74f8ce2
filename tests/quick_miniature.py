"""The miniature with so few steps and frames that a clip takes a second."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel

from stillmotion.miniature.control import build_controlnet
from stillmotion.models.registry import miniature_folder

DESCRIPTION = "stillmotion.json"


def quick_miniature(folder: Path, *, steps: int = 2, frames: int = 5) -> Path:
    """`folder`, made to hold the miniature's own weights and another description."""
    shutil.copytree(miniature_folder(), folder, copy_function=os.symlink)
    described = json.loads((miniature_folder() / DESCRIPTION).read_text(encoding="utf-8"))
    described |= {"num_inference_steps": steps, "num_frames": frames}
    (folder / DESCRIPTION).unlink()
    (folder / DESCRIPTION).write_text(json.dumps(described), encoding="utf-8")
    return folder


def with_untrained_controlnet(folder: Path) -> Path:
    """`folder` with a ControlNet in place of its own, whose outputs are zero."""
    shutil.rmtree(folder / "controlnet", ignore_errors=True)
    unet = UNet2DConditionModel.from_pretrained(miniature_folder() / "unet")
    build_controlnet(unet, torch.Generator().manual_seed(0)).save_pretrained(folder / "controlnet")
    return folder
