"""The networks of a checkpoint as classes: each filled from official tensors, and read back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModel

from stillmotion.dynamicrafter.image_context import ImageContext
from stillmotion.dynamicrafter.unet import DynamiCrafterUNet
from stillmotion.errors import ModelError
from stillmotion.models.dynamicrafter_files import Part
from stillmotion.models.dynamicrafter_names import (
    context_from_official,
    context_to_official,
    unet_from_official,
    unet_to_official,
)
from stillmotion.models.files import DIFFUSERS_STEM, describe, weights_in
from stillmotion.models.layouts import FileKind
from stillmotion.models.ldm import vae_from_ldm, vae_to_ldm
from stillmotion.models.open_clip import (
    text_from_open_clip,
    text_to_open_clip,
    vision_from_open_clip,
    vision_to_open_clip,
)

_State = Mapping[str, Tensor]


@dataclass(frozen=True)
class _Network:
    """How a part is built from its arguments, and its tensors named there and back."""

    build: Callable[[dict[str, Any]], Any]
    from_official: Callable[[_State, _State, str], dict[str, Tensor]]
    """From names without prefix."""
    to_official: Callable[[_State], dict[str, Tensor]]
    """To names with it."""
    stem: str = DIFFUSERS_STEM


_NETWORKS: dict[Part, _Network] = {
    Part.UNET: _Network(lambda c: DynamiCrafterUNet(**c), unet_from_official, unet_to_official),
    Part.IMAGE_CONTEXT: _Network(
        lambda c: ImageContext(**c), context_from_official, context_to_official
    ),
    Part.VAE: _Network(lambda c: AutoencoderKL(**c), vae_from_ldm, vae_to_ldm),
    Part.TEXT_ENCODER: _Network(
        lambda c: CLIPTextModel(CLIPTextConfig(**c)),
        text_from_open_clip,
        lambda state: _below(Part.TEXT_ENCODER, text_to_open_clip(state)),
        "model",
    ),
    Part.IMAGE_ENCODER: _Network(
        lambda c: CLIPVisionModel(CLIPVisionConfig(**c)),
        vision_from_open_clip,
        lambda state: _below(Part.IMAGE_ENCODER, vision_to_open_clip(state)),
        "model",
    ),
}


def save_part(part: Part, config: dict[str, Any], tensors: _State, folder: Path, what: str) -> None:
    """Fill a network from official tensors and save it in diffusers' layout.

    Args:
        part: which network.
        config: the arguments of its class.
        tensors: by official names without prefix; their precision stays.
        folder: where it is saved.
        what: how an error names the file.

    Raises:
        ModelError: such a network cannot be built, or the tensors do not fit it.
    """
    try:
        with torch.device("meta"):
            network = _NETWORKS[part].build(config)
    except (ValueError, TypeError, RuntimeError, ZeroDivisionError) as error:
        raise ModelError(f"the {part} of {what} has sizes that do not fit: {error}") from error
    state = _NETWORKS[part].from_official(tensors, network.state_dict(), what)
    network.load_state_dict(state, assign=True)
    network.save_pretrained(folder)


def load_part(part: Part, folder: Path) -> dict[str, Tensor]:
    """The tensors of a saved network by their official names, prefix included.

    Raises ModelError if there are none, or if they are another network's.
    """
    state = load_weights(weights_in(folder, _NETWORKS[part].stem))
    return _NETWORKS[part].to_official(state)


def load_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a .safetensors file.  Raises ModelError if it is damaged."""
    found = describe(path)
    if found.kind is FileKind.DAMAGED:
        raise ModelError(f"{path} is {found.words}")
    return load_file(path)


def _below(part: Part, state: _State) -> dict[str, Tensor]:
    return {part.prefix + name: tensor for name, tensor in state.items()}
