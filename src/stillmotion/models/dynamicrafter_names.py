"""DynamiCrafter's U-Net and query transformer in the official checkpoints and here.

The U-Net here is diffusers' UNet3DConditionModel with the key and value projections of the image
inside the processors of its cross-attentions.  As in `ldm.py`, one map leads from our names to the
official ones, and reading uses it backwards; the maps hold for any width, depth and number of
levels.  (Official: Doubiiu/DynamiCrafter c453369; "temopral" is how it spells it.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from stillmotion.errors import ModelError
from stillmotion.models import ldm
from stillmotion.models.fitting import fitted

CONTEXT_PREFIX = "image_proj_model."
MOTION_EMBEDDING = "fps_embedding."
"""The official code's name of the frame rate's or frame stride's embedding."""
FRAME_STRIDE_EMBEDDING = "framestride_embed."
"""Its name in the published file of the 256 variant."""

_OUR_MOTION_EMBEDDING = "fps_embedding.linear_"
_BLOCK = re.compile(
    r"(down|mid|up)_blocks?\.(?:(\d+)\.)?"
    r"(resnets|temp_convs|attentions|temp_attentions|downsamplers|upsamplers)\.(\d+)\.(.+)"
)
_SLOTS = {"resnets": 0, "temp_convs": 0, "attentions": 1, "temp_attentions": 2}
_GATE = ".attn2.alpha"
_FIRST_ATTENTION = re.compile(r"init_attn\.0\.proj_(in|out)\.weight")
_CONTEXT_PARTS = {  # ours -> official, within a layer
    "ln0": "0.norm1",
    "ln1": "0.norm2",
    "attn.to_q": "0.to_q",
    "attn.to_out.0": "0.to_out",
    "ff.0": "1.0",
    "ff.1.net.0.proj": "1.1",
    "ff.1.net.2": "1.3",
}
_CONTEXT_LAYER = re.compile(r"layers\.(\d+)\.(.+)\.(weight|bias)")
_INNER = "resampler."
"""Where an ImageContext has the query transformer; its state dict alone is taken as well."""
_KEYS, _VALUES, _BOTH = "attn.to_k", "attn.to_v", "0.to_kv"


def unet_names(names: Iterable[str]) -> dict[str, str]:
    """Our name -> the official one, without prefix, of the tensors of a DynamiCrafterUNet.

    Raises ModelError for a name that no such U-Net has.
    """
    names = list(names)
    layers = len(
        {name.split(".")[3] for name in names if name.startswith("down_blocks.0.resnets.")}
    )
    attended = {name.partition(".attentions.")[0] for name in names if ".attentions." in name}
    return {name: _unet_name(name, layers, attended) for name in names}


def unet_to_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A DynamiCrafterUNet's state dict in the official naming, prefix included.

    With gates it is named as the published 256 file is.  The projections of the first temporal
    attention (o i) become convolutions (o i 1), and the gates' alpha (1) has no axis there.
    """
    names = unet_names(state)
    gated = any(name.endswith(_GATE) for name in names.values())
    official: dict[str, Tensor] = {}
    for ours, name in names.items():
        tensor = state[ours]
        if _FIRST_ATTENTION.fullmatch(name) and tensor.ndim == 2:
            tensor = tensor[:, :, None]
        if name.endswith(_GATE):
            tensor = tensor.reshape(())
        if gated and name.startswith(MOTION_EMBEDDING):
            name = FRAME_STRIDE_EMBEDDING + name.removeprefix(MOTION_EMBEDDING)
        official[ldm.UNET_PREFIX + name] = tensor
    return official


def unet_from_official(
    tensors: Mapping[str, Tensor], like: Mapping[str, Tensor], what: str = "the checkpoint"
) -> dict[str, Tensor]:
    """The state dict of the U-Net in an official checkpoint.

    Args:
        tensors: by their official names, without prefix.
        like: state dict of the DynamiCrafterUNet to fill, for instance on the meta device.
        what: how an error names the file.

    Raises:
        ModelError: something is missing, left over or of another shape.
    """
    ours = {official: name for name, official in unet_names(like).items()}
    renamed = {}
    for name, tensor in tensors.items():
        if name.startswith(FRAME_STRIDE_EMBEDDING):
            name = MOTION_EMBEDDING + name.removeprefix(FRAME_STRIDE_EMBEDDING)
        if name.endswith(_GATE) and tensor.ndim == 0:
            tensor = tensor[None]
        renamed[ours.get(name, name)] = tensor
    return fitted(renamed, like, what)


def context_to_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An ImageContext's state dict in the official naming, prefix included.

    Keys and values have one matrix there, the keys' rows first.
    """
    official: dict[str, Tensor] = {}
    state = {name.removeprefix(_INNER): tensor for name, tensor in state.items()}
    for ours, tensor in state.items():
        match = _CONTEXT_LAYER.fullmatch(ours)
        if match is None:
            official[CONTEXT_PREFIX + ours] = tensor
            continue
        layer, part, parameter = match.groups()
        if part == _VALUES:
            continue
        if part == _KEYS:
            values = state[f"layers.{layer}.{_VALUES}.{parameter}"]
            part, tensor = _BOTH, torch.cat([tensor, values])
        elif part in _CONTEXT_PARTS:
            part = _CONTEXT_PARTS[part]
        else:
            raise ModelError(f"the tensor '{ours}' is in no query transformer of DynamiCrafter")
        official[f"{CONTEXT_PREFIX}layers.{layer}.{part}.{parameter}"] = tensor
    return official


