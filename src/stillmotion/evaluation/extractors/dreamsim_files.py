"""DreamSim's published files -> the folder that `dreamsim.DreamSimFeatures` reads.

The published code keeps its files in one folder::

    checkpoints/dino_vitbase16_pretrain.pth     DINO's backbone, fetched by torch.hub
    clip_vitb16_pretrain.pth.tar                OpenAI's CLIP, in DINO's naming
    open_clip_vitb16_pretrain.pth.tar           OpenCLIP, in DINO's naming
    ensemble_lora/                              one adapter of peft for all three (release 0.2), or
    dino_vitb16_lora/, clip_vitb16_lora/, open_clip_vitb16_lora/      three (release 0.1)

and, in an adapter's folder, adapter_config.json beside adapter_model.safetensors or .bin.  A file
named here may also lie there as .safetensors, which is preferred.  A LoRA adds alpha / r times B A
to the matrix of query, key and value of every block.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPVisionConfig, ViTConfig

from stillmotion.errors import ModelError
from stillmotion.evaluation.extractors.dreamsim import CLIP, DINO, FACTS, OPEN_CLIP, PARTS
from stillmotion.evaluation.extractors.weights import read_state, safetensors_beside
from stillmotion.models.files import identify
from stillmotion.models.layouts import FileKind
from stillmotion.models.pickles import convert_pickle
from stillmotion.runtime.files import atomic_folder, write_json

_SOURCES = {
    DINO: "checkpoints/dino_vitbase16_pretrain.pth",
    CLIP: "clip_vitb16_pretrain.pth.tar",
    OPEN_CLIP: "open_clip_vitb16_pretrain.pth.tar",
}
_HEAD_WIDTH = 64
_LORA = re.compile(r"(?:.*\.)?blocks\.(\d+)\.attn\.qkv\.lora_([AB])(?:\.default)?\.weight")
_EXTRACTOR = re.compile(r"(?:.*\.)?extractor_list\.(\d)\.")
_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)\.(weight|bias)")
_Lora = dict[tuple[int, str], Tensor]
#: By DINO's naming, what transformers' published files call the parts of a block.
_VIT_BLOCK = {
    "norm1": "layernorm_before",
    "attn.proj": "attention.output.dense",
    "norm2": "layernorm_after",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
_CLIP_BLOCK = {
    "norm1": "layer_norm1",
    "attn.proj": "self_attn.out_proj",
    "norm2": "layer_norm2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}


def convert_dreamsim(
    folder: Path,
    output: Path,
    *,
    lora: bool = True,
    allow_pickle: bool = False,
    overwrite: bool = False,
) -> None:
    """Write the three networks, with the LoRA merged into them, for `DreamSimFeatures`.

    Args:
        folder: of the published files, see above.
        output: the folder to write.
        lora: False leaves the networks as they were before DreamSim tuned them.
        allow_pickle: whether pickles may be read, by torch's restricted reader.
        overwrite: whether `output` may be replaced.

    Raises:
        ModelError: a file is missing, a pickle that may not be read, or of another kind.
        OutputError: `output` exists or cannot be written.
    """
    states = {part: _state(folder, _SOURCES[part], allow_pickle) for part in PARTS}
    if lora:
        for part, found in _loras(folder, allow_pickle).items():
            _merge(states[part], found, part)
    with atomic_folder(output, overwrite=overwrite) as temporary:
        for part, state in states.items():
            try:
                config, tensors = dino_network(state) if part == DINO else clip_network(state, part)
            except KeyError as error:
                raise ModelError(
                    f"{_SOURCES[part]} lacks {error}, so it is not of DreamSim or not whole"
                ) from error
            (temporary / part).mkdir()
            config.save_pretrained(temporary / part)
            save_file(tensors, temporary / part / "model.safetensors", metadata={"format": "pt"})
        write_json(temporary / FACTS, {"lora_merged": lora})


def dino_network(state: Mapping[str, Tensor]) -> tuple[ViTConfig, dict[str, Tensor]]:
    """DINO's backbone as a ViTModel's configuration and tensors.

    Raises KeyError with the name of a tensor that is missing.
    """
    tensors = {
        "embeddings.cls_token": state["cls_token"],
        "embeddings.position_embeddings": state["pos_embed"],
        "embeddings.patch_embeddings.projection.weight": state["patch_embed.proj.weight"],
        "embeddings.patch_embeddings.projection.bias": state["patch_embed.proj.bias"],
        "layernorm.weight": state["norm.weight"],
        "layernorm.bias": state["norm.bias"],
    }
    attention = [f"attention.attention.{name}" for name in ("query", "key", "value")]
    tensors |= _blocks(state, "encoder.layer", attention, _VIT_BLOCK)
    config = ViTConfig(**_common(state), hidden_act="gelu", layer_norm_eps=1e-6, qkv_bias=True)
    return config, _own(tensors)


def clip_network(
    state: Mapping[str, Tensor], part: str
) -> tuple[CLIPVisionConfig, dict[str, Tensor]]:
    """A CLIP in DINO's naming as a CLIPVisionModelWithProjection's configuration and tensors.

    DINO's patches have a bias, CLIP's in transformers none: it goes into the positions.

    Raises KeyError with the name of a tensor that is missing.
    """
    positions = state["pos_embed"][0].clone()
    positions[1:] += state["patch_embed.proj.bias"]
    tensors = {
        "vision_model.embeddings.class_embedding": state["cls_token"].flatten(),
        "vision_model.embeddings.position_embedding.weight": positions,
        "vision_model.embeddings.patch_embedding.weight": state["patch_embed.proj.weight"],
        "vision_model.pre_layrnorm.weight": state["pos_drop.weight"],
        "vision_model.pre_layrnorm.bias": state["pos_drop.bias"],
        "vision_model.post_layernorm.weight": state["norm.weight"],
        "vision_model.post_layernorm.bias": state["norm.bias"],
        "visual_projection.weight": state["proj"].T,
    }
    attention = [f"self_attn.{name}" for name in ("q_proj", "k_proj", "v_proj")]
    tensors |= _blocks(state, "vision_model.encoder.layers", attention, _CLIP_BLOCK)
    config = CLIPVisionConfig(
        **_common(state),
        # OpenAI's networks have an approximation of it.
        hidden_act="quick_gelu" if part == CLIP else "gelu",
        layer_norm_eps=1e-5,
        projection_dim=state["proj"].shape[1],
    )
    return config, _own(tensors)


def _common(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """What both kinds of configuration say."""
    width, channels, patch, _ = state["patch_embed.proj.weight"].shape
    patches = state["pos_embed"].shape[1] - 1
    return {
        "hidden_size": width,
        "intermediate_size": state["blocks.0.mlp.fc1.weight"].shape[0],
        "num_hidden_layers": len({m[1] for name in state if (m := _BLOCK.fullmatch(name))}),
        "num_attention_heads": max(1, width // _HEAD_WIDTH),
        "num_channels": channels,
        "patch_size": patch,
        "image_size": patch * round(patches**0.5),
    }


def _blocks(
    state: Mapping[str, Tensor], prefix: str, attention: list[str], names: Mapping[str, str]
) -> dict[str, Tensor]:
    """The tensors of all blocks; `attention` names query, key and value, `names` the others."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        match = _BLOCK.fullmatch(name)
        if match is None:
            continue
        number, part, parameter = match.groups()
        if part == "attn.qkv":
            for own, piece in zip(attention, tensor.chunk(3), strict=True):
                renamed[f"{prefix}.{number}.{own}.{parameter}"] = piece
        else:
            renamed[f"{prefix}.{number}.{names[part]}.{parameter}"] = tensor
    return renamed


