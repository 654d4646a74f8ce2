"""The text-aligned image context: CLIP's tokens of the picture, translated for the U-Net.

The network P of section 3.2: learned queries, some for each frame, read all tokens of the CLIP
image encoder.  The U-Net attends to its output beside the text (`dual_stream.py`).
"""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.embeddings import IPAdapterPlusImageProjection
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor

from stillmotion.errors import InputError


class ImageContext(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """The query transformer P; the defaults are those of all released models.

    `resampler` is diffusers' own; the published one differs only in the names of its weights and in
    `to_kv`, keys before values.

    Args:
        embed_dims: channels of the CLIP tokens (ViT-H: 1280).
        output_dims: channels of the context, the U-Net's `cross_attention_dim`.
        hidden_dims: channels inside.
        depth: number of layers.
        dim_head: channels of one head.
        heads: number of heads.
        num_queries: image tokens for each frame.
        num_frames: frames that have queries of their own.
        ffn_ratio: width of the feed-forward layers, as a multiple of `hidden_dims`.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        embed_dims: int = 1280,
        output_dims: int = 1024,
        hidden_dims: int = 1024,
        depth: int = 4,
        dim_head: int = 64,
        heads: int = 12,
        num_queries: int = 16,
        num_frames: int = 16,
        ffn_ratio: float = 4,
    ) -> None:
        super().__init__()
        self.resampler = IPAdapterPlusImageProjection(
            embed_dims=embed_dims,
            output_dims=output_dims,
            hidden_dims=hidden_dims,
            depth=depth,
            dim_head=dim_head,
            heads=heads,
            num_queries=num_queries * num_frames,
            ffn_ratio=ffn_ratio,
        )

    def forward(self, clip_tokens: Tensor) -> Tensor:
        """Tokens of the picture (b n e) -> image tokens for each frame (b f m d).

        `clip_tokens` are the last hidden states of the CLIP image encoder, before its final norm
        and projection: the class token and the patches, or the class token alone.

        Raises:
            InputError: tokens of another shape.
        """
        channels = self.config.embed_dims
        if clip_tokens.ndim != 3 or clip_tokens.shape[-1] != channels:
            raise InputError(
                f"The CLIP tokens have the shape {tuple(clip_tokens.shape)}; this image context "
                f"takes (batch, tokens, {channels}), so give the tokens of the encoder that it "
                "was trained with."
            )
        tokens: Tensor = self.resampler(clip_tokens)
        shape = (len(tokens), self.config.num_frames, self.config.num_queries, -1)
        return tokens.reshape(shape)


def resampled(tokens: Tensor, num_frames: int) -> Tensor:
    """Image tokens (b f m d) for a clip of another length, (b num_frames m d).

    Interpolated linearly along time, the first and the last frame kept, so that each frame has
    tokens of its own at any length; a single frame has the first one's.  At the trained length
    the result is `tokens` itself.  The published code gives every frame all tokens instead.

    Raises:
        InputError: tokens without an axis of frames, or fewer than 1 frame.
    """
    if tokens.ndim != 4 or num_frames < 1:
        raise InputError(
            f"Image tokens of shape {tuple(tokens.shape)} cannot be made into {num_frames} frames; "
            "give (batch, frames, tokens, channels) and at least 1 frame."
        )
    trained = tokens.shape[1]
    if num_frames == trained:
        return tokens
    at = torch.linspace(0, trained - 1, num_frames, dtype=torch.float64, device=tokens.device)
    before = at.long()
    after = (before + 1).clamp(max=trained - 1)
    share = (at - before).to(tokens.dtype)[:, None, None]
    return torch.lerp(tokens[:, before], tokens[:, after], share)