def context_from_official(
    tensors: Mapping[str, Tensor], like: Mapping[str, Tensor], what: str = "the checkpoint"
) -> dict[str, Tensor]:
    """The state dict of the query transformer in an official checkpoint.

    Arguments and errors as of `unet_from_official`, with the state dict of an ImageContext.
    """
    back = {official: ours for ours, official in _CONTEXT_PARTS.items()}
    inner = _INNER if any(name.startswith(_INNER) for name in like) else ""
    renamed = {}
    for name, tensor in tensors.items():
        match = _CONTEXT_LAYER.fullmatch(name)
        if match is None:
            renamed[inner + name] = tensor
            continue
        layer, part, parameter = match.groups()
        head = f"{inner}layers.{layer}."
        if part == _BOTH and tensor.shape[0] % 2 == 0:
            keys, values = tensor.chunk(2)
            # Each in memory of its own: files hold no tensor that is part of another.
            renamed[f"{head}{_KEYS}.{parameter}"] = keys.clone()
            renamed[f"{head}{_VALUES}.{parameter}"] = values.clone()
        else:
            renamed[f"{head}{back.get(part, part)}.{parameter}"] = tensor
    return fitted(renamed, like, what)


def _unet_name(name: str, layers: int, attended: set[str]) -> str:
    if name.startswith("transformer_in."):
        return "init_attn.0." + name.removeprefix("transformer_in.")
    if name.startswith(_OUR_MOTION_EMBEDDING):
        number, _, parameter = name.removeprefix(_OUR_MOTION_EMBEDDING).partition(".")
        return f"{MOTION_EMBEDDING}{2 * (int(number) - 1)}.{parameter}"
    match = _BLOCK.fullmatch(name)
    if match is None:
        return ldm.unet_names([name])[name]
    side, level, part, index, rest = match.groups()
    if part == "resnets":
        # Inside they are Stable Diffusion's.
        like = f"mid_block.resnets.0.{rest}"
        rest = ldm.unet_names([like])[like].removeprefix("middle_block.0.")
    elif part == "temp_convs":
        rest = f"temopral_conv.{rest}"
    elif part == "attentions":
        rest = rest.replace(".attn2.processor.", ".attn2.")
    if side == "mid":
        return f"middle_block.{_SLOTS[part] + 3 * int(int(index) > 0)}.{rest}"
    # Each level has one block per layer and one more: of the encoder the downsampling, of the
    # decoder one layer more.
    first = int(level) * (layers + 1)
    if part == "downsamplers":
        return f"input_blocks.{first + layers + 1}.0.{rest.replace('conv.', 'op.')}"
    if part == "upsamplers":
        slot = 3 if f"up_blocks.{level}" in attended else 1
        return f"output_blocks.{first + layers}.{slot}.{rest}"
    block = first + int(index)
    head = f"input_blocks.{block + 1}" if side == "down" else f"output_blocks.{block}"
    return f"{head}.{_SLOTS[part]}.{rest}"
