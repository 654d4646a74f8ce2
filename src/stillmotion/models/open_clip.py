"""OpenCLIP's text and vision towers, as DynamiCrafter's checkpoints hold them, in transformers.

DynamiCrafter reads the text tower after its last but one block and its final norm, and the vision
tower after its last block, without norm and projection.  The first is therefore a CLIPTextModel
with one layer less (as Stable Diffusion 2.1's is), the second a CLIPVisionModel's
`last_hidden_state`.  OpenCLIP keeps query, key and value in one matrix.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from stillmotion.errors import ModelError
from stillmotion.models.fitting import fitted
from stillmotion.models.layouts import Shapes

_TEXT_ENDS = {  # transformers -> OpenCLIP
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}
_VISION_ENDS = {
    "embeddings.class_embedding": "class_embedding",
    "embeddings.patch_embedding.weight": "conv1.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "pre_layrnorm.weight": "ln_pre.weight",
    "pre_layrnorm.bias": "ln_pre.bias",
    "post_layernorm.weight": "ln_post.weight",
    "post_layernorm.bias": "ln_post.bias",
}
_LAYER_PARTS = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
_PROJECTIONS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_LAYER = re.compile(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
_BLOCK = re.compile(r"transformer\.resblocks\.(\d+)\.")
_IN_PROJECTION = re.compile(r"(transformer\.resblocks\.\d+\.attn\.)in_proj_(weight|bias)")
# Earlier versions of transformers put all names of a tower below one of these.
_OUTER = re.compile(r"^(text_model|vision_model)\.")
_TEXT_HEAD_WIDTH = 64
_VISION_HEAD_WIDTHS = {1280: 80, 1664: 104}
"""By the width of the tower: ViT-H/14's and ViT-bigG/14's heads are wider than 64."""


def unused_text_names(names: Iterable[str]) -> set[str]:
    """Of a text tower's names those that a CLIPTextModel has no place for.

    The last block, what OpenCLIP trains with beside it, and the causal mask of old versions.
    """
    names = set(names)
    last = num_text_blocks(names) - 1
    unused = {"text_projection", "logit_scale", "attn_mask"}
    return {n for n in names if n in unused or n.startswith(f"transformer.resblocks.{last}.")}


def unused_vision_names(names: Iterable[str]) -> set[str]:
    """Of a vision tower's names those that a CLIPVisionModel has no place for."""
    return {"proj"} & set(names)


def num_text_blocks(names: Iterable[str]) -> int:
    """How many blocks a tower has."""
    return len({match[1] for name in names if (match := _BLOCK.match(name))})


def text_config(shapes: Shapes) -> dict[str, Any]:
    """The CLIPTextConfig of a text tower, given the shapes of its tensors without prefix.

    Raises KeyError with the name of a tensor that is missing.
    """
    vocabulary, width = shapes["token_embedding.weight"]
    return {
        **_common(shapes, num_text_blocks(shapes) - 1),
        "num_attention_heads": max(1, width // _TEXT_HEAD_WIDTH),
        "vocab_size": vocabulary,
        "max_position_embeddings": shapes["positional_embedding"][0],
        # As Stable Diffusion 2.1's tokenizer has them: padding is "!", the first of all words.
        "pad_token_id": 0,
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
    }


def vision_config(shapes: Shapes) -> dict[str, Any]:
    """The CLIPVisionConfig of a vision tower, given the shapes of its tensors without prefix.

    Raises KeyError with the name of a tensor that is missing.
    """
    width, channels, patch, _ = shapes["conv1.weight"]
    patches = shapes["positional_embedding"][0] - 1
    return {
        **_common(shapes, num_text_blocks(shapes)),
        "num_attention_heads": max(1, width // _VISION_HEAD_WIDTHS.get(width, 64)),
        "num_channels": channels,
        "patch_size": patch,
        "image_size": patch * round(patches**0.5),
    }


def text_from_open_clip(
    tensors: Mapping[str, Tensor], like: Mapping[str, Tensor], what: str = "the checkpoint"
) -> dict[str, Tensor]:
    """The state dict of the CLIPTextModel in an OpenCLIP text tower.

    Args:
        tensors: without prefix and without `unused_text_names`.
        like: state dict of the CLIPTextModel to fill, for instance on the meta device.
        what: how an error names the file.

    Raises:
        ModelError: something is missing, left over or of another shape.
    """
    return _from_open_clip(tensors, like, _TEXT_ENDS, what)


def vision_from_open_clip(
    tensors: Mapping[str, Tensor], like: Mapping[str, Tensor], what: str = "the checkpoint"
) -> dict[str, Tensor]:
    """The state dict of the CLIPVisionModel in an OpenCLIP vision tower (`visual.`).

    Arguments and errors as of `text_from_open_clip`, without `unused_vision_names`.
    """
    return _from_open_clip(tensors, like, _VISION_ENDS, what)


def text_to_open_clip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A CLIPTextModel's state dict in OpenCLIP's naming, one block short of the original."""
    return _to_open_clip(state, _TEXT_ENDS)


def vision_to_open_clip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A CLIPVisionModel's state dict in OpenCLIP's naming, without the projection."""
    return _to_open_clip(state, _VISION_ENDS)


def _from_open_clip(
    tensors: Mapping[str, Tensor],
    like: Mapping[str, Tensor],
    ends: Mapping[str, str],
    what: str,
) -> dict[str, Tensor]:
    split: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        match = _IN_PROJECTION.fullmatch(name)
        if match and tensor.shape[0] % 3 == 0:
            for part, piece in zip(_PROJECTIONS, tensor.chunk(3), strict=True):
                # Each in memory of its own: files hold no tensor that is part of another.
                split[f"{match[1]}{part}.{match[2]}"] = piece.clone()
        else:
            split[name] = tensor
    back = {_name(name, ends): name for name in like}
    return fitted({back.get(name, name): tensor for name, tensor in split.items()}, like, what)


def _to_open_clip(state: Mapping[str, Tensor], ends: Mapping[str, str]) -> dict[str, Tensor]:
    named = {_name(name, ends): tensor for name, tensor in state.items()}
    query, *others = _PROJECTIONS
    joined: dict[str, Tensor] = {}
    for name, tensor in named.items():
        if f".attn.{query}." in name:
            rest = [named[name.replace(query, other)] for other in others]
            whole = name.replace(f"{query}.", "in_proj_")
            joined[whole] = torch.cat([tensor, *rest])
        elif not any(f".attn.{other}." in name for other in others):
            joined[name] = tensor
    return joined


def _name(name: str, ends: Mapping[str, str]) -> str:
    """OpenCLIP's name; of query, key and value one that stands for a third of a matrix."""
    name = _OUTER.sub("", name)
    if name in ends:
        return ends[name]
    match = _LAYER.fullmatch(name)
    if match is None:
        raise ModelError(f"the tensor '{name}' is in no tower of OpenCLIP")
    layer, part, parameter = match.groups()
    if part in _PROJECTIONS:
        return f"transformer.resblocks.{layer}.attn.{part}.{parameter}"
    if part not in _LAYER_PARTS:
        raise ModelError(f"the tensor '{name}' is in no tower of OpenCLIP")
    return f"transformer.resblocks.{layer}.{_LAYER_PARTS[part]}.{parameter}"


def _common(shapes: Shapes, layers: int) -> dict[str, Any]:
    inner, width = shapes["transformer.resblocks.0.mlp.c_fc.weight"]
    return {
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        # The exact one; OpenAI's own CLIP has an approximation of it.
        "hidden_act": "gelu",
    }
