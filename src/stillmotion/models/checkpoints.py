"""Stable Diffusion 1.x in a single file: read into networks, and written from a model folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from stillmotion.errors import ModelError
from stillmotion.models.files import DIFFUSERS_STEM, read_tensors, weights_in
from stillmotion.models.fitting import fitted
from stillmotion.models.layouts import CHECKPOINTS, VAES, FileKind
from stillmotion.models.ldm import (
    TEXT_PREFIX,
    UNET_PREFIX,
    VAE_PREFIX,
    text_encoder_from_ldm,
    text_encoder_to_ldm,
    unet_from_ldm,
    unet_to_ldm,
    vae_from_ldm,
    vae_to_ldm,
)
from stillmotion.runtime.files import atomic_path

_Network = TypeVar("_Network", UNet2DConditionModel, AutoencoderKL, CLIPTextModel)
_PREFIXES = (UNET_PREFIX, VAE_PREFIX, TEXT_PREFIX)


@dataclass(frozen=True)
class Checkpoint:
    """The networks of a single file; None for those that it does not hold."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL | None
    text_encoder: CLIPTextModel | None


def load_checkpoint(path: Path, configs: Path) -> Checkpoint:
    """Read a single-file checkpoint of Stable Diffusion 1.x.

    Averages (EMA) and noise schedules in the file are not read.

    Args:
        path: a .safetensors file in the naming of the original code.
        configs: a model folder in diffusers' layout; only its config.json files are used.

    Returns:
        The networks in the file's precision, on the CPU, in eval mode.

    Raises:
        ModelError: the file is of another kind, damaged, or does not fit the configuration.
    """
    tensors = read_tensors(path, CHECKPOINTS, keep=lambda name: name.startswith(_PREFIXES))
    what = f"'{path.name}'"
    unet = _empty_unet(configs)
    _fill(unet, unet_from_ldm(tensors, unet.state_dict(), what))
    return Checkpoint(
        unet,
        _vae_of(tensors, configs, what) if _holds(tensors, VAE_PREFIX) else None,
        _text_encoder_of(tensors, configs, what) if _holds(tensors, TEXT_PREFIX) else None,
    )


def load_vae(path: Path, configs: Path) -> AutoencoderKL:
    """Read a VAE from a file of its own, in the original naming or in diffusers'.

    Arguments, result and errors as of `load_checkpoint`.
    """
    tensors = read_tensors(path, VAES)
    what = f"'{path.name}'"
    if any(name.startswith("encoder.down_blocks.") for name in tensors):
        vae = _empty_vae(configs)
        return _fill(vae, fitted(tensors, vae.state_dict(), what))
    return _vae_of(tensors, configs, what)


def save_checkpoint(folder: Path, output: Path, *, overwrite: bool = False) -> int:
    """Write the image networks of a model folder as one file in the original naming.

    The tensors are those of the folder's .safetensors files, in their precision; motion modules
    are left out.

    Args:
        folder: in diffusers' layout, with unet, vae and text_encoder.
        output: the .safetensors file.
        overwrite: whether it may be replaced.

    Returns:
        How many tensors were written.

    Raises:
        ModelError: a part is missing or of another kind.
        OutputError: the file exists or cannot be written.
    """
    with atomic_path(output, overwrite=overwrite) as temporary:
        unets = {FileKind.UNET, FileKind.VIDEO_UNET}
        unet = read_tensors(weights_in(folder / "unet", DIFFUSERS_STEM), unets)
        tensors = unet_to_ldm({n: t for n, t in unet.items() if ".motion_modules." not in n})
        vae = read_tensors(weights_in(folder / "vae", DIFFUSERS_STEM), FileKind.VAE)
        text = weights_in(folder / "text_encoder", "model")
        tensors |= vae_to_ldm(vae)
        tensors |= text_encoder_to_ldm(read_tensors(text, FileKind.TEXT_ENCODER))
        save_file(
            {name: tensor.contiguous() for name, tensor in tensors.items()},
            temporary,
            metadata={"format": "pt"},
        )
    return len(tensors)


def _holds(tensors: Mapping[str, Tensor], prefix: str) -> bool:
    return any(name.startswith(prefix) for name in tensors)


def _empty_unet(configs: Path) -> UNet2DConditionModel:
    config = UNet2DConditionModel.load_config(_config(configs, "unet"))
    with torch.device("meta"):
        return UNet2DConditionModel.from_config(config)


def _empty_vae(configs: Path) -> AutoencoderKL:
    config = AutoencoderKL.load_config(_config(configs, "vae"))
    with torch.device("meta"):
        return AutoencoderKL.from_config(config)


def _vae_of(tensors: Mapping[str, Tensor], configs: Path, what: str) -> AutoencoderKL:
    vae = _empty_vae(configs)
    return _fill(vae, vae_from_ldm(tensors, vae.state_dict(), what))


def _text_encoder_of(tensors: Mapping[str, Tensor], configs: Path, what: str) -> CLIPTextModel:
    config = CLIPTextConfig.from_pretrained(_config(configs, "text_encoder"))
    with torch.device("meta"):
        encoder = CLIPTextModel(config)
    _fill(encoder, text_encoder_from_ldm(tensors, encoder.state_dict(), what))
    # The one tensor that no file holds.
    count = torch.arange(config.max_position_embeddings)
    encoder.get_submodule("embeddings").register_buffer(
        "position_ids", count[None], persistent=False
    )
    return encoder


def _fill(network: _Network, state: dict[str, Tensor]) -> _Network:
    network.load_state_dict(state, assign=True)
    return network.eval()


def _config(folder: Path, part: str) -> Path:
    if not (folder / part / "config.json").is_file():
        raise ModelError(f"the model folder {folder} has no {part}/config.json")
    return folder / part
