"""Stage "motion": an AnimateDiff-v2 motion module on plain clips, the spatial layers frozen."""

from __future__ import annotations

import torch
from diffusers import MotionAdapter, UNet2DConditionModel, UNetMotionModel
from torch import Tensor, nn

from stillmotion.adapters.adapter import adapted
from stillmotion.adapters.diffusers_sites import PerFrameNorm, motion_modules
from stillmotion.miniature.data import LatentSet, sample_indices
from stillmotion.miniature.recipe import Recipe
from stillmotion.miniature.text_to_image import Noising, TextConditioner, weighted_mean

#: Part of the captions that name the motion; the rest leave it to chance, as real captions do.
NAMED_MOTION = 0.85
#: How a clip moves is decided while it is noisy; near the clean end every frame shows its place.
NOISY_BIAS = 0.7


def build_motion_adapter(recipe: Recipe) -> MotionAdapter:
    """AnimateDiff v2's structure: a module behind every ResNet block and one in the middle."""
    adapter = MotionAdapter(
        block_out_channels=recipe.unet_widths,
        motion_layers_per_block=recipe.unet_layers,
        motion_num_attention_heads=recipe.heads,
        motion_norm_num_groups=16,
        motion_max_seq_length=recipe.position_rows,
        use_motion_mid_block=True,
        conv_in_channels=None,
    )
    return adapter


def attach_motion(unet: UNet2DConditionModel, adapter: MotionAdapter) -> UNetMotionModel:
    """The video network of both, its motion modules silent at first and alone in training."""
    video = UNetMotionModel.from_unet2d(unet, adapter)
    video.requires_grad_(False)
    for module in motion_modules(video).values():
        module.requires_grad_(True)
        # Starting as the identity, the network begins as the image model.
        nn.init.zeros_(module.proj_out.weight)  # type: ignore[union-attr,arg-type]
        nn.init.zeros_(module.proj_out.bias)  # type: ignore[union-attr,arg-type]
    return video


def extract_motion(video: UNetMotionModel, adapter: MotionAdapter) -> MotionAdapter:
    """Copy the trained modules back into the adapter that is saved."""
    adapter.load_state_dict(
        {n: p for n, p in video.state_dict().items() if ".motion_modules." in n}, strict=True
    )
    return adapter


class MotionStage:
    """Denoising of whole clips; only motion modules learn, each frame normalised by itself."""

    name = "motion"

    def __init__(
        self, batch: int, clips: LatentSet, video: UNetMotionModel, conditioner: TextConditioner
    ) -> None:
        self.batch, self.clips = batch, clips
        # Not in channels-last memory: torch 2.13 crashes in its backward pass on a CPU.
        self.video = video
        self.conditioner = conditioner
        self.noising = Noising(NOISY_BIAS)

    def parameters(self) -> list[nn.Parameter]:
        return [p for p in self.video.parameters() if p.requires_grad]

    def loss(self, generator: torch.Generator, progress: float) -> dict[str, Tensor]:
        index = sample_indices(len(self.clips), self.batch, generator)
        clean = self.clips.latents[index].float().transpose(1, 2)  # b f c h w -> b c f h w
        num_frames = clean.shape[2]
        text = self.conditioner(
            [self.clips.scenes[i] for i in index.tolist()], generator,
            domain=0.0, motion=NAMED_MOTION,
        ).repeat_interleave(num_frames, 0)  # fmt: skip
        noisy, target, timesteps = self.noising(clean, generator)
        device = self.video.device
        with adapted(self.video, [PerFrameNorm()]):
            predicted = self.video(noisy.to(device), timesteps.to(device), text).sample.float()
        error = (predicted - target.to(device)).square().mean(1)  # b f h w
        return {"loss": weighted_mean(error, self.clips.weights, index)}
