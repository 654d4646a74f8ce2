"""Stage "control": a ControlNet that makes the image U-Net follow edges, the U-Net frozen.

Source: Zhang et al., "Adding Conditional Control to Text-to-Image Diffusion Models", 2023.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import Tensor, nn

from stillmotion.media.control_maps import edges
from stillmotion.miniature.data import LatentSet, sample_indices
from stillmotion.miniature.text_to_image import Noising, TextConditioner, weighted_mean

#: Where a run folder keeps the edges of its plain stills.
EDGES_FILE = Path("data") / "edges-plain.safetensors"
#: Widths of the small network that brings a map to latent size; each but the first halves it.
EMBEDDING_WIDTHS = (16, 32, 64, 64)
#: Part of the captions that is dropped on top of the usual one: what is to be drawn must then be
#: read from the edges.
DROPPED_CAPTIONS = 0.5
#: Where things stand is decided while a picture is noisy.
NOISY_BIAS = 0.7


def build_controlnet(unet: UNet2DConditionModel, generator: torch.Generator) -> ControlNetModel:
    """A trainable copy of the U-Net's encoder whose outputs are zero at first.

    Of the middle only the first ResNet block is copied: the rest would add a third to its size.
    The published network also brings the map to latent size through a last convolution of zeros.
    Behind outputs of zeros that hides the map for thousands of steps, in which the rest learns to
    do without it; here that convolution starts from values drawn with `generator`.
    """
    full = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=EMBEDDING_WIDTHS)
    small = ControlNetModel.from_config({**full.config, "mid_block_type": "UNetMidBlock2D"})
    wanted = small.state_dict().keys()
    small.load_state_dict({n: w for n, w in full.state_dict().items() if n in wanted})
    nn.init.kaiming_normal_(small.controlnet_cond_embedding.conv_out.weight, generator=generator)
    return small


def edge_maps(images: Tensor) -> Tensor:
    """Edges of pictures `(n, 3, h, w)` uint8, found as in a user's clip: `(n, h, w)` uint8.

    Raises:
        InputError: OpenCV is not installed.
    """
    maps = torch.empty(len(images), *images.shape[2:], dtype=torch.uint8)
    for place, image in zip(maps, images, strict=True):
        # The three channels of a map are equal.
        place.copy_(torch.from_numpy(edges(image.permute(1, 2, 0).numpy()))[..., 0])
    return maps


class ControlStage:
    """Denoising of latents of plain stills, told their edges; only the ControlNet learns.

    On plain stills alone: a ControlNet goes with whatever LoRA or motion module is put into the
    U-Net later, as those that the community shares do.
    """

    name = "control"

    def __init__(
        self,
        batch: int,
        stills: LatentSet,
        maps: Tensor,
        unet: UNet2DConditionModel,
        controlnet: ControlNetModel,
        conditioner: TextConditioner,
    ) -> None:
        """`maps`: the edges of `stills`, `(n, h, w)` uint8 at the size of the pictures."""
        self.batch, self.stills, self.maps = batch, stills, maps
        self.unet = unet.to(memory_format=torch.channels_last).requires_grad_(False)
        self.controlnet = controlnet.to(memory_format=torch.channels_last)
        self.conditioner = conditioner
        self.noising = Noising(NOISY_BIAS)
        self._no_caption = conditioner.embed([""])

    def parameters(self) -> list[nn.Parameter]:
        return list(self.controlnet.parameters())

    def loss(self, generator: torch.Generator, progress: float) -> dict[str, Tensor]:
        index = sample_indices(len(self.stills), self.batch, generator)
        clean = self.stills.latents[index].float()
        text = self._text(index, generator)
        noisy, target, timesteps = self.noising(clean, generator)
        device = self.unet.device
        error = self.error(noisy.to(device), target.to(device), timesteps.to(device), text, index)
        return {"loss": weighted_mean(error, self.stills.weights, index)}

    def error(
        self, noisy: Tensor, target: Tensor, timesteps: Tensor, text: Tensor, index: Tensor
    ) -> Tensor:
        """Squared error `(b, h, w)` of the velocity predicted with the edges of stills `index`."""
        noisy = noisy.contiguous(memory_format=torch.channels_last)
        maps = self.maps[index].to(noisy.device).float().div(255)[:, None].expand(-1, 3, -1, -1)
        down, middle = self.controlnet(
            noisy, timesteps, text, controlnet_cond=maps, return_dict=False
        )
        predicted = self.unet(
            noisy, timesteps, text,
            down_block_additional_residuals=down, mid_block_additional_residual=middle,
        ).sample.float()  # fmt: skip
        error: Tensor = (predicted - target).square().mean(1)
        return error

    def _text(self, index: Tensor, generator: torch.Generator) -> Tensor:
        scenes = [self.stills.scenes[i] for i in index.tolist()]
        text = self.conditioner(scenes, generator, domain=0.0, motion=0.5)
        dropped = torch.rand(len(scenes), generator=generator) < DROPPED_CAPTIONS
        return torch.where(dropped.to(text.device)[:, None, None], self._no_caption, text)
