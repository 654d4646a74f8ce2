"""Names of Stable Diffusion 1.x in one file (LDM) and in diffusers, in both directions.

One map per network leads from diffusers' names to those of the original code (CompVis
latent-diffusion); reading uses the same map backwards, so that nothing is renamed in one
direction only and no tensor is dropped in silence.  The maps hold for any width and any number
of levels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from torch import Tensor

from stillmotion.errors import ModelError
from stillmotion.models.fitting import fitted

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."
TEXT_PREFIX = "cond_stage_model.transformer."
_TEXT_MODEL = "text_model."

_UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_UNET_BLOCK = re.compile(
    r"(down|mid|up)_blocks?\.(?:(\d+)\.)?(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)"
)
_VAE_PARTS = (
    (r"mid_block\.resnets\.0\.", "mid.block_1."),
    (r"mid_block\.resnets\.1\.", "mid.block_2."),
    (r"mid_block\.attentions\.0\.", "mid.attn_1."),
    (r"\.(down|up)_blocks\.(\d+)\.resnets\.", r".\1.\2.block."),
    (r"\.(down|up)_blocks\.(\d+)\.(down|up)samplers\.0\.", r".\1.\2.\3sample."),
    (r"\.conv_norm_out\.", ".norm_out."),
    (r"\.conv_shortcut\.", ".nin_shortcut."),
    (r"\.attn_1\.group_norm\.", ".attn_1.norm."),
    # Folders saved before diffusers 0.13 say query, key, value and proj_attn.
    (r"\.attn_1\.(?:to_q|query)\.", ".attn_1.q."),
    (r"\.attn_1\.(?:to_k|key)\.", ".attn_1.k."),
    (r"\.attn_1\.(?:to_v|value)\.", ".attn_1.v."),
    (r"\.attn_1\.(?:to_out\.0|proj_attn)\.", ".attn_1.proj_out."),
)
_VAE_ATTENTION = re.compile(r"\.attn_1\.(q|k|v|proj_out)\.weight$")
# Written by the trainers beside the weights of a VAE.
_VAE_TRAINING = ("loss.", "model_ema.")
_POSITION_IDS = "embeddings.position_ids"


def unet_names(names: Iterable[str]) -> dict[str, str]:
    """diffusers' name -> LDM's, without prefix, of the tensors of a UNet2DConditionModel.

    Raises ModelError for a name that no U-Net of Stable Diffusion 1.x has.
    """
    names = list(names)
    layers = len(
        {name.split(".")[3] for name in names if name.startswith("down_blocks.0.resnets.")}
    )
    attended = {name.partition(".attentions.")[0] for name in names if ".attentions." in name}
    return {name: _unet_name(name, layers, attended) for name in names}


def vae_names(names: Iterable[str]) -> dict[str, str]:
    """diffusers' name -> LDM's, without prefix, of the tensors of an AutoencoderKL.

    The original numbers the levels of the decoder from the finest, diffusers from the coarsest.
    """
    names = list(names)
    levels = len({name.split(".")[2] for name in names if name.startswith("decoder.up_blocks.")})
    return {name: _vae_name(name, levels) for name in names}


def text_encoder_names(names: Iterable[str]) -> dict[str, str]:
    """Name in a CLIPTextModel -> LDM's, without prefix.

    transformers 5.6 and later name the parts directly, earlier ones below `text_model.`, as the
    original does.
    """
    return {name: _TEXT_MODEL + name.removeprefix(_TEXT_MODEL) for name in names}


def unet_to_ldm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A UNet2DConditionModel's state dict in LDM naming, prefix included."""
    return _renamed(state, unet_names, UNET_PREFIX)


def vae_to_ldm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An AutoencoderKL's state dict in LDM naming, prefix included.

    Matrices of attention (o i) become 1x1 convolutions (o i 1 1), as the original has them.
    """
    renamed = _renamed(state, vae_names, VAE_PREFIX)
    return {
        name: tensor[:, :, None, None]
        if _VAE_ATTENTION.search(name) and tensor.ndim == 2
        else tensor
        for name, tensor in renamed.items()
    }


def text_encoder_to_ldm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A CLIPTextModel's state dict in LDM naming, prefix included."""
    weights = {n: t for n, t in state.items() if not n.endswith(_POSITION_IDS)}
    return _renamed(weights, text_encoder_names, TEXT_PREFIX)


