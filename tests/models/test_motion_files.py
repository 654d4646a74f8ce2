"""AnimateDiff's motion modules in files: v1, v2, v3, in both namings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import MotionAdapter
from diffusers.loaders.single_file_utils import convert_animatediff_checkpoint_to_diffusers
from safetensors.torch import load_file, save_file
from tests.tiny_models import randomise
from torch import Tensor

from stillmotion.errors import ModelError, OutputError
from stillmotion.models.files import describe, identify
from stillmotion.models.layouts import FileKind
from stillmotion.models.motion_files import (
    load_motion_adapter,
    motion_from_original,
    motion_to_original,
    save_motion_module,
)

V1 = {"motion_max_seq_length": 24, "use_motion_mid_block": False}
V2: dict[str, Any] = {"motion_max_seq_length": 32, "use_motion_mid_block": True}
V3 = {"motion_max_seq_length": 32, "use_motion_mid_block": False}
VERSIONS = {"v1": V1, "v2": V2, "v3": V3}


def tiny_adapter(**changes: Any) -> MotionAdapter:
    """Heads and groups are the published ones, which files do not say."""
    settings = {"block_out_channels": (32, 64), "motion_layers_per_block": 1, **changes}
    return randomise(MotionAdapter(**settings), 4)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def written(tensors: dict[str, Tensor], path: Path) -> Path:
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, path)
    return path


@pytest.mark.parametrize("version", VERSIONS)
def test_there_and_back(version: str, tmp_path: Path) -> None:
    adapter = tiny_adapter(**VERSIONS[version])
    path = tmp_path / "mm.safetensors"
    count = save_motion_module(adapter, path)
    assert identify(path) is FileKind(f"motion-{version}")
    assert count == len(load_file(path))
    loaded = load_motion_adapter(path)
    assert loaded.version == version
    assert same(loaded.adapter.state_dict(), adapter.state_dict())
    ours, theirs = loaded.adapter.config, adapter.config
    assert {n: v for n, v in ours.items() if n[0] != "_"} == {
        n: v for n, v in theirs.items() if n[0] != "_"
    }


@pytest.mark.parametrize(
    ("settings", "num_tensors"), [(V1, 560), (V2, 588), (V3, 560)], ids=VERSIONS
)
def test_full_size_names(settings: dict[str, Any], num_tensors: int) -> None:
    """Per module 26 tensors and two tables; 20 modules, and one in v2's middle block."""
    with torch.device("meta"):
        state = MotionAdapter(**settings).state_dict()
    original = motion_to_original(state)
    assert len(original) == num_tensors
    name = "down_blocks.0.motion_modules.1.temporal_transformer.transformer_blocks.0."
    assert original[f"{name}attention_blocks.1.to_out.0.bias"].shape == (320,)
    assert original[f"{name}attention_blocks.0.pos_encoder.pe"].shape[2] == 320
    assert original[f"{name}norms.1.weight"].shape == (320,)
    assert original[f"{name}ff_norm.weight"].shape == (320,)
    assert original[f"{name}ff.net.0.proj.weight"].shape == (2560, 320)
    tables = {n: t for n, t in state.items() if n.endswith(".pe")}
    theirs = convert_animatediff_checkpoint_to_diffusers(original)
    assert theirs.keys() == state.keys() - tables.keys()


def test_the_published_names_of_one_module(golden: Path) -> None:
    """Names inside a module as the authors' own code saves them."""
    inside = load_file(golden / "animatediff" / "motion_module_v2.weights.safetensors")
    place = "module.down_blocks.0.motion_modules.0."
    state = motion_from_original({place + name: tensor for name, tensor in inside.items()})
    with torch.device("meta"):
        adapter = MotionAdapter(block_out_channels=(64,), motion_layers_per_block=1)
    wanted = {n for n in adapter.state_dict() if n.startswith("down_blocks.0.motion_modules.0.")}
    assert state.keys() == wanted
    back = motion_to_original(state)
    assert same({n.removeprefix("down_blocks.0.motion_modules.0."): t for n, t in back.items()},
                inside)  # fmt: skip


