"""Files of weights are told apart by their headers, and nothing in a header is trusted."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from stillmotion.errors import ModelError
from stillmotion.models.files import describe, expect, identify, read_tensors
from stillmotion.models.layouts import LORAS, MOTION_MODULES, FileKind, layout_of

UNET_LDM = "model.diffusion_model."
TEXT_LDM = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
FIRST = {f"{UNET_LDM}input_blocks.0.0.weight": (320, 4, 3, 3)}
CONTEXT = f"{UNET_LDM}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
FIRST_ATTENTION = f"{UNET_LDM}init_attn.0.norm.weight"
MOTION = "motion_modules.0.temporal_transformer."
TABLE = f"{MOTION}transformer_blocks.0.attention_blocks.0.pos_encoder.pe"
ATTENTION = f"{MOTION}transformer_blocks.0.attention_blocks.0."
KOHYA = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight"
SAMPLES: dict[FileKind, list[dict[str, tuple[int, ...]]]] = {
    FileKind.LDM: [{**FIRST, TEXT_LDM: (49408, 768), CONTEXT: (320, 768)}],
    FileKind.LDM_WITHOUT_TEXT: [FIRST],
    FileKind.SD2_CHECKPOINT: [
        {**FIRST, "cond_stage_model.model.ln_final.weight": (1024,)},
        {**FIRST, CONTEXT: (320, 1024)},
    ],
    FileKind.SDXL_CHECKPOINT: [
        {**FIRST, "conditioner.embedders.0.transformer.text_model.x": (1,)},
        {**FIRST, f"{UNET_LDM}label_emb.0.0.weight": (1280, 2816)},
    ],
    FileKind.DYNAMICRAFTER: [
        {**FIRST, "image_proj_model.latents": (1, 256, 1024)},
        {**FIRST, CONTEXT: (320, 1024), CONTEXT.replace("to_k", "to_k_ip"): (320, 1024)},
        {f"module._forward_module.{FIRST_ATTENTION}": (320,),
         "module._forward_module.image_proj_model.latents": (1, 256, 1024)},
    ],
    FileKind.VIDEOCRAFTER: [{**FIRST, FIRST_ATTENTION: (320,), CONTEXT: (320, 1024)}],
    FileKind.UNET: [{"down_blocks.0.resnets.0.time_emb_proj.weight": (320, 1280)}],
    FileKind.VIDEO_UNET: [
        {"down_blocks.0.resnets.0.time_emb_proj.weight": (1,), f"down_blocks.0.{MOTION}x": (1,)},
        {"module.conv_in.weight": (1,), "module.down_blocks.0.resnets.0.x": (1,),
         f"module.down_blocks.0.{MOTION}x": (1,)},
    ],
    FileKind.TEXT_ENCODER: [
        {"text_model.embeddings.token_embedding.weight": (49408, 768)},
        {"embeddings.token_embedding.weight": (49408, 768)},
    ],
    FileKind.VAE_LDM: [
        {"first_stage_model.encoder.down.0.block.0.conv1.weight": (1,)},
        {"encoder.down.0.block.0.conv1.weight": (1,)},
    ],
    FileKind.VAE: [{"encoder.down_blocks.0.resnets.0.conv1.weight": (1,)}],
    FileKind.MOTION_V1: [
        {f"down_blocks.0.{TABLE}": (1, 24, 320)},
        {f"module.down_blocks.0.{TABLE}": (1, 24, 320)},
    ],
    FileKind.MOTION_V2: [
        {f"down_blocks.0.{TABLE}": (1, 32, 320), f"mid_block.{TABLE}": (1, 32, 1280)},
        {f"down_blocks.0.{TABLE}": (1, 24, 320), f"mid_block.{TABLE}": (1, 24, 1280)},
    ],
    FileKind.MOTION_V3: [
        {f"down_blocks.0.{TABLE}": (1, 32, 320)},
        {f"down_blocks.0.{MOTION}norm.weight": (320,)},
    ],
    FileKind.MOTION_DIFFUSERS: [{"down_blocks.0.motion_modules.0.norm.weight": (320,)}],
    FileKind.MOTION_LORA: [
        {f"module.down_blocks.0.{ATTENTION}processor.to_q_lora.down.weight": (4, 320)}
    ],
    FileKind.MOTION_LORA_DIFFUSERS: [
        {"unet.mid_block.motion_modules.0.transformer_blocks.0.attn1.to_q.lora_A.weight": (4, 8)}
    ],
    FileKind.DOMAIN_ADAPTER: [
        {"down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.down.weight":
         (4, 8)}
    ],
    FileKind.KOHYA_LORA: [{KOHYA: (4, 768)}, {"lora_te_text_model_x.lora_down.weight": (4, 8)}],
    FileKind.DIFFUSERS_LORA: [
        {"unet.conv_in.lora_A.weight": (4, 4, 3, 3)},
        {"unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.up.weight":
         (8, 4)},
    ],
    FileKind.LYCORIS: [{"lora_unet_mid_block_x.hada_w1_a": (4, 8)}],
    FileKind.IP_ADAPTER: [{"image_proj.norm.bias": (1,)}, {"ip_adapter.1.to_k_ip.weight": (8, 8)}],
    FileKind.EMBEDDING: [{"emb_params": (4, 768)}, {"<cat-toy>": (768,)}],
    FileKind.CONTROLNET_LDM: [{"control_model.input_blocks.0.0.weight": (1,)}],
    FileKind.CONTROLNET: [
        {"controlnet_cond_embedding.conv_in.weight": (1,),
         "down_blocks.0.resnets.0.time_emb_proj.weight": (1,)}
    ],
    FileKind.UNKNOWN: [{"layer.weight": (3, 3)}, {"model.diffusion_model.x_embedder.w": (1,)}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "shapes"), [(kind, shapes) for kind, group in SAMPLES.items() for shapes in group]
)
def test_kinds_are_told_by_names_and_shapes(kind: FileKind, shapes: dict[str, Any]) -> None:
    assert layout_of(shapes).kind is kind


def test_every_kind_of_tensors_has_a_sample() -> None:
    others = {FileKind.PICKLE, FileKind.TORCHSCRIPT, FileKind.DAMAGED}
    assert set(SAMPLES) == set(FileKind) - others


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({KOHYA: (4, 768)}, "a kohya LoRA for Stable Diffusion 1.5"),
        ({KOHYA: (4, 2048)}, "a kohya LoRA for Stable Diffusion XL"),
        ({"lora_te2_x.lora_down.weight": (4, 8), KOHYA: (4, 8)}, "a kohya LoRA for Stable D"
         "iffusion XL"),
        ({KOHYA: (4, 128)}, "a kohya LoRA"),
        ({"emb_params": (4, 1024)}, "a textual inversion embedding for Stable Diffusion 2"),
        (SAMPLES[FileKind.SD2_CHECKPOINT][1], "a checkpoint for Stable Diffusion 2"),
    ],
)  # fmt: skip
def test_families_are_told(shapes: dict[str, Any], words: str) -> None:
    assert layout_of(shapes).words == words


def lora(path: Path, width: int = 768) -> Path:
    save_file({KOHYA: torch.zeros(1, width), KOHYA.replace("down", "up", 2): torch.ones(2)}, path)
    return path


def test_what_a_file_is_and_what_was_expected(tmp_path: Path) -> None:
    path = lora(tmp_path / "x.safetensors")
    assert identify(path) is FileKind.KOHYA_LORA
    with pytest.raises(ModelError) as refused:
        read_tensors(path, MOTION_MODULES)
    assert str(refused.value) == (
        "'x.safetensors' is a kohya LoRA for Stable Diffusion 1.5; a motion module was expected"
    )
    save_file({"emb_params": torch.zeros(1, 768)}, path)
    with pytest.raises(ModelError, match=r"1\.5; a LoRA or a motion LoRA was expected"):
        expect(path, LORAS)


def test_other_families_are_refused(tmp_path: Path) -> None:
    path = lora(tmp_path / "xl.safetensors", 2048)
    with pytest.raises(ModelError, match=r"XL; one for Stable Diffusion 1\.5 was expected"):
        expect(path, LORAS)


def test_tensors_are_read_by_name(tmp_path: Path) -> None:
    path = lora(tmp_path / "x.safetensors")
    tensors = read_tensors(path, FileKind.KOHYA_LORA, keep=lambda name: name == KOHYA)
    assert list(tensors) == [KOHYA]
    assert torch.equal(tensors[KOHYA], torch.zeros(1, 768))


@pytest.mark.parametrize("legacy", [True, False])
def test_pickles_are_refused_with_the_way_out(legacy: bool, tmp_path: Path) -> None:
    path = tmp_path / "mm.safetensors"  # what it is called does not matter
    torch.save({"a": torch.zeros(2)}, path, _use_new_zipfile_serialization=not legacy)
    assert identify(path) is FileKind.PICKLE
    with pytest.raises(ModelError, match="stillmotion convert --allow-pickle"):
        read_tensors(path, MOTION_MODULES)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_bare_pickles_are_seen(protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(pickle.dumps({"a": list(range(500))}, protocol))
    assert identify(path) is FileKind.PICKLE


@pytest.mark.parametrize("inside", ["x/constants.pkl", "x/code/__torch__.py"])
def test_torchscript_is_always_refused(inside: str, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", b"")
        archive.writestr(inside, b"")
    with pytest.raises(ModelError, match="TorchScript archive, which holds a program"):
        read_tensors(path, set(FileKind) - {FileKind.TORCHSCRIPT})


def test_absent_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no file"):
        identify(tmp_path / "x.safetensors")
    with pytest.raises(ModelError, match="is a folder"):
        identify(tmp_path)


def entry(begin: int, end: int, shape: Any, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def file_of(header: Any, data: bytes, *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


GOOD = {"a": entry(0, 8, [2]), "b": entry(8, 12, [1])}
DAMAGED = {
    "empty": (b"", "too short"),
    "text": (b"<!doctype html><html>", "does not begin"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    "long header": (file_of(GOOD, bytes(12), length=5000), "within its header"),
    "huge header": (file_of(GOOD, bytes(12), length=2**62), "does not begin"),
    "cut": (file_of(GOOD, bytes(5)), "7 of 12 bytes are missing"),
    "longer": (file_of(GOOD, bytes(13)), "goes on after"),
    "gap": (file_of({"a": entry(0, 4, [1]), "b": entry(8, 12, [1])}, bytes(12)), "overlap"),
    "overlap": (file_of({"a": entry(0, 8, [2]), "b": entry(4, 12, [2])}, bytes(12)), "overlap"),
    "shape": (file_of({"a": entry(0, 12, [10**15])}, bytes(12)), "do not fit its shape"),
    "negative": (file_of({"a": entry(0, 12, [-3])}, bytes(12)), "does not describe"),
    "type": (file_of({"a": entry(0, 12, [3], "F31")}, bytes(12)), "unknown type"),
    "true": (file_of({"a": entry(0, 4, [True])}, bytes(4)), "does not describe"),
    "json": (file_of(b'{"a": ', bytes(12)), "no JSON"),
    "deep": (file_of(b"[" * 200_000, b""), "no JSON"),
    "list": (file_of([1], b""), "no table"),
    "twice": (file_of(b'{"a": 1, "a": 2}', b""), "twice"),
    "metadata": (file_of({**GOOD, "__metadata__": {"x": 1}}, bytes(12)), "not text"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_named(name: str, tmp_path: Path) -> None:
    content, said = DAMAGED[name]
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    found = describe(path)
    assert found.kind is FileKind.DAMAGED
    assert said in found.problem
    with pytest.raises(ModelError, match=r"'x.safetensors' is damaged: .*; a LoRA or"):
        read_tensors(path, LORAS)


def test_undamaged_files_are_described(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(file_of({**GOOD, "__metadata__": {"x": "1"}}, bytes(12)))
    found = describe(path)
    assert (found.kind, found.shapes) == (FileKind.UNKNOWN, {"a": (2,), "b": (1,)})
    assert found.metadata == {"x": "1"}


@settings(max_examples=30)
@given(content=st.binary(max_size=60))
def test_any_bytes_are_described(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    path.write_bytes(content)
    assert describe(path).kind in (FileKind.DAMAGED, FileKind.PICKLE, FileKind.UNKNOWN)


@settings(max_examples=40)
@given(position=st.integers(0, 160), value=st.integers(0, 255))
def test_any_changed_byte_is_survived(
    position: int, value: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(file_of(GOOD, bytes(12)))
    content[position % len(content)] = value
    path = tmp_path_factory.getbasetemp() / "changed.safetensors"
    path.write_bytes(content)
    found = describe(path)
    if found.kind is FileKind.UNKNOWN:
        assert set(read_tensors(path, FileKind.UNKNOWN)) == set(found.shapes)
