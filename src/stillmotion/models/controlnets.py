"""ControlNets: a model's own, a folder, a file in either naming, or a hub id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import ControlNetModel
from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint
from safetensors import SafetensorError
from torch import nn

from stillmotion.errors import ModelError
from stillmotion.models.files import read_tensors
from stillmotion.models.layouts import FileKind
from stillmotion.models.sources import HUB_ID, hub_folder

OWN = "controlnet"
"""Where a model folder keeps the ControlNet that comes with it."""
_KINDS = (FileKind.CONTROLNET, FileKind.CONTROLNET_LDM)
_EMBEDDING = "controlnet_cond_embedding."
_LOADING_ERRORS = (OSError, ValueError, TypeError, RuntimeError, KeyError, SafetensorError)


def load_controlnet(
    reference: str | None, unet: Any, own_folder: Path, *, download: bool = False
) -> ControlNetModel:
    """A ControlNet for `unet`, in its precision and on its device.

    Args:
        reference: a folder in diffusers' layout, a .safetensors file, or a hub id user/name; None
            for the one that comes with the model.
        unet: the network that it is to control.
        own_folder: the model's folder.
        download: whether a hub id may be fetched.

    Raises:
        ModelError: there is none, or it is of another kind or family.
    """
    net = _load(reference, unet, own_folder, download=download)
    if net.config.cross_attention_dim != unet.config.cross_attention_dim or (
        net.config.block_out_channels[0] != unet.config.block_out_channels[0]
    ):
        raise ModelError(
            f"the ControlNet '{reference or OWN}' belongs to another family of models than this "
            "one; give one for Stable Diffusion 1.5 to models of that family"
        )
    # diffusers' own `to` warns of parts that must stay in float32 even of a net without any.
    nn.Module.to(net, unet.device, unet.dtype)
    return net.eval().requires_grad_(False)


def _load(reference: str | None, unet: Any, own_folder: Path, *, download: bool) -> Any:
    path = own_folder / OWN if reference is None else Path(reference).expanduser()
    if reference is None and not path.is_dir():
        raise ModelError(
            "this model comes without a ControlNet; name one with --controlnet: a folder, a "
            ".safetensors file or a hub id such as lllyasviel/control_v11p_sd15_canny"
        )
    if path.is_file():
        return _from_file(path, unet)
    if not path.is_dir():
        if not HUB_ID.fullmatch(str(reference)):
            raise ModelError(
                f"there is no ControlNet '{reference}': it is neither a folder nor a file on this "
                "machine, nor a hub id of the form user/name"
            )
        path = hub_folder(str(reference), download=download)
    try:
        return ControlNetModel.from_pretrained(path, local_files_only=True, use_safetensors=True)
    except _LOADING_ERRORS as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"the ControlNet in '{path}' cannot be loaded: {reason}") from error


def _from_file(path: Path, unet: Any) -> Any:
    state = read_tensors(path, _KINDS)
    config = _config(unet)
    state = convert_controlnet_checkpoint(state, config)
    # Its hint network is its own: one convolution into each width, the first from the picture.
    widths = [state[f"{_EMBEDDING}conv_in.weight"].shape[0]]
    for index in range(1, len(state), 2):
        weight = state.get(f"{_EMBEDDING}blocks.{index}.weight")
        if weight is None:
            break
        widths.append(weight.shape[0])
    with torch.device("meta"):
        net = ControlNetModel(**config, conditioning_embedding_out_channels=tuple(widths))
    try:
        net.load_state_dict({name: w.float() for name, w in state.items()}, assign=True)
    except RuntimeError as error:
        raise ModelError(
            f"the ControlNet '{path.name}' does not fit this model: it was made for networks of "
            "another structure"
        ) from error
    return net


def _config(unet: Any) -> dict[str, Any]:
    """The part of a ControlNet's configuration that it has in common with its U-Net."""
    own = unet.config
    kinds = [kind.replace("Motion", "2D") for kind in own.down_block_types]
    heads = own.get("num_attention_heads") or own.attention_head_dim
    same = ("in_channels", "block_out_channels", "layers_per_block", "norm_num_groups",
            "cross_attention_dim")  # fmt: skip
    return {
        **{name: own[name] for name in same},
        "down_block_types": tuple(kinds),
        "attention_head_dim": heads,
    }
