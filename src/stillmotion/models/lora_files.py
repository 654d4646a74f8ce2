"""LoRA files in the namings that are about, read into one and written in three.

The one is PEFT's, with the module names of diffusers and of transformers 5.6 and later:
`unet.<module>.lora_A.weight`, `text_encoder.<module>.lora_B.weight`.  A pipeline's
`load_lora_weights` takes it as it is.  Files are not handed to that loader unread: of kohya's
LoRAs for the text encoder, diffusers 0.42 with transformers 5.6 and later drops the attentions
and the alphas without a word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stillmotion.errors import ModelError
from stillmotion.models.files import expect, read_tensors
from stillmotion.models.layouts import LORAS
from stillmotion.models.motion_files import diffusers_name, original_name

UNET, TEXT_ENCODER = "unet", "text_encoder"
_TEXT_MODEL = "text_model"
_FACTOR = re.compile(
    r"^(?P<module>.+?)(?:\.lora_|_lora\.|\.lora\.|\.lora_linear_layer\.)(?P<which>down|up|A|B)"
    r"(?:\.default)?\.weight$"
)
_ALPHA = re.compile(r"^(?P<module>.+)\.alpha$")
_SIDES = {"down": "down", "A": "down", "up": "up", "B": "up"}
# Underscores join kohya's names; these belong to a word.
_WORD = re.compile(
    r"(?:down|up|transformer)_blocks|mid_block|motion_modules|proj_(?:in|out)|to_(?:q|k|v|out)"
    r"|conv_(?:in|out|shortcut)|time_emb_proj|time_embedding|linear_[12]"
    r"|text_model|self_attn|(?:q|k|v|out)_proj|[^_]+"
)
# Names of the text encoder's projections in LoRAs that early versions of diffusers wrote.
_OLD_TEXT_PARTS = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}
_PEFT_METADATA = "lora_adapter_metadata"


@dataclass(frozen=True)
class LowRankLayer:
    """W + alpha / rank up @ down: `down` (rank i ...), `up` (o rank ...); alpha None is rank."""

    down: Tensor
    up: Tensor
    alpha: float | None = None

    @property
    def rank(self) -> int:
        return self.down.shape[0]

    def scaled_up(self) -> Tensor:
        """`up` with the scale in it, exact where alpha / rank is a power of two."""
        scale = 1.0 if self.alpha is None else self.alpha / self.rank
        return self.up if scale == 1.0 else (self.up.float() * scale).to(self.up.dtype)


def load_lora(path: Path) -> dict[str, Tensor]:
    """A LoRA file of any known naming, ready for a pipeline's `load_lora_weights`.

    Args:
        path: a .safetensors file: kohya's, diffusers' (old or PEFT), or an AnimateDiff motion LoRA
            or domain adapter in the original naming.

    Returns:
        PEFT naming; scales are folded into the `lora_B` matrices.

    Raises:
        ModelError: no such file, of another kind, for another family of models, or not whole.
    """
    found = expect(path, LORAS)
    return to_peft(read_tensors(path, LORAS), found.metadata, f"'{path.name}'")


def to_peft(
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None = None,
    what: str = "the LoRA",
) -> dict[str, Tensor]:
    """A LoRA of any known naming in PEFT's; see `load_lora`.

    Args:
        tensors: of the file.
        metadata: of the file's header, where diffusers writes scales.
        what: how an error names the file.

    Raises:
        ModelError: a tensor is not of a LoRA, a pair is not whole, or a scale is of no known form.
    """
    peft = {}
    for module, layer in _layers(tensors, metadata or {}, what).items():
        peft[f"{module}.lora_A.weight"] = layer.down
        peft[f"{module}.lora_B.weight"] = layer.scaled_up()
    return peft


def to_kohya(peft: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """PEFT naming -> kohya's, with an alpha equal to the rank, which is a scale of one."""
    kohya = {}
    for module, layer in _layers(peft, {}, "the LoRA").items():
        component, _, rest = module.partition(".")
        if component == TEXT_ENCODER:
            rest = f"{_TEXT_MODEL}.{rest}"
        name = ("lora_unet_" if component == UNET else "lora_te_") + rest.replace(".", "_")
        kohya[f"{name}.lora_down.weight"] = layer.down
        kohya[f"{name}.lora_up.weight"] = layer.up
        kohya[f"{name}.alpha"] = torch.tensor(float(layer.rank), dtype=layer.down.dtype)
    return kohya