def unet_from_ldm(
    tensors: Mapping[str, Tensor], like: Mapping[str, Tensor], what: str = "the checkpoint"
) -> dict[str, Tensor]:
    """The state dict of the U-Net in a single file.

    Args:
        tensors: of the file; those of other networks, averages and schedules are passed over.
        like: state dict of the UNet2DConditionModel to fill, for instance on the meta device.
        what: how an error names the file.

    Raises:
        ModelError: something is missing, left over or of another shape.
    """
    mine = _below(tensors, UNET_PREFIX)
    return fitted(_restored(mine, unet_names(like)), like, what)


def vae_from_ldm(
    tensors: Mapping[str, Tensor], like: Mapping[str, Tensor], what: str = "the checkpoint"
) -> dict[str, Tensor]:
    """The state dict of the AutoencoderKL in a single file, or in a file of its own.

    Arguments and errors as of `unet_from_ldm`.
    """
    mine = _below(tensors, VAE_PREFIX) or dict(tensors)
    mine = {n: t for n, t in mine.items() if not n.startswith(_VAE_TRAINING)}
    return fitted(_restored(mine, vae_names(like)), like, what)


def text_encoder_from_ldm(
    tensors: Mapping[str, Tensor], like: Mapping[str, Tensor], what: str = "the checkpoint"
) -> dict[str, Tensor]:
    """The state dict of the CLIPTextModel in a single file; some leave out `text_model.`.

    Arguments and errors as of `unet_from_ldm`.
    """
    mine = {
        _TEXT_MODEL + name.removeprefix(_TEXT_MODEL): tensor
        for name, tensor in _below(tensors, TEXT_PREFIX).items()
        # A count from 0, which older versions of transformers saved.
        if not name.endswith(_POSITION_IDS)
    }
    return fitted(_restored(mine, text_encoder_names(like)), like, what)


def _renamed(
    state: Mapping[str, Tensor], names: Callable[[Iterable[str]], dict[str, str]], prefix: str
) -> dict[str, Tensor]:
    return {prefix + new: state[old] for old, new in names(state).items()}


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _restored(tensors: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Under diffusers' names; unknown ones keep theirs, for `fitted` to tell."""
    back = {ldm: name for name, ldm in names.items()}
    return {back.get(name, name): tensor for name, tensor in tensors.items()}


def _unet_name(name: str, layers: int, attended: set[str]) -> str:
    module, _, parameter = name.rpartition(".")
    if module in _UNET_ENDS:
        return f"{_UNET_ENDS[module]}.{parameter}"
    match = _UNET_BLOCK.fullmatch(name)
    if match is None:
        raise ModelError(f"the tensor '{name}' is in no U-Net of Stable Diffusion 1.x")
    side, level, part, index, rest = match.groups()
    if part == "resnets":
        inner, _, parameter = rest.rpartition(".")
        if inner not in _RESNET:
            raise ModelError(f"the tensor '{name}' is in no U-Net of Stable Diffusion 1.x")
        rest = f"{_RESNET[inner]}.{parameter}"
    if side == "mid":
        return f"middle_block.{1 if part == 'attentions' else 2 * int(index)}.{rest}"
    # Each level has one block per layer and one more: of the encoder the downsampling, of the
    # decoder one layer more.
    first = int(level) * (layers + 1)
    slot = int(part == "attentions")
    if side == "down":
        if part == "downsamplers":
            return f"input_blocks.{first + layers + 1}.0.{rest.replace('conv.', 'op.')}"
        return f"input_blocks.{first + 1 + int(index)}.{slot}.{rest}"
    if part == "upsamplers":
        slot = 2 if f"up_blocks.{level}" in attended else 1
        return f"output_blocks.{first + layers}.{slot}.{rest}"
    return f"output_blocks.{first + int(index)}.{slot}.{rest}"


def _vae_name(name: str, levels: int) -> str:
    def from_finest(match: re.Match[str]) -> str:
        return f"decoder.up_blocks.{levels - 1 - int(match[1])}."

    name = re.sub(r"^decoder\.up_blocks\.(\d+)\.", from_finest, name)
    for old, new in _VAE_PARTS:
        name = re.sub(old, new, name)
    return name
