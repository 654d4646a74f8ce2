"""The denoising U-Net: diffusers' UNet3DConditionModel with an image beside the text.

Two things are added to the text-to-video network: keys and values of the image tokens in every
spatial cross-attention (`dual_stream.py`), and an embedding of how fast the clip moves, added to
that of the timestep.  The detail guidance is in the input: four more channels
(`detail_guidance.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from diffusers import UNet3DConditionModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.embeddings import TimestepEmbedding
from diffusers.models.unets.unet_3d_condition import UNet3DConditionOutput
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from stillmotion.adapters.diffusers_unet3d import (
    CONTEXT_KEY,
    Checkpoint,
    SummedTimestepEmbedding,
    checkpoint_layers,
    construct,
    set_spatial_heads,
    spatial_cross_attentions,
)
from stillmotion.dynamicrafter.dual_stream import Context, ContextCache, DualStreamProcessor
from stillmotion.errors import InputError, ModelError


class DynamiCrafterUNet(UNet3DConditionModel):  # type: ignore[misc]
    """Predicts ε or v of a clip from its text, its picture and its pace.

    The defaults are the released 512 and 1024 networks; the 256 one has `image_gate`.  Weights
    that the text-to-video network has as well keep diffusers' names; new are
    `...attn2.processor.{to_k_ip, to_v_ip, alpha}` and `fps_embedding`.  Fresh ones begin with
    alpha = 0 (λ = 1) and an embedding of the pace that is zero.

    Args:
        sample_size: height and width of the latents it was trained for; not binding.
        in_channels: 8, noise and detail guidance; 4 without guidance.
        out_channels: channels of the prediction.
        down_block_types: `CrossAttnDownBlock3D`, or `DownBlock3D` for a level without attention.
        up_block_types: likewise, from the smallest level up.
        block_out_channels: channels of each level.
        layers_per_block: ResNets of each level in the encoder; the decoder has one more.
        cross_attention_dim: channels of text and image tokens.
        attention_head_dim: channels of one head.
        norm_num_groups: groups of the group norms.
        image_context: whether there are keys and values for image tokens.
        image_gate: whether each layer learns how much the image counts (λ of Eq. 2).
        motion_embedding: whether there is an embedding of fps or frame stride.
        text_length: text tokens it was trained with; not binding, texts of any length work.
        spatial_heads: heads of every spatial attention, at every level, as Stable Diffusion 1.5
            has them; None: channels / attention_head_dim.
    """

    _supports_gradient_checkpointing = True
    _skip_layerwise_casting_patterns = ("norm", "time_embedding", "fps_embedding")

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        sample_size: int | tuple[int, int] | None = None,
        in_channels: int = 8,
        out_channels: int = 4,
        down_block_types: tuple[str, ...] = (*("CrossAttnDownBlock3D",) * 3, "DownBlock3D"),
        up_block_types: tuple[str, ...] = ("UpBlock3D", *("CrossAttnUpBlock3D",) * 3),
        block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280),
        layers_per_block: int = 2,
        cross_attention_dim: int = 1024,
        attention_head_dim: int = 64,
        norm_num_groups: int = 32,
        image_context: bool = True,
        image_gate: bool = False,
        motion_embedding: bool = True,
        text_length: int = 77,
        spatial_heads: int | None = None,
    ) -> None:
        construct(
            self,
            sample_size=sample_size,
            in_channels=in_channels,
            out_channels=out_channels,
            down_block_types=down_block_types,
            up_block_types=up_block_types,
            block_out_channels=block_out_channels,
            layers_per_block=layers_per_block,
            cross_attention_dim=cross_attention_dim,
            attention_head_dim=attention_head_dim,
            norm_num_groups=norm_num_groups,
        )
        if spatial_heads is not None:
            set_spatial_heads(self, spatial_heads)
        if image_context:
            for site in spatial_cross_attentions(self).values():
                channels = site.to_k.out_features
                site.set_processor(
                    DualStreamProcessor(cross_attention_dim, channels, learnable_gate=image_gate)
                )
        if motion_embedding:
            width = block_out_channels[0]
            self.time_embedding = SummedTimestepEmbedding(width, 4 * width)
            self.fps_embedding = TimestepEmbedding(width, 4 * width)
            nn.init.zeros_(self.fps_embedding.linear_2.weight)
            nn.init.zeros_(self.fps_embedding.linear_2.bias)
        self._cache: ContextCache | None = None

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        encoder_hidden_states: Tensor,
        image_tokens: Tensor | None = None,
        motion: Tensor | None = None,
        return_dict: bool = True,
    ) -> UNet3DConditionOutput | tuple[Tensor]:
        """The prediction (b 4 f h w), as `.sample` or the only entry of a tuple.

        Args:
            sample: noisy latents, with the detail guidance behind them (b 8 f h w).
            timestep: 0 to 999, one for all clips or (b).
            encoder_hidden_states: text (b n d).
            image_tokens: each frame's own (b f m d), or the same for all frames (b m d), or None
                for the text alone.
            motion: frame stride or frames per second of each clip (b), whichever the network was
                trained with; None if it was trained with neither.
            return_dict: whether the result has names.

        Raises:
            InputError: shapes that do not fit together, or `motion` missing.
            ModelError: image tokens or `motion` for a network that has no use for them.
        """
        self._check_sample(sample, encoder_hidden_states)
        if image_tokens is not None:
            self._check_image(sample, image_tokens)
        kwargs = None
        if self.config.image_context:
            kwargs = {CONTEXT_KEY: self._context(encoder_hidden_states, image_tokens)}
        result: UNet3DConditionOutput | tuple[Tensor] = super().forward(
            sample,
            timestep,
            encoder_hidden_states,
            timestep_cond=self._pace(sample, motion),
            cross_attention_kwargs=kwargs,
            return_dict=return_dict,
        )
        return result

    @contextmanager
    def cached_context(self, max_contexts: int = 8) -> Iterator[None]:
        """Project each text and its image tokens once in the block, not at every step.

        Results are the same to the bit.  Up to `max_contexts` pairs of text and image tokens are
        kept, the last ones used: as many as one step uses in turn, such as guidance branches or
        windows.  A pair is known by its memory, so give the same tensors, or views of them, at
        every step; writing to them is noticed.  Weights must not change in the block.  Nothing is
        kept where gradients are on or tensors are made by `torch.inference_mode`.
        """
        before, self._cache = self._cache, ContextCache(max_contexts)
        try:
            yield
        finally:
            self._cache = before

    def _context(self, text: Tensor, image: Tensor | None) -> Context:
        if self._cache is None or torch.compiler.is_compiling():
            return Context(text, image)
        return self._cache.context(text, image)

    def _check_sample(self, sample: Tensor, text: Tensor) -> None:
        channels, width = self.config.in_channels, self.config.cross_attention_dim
        if sample.ndim != 5 or sample.shape[1] != channels:
            guided = ": latents and detail guidance together" if channels == 8 else ""
            raise InputError(
                f"The sample has the shape {tuple(sample.shape)}; this network takes (batch, "
                f"{channels}, frames, height, width){guided}."
            )
        if text.ndim != 3 or len(text) != len(sample) or text.shape[-1] != width:
            raise InputError(
                f"The text has the shape {tuple(text.shape)}; for this sample the network takes "
                f"({len(sample)}, tokens, {width})."
            )

    def _check_image(self, sample: Tensor, tokens: Tensor) -> None:
        if not self.config.image_context:
            raise ModelError(
                "This network has no image context (image_context=False), but image tokens were "
                "given; leave them out or use another model."
            )
        batch, _, frames, *_ = sample.shape
        width = self.config.cross_attention_dim
        own = tokens.ndim == 4 and tokens.shape[:2] == (batch, frames)
        common = tokens.ndim == 3 and len(tokens) == batch
        if not (own or common) or tokens.shape[-1] != width:
            raise InputError(
                f"The image tokens have the shape {tuple(tokens.shape)}; for this sample the "
                f"network takes ({batch}, {frames}, tokens, {width}), or ({batch}, tokens, "
                f"{width}) for all frames alike; image_context.resampled() changes their number "
                "of frames."
            )

    def _pace(self, sample: Tensor, motion: Tensor | None) -> Tensor | None:
        """The embedding (b e) of fps or frame stride."""
        if not self.config.motion_embedding:
            if motion is not None:
                raise ModelError(
                    "This network has no embedding of fps or frame stride "
                    "(motion_embedding=False), but `motion` was given; leave it out."
                )
            return None
        shape = None if motion is None else tuple(motion.shape)
        if motion is None or shape not in ((), (1,), (len(sample),)):
            raise InputError(
                f"`motion` is {'missing' if shape is None else f'of shape {shape}'}; give this "
                f"network the frame stride or fps of each of the {len(sample)} clips."
            )
        sinusoid = self.time_proj(motion.to(sample.device).expand(len(sample)))
        embedded: Tensor = self.fps_embedding(sinusoid.to(self.dtype))
        return embedded

    def _set_gradient_checkpointing(
        self, enable: bool = True, gradient_checkpointing_func: Checkpoint = checkpoint
    ) -> None:
        super()._set_gradient_checkpointing(enable, gradient_checkpointing_func)
        checkpoint_layers(self, gradient_checkpointing_func if enable else None)
