"""Stage (i): image cross-attention on the image model, and how it comes into the video network."""

from __future__ import annotations

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.unets.unet_3d_condition import UNet3DConditionOutput
from torch import Tensor, nn

from stillmotion.adapters.diffusers_unet3d import CONTEXT_KEY, spatial_cross_attentions
from stillmotion.dynamicrafter.dual_stream import (
    Context,
    DualStreamProcessor,
    image_attentions,
)
from stillmotion.dynamicrafter.unet import DynamiCrafterUNet
from stillmotion.errors import ModelError


class ContextImageUNet(nn.Module):
    """The image model with image cross-attention, called as a video network is: stage (i).

    Frames are pictures of their own.  The image model, `unet`, is changed in place: each of its
    cross-attentions gets a fresh `DualStreamProcessor`, with `gate` or without; all other weights
    stay.  Make a video network of it before.
    """

    def __init__(self, unet: UNet2DConditionModel, *, gate: bool) -> None:
        super().__init__()
        self.unet = unet
        for site in spatial_cross_attentions(unet).values():
            processor = DualStreamProcessor(
                site.to_k.in_features, site.to_k.out_features, learnable_gate=gate
            )
            site.set_processor(processor.to(unet.device, unet.dtype))

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        image_tokens: Tensor | None = None,
    ) -> UNet3DConditionOutput:
        """The prediction, as `.sample` (b c f h w).

        `sample` (b c f h w), `timestep` (b), `encoder_hidden_states` text (b n d),
        `image_tokens` each frame's own (b f m d), the same for all frames (b m d), or None.
        """
        batch, _, frames, *_ = sample.shape
        predicted = self.unet(
            sample.transpose(1, 2).flatten(0, 1),
            timestep.expand(batch).repeat_interleave(frames),
            encoder_hidden_states.repeat_interleave(frames, dim=0),
            cross_attention_kwargs={CONTEXT_KEY: Context(encoder_hidden_states, image_tokens)},
        ).sample
        return UNet3DConditionOutput(sample=predicted.unflatten(0, (batch, frames)).transpose(1, 2))


def transfer_image_attention(image_unet: ContextImageUNet, unet: DynamiCrafterUNet) -> None:
    """Copy the image cross-attention that stage (i) trained, layer by layer, into `unet`.

    Raises ModelError if the networks do not have the same layers, with or without gate.
    """
    theirs, ours = image_attentions(image_unet.unet), image_attentions(unet)
    differing = {
        name
        for name in theirs.keys() | ours.keys()
        if _shapes(theirs.get(name)) != _shapes(ours.get(name))
    }
    if differing or not ours:
        raise ModelError(
            "The image cross-attention of the image model does not fit the video network "
            f"({len(theirs)} layers and {len(ours)}, {len(differing)} of them different); make "
            "the video network from that image model, with image context and the same gate."
        )
    for name, processor in ours.items():
        processor.load_state_dict(theirs[name].state_dict())


def _shapes(module: nn.Module | None) -> dict[str, torch.Size] | None:
    if module is None:
        return None
    return {name: weight.shape for name, weight in module.state_dict().items()}
