"""Networks made from one another: image model to video model, and from stage to stage.

Each new network computes exactly what the old one did until its new layers have learned, and every
weight of the old one is in it; nothing is left over.  The old network is not changed.

Fresh weights are drawn by torch's initialisers, so from its default generator: fork and seed that
around a call (`torch.random.fork_rng`) for weights that follow from a seed.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from stillmotion.adapters.diffusers_unet3d import (
    is_temporal_parameter,
    silence_temporal_layers,
)
from stillmotion.dynamicrafter.stages import Group, TrainingStage, group_of
from stillmotion.dynamicrafter.unet import DynamiCrafterUNet
from stillmotion.errors import InputError, ModelError

_BLOCKS = {
    f"{kind}{side}Block2D": f"{kind}{side}Block3D"
    for kind in ("", "CrossAttn")
    for side in ("Down", "Up")
}
_SAME = (
    "sample_size", "in_channels", "out_channels", "block_out_channels", "layers_per_block",
    "cross_attention_dim", "norm_num_groups",
)  # fmt: skip
# Read otherwise, or of no consequence for what is computed.
_KNOWN = (
    *_SAME, "down_block_types", "up_block_types", "attention_head_dim", "use_linear_projection",
    "upcast_attention", "dropout",
)  # fmt: skip
_USUAL_HEAD_DIM = 64


def text_to_video_from_image(
    image_unet: UNet2DConditionModel,
    *,
    attention_head_dim: int | None = None,
    motion_embedding: bool = True,
) -> DynamiCrafterUNet:
    """A text-to-video network that draws each frame as the image model does, until it is trained.

    Spatial layers are the image model's, with as many heads; temporal layers are new and silent.

    Args:
        image_unet: of Stable Diffusion's structure, 1.5 or 2.1, of any width.
        attention_head_dim: channels of a head in the temporal layers; None is the image model's
            where it is the same at all levels, otherwise the largest up to 64 that divides all
            widths.
        motion_embedding: whether the network is told fps or frame stride.

    Raises:
        ModelError: the image model has layers that the video network cannot have.
        InputError: `attention_head_dim` does not divide every width.
    """
    config = _video_config(image_unet, attention_head_dim)
    unet = DynamiCrafterUNet(**config, image_context=False, motion_embedding=motion_embedding)
    silence_temporal_layers(unet)
    _fill(
        unet,
        {name: _as_linear(name, weight) for name, weight in image_unet.state_dict().items()},
        lambda name: is_temporal_parameter(name) or group_of(name) is Group.PACE,
    )
    return _like(unet, image_unet)


def with_image_context(unet: DynamiCrafterUNet, *, gate: bool) -> DynamiCrafterUNet:
    """The same network with keys and values for image tokens, and with `gate` a learned λ.

    For text alone it is the same function.  Raises ModelError if it has image context already.
    """
    if unet.config.image_context:
        raise ModelError("This network has image context already; give a text-to-video network.")
    wider = _rebuilt(unet, image_context=True, image_gate=gate)
    _fill(wider, unet.state_dict(), lambda name: group_of(name) is Group.IMAGE_ATTENTION)
    return _like(wider, unet)


def with_detail_guidance(unet: DynamiCrafterUNet, channels: int) -> DynamiCrafterUNet:
    """The same network with `channels` more in its input, which count for nothing at first.

    `channels` are those of the latents.  Raises ModelError if it has detail guidance already.
    """
    if has_detail_guidance(unet):
        raise ModelError(
            f"This network reads {unet.config.in_channels} channels and predicts "
            f"{unet.config.out_channels}, so it has detail guidance already."
        )
    wider = _rebuilt(unet, in_channels=unet.config.in_channels + channels)
    weights = dict(unet.state_dict())
    narrow = weights["conv_in.weight"]
    zeros = narrow.new_zeros(len(narrow), channels, *narrow.shape[2:])
    weights["conv_in.weight"] = torch.cat([narrow, zeros], dim=1)
    _fill(wider, weights, lambda name: False)
    return _like(wider, unet)


def has_detail_guidance(unet: DynamiCrafterUNet) -> bool:
    """Whether the network reads more than the noisy latents."""
    return bool(unet.config.in_channels > unet.config.out_channels)


def network_for(stage: TrainingStage, unet: DynamiCrafterUNet) -> DynamiCrafterUNet:
    """`unet` with what the stage needs and it does not have: image context, detail guidance.

    Itself if nothing is missing.  Raises ModelError for a stage without guidance, or without
    context, and a network that has it: the stage would train a network to do without.
    """
    guided = stage.detail_guidance != "none"
    for needed, there, what in (
        (stage.context, unet.config.image_context, "image context"),
        (guided, has_detail_guidance(unet), "detail guidance"),
    ):
        if there and not needed:
            raise ModelError(
                f"The stage '{stage.name}' has no {what}, but the network has; begin with the one "
                "of an earlier stage."
            )
    if stage.context and not unet.config.image_context:
        unet = with_image_context(unet, gate=stage.gate)
    if guided and not has_detail_guidance(unet):
        unet = with_detail_guidance(unet, unet.config.out_channels)
    return unet


def _video_config(image_unet: UNet2DConditionModel, head_dim: int | None) -> dict[str, Any]:
    """The arguments of a DynamiCrafterUNet with the same spatial layers."""
    config = image_unet.config
    _check_structure(config)
    heads, head_dim = _heads(config, head_dim)
    return {
        **{name: config[name] for name in _SAME},
        "block_out_channels": tuple(config.block_out_channels),
        "down_block_types": tuple(_BLOCKS[kind] for kind in config.down_block_types),
        "up_block_types": tuple(_BLOCKS[kind] for kind in config.up_block_types),
        "attention_head_dim": head_dim,
        "spatial_heads": heads,
    }


def _check_structure(config: Mapping[str, Any]) -> None:
    """Raises ModelError for settings that diffusers' video U-Net does not have."""
    usual = inspect.signature(UNet2DConditionModel.__init__).parameters
    unusual = [
        name
        for name, parameter in usual.items()
        if name in config and name not in _KNOWN and config[name] != parameter.default
    ]
    blocks = (*config["down_block_types"], *config["up_block_types"])
    unusual += [kind for kind in dict.fromkeys(blocks) if kind not in _BLOCKS]
    unusual += [
        name
        for name in ("layers_per_block", "cross_attention_dim", "norm_num_groups")
        if not isinstance(config[name], int)
    ]
    if unusual:
        raise ModelError(
            f"This image model cannot be made into a video model, because of its {unusual[0]}; "
            "give one of Stable Diffusion's structure (1.5 or 2.1)."
        )


