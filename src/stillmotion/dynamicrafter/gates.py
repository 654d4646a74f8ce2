"""The learned gates λ of a network on disk (Fig. 2a, left), read without loading the network."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from stillmotion.adapters.diffusers_unet3d import spatial_cross_attentions
from stillmotion.dynamicrafter.unet import DynamiCrafterUNet
from stillmotion.errors import ModelError
from stillmotion.models.files import DIFFUSERS_STEM, weights_in

_ALPHA = ".processor.alpha"


def read_gates(folder: Path) -> dict[str, float]:
    """λ = tanh(alpha) + 1 of each image cross-attention, by name, in the order in which they run.

    `folder` is a model's, or that of its U-Net alone, as training leaves it.  λ is 1 throughout in
    networks without a learned gate.

    Raises:
        ModelError: there is no such network, or it has no image context.
    """
    inner = folder / "unet"
    folder = inner if inner.is_dir() else folder
    unet = _empty_network(folder)
    if not unet.config.image_context:
        raise ModelError(f"the network in '{folder}' reads no pictures, so it has no gates")
    names = list(spatial_cross_attentions(unet))
    if not unet.config.image_gate:
        return dict.fromkeys(names, 1.0)
    path = weights_in(folder, DIFFUSERS_STEM)
    try:
        with safe_open(path, framework="pt") as file:
            alphas = {name: file.get_tensor(name + _ALPHA) for name in names}
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is damaged, or not the network of its folder: {error}") from error
    return {name: math.tanh(float(alpha)) + 1 for name, alpha in alphas.items()}


def _empty_network(folder: Path) -> DynamiCrafterUNet:
    """The network without its weights."""
    path = folder / "config.json"
    try:
        config = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError) as error:
        raise ModelError(
            f"there is no DynamiCrafter network in '{folder}': {error}; give a model folder, as "
            "`stillmotion convert` makes them"
        ) from error
    if config.get("_class_name") != DynamiCrafterUNet.__name__:
        raise ModelError(
            f"the network in '{folder}' is a {config.get('_class_name')}, and only "
            f"{DynamiCrafterUNet.__name__} has gates"
        )
    with torch.device("meta"):
        unet: DynamiCrafterUNet = DynamiCrafterUNet.from_config(config)
    return unet
