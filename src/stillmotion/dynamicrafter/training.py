"""The loss of a stage, for the package's training loop.

What a stage trains and is shown is data in `stages.py`; the networks come from `inflation.py`.
Shapes: b clips, f frames, n text tokens, d their channels, k CLIP tokens of a picture with e
channels, m image tokens of a frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from stillmotion.dynamicrafter.detail_guidance import concatenated, repeated, two_ends
from stillmotion.dynamicrafter.image_context import ImageContext, resampled
from stillmotion.dynamicrafter.image_model import ContextImageUNet
from stillmotion.dynamicrafter.inflation import has_detail_guidance
from stillmotion.dynamicrafter.stages import Guidance, TrainingStage, parameter_groups, train_only
from stillmotion.dynamicrafter.unet import DynamiCrafterUNet
from stillmotion.errors import ModelError


@dataclass(frozen=True, kw_only=True)
class Clips:
    """A batch of clips, on any device."""

    latents: Tensor
    """(b c f h w), scaled as the network sees them."""
    text: Tensor
    """Embeddings of the captions (b n d)."""
    clip_tokens: Callable[[Tensor], Tensor]
    """CLIP's tokens (b k e) of one frame of each clip, given its number: int64 (b).  The class
    token comes first."""
    pace: Tensor | None = None
    """Frame stride or fps of each clip (b), whichever the network is to be told."""


class Source(Protocol):
    """Where clips come from; equal generators give equal batches."""

    @property
    def no_text(self) -> Tensor:
        """Embedding of the empty text (1 n d)."""
        ...

    @property
    def no_image(self) -> Tensor:
        """CLIP's tokens of the zero image, grey (1 k e)."""
        ...

    def batch(self, size: int, generator: torch.Generator) -> Clips:
        """`size` clips drawn with `generator`."""
        ...