def _heads(config: Mapping[str, Any], head_dim: int | None) -> tuple[int | None, int]:
    """`spatial_heads` and `attention_head_dim`.

    The image model's `attention_head_dim` is the number of heads, for all levels or for each.
    """
    widths, given = tuple(config["block_out_channels"]), config["attention_head_dim"]
    heads = (given,) * len(widths) if isinstance(given, int) else tuple(given)
    sizes = {width // number for width, number in zip(widths, heads, strict=True)}
    if head_dim is None:
        head_dim = min(sizes) if len(sizes) == 1 else math.gcd(_USUAL_HEAD_DIM, *widths)
    if head_dim < 1 or any(width % head_dim for width in widths):
        raise InputError(
            f"attention_head_dim is {head_dim}; it must divide each of the widths "
            f"{', '.join(map(str, widths))}."
        )
    if sizes == {head_dim}:
        return None, head_dim
    if len(set(heads)) > 1:
        raise ModelError(
            f"This image model has {heads} attention heads at its levels; a video network has "
            f"either the same number at all, or heads of {head_dim} channels at all."
        )
    return heads[0], head_dim


def _as_linear(name: str, weight: Tensor) -> Tensor:
    """Convolutions by 1x1 around a spatial transformer are linear layers in video networks."""
    if name.endswith((".proj_in.weight", ".proj_out.weight")) and weight.ndim == 4:
        return weight.flatten(1)
    return weight


def _rebuilt(unet: DynamiCrafterUNet, **changes: Any) -> DynamiCrafterUNet:
    config = {name: value for name, value in unet.config.items() if not name.startswith("_")}
    rebuilt: DynamiCrafterUNet = DynamiCrafterUNet(**{**config, **changes})
    return rebuilt


def _fill(
    unet: DynamiCrafterUNet, weights: Mapping[str, Tensor], is_new: Callable[[str], bool]
) -> None:
    """Load `weights`; those of `unet` that have no counterpart must be new ones."""
    result = unet.load_state_dict(weights, strict=False)
    stray = [*result.unexpected_keys, *(name for name in result.missing_keys if not is_new(name))]
    if stray:
        raise ModelError(
            f"{len(stray)} weights have no counterpart in the other network, {stray[0]} for one; "
            "give a network of Stable Diffusion's structure (1.5 or 2.1)."
        )


def _like(unet: DynamiCrafterUNet, other: nn.Module) -> DynamiCrafterUNet:
    """On the same device, in the same precision and mode."""
    # By a tensor: given a dtype, diffusers warns without cause.
    result: DynamiCrafterUNet = unet.to(next(other.parameters()))
    result.train(other.training)
    return result
