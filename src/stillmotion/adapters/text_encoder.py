"""Words -> what the U-Net reads, from whichever layer of the text encoder is wanted.

diffusers 0.42 cannot skip layers with transformers 5.6 and later: it looks for the final norm at
`text_encoder.text_model`, which is gone (diffusers issue 14124).  Here the norm is found where it
is, and prompt and negative prompt are read from the same layer; diffusers reads the negative one
from the last layer always, so that guidance compares two different layers (its issue 13973).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stillmotion.errors import InputError


def check_clip_skip(clip_skip: int, text_encoder: Any) -> None:
    """Raises InputError unless 0 <= clip_skip < number of the text encoder's layers."""
    layers = text_encoder.config.num_hidden_layers
    whole = isinstance(clip_skip, int) and not isinstance(clip_skip, bool)
    if not (whole and 0 <= clip_skip < layers):
        raise InputError(
            f"clip_skip is {clip_skip!r}; this text encoder has {layers} layers, so give 0 (none "
            f"left out) to {layers - 1}."
        )


def encode_prompt(
    pipe: Any, prompt: str, negative_prompt: str, *, uses_guidance: bool, clip_skip: int = 0
) -> Tensor:
    """The embeddings of a prompt, on the pipeline's device in the text encoder's precision.

    Args:
        pipe: a pipeline with a CLIP tokenizer and text encoder; words that stand for textual
            inversions are replaced by their vectors' tokens.
        prompt, negative_prompt: cut off where CLIP's 77 tokens end.
        uses_guidance: whether the negative prompt is wanted.
        clip_skip: last layers left out; 1 reads the last layer but one, and so on, always
            followed by the final norm.  (What other programs call "clip skip 2" is 1 here.)

    Returns:
        (2 n d), the negative prompt first, or (1 n d) without guidance.

    Raises:
        InputError: the text encoder has no such layer.
    """
    check_clip_skip(clip_skip, pipe.text_encoder)
    texts = (negative_prompt, prompt) if uses_guidance else (prompt,)
    # One by one: kernels round differently for different batch sizes, and a prompt should mean
    # the same with and without a negative one.
    return torch.cat([_encode(pipe, text, clip_skip) for text in texts])


def _encode(pipe: Any, text: str, clip_skip: int) -> Tensor:
    """(1 n d)."""
    tokenizer, encoder = pipe.tokenizer, pipe.text_encoder
    tokens = tokenizer(
        pipe.maybe_convert_prompt(text, tokenizer),
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    device = pipe._execution_device
    uses_mask = getattr(encoder.config, "use_attention_mask", False)
    mask = tokens.attention_mask.to(device) if uses_mask else None
    ids = tokens.input_ids.to(device)
    if clip_skip == 0:
        last: Tensor = encoder(ids, attention_mask=mask)[0]
        return last.to(device, encoder.dtype)
    # The state before the first layer comes first, that after the last one last, before the norm.
    states = encoder(ids, attention_mask=mask, output_hidden_states=True).hidden_states
    normed: Tensor = encoder.final_layer_norm(states[-(clip_skip + 1)])
    return normed.to(device, encoder.dtype)
