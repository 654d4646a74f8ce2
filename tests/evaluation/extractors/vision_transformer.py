"""DINO's vision transformer, written out slowly: what DreamSim's files are named after.

`state` has DINO's names.  With `pos_drop` in it (a norm after the positions) and `proj`, it is a
CLIP, as DreamSim stores them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

State = Mapping[str, Tensor]


def random_state(
    seed: int, *, width: int = 128, blocks: int = 2, size: int = 32, patch: int = 8, joint: int = 0
) -> dict[str, Tensor]:
    """Random weights; of a CLIP with `joint` dimensions, if given."""
    generator = torch.Generator().manual_seed(seed)

    def weight(*shape: int) -> Tensor:
        fan = shape[0] if len(shape) < 2 else int(torch.tensor(shape[1:]).prod())
        return torch.randn(shape, generator=generator) * (0.3 if len(shape) < 2 else fan**-0.5)

    def norm(name: str) -> dict[str, Tensor]:
        return {f"{name}.weight": 1 + weight(width), f"{name}.bias": weight(width)}

    def linear(name: str, inputs: int, outputs: int) -> dict[str, Tensor]:
        return {f"{name}.weight": weight(outputs, inputs), f"{name}.bias": weight(outputs)}

    state = {
        "cls_token": weight(1, 1, width),
        "pos_embed": weight(1, (size // patch) ** 2 + 1, width),
        "patch_embed.proj.weight": weight(width, 3, patch, patch),
        "patch_embed.proj.bias": weight(width),
        **norm("norm"),
    }
    for n in range(blocks):
        state |= norm(f"blocks.{n}.norm1") | norm(f"blocks.{n}.norm2")
        state |= linear(f"blocks.{n}.attn.qkv", width, 3 * width)
        state |= linear(f"blocks.{n}.attn.proj", width, width)
        state |= linear(f"blocks.{n}.mlp.fc1", width, 2 * width)
        state |= linear(f"blocks.{n}.mlp.fc2", 2 * width, width)
    if joint:
        state |= norm("pos_drop") | {"proj": weight(width, joint)}
    return state


def quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


def class_token(
    state: State, pixels: Tensor, heads: int, eps: float, act: Callable[[Tensor], Tensor] = F.gelu
) -> Tensor:
    """The class token (n d) as it leaves the last block, of pixels (n 3 h w)."""

    def norm(name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps)

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    kernel = state["patch_embed.proj.weight"]
    patches = F.conv2d(pixels, kernel, state["patch_embed.proj.bias"], stride=kernel.shape[-1])
    x = patches.flatten(2).transpose(1, 2)
    x = torch.cat((state["cls_token"].expand(len(x), -1, -1), x), 1) + state["pos_embed"]
    if "pos_drop.weight" in state:
        x = norm("pos_drop", x)
    for n in range(len({name.split(".")[1] for name in state if name.startswith("blocks.")})):
        block = f"blocks.{n}"
        query, key, value = linear(f"{block}.attn.qkv", norm(f"{block}.norm1", x)).chunk(3, -1)
        mixed = []
        for q, k, v in zip(*(m.chunk(heads, -1) for m in (query, key, value)), strict=True):
            mixed.append((q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).softmax(-1) @ v)
        x = x + linear(f"{block}.attn.proj", torch.cat(mixed, -1))
        hidden = act(linear(f"{block}.mlp.fc1", norm(f"{block}.norm2", x)))
        x = x + linear(f"{block}.mlp.fc2", hidden)
    return x[:, 0]


def projected(state: State, pixels: Tensor, heads: int, act: Callable[[Tensor], Tensor]) -> Tensor:
    """A CLIP's embedding (n joint): the class token's norm, then the projection."""
    token = class_token(state, pixels, heads, 1e-5, act)
    weight, bias = state["norm.weight"], state["norm.bias"]
    return F.layer_norm(token, token.shape[-1:], weight, bias, 1e-5) @ state["proj"]