def _own(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each in memory of its own, as files need it."""
    return {name: tensor.contiguous().clone() for name, tensor in tensors.items()}


def _loras(folder: Path, allow_pickle: bool) -> dict[str, _Lora]:
    """By network and block the matrices A, already scaled, and B."""
    together = folder / "ensemble_lora"
    if not together.is_dir():
        single = (f"{part}_vitb16_lora" for part in PARTS)
        return {
            part: _grouped(_adapter(folder / name, allow_pickle), folder / name)
            for part, name in zip(PARTS, single, strict=True)
        }
    tensors = _adapter(together, allow_pickle)
    found: dict[str, dict[str, Tensor]] = {part: {} for part in PARTS}
    for name, tensor in tensors.items():
        match = _EXTRACTOR.match(name)
        if match is None or int(match[1]) >= len(PARTS):
            raise ModelError(f"the adapter in {together} has '{name}', which DreamSim's has not")
        found[PARTS[int(match[1])]][name] = tensor
    return {part: _grouped(own, together) for part, own in found.items()}


def _adapter(folder: Path, allow_pickle: bool) -> dict[str, Tensor]:
    """The tensors of an adapter, its scale in the matrices A."""
    path = folder / "adapter_config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        scale = float(config["lora_alpha"]) / int(config["r"])
        plain = config.get("bias", "none") == "none" and not (
            config.get("use_rslora") or config.get("use_dora") or config.get("fan_in_fan_out")
        )
    except FileNotFoundError:
        raise ModelError(f"there is no {path}; give the folder of DreamSim's files") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise ModelError(f"{path} is not the configuration of a LoRA: {error!r}") from error
    if not plain:
        raise ModelError(f"{path} describes another kind of LoRA than DreamSim's, a plain one")
    tensors = _state(folder, "adapter_model.bin", allow_pickle)
    return {n: t * scale if ".lora_A." in n else t for n, t in tensors.items()}


def _grouped(tensors: Mapping[str, Tensor], folder: Path) -> _Lora:
    """By block and letter.  Release 0.1 stored each matrix under two names."""
    found: _Lora = {}
    for name, tensor in tensors.items():
        match = _LORA.fullmatch(name)
        if match is None:
            raise ModelError(f"the adapter in {folder} has '{name}', which DreamSim's has not")
        key = int(match[1]), match[2]
        if key in found and not torch.equal(found[key], tensor):
            raise ModelError(f"the adapter in {folder} has two matrices for block {match[1]}")
        found[key] = tensor
    return found


def _merge(state: dict[str, Tensor], lora: _Lora, part: str) -> None:
    """Add B A to query, key and value of every block, in place of the state's own matrices."""
    blocks = {int(m[1]) for name in state if (m := _BLOCK.fullmatch(name))}
    if set(lora) != {(block, letter) for block in blocks for letter in "AB"}:
        raise ModelError(
            f"DreamSim's LoRA for {part} has matrices for {len(lora) // 2} blocks, the network has "
            f"{len(blocks)}; take both from one release"
        )
    for block in blocks:
        name = f"blocks.{block}.attn.qkv.weight"
        change = lora[block, "B"] @ lora[block, "A"]
        if name not in state or state[name].shape != change.shape:
            raise ModelError(f"DreamSim's LoRA for {part} does not fit '{name}'")
        state[name] = state[name] + change


def _state(folder: Path, name: str, allow_pickle: bool) -> dict[str, Tensor]:
    """The tensors of a published file, or of the .safetensors beside it."""
    path = folder / name
    safe = safetensors_beside(path)
    if safe.is_file():
        return read_state(safe, "DreamSim")
    if not path.is_file():
        raise ModelError(f"there is no {path}, nor {safe.name} beside it; see the list of files")
    if not allow_pickle or identify(path) is not FileKind.PICKLE:
        return read_state(path, "DreamSim", "or allow pickles here")
    with tempfile.TemporaryDirectory() as temporary:
        convert_pickle(path, Path(temporary) / safe.name)
        return read_state(Path(temporary) / safe.name, "DreamSim")
