"""AnimateDiff motion modules in files: the original naming, diffusers', and what they need.

The original saves one file of `<block>.motion_modules.<n>.temporal_transformer...`, at times with
`module.` before every name; diffusers saves a folder, or one file with names of its own.  The
number of heads and of norm groups is in neither: the published ones have 8 and 32, and files
written here say theirs in the header.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import MotionAdapter
from diffusers.models.embeddings import SinusoidalPositionalEmbedding
from safetensors.torch import save_file
from torch import Tensor

from stillmotion.errors import ModelError
from stillmotion.models.files import (
    DIFFUSERS_STEM,
    WeightsFile,
    expect,
    read_tensors,
    weights_in,
)
from stillmotion.models.fitting import fitted
from stillmotion.models.layouts import MOTION_MODULES, FileKind, motion_version, position_rows
from stillmotion.runtime.files import atomic_path

MotionVersion = Literal["v1", "v2", "v3"]
_VERSIONS: dict[FileKind, MotionVersion] = {
    FileKind.MOTION_V1: "v1",
    FileKind.MOTION_V2: "v2",
    FileKind.MOTION_V3: "v3",
}
_DEFAULT_ROWS = 32
_DEFAULT_HEADS, _DEFAULT_GROUPS = 8, 32
_HEADS_KEY, _GROUPS_KEY = "motion_num_attention_heads", "motion_norm_num_groups"
_MODULE = re.compile(r"^(.*motion_modules\.\d+\.)(?:temporal_transformer\.)?(.*)$")
_BLOCK_PARTS = {  # diffusers -> original
    "attn1": "attention_blocks.0",
    "attn2": "attention_blocks.1",
    "norm1": "norms.0",
    "norm2": "norms.1",
    "norm3": "ff_norm",
}
_PARTS_BACK = {original: part for part, original in _BLOCK_PARTS.items()}
_TABLE = "pos_embed.pe"
_TABLES = tuple(f"attention_blocks.{i}.pos_encoder.pe" for i in (0, 1))


@dataclass(frozen=True)
class LoadedMotion:
    """Motion modules and the version of AnimateDiff that they are built as.

    v1 was trained with ResNet norms over all frames: it needs `AcrossFramesResnetNorm`.
    """

    adapter: MotionAdapter
    version: MotionVersion


def original_name(name: str) -> str:
    """A name of diffusers' motion modules in AnimateDiff's words; not for position tables."""
    match = _MODULE.match(name)
    if match is None:
        raise ModelError(f"the tensor '{name}' is in no motion module")
    head, rest = match.groups()
    for part, original in _BLOCK_PARTS.items():
        rest = re.sub(rf"^(transformer_blocks\.\d+\.){part}\.", rf"\1{original}.", rest)
    return f"{head}temporal_transformer.{rest}"


def diffusers_name(name: str) -> str:
    """A name of AnimateDiff's motion modules in diffusers' words; `module.` is taken off."""
    match = _MODULE.match(name.removeprefix("module."))
    if match is None:
        raise ModelError(f"the tensor '{name}' is in no motion module")
    head, rest = match.groups()
    for original, part in _PARTS_BACK.items():
        rest = re.sub(rf"^(transformer_blocks\.\d+\.){original}\.", rf"\1{part}.", rest)
    return head + rest


def motion_to_original(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A MotionAdapter's state dict in AnimateDiff's naming.

    diffusers has one table of positions (1 rows c) per block; the original one per attention.
    """
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.endswith(_TABLE):
            block = original_name(name).removesuffix(_TABLE)
            renamed |= {block + table: tensor for table in _TABLES}
        else:
            renamed[original_name(name)] = tensor
    return renamed


