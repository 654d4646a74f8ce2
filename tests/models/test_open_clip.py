"""OpenCLIP's towers in transformers: the same numbers, and the same tensors back."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from tests.models.official_files import random_tensors, text_shapes, vision_shapes
from torch import Tensor
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModel

from stillmotion.errors import ModelError
from stillmotion.models.open_clip import (
    text_config,
    text_from_open_clip,
    text_to_open_clip,
    unused_text_names,
    unused_vision_names,
    vision_config,
    vision_from_open_clip,
    vision_to_open_clip,
)

HEADS = 2
# ViT-H/14 as open_clip configures it; the arguments of `text_shapes` and `vision_shapes`.
VIT_H_TEXT, VIT_H_VISION = (1024, 24, 4096, 49408, 77), (1280, 32, 5120, 14, 16, 1024)


def norm(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    scale, shift = weights[f"{name}.weight"], weights[f"{name}.bias"]
    return functional.layer_norm(x, scale.shape, scale, shift, 1e-5)


def block(weights: dict[str, Tensor], layer: int, x: Tensor, *, is_causal: bool) -> Tensor:
    """A residual attention block as published: one token and head after the other."""
    head = f"transformer.resblocks.{layer}."
    w = {name.removeprefix(head): t for name, t in weights.items() if name.startswith(head)}
    qkv = norm(w, "ln_1", x) @ w["attn.in_proj_weight"].T + w["attn.in_proj_bias"]
    width = x.shape[-1]
    q, k, v = qkv[:, :width], qkv[:, width : 2 * width], qkv[:, 2 * width :]
    mixed = torch.zeros_like(x)
    for start, stop in pairwise(range(0, width + 1, width // HEADS)):
        for i in range(len(x)):
            seen = i + 1 if is_causal else len(x)
            scores = k[:seen, start:stop] @ q[i, start:stop] / (width // HEADS) ** 0.5
            mixed[i, start:stop] = scores.softmax(0) @ v[:seen, start:stop]
    x = x + mixed @ w["attn.out_proj.weight"].T + w["attn.out_proj.bias"]
    hidden = norm(w, "ln_2", x) @ w["mlp.c_fc.weight"].T + w["mlp.c_fc.bias"]
    hidden = 0.5 * hidden * (1 + torch.erf(hidden / 2**0.5))  # the exact GELU
    return x + hidden @ w["mlp.c_proj.weight"].T + w["mlp.c_proj.bias"]


def shapes(tensors: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def used(tensors: dict[str, Tensor], unused: set[str]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name not in unused}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def text_model(tensors: dict[str, Tensor], **changes: Any) -> CLIPTextModel:
    config = text_config(shapes(tensors)) | changes
    model = CLIPTextModel(CLIPTextConfig(**config)).double()
    mine = used(tensors, unused_text_names(tensors))
    model.load_state_dict(text_from_open_clip(mine, model.state_dict()))
    return model.eval()


def test_the_text_tower_after_its_last_but_one_block() -> None:
    """FrozenOpenCLIPEmbedder, layer "penultimate": blocks but the last, then ln_final."""
    weights = {name: tensor.double() for name, tensor in random_tensors(text_shapes()).items()}
    ids = torch.tensor([18, 3, 5, 19, 0, 0, 0])
    x = weights["token_embedding.weight"][ids] + weights["positional_embedding"]
    for layer in (0, 1):
        x = block(weights, layer, x, is_causal=True)
    expected = norm(weights, "ln_final", x)
    model = text_model(weights, num_attention_heads=HEADS)
    assert model.config.num_hidden_layers == 2
    with torch.no_grad():
        found = model(ids[None]).last_hidden_state[0]
    assert (found - expected).abs().max() < 1e-12


def test_the_vision_tower_before_its_last_norm() -> None:
    """FrozenOpenCLIPImageEmbedderV2: class token and patches after all blocks, no ln_post."""
    weights = {name: tensor.double() for name, tensor in random_tensors(vision_shapes()).items()}
    generator = torch.Generator().manual_seed(9)
    image = torch.randn(3, 12, 12, dtype=torch.float64, generator=generator)
    kernels = weights["conv1.weight"].flatten(1)
    patches = [
        kernels @ image[:, y : y + 4, x : x + 4].flatten()
        for y in range(0, 12, 4)
        for x in range(0, 12, 4)
    ]
    x = torch.stack([weights["class_embedding"], *patches]) + weights["positional_embedding"]
    x = norm(weights, "ln_pre", x)
    for layer in (0, 1):
        x = block(weights, layer, x, is_causal=False)
    config = vision_config(shapes(weights)) | {"num_attention_heads": HEADS}
    model = CLIPVisionModel(CLIPVisionConfig(**config)).double().eval()
    mine = used(weights, unused_vision_names(weights))
    model.load_state_dict(vision_from_open_clip(mine, model.state_dict()))
    with torch.no_grad():
        found = model(image[None]).last_hidden_state[0]
    assert (found - x).abs().max() < 1e-12


def test_full_size() -> None:
    """The published towers: nothing left over but the last block and the projections."""
    with torch.device("meta"):
        theirs = {n: torch.empty(s) for n, s in text_shapes(*VIT_H_TEXT).items()}
        seen = {n: torch.empty(s) for n, s in vision_shapes(*VIT_H_VISION).items()}
        text = CLIPTextModel(CLIPTextConfig(**text_config(shapes(theirs))))
        vision = CLIPVisionModel(CLIPVisionConfig(**vision_config(shapes(seen))))
    for name, value in {
        "num_hidden_layers": 23, "num_attention_heads": 16, "hidden_size": 1024,
        "intermediate_size": 4096, "max_position_embeddings": 77, "vocab_size": 49408,
        "hidden_act": "gelu", "pad_token_id": 0, "bos_token_id": 49406, "eos_token_id": 49407,
        "layer_norm_eps": 1e-5,
    }.items():  # fmt: skip
        assert getattr(text.config, name) == value
    for name, value in {
        "num_hidden_layers": 32, "num_attention_heads": 16, "hidden_size": 1280,
        "intermediate_size": 5120, "image_size": 224, "patch_size": 14, "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,
    }.items():  # fmt: skip
        assert getattr(vision.config, name) == value
    unused = unused_text_names(theirs)
    assert len(unused) == 12 + 2
    kept = used(theirs, unused)
    state = text_from_open_clip(kept, text.state_dict())
    assert shapes(text_to_open_clip(state)) == shapes(kept)
    kept = used(seen, unused_vision_names(seen))
    assert len(kept) == len(seen) - 1
    state = vision_from_open_clip(kept, vision.state_dict())
    assert shapes(vision_to_open_clip(state)) == shapes(kept)
    # The published counts.
    assert round(sum(t.numel() for t in seen.values()) / 1e6, 2) == 632.08
    assert round(sum(t.numel() for t in theirs.values()) / 1e6, 2) == 354.03


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_there_and_back(dtype: torch.dtype) -> None:
    theirs = {name: tensor.to(dtype) for name, tensor in random_tensors(text_shapes()).items()}
    kept = used(theirs, unused_text_names(theirs))
    like = CLIPTextModel(CLIPTextConfig(**text_config(shapes(theirs)))).state_dict()
    state = text_from_open_clip(kept, like)
    assert same(text_to_open_clip(state), kept)
    # Earlier versions of transformers have an outer name.
    outer = {f"text_model.{name}": tensor for name, tensor in state.items()}
    assert same(text_to_open_clip(outer), kept)
    assert same(text_from_open_clip(kept, outer), outer)
    theirs = {name: tensor.to(dtype) for name, tensor in random_tensors(vision_shapes()).items()}
    kept = used(theirs, unused_vision_names(theirs))
    like = CLIPVisionModel(CLIPVisionConfig(**vision_config(shapes(theirs)))).state_dict()
    assert same(vision_to_open_clip(vision_from_open_clip(kept, like)), kept)


def test_what_does_not_belong_is_named() -> None:
    theirs = random_tensors(text_shapes())
    kept = used(theirs, unused_text_names(theirs))
    like = CLIPTextModel(CLIPTextConfig(**text_config(shapes(theirs)))).state_dict()
    with pytest.raises(ModelError, match=r"'x' holds 'visual.proj', for which"):
        text_from_open_clip({**kept, "visual.proj": torch.zeros(1)}, like, "'x'")
    with pytest.raises(ModelError, match=r"lacks 'encoder.layers.1.mlp.fc1.bias'"):
        text_from_open_clip(
            {n: t for n, t in kept.items() if n != "transformer.resblocks.1.mlp.c_fc.bias"}, like
        )
    with pytest.raises(ModelError, match=r"'encoder.layers.0.x.bias' is in no tower of OpenCLIP"):
        text_to_open_clip({"encoder.layers.0.x.bias": torch.zeros(1)})
    with pytest.raises(ModelError, match=r"'pooler.bias' is in no tower of OpenCLIP"):
        vision_to_open_clip({"pooler.bias": torch.zeros(1)})
    with pytest.raises(KeyError, match="conv1"):
        vision_config(shapes(theirs))
