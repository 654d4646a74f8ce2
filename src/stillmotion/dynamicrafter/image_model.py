"""Stage (i): image cross-attention on the image model, and how it comes into the video network."""

from __future__ import annotations

from collections.abc import Collection, Mapping

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

_PROCESSOR = "processor"
"""Of an attention layer, in the names of its weights."""


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


def image_attention_state(unet: ContextImageUNet | DynamiCrafterUNet) -> dict[str, Tensor]:
    """The weights of the image cross-attention, by their names in the U-Net."""
    network = unet.unet if isinstance(unet, ContextImageUNet) else unet
    return {
        f"{layer}.{_PROCESSOR}.{name}": weight
        for layer, processor in image_attentions(network).items()
        for name, weight in processor.state_dict().items()
    }


def receive_image_attention(unet: DynamiCrafterUNet, state: Mapping[str, Tensor]) -> None:
    """Copy image cross-attention that stage (i) has trained, all of it, into `unet`.

    `state` is that of `image_attention_state`.  Raises ModelError if it is that of other layers,
    with a gate or without.
    """
    ours = image_attention_state(unet)
    differing = {
        name
        for name in state.keys() | ours.keys()
        if name not in state or name not in ours or state[name].shape != ours[name].shape
    }
    if differing or not ours:
        raise ModelError(
            "The image cross-attention of the image model does not fit the video network "
            f"({len(_layers(state))} layers and {len(_layers(ours))}, {len(_layers(differing))} of "
            "them different); make the video network from that image model, with image context and "
            "the same gate."
        )
    unet.load_state_dict(state, strict=False)


def _layers(names: Collection[str]) -> set[str]:
    return {name.partition(f".{_PROCESSOR}.")[0] for name in names}