def motion_from_original(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """AnimateDiff's motion modules in the naming of a MotionAdapter's state dict.

    Raises ModelError if the two tables of positions of a block differ: diffusers has but one.
    """
    state: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        table = next((table for table in _TABLES if name.endswith(table)), None)
        if table is None:
            state[diffusers_name(name)] = tensor
            continue
        new = diffusers_name(name.removesuffix(table)) + _TABLE
        if new in state and not torch.equal(state[new], tensor):
            raise ModelError(
                f"the attentions of the motion block '{name.removesuffix('.' + table)}' have "
                "different positions, which diffusers cannot hold"
            )
        state[new] = tensor
    return state


def load_motion_adapter(
    path: Path, *, num_attention_heads: int | None = None, norm_num_groups: int | None = None
) -> LoadedMotion:
    """Read motion modules of AnimateDiff v1, v2 or v3, or built as these.

    Args:
        path: a .safetensors file in the original naming or diffusers', or a diffusers folder.
        num_attention_heads: of files that do not say; 8 in all published ones.
        norm_num_groups: likewise; 32.

    Returns:
        The adapter in the file's precision, on the CPU, and its version.

    Raises:
        ModelError: no such file, of another kind, damaged, or not whole.
    """
    # The file that diffusers saves is told by the configuration beside it.
    is_saved = (
        path.name == f"{DIFFUSERS_STEM}.safetensors" and (path.parent / "config.json").is_file()
    )
    folder = path if path.is_dir() else path.parent if is_saved else None
    weights = path if folder is None else weights_in(folder, DIFFUSERS_STEM)
    found = expect(weights, MOTION_MODULES)
    state = motion_from_original(read_tensors(weights, MOTION_MODULES))
    if folder is None:
        config = _config(state, found, num_attention_heads, norm_num_groups)
    else:
        config = _saved_config(folder)
    adapter = _build(state, config, f"'{path.name}'")
    return LoadedMotion(adapter, version_of(adapter))


def version_of(adapter: MotionAdapter) -> MotionVersion:
    """Which version of AnimateDiff motion modules are built as."""
    shapes = {name: tuple(tensor.shape) for name, tensor in adapter.state_dict().items()}
    return _VERSIONS[motion_version(shapes, position_rows(shapes))]


def save_motion_module(adapter: MotionAdapter, output: Path, *, overwrite: bool = False) -> int:
    """Write motion modules as one .safetensors file in AnimateDiff's naming.

    Returns how many tensors were written.  Raises OutputError if the file exists and `overwrite`
    is false, or if it cannot be written.
    """
    tensors = motion_to_original(adapter.state_dict())
    # A table stands under two names, and safetensors holds no tensor twice.
    tensors = {
        name: tensor.clone() if name.endswith(_TABLES[1]) else tensor.contiguous()
        for name, tensor in tensors.items()
    }
    metadata = {
        "format": "pt",
        _HEADS_KEY: str(adapter.config[_HEADS_KEY]),
        _GROUPS_KEY: str(adapter.config[_GROUPS_KEY]),
    }
    with atomic_path(output, overwrite=overwrite) as temporary:
        save_file(tensors, temporary, metadata=metadata)
    return len(tensors)


def _saved_config(folder: Path) -> dict[str, Any]:
    try:
        text = (folder / "config.json").read_text(encoding="utf-8")
        config = {name: value for name, value in json.loads(text).items() if name[0] != "_"}
        with torch.device("meta"):
            MotionAdapter(**config)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{folder}/config.json is not that of a motion adapter: {error}"
        ) from error
    return config


def _config(
    state: Mapping[str, Tensor], found: WeightsFile, heads: int | None, groups: int | None
) -> dict[str, Any]:
    """The arguments of MotionAdapter: widths and depths from the shapes, the rest as told."""
    down = re.compile(r"^down_blocks\.(\d+)\.motion_modules\.0\.norm\.weight$")
    widths = {int(m[1]): state[name].shape[0] for name in state if (m := down.match(name))}
    if not widths or sorted(widths) != list(range(len(widths))):
        raise ModelError(
            f"'{found.path.name}' lacks the motion modules of some levels of the encoder; "
            "diffusers needs those of all"
        )
    rows = position_rows({name: tuple(tensor.shape) for name, tensor in state.items()})
    heads = heads or _told(found, _HEADS_KEY, _DEFAULT_HEADS)
    groups = groups or _told(found, _GROUPS_KEY, _DEFAULT_GROUPS)
    for width in widths.values():
        if width % heads or width % groups:
            raise ModelError(
                f"'{found.path.name}' has motion modules of width {width}, which {heads} heads "
                f"and {groups} norm groups do not divide; say how many it was made with"
            )
    return {
        "block_out_channels": tuple(widths[level] for level in sorted(widths)),
        "motion_layers_per_block": _count(state, r"^down_blocks\.0\.motion_modules\.(\d+)\."),
        "motion_transformer_layers_per_block": _count(
            state, r"^down_blocks\.0\.motion_modules\.0\.transformer_blocks\.(\d+)\."
        ),
        "motion_transformer_layers_per_mid_block": _count(
            state, r"^(?:mid_block|down_blocks\.0)\.motion_modules\.0\.transformer_blocks\.(\d+)\."
        ),
        "motion_max_seq_length": rows or _DEFAULT_ROWS,
        "use_motion_mid_block": any(name.startswith("mid_block.") for name in state),
        _HEADS_KEY: heads,
        _GROUPS_KEY: groups,
    }


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    return len({match[1] for name in state if (match := re.match(pattern, name))})


def _told(found: WeightsFile, key: str, default: int) -> int:
    text = found.metadata.get(key, "")
    return int(text) if text.isdecimal() and int(text) > 0 else default


def _build(state: dict[str, Tensor], config: Mapping[str, Any], what: str) -> MotionAdapter:
    with torch.device("meta"):
        adapter = MotionAdapter(**config)
    like = adapter.state_dict()
    tables = {
        name: _positions(like[name], dtype_like=next(iter(state.values())))
        for name in like
        if name.endswith(_TABLE) and name not in state
    }
    adapter.load_state_dict(fitted(state | tables, like, what), assign=True)
    return adapter.eval()


def _positions(like: Tensor, dtype_like: Tensor) -> Tensor:
    """The table (1 rows c) that files leave out because it is computed."""
    _, rows, width = like.shape
    table: Tensor = SinusoidalPositionalEmbedding(width, rows).get_buffer("pe")
    return table.to(dtype_like.dtype)