def to_motion_lora(peft: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """PEFT naming -> AnimateDiff's for motion LoRAs: `...processor.to_q_lora.down.weight`.

    Raises ModelError if a layer is not a projection of a motion module's attention.
    """
    original = {}
    for module, layer in _layers(peft, {}, "the LoRA").items():
        match = re.fullmatch(
            rf"{UNET}\.(.*\.motion_modules\..*\.attn[12]\.)(to_[qkv]|to_out)(?:\.0)?", module
        )
        if match is None:
            raise ModelError(
                f"'{module}' is no attention of a motion module; a motion LoRA in AnimateDiff's "
                "naming holds nothing else"
            )
        name = f"{original_name(match[1])}processor.{match[2]}_lora"
        original[f"{name}.down.weight"] = layer.down
        original[f"{name}.up.weight"] = layer.up
    return original


def _layers(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str], what: str
) -> dict[str, LowRankLayer]:
    """By module, with its component before it: `unet.conv_in`."""
    factors: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if match := _FACTOR.match(name):
            side = _SIDES[match["which"]]
        elif match := _ALPHA.match(name):
            side = "alpha"
        else:
            raise ModelError(f"{what} holds '{name}', which is no part of a plain LoRA")
        factors.setdefault(match["module"], {})[side] = tensor
    layers = {}
    for module, parts in factors.items():
        if "down" not in parts or "up" not in parts:
            raise ModelError(f"{what} has only one half of the layer '{module}'")
        name = _module_name(module, what)
        layers[name] = _layer(parts, _peft_alpha(metadata, name, what), module, what)
    return layers


def _layer(
    parts: Mapping[str, Tensor], alpha: float | None, module: str, what: str
) -> LowRankLayer:
    down, up = parts["down"], parts["up"]
    if down.ndim < 2 or up.ndim < 2 or down.shape[0] != up.shape[1]:
        raise ModelError(
            f"{what} has at '{module}' matrices {tuple(down.shape)} and {tuple(up.shape)}, which "
            "do not make a low-rank layer"
        )
    if "alpha" in parts:
        alpha = float(parts["alpha"])
    return LowRankLayer(down, up, alpha)


def _module_name(module: str, what: str) -> str:
    """A module as a file names it -> component and name in diffusers and transformers."""
    if match := re.match(r"lora_(unet|te1?)_(.*)", module):
        component = UNET if match[1] == "unet" else TEXT_ENCODER
        words = _words(match[2])
        if words[0] in ("input", "middle", "output"):
            raise ModelError(f"{what} names blocks as SDXL's original code does ('{module}')")
        name = ".".join(words)
    else:
        name = module.removeprefix("module.").replace(".processor.", ".")
        head, _, rest = name.partition(".")
        component, name = (head, rest) if head in (UNET, TEXT_ENCODER) else (UNET, name)
    if component == TEXT_ENCODER:
        name = name.removeprefix(f"{_TEXT_MODEL}.")
        head, _, last = name.rpartition(".")
        return f"{TEXT_ENCODER}.{head}.{_OLD_TEXT_PARTS.get(last, last)}"
    if ".temporal_transformer." in name:
        name = diffusers_name(name)
    return f"{UNET}.{name}.0" if name.endswith(".to_out") else f"{UNET}.{name}"


def _words(name: str) -> list[str]:
    """'mid_block_attentions_0_proj_in' -> ['mid_block', 'attentions', '0', 'proj_in']."""
    words = _WORD.findall(name)
    if "_".join(words) != name:
        raise ModelError(f"'{name}' is no name of a layer in a kohya LoRA")
    return words


def _peft_alpha(metadata: Mapping[str, str], module: str, what: str) -> float | None:
    """The alpha that diffusers wrote into the header for a module, None if it wrote none."""
    if _PEFT_METADATA not in metadata:
        return None
    component, _, name = module.partition(".")
    try:
        table = json.loads(metadata[_PEFT_METADATA])
        config = {
            key.removeprefix(f"{component}."): value
            for key, value in table.items()
            if key.startswith(f"{component}.")
        }
        return _configured_alpha(config, name, what)
    except (ValueError, TypeError, AttributeError, re.error) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{what} says its scales in an unknown form") from error


def _configured_alpha(config: Mapping[str, Any], name: str, what: str) -> float | None:
    if config.get("use_rslora") or config.get("use_dora"):
        raise ModelError(f"{what} was trained with rsLoRA or DoRA, which cannot be converted")
    for pattern, alpha in (config.get("alpha_pattern") or {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", name):
            return float(alpha)
    alpha = config.get("lora_alpha")
    return None if alpha is None else float(alpha)