class Noising(Protocol):
    """What a denoiser is trained on; `DynamiCrafterScheduler` is one, and its methods say more.

    Stage (i) takes that of the image model.
    """

    def training_timesteps(self, num_samples: int, generator: torch.Generator) -> Tensor: ...

    def noised(self, z_0: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor: ...

    def target(self, z_0: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor: ...


class StageTraining:
    """One stage on its networks, as the training loop wants it.

    The networks are set to evaluation mode: the dropout in their temporal convolutions, the only
    one, would draw from torch's default generator, and frozen layers are to do what they do when
    a clip is made.  The order of random draws does not depend on the settings of ablations, so
    these see the same clips and the same noise.
    """

    def __init__(
        self,
        stage: TrainingStage,
        batch: int,
        source: Source,
        unet: DynamiCrafterUNet | ContextImageUNet,
        noising: Noising,
        image_context: ImageContext | None = None,
    ) -> None:
        """Sets which parameters of `unet` and P, `image_context`, require gradients.

        Args:
            stage: what learns, and from what.
            batch: clips in a batch.
            source: where they come from.
            unet: the network of `network_for`, or the image model for a stage on single frames.
            noising: noise schedule and target.
            image_context: P, for stages with context.

        Raises:
            ModelError: networks that are not those of the stage.
        """
        _check_networks(stage, unet, image_context)
        self.name = stage.name
        self.stage, self.batch, self.source, self.noising = stage, batch, source, noising
        self.unet = unet.eval()
        self.image_context = image_context.eval() if image_context is not None else None
        train_only(stage, unet, image_context)
        self._is_told_pace = isinstance(unet, DynamiCrafterUNet) and unet.config.motion_embedding

    def parameters(self) -> list[nn.Parameter]:
        """What the stage trains; looked up at each call, as sharding replaces parameters."""
        groups = parameter_groups(self.unet, self.image_context)
        return [p for group in groups if group in self.stage.trains for p in groups[group]]

    def enable_gradient_checkpointing(self) -> None:
        """Compute the U-Net's activations a second time in place of keeping them."""
        network = self.unet.unet if isinstance(self.unet, ContextImageUNet) else self.unet
        network.enable_gradient_checkpointing()

    def sharded_modules(self) -> list[nn.Module]:
        """The blocks of the U-Net, the U-Net, then P: what several processes may share out."""
        network = self.unet.unet if isinstance(self.unet, ContextImageUNet) else self.unet
        blocks = [*network.down_blocks, network.mid_block, *network.up_blocks]
        contexts = [] if self.image_context is None else [self.image_context]
        return [*blocks, network, *contexts]

    def loss(self, generator: torch.Generator, progress: float) -> dict[str, Tensor]:
        """Mean squared error of one batch, as "loss": E ‖ε − ε_θ(x_t, t, c)‖², or of v.

        Equation: DynamiCrafter Eq. 1

        One frame is the picture of every clip of the batch; text and image are dropped for single
        clips, detail guidance never is.
        """
        device = self._device
        clips = self.source.batch(self.batch, generator)
        latents = clips.latents.to(device, torch.float32)
        frame = self._condition_frame(latents.shape[2], generator)
        drop_text, drop_image = dropped_conditions(
            len(latents), self.stage.condition_dropout, generator
        )
        conditions: dict[str, Any] = {
            "encoder_hidden_states": _replaced(clips.text, self.source.no_text, drop_text, device)
        }
        if self.stage.context:
            conditions["image_tokens"] = self._image_tokens(clips, frame, drop_image, generator)
        if self._is_told_pace:
            conditions["motion"] = clips.pace if clips.pace is None else clips.pace.to(device)
        if self.stage.data == "frames":
            latents, frame = latents[:, :, frame : frame + 1], 0
        sample, timesteps, target = self._noised(latents, generator)
        if (guidance := detail_guidance(self.stage.detail_guidance, latents, frame)) is not None:
            sample = concatenated(sample, guidance)
        predicted = self.unet(sample, timesteps, **conditions).sample
        return {"loss": functional.mse_loss(predicted.float(), target)}

    @property
    def _device(self) -> torch.device:
        return next(self.unet.parameters()).device

    def _condition_frame(self, num_frames: int, generator: torch.Generator) -> int:
        """The number of the frame that is the picture; drawn in any case."""
        drawn = torch.randint(num_frames, (), generator=generator, device=generator.device)
        return int(drawn) if self.stage.condition_frame == "random" else 0

    def _image_tokens(
        self, clips: Clips, frame: int, dropped: Tensor, generator: torch.Generator
    ) -> Tensor:
        """What P makes of the picture, or of the zero image (b f m d).

        P has queries for every frame of a clip.  A single frame is trained with those of a place
        drawn for each sample, so that all of them learn; the paper does not say.
        """
        assert self.image_context is not None
        batch, _, num_frames, *_ = clips.latents.shape
        seen = clips.clip_tokens(torch.full((batch,), frame))
        seen = _replaced(seen, self.source.no_image, dropped, self._device)
        if self.stage.global_token_only:
            seen = seen[:, :1]
        tokens: Tensor = self.image_context(seen)
        if self.stage.data == "clips":
            return resampled(tokens, num_frames)
        places = torch.randint(
            tokens.shape[1], (batch,), generator=generator, device=generator.device
        ).to(tokens.device)
        return tokens[torch.arange(batch, device=tokens.device), places].unsqueeze(1)

    def _noised(self, latents: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Noisy latents, timesteps (b) and target."""
        timesteps = self.noising.training_timesteps(len(latents), generator).to(latents.device)
        noise = torch.randn(latents.shape, generator=generator, device=generator.device)
        noise = noise.to(latents)
        sample = self.noising.noised(latents, noise, timesteps)
        return sample, timesteps, self.noising.target(latents, noise, timesteps)


def dropped_conditions(
    num_samples: int, part: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Whose text and whose image is dropped, bool (num_samples) each.

    By one draw r for each sample, as in the published code: text where r < 2p, image where
    p <= r < 3p, so a part p of the samples loses the text alone, p both, p the image alone.
    """
    r = torch.rand(num_samples, generator=generator, device=generator.device)
    return r < 2 * part, (part <= r) & (r < 3 * part)


def detail_guidance(kind: Guidance, latents: Tensor, frame: int) -> Tensor | None:
    """What is concatenated when clips `latents` (b c f h w) are to be made of a frame, or None."""
    num_frames = latents.shape[2]
    if kind == "picture":
        return repeated(latents[:, :, frame], num_frames)
    if kind == "ends":
        return two_ends(latents[:, :, 0], latents[:, :, -1], num_frames)
    return None


def _replaced(given: Tensor, empty: Tensor, dropped: Tensor, device: torch.device) -> Tensor:
    """(b n d) on `device`, with `empty` (1 n d) where a sample is dropped."""
    return torch.where(dropped.to(device)[:, None, None], empty.to(device), given.to(device))


def _check_networks(
    stage: TrainingStage,
    unet: DynamiCrafterUNet | ContextImageUNet,
    image_context: ImageContext | None,
) -> None:
    on_images = isinstance(unet, ContextImageUNet)
    if on_images != (stage.data == "frames"):
        kind = "image model with image cross-attention" if not on_images else "video network"
        raise ModelError(f"The stage '{stage.name}' trains on {stage.data}, so with the {kind}.")
    if stage.context and image_context is None:
        raise ModelError(f"The stage '{stage.name}' needs an image context network (P).")
    if isinstance(unet, DynamiCrafterUNet):
        guided = stage.detail_guidance != "none"
        if guided != has_detail_guidance(unet) or (stage.context and not unet.config.image_context):
            raise ModelError(
                f"The network does not have the inputs of the stage '{stage.name}'; make it with "
                "`network_for`."
            )