@pytest.mark.parametrize(("settings", "version"), [(V1, "v3"), (V2, "v2"), (V3, "v3")])
def test_files_without_tables(settings: dict[str, Any], version: str, tmp_path: Path) -> None:
    """The current published code saves none; then there are 32 rows, computed."""
    original = motion_to_original(tiny_adapter(**settings).state_dict())
    bare = {f"module.{n}": t.half() for n, t in original.items() if not n.endswith(".pe")}
    loaded = load_motion_adapter(written(bare, tmp_path / "mm.safetensors"))
    assert loaded.version == version
    state, expected = loaded.adapter.state_dict(), tiny_adapter(**V2).state_dict()
    tables = {name: table for name, table in state.items() if name.endswith(".pe")}
    assert len(tables) == (7 if version == "v2" else 6)
    assert all(torch.equal(table, expected[name].half()) for name, table in tables.items())


def test_the_rows_of_a_file_are_kept(tmp_path: Path) -> None:
    adapter = tiny_adapter(motion_max_seq_length=64, use_motion_mid_block=True)
    save_motion_module(adapter, tmp_path / "mm.safetensors")
    loaded = load_motion_adapter(tmp_path / "mm.safetensors")
    assert loaded.version == "v2"
    assert loaded.adapter.config["motion_max_seq_length"] == 64


def test_heads_and_groups_are_said_in_the_header_or_by_the_caller(tmp_path: Path) -> None:
    adapter = tiny_adapter(
        block_out_channels=(12, 24), motion_num_attention_heads=4, motion_norm_num_groups=6, **V2
    )
    path = tmp_path / "mm.safetensors"
    save_motion_module(adapter, path)
    assert describe(path).metadata["motion_num_attention_heads"] == "4"
    assert load_motion_adapter(path).adapter.config["motion_norm_num_groups"] == 6
    silent = written(motion_to_original(adapter.state_dict()), tmp_path / "silent.safetensors")
    with pytest.raises(ModelError, match="width 12, which 8 heads and 32 norm groups do not"):
        load_motion_adapter(silent)
    told = load_motion_adapter(silent, num_attention_heads=4, norm_num_groups=6).adapter
    assert (told.config["motion_num_attention_heads"], told.config["motion_norm_num_groups"]) == (
        4,
        6,
    )


def test_folders_and_files_of_diffusers(tmp_path: Path) -> None:
    adapter = tiny_adapter(motion_num_attention_heads=4, **V1).half()
    adapter.save_pretrained(tmp_path / "folder")
    saved = tmp_path / "folder" / "diffusion_pytorch_model.safetensors"
    for path in (tmp_path / "folder", saved):
        loaded = load_motion_adapter(path)
        assert loaded.version == "v1"
        assert loaded.adapter.config["motion_num_attention_heads"] == 4
        assert same(loaded.adapter.state_dict(), adapter.state_dict())
    alone = saved.rename(tmp_path / "alone.safetensors")
    assert identify(alone) is FileKind.MOTION_DIFFUSERS
    assert same(load_motion_adapter(alone).adapter.state_dict(), adapter.state_dict())


def test_damaged_folders(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no diffusion_pytorch_model\.safetensors"):
        load_motion_adapter(tmp_path)
    tiny_adapter(**V3).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"block_out_channels": [32, 64], "x": 1}))
    with pytest.raises(ModelError, match=r"config\.json is not that of a motion adapter"):
        load_motion_adapter(tmp_path)


def test_what_is_not_whole_is_told(tmp_path: Path) -> None:
    original = motion_to_original(tiny_adapter(**V2).state_dict())
    path = tmp_path / "mm.safetensors"

    def refusal(tensors: dict[str, Tensor]) -> str:
        with pytest.raises(ModelError) as refused:
            load_motion_adapter(written(tensors, path))
        return str(refused.value)

    short = {n: t for n, t in original.items() if "up_blocks.1" not in n}
    assert "'mm.safetensors' lacks" in refusal(short)
    no_first = {n: t for n, t in original.items() if "down_blocks.0" not in n}
    assert "some levels of the encoder" in refusal(no_first)
    stray = {**original, "down_blocks.0.motion_modules.0.temporal_transformer.x": torch.zeros(1)}
    assert "for which the network has no place" in refusal(stray)
    tables = dict(original)
    name = next(n for n in tables if n.endswith("blocks.1.pos_encoder.pe"))
    tables[name] = tables[name] + 1
    assert "have different positions" in refusal(tables)


def test_existing_files_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "mm.safetensors"
    path.write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        save_motion_module(tiny_adapter(**V3), path)
    save_motion_module(tiny_adapter(**V3), path, overwrite=True)
    assert identify(path) is FileKind.MOTION_V3
