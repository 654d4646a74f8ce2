"""LoRA files: every naming is read as the same layers, and none is dropped in silence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.utils import convert_unet_state_dict_to_peft
from safetensors.torch import load_file, save_file
from tests.tiny_models import tiny_pipeline
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from stillmotion.errors import ModelError
from stillmotion.models.files import identify
from stillmotion.models.layouts import FileKind
from stillmotion.models.lora_files import load_lora, to_kohya, to_motion_lora, to_peft
from stillmotion.models.registry import miniature_folder

PROJECTION = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
MOTION = "down_blocks.0.motion_modules.0.transformer_blocks.0.attn1"
LAYERS = (
    "unet.conv_in",
    f"unet.{PROJECTION}",
    "unet.down_blocks.0.resnets.0.conv1",
    "unet.mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj",
    "unet.up_blocks.0.resnets.0.time_emb_proj",
    "unet.up_blocks.1.attentions.1.transformer_blocks.0.attn2.to_out.0",
    "text_encoder.encoder.layers.0.self_attn.q_proj",
    "text_encoder.encoder.layers.0.self_attn.out_proj",
    "text_encoder.encoder.layers.0.mlp.fc1",
)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def module_of(pipe: Any, name: str) -> nn.Module:
    component, _, rest = name.partition(".")
    found: nn.Module = getattr(pipe, component).get_submodule(rest)
    return found


def peft_lora(pipe: Any, layers: tuple[str, ...] = LAYERS, rank: int = 2) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    tensors = {}
    for name in layers:
        weight = module_of(pipe, name).weight
        down, up = (rank, *weight.shape[1:]), (weight.shape[0], rank, *(1,) * (weight.ndim - 2))
        tensors[f"{name}.lora_A.weight"] = torch.randn(down, generator=generator)
        tensors[f"{name}.lora_B.weight"] = torch.randn(up, generator=generator)
    return tensors


def delta(peft: dict[str, Tensor], name: str) -> Tensor:
    down, up = peft[f"{name}.lora_A.weight"], peft[f"{name}.lora_B.weight"]
    return (up.flatten(1) @ down.flatten(1)).reshape(up.shape[0], *down.shape[1:])


@pytest.fixture(scope="module")
def peft() -> dict[str, Tensor]:
    return peft_lora(tiny_pipeline())


def test_every_layer_is_fused_by_the_pipelines_own_loader(
    peft: dict[str, Tensor], tmp_path: Path
) -> None:
    """Also those of the text encoder, which that loader drops from kohya's files."""
    pipe = tiny_pipeline()
    before = {name: module_of(pipe, name).weight.detach().clone() for name in LAYERS}
    path = tmp_path / "x.safetensors"
    kohya = to_kohya(peft)
    save_file({n: t * 0.5 if n.endswith(".alpha") else t for n, t in kohya.items()}, path)
    assert identify(path) is FileKind.KOHYA_LORA
    pipe.load_lora_weights(load_lora(path))
    pipe.fuse_lora()
    pipe.unload_lora_weights()
    for name in LAYERS:
        change = module_of(pipe, name).weight.detach() - before[name]
        assert (change - delta(peft, name) / 2).abs().max() < 1e-5, name


def test_kohya_there_and_back(peft: dict[str, Tensor]) -> None:
    kohya = to_kohya(peft)
    layer = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    assert {f"{layer}.lora_down.weight", f"{layer}.lora_up.weight", f"{layer}.alpha"} <= set(kohya)
    text = "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight"
    assert torch.equal(kohya[text], peft[f"{LAYERS[6]}.lora_A.weight"])
    assert float(kohya[f"{layer}.alpha"]) == 2
    assert same(to_peft(kohya), peft)


def test_kohyas_names_of_the_full_size_model_are_unambiguous() -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8)
        text = CLIPTextModel(CLIPTextConfig(num_hidden_layers=2))
    names = [
        f"{component}.{name}"
        for component, network in (("unet", unet), ("text_encoder", text))
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    ]
    assert len(names) > 280
    peft = {f"{n}.lora_{s}.weight": torch.zeros(1, 1) for n in names for s in "AB"}
    assert to_peft(to_kohya(peft)).keys() == peft.keys()


def test_diffusers_reads_the_exported_names(peft: dict[str, Tensor]) -> None:
    """Of the U-Net; the alphas are the ranks."""
    unet = {n: t for n, t in peft.items() if n.startswith("unet.")}
    theirs, alphas = StableDiffusionPipeline.lora_state_dict(to_kohya(unet))
    assert set(alphas.values()) == {2.0}
    assert same(convert_unet_state_dict_to_peft(theirs), unet)


@pytest.mark.parametrize("look", ["neon"])
def test_the_miniatures_loras_as_kohya(look: str) -> None:
    """diffusers' own reader makes of the export what the published file says."""
    published = load_file(miniature_folder() / "loras" / f"{look}.safetensors")
    theirs, alphas = StableDiffusionPipeline.lora_state_dict(to_kohya(published))
    assert same(convert_unet_state_dict_to_peft(theirs), published)
    ranks = {n: t.shape[0] for n, t in published.items() if ".lora_A." in n}
    assert sorted(alphas.values()) == sorted(ranks.values())
    assert same(to_peft(published), published)


def test_early_namings_of_diffusers() -> None:
    a, b = torch.ones(2, 8), torch.ones(8, 2)
    attention = PROJECTION.removesuffix(".to_q")
    old = {
        f"unet.{attention}.processor.to_q_lora.down.weight": a,
        f"unet.{attention}.processor.to_q_lora.up.weight": b,
        f"unet.{attention}.processor.to_out_lora.down.weight": a,
        f"unet.{attention}.processor.to_out_lora.up.weight": b,
        "unet.conv_in.lora.down.weight": a,
        "unet.conv_in.lora.up.weight": b,
        "text_encoder.text_model.encoder.layers.0.self_attn.to_k_lora.down.weight": a,
        "text_encoder.text_model.encoder.layers.0.self_attn.to_k_lora.up.weight": b,
        "text_encoder.text_model.encoder.layers.0.mlp.fc2.lora_linear_layer.down.weight": a,
        "text_encoder.text_model.encoder.layers.0.mlp.fc2.lora_linear_layer.up.weight": b,
    }
    names = {
        f"unet.{attention}.to_q", f"unet.{attention}.to_out.0", "unet.conv_in",
        "text_encoder.encoder.layers.0.self_attn.k_proj", "text_encoder.encoder.layers.0.mlp.fc2",
    }  # fmt: skip
    assert set(to_peft(old)) == {f"{n}.lora_{side}.weight" for n in names for side in "AB"}


def test_domain_adapters_are_loras_of_the_image_model() -> None:
    a = torch.ones(2, 2)
    attention = PROJECTION.removesuffix(".to_q")
    original = {
        f"module.{attention}.processor.to_out_lora.{side}.weight": a for side in ("down", "up")
    }
    assert set(to_peft(original)) == {f"unet.{attention}.to_out.0.lora_{s}.weight" for s in "AB"}


def test_motion_loras_there_and_back(tmp_path: Path) -> None:
    layers = tuple(f"unet.{MOTION}.{part}" for part in ("to_q", "to_k", "to_v", "to_out.0"))
    pipe = tiny_pipeline()
    peft = peft_lora(pipe, layers)
    original = to_motion_lora(peft)
    name = (
        "down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0."
        "attention_blocks.0.processor."
    )
    assert set(original) == {
        f"{name}{part}_lora.{side}.weight"
        for part in ("to_q", "to_k", "to_v", "to_out")
        for side in ("down", "up")
    }
    path = tmp_path / "zoom.safetensors"
    save_file({f"module.{n}": t for n, t in original.items()}, path)
    assert identify(path) is FileKind.MOTION_LORA
    loaded = load_lora(path)
    assert same(loaded, peft)
    before = {layer: module_of(pipe, layer).weight.detach().clone() for layer in layers}
    pipe.load_lora_weights(loaded)
    pipe.fuse_lora()
    pipe.unload_lora_weights()
    for layer in layers:
        change = module_of(pipe, layer).weight.detach() - before[layer]
        assert (change - delta(peft, layer)).abs().max() < 1e-5
    with pytest.raises(ModelError, match="is no attention of a motion module"):
        to_motion_lora(peft_lora(pipe, LAYERS[:1]))


def test_scales_in_the_header() -> None:
    a, b = torch.ones(2, 8), torch.ones(8, 2)
    peft = {"unet.x.lora_A.weight": a, "unet.x.lora_B.weight": b,
            "unet.y.to_q.lora_A.weight": a, "unet.y.to_q.lora_B.weight": b}  # fmt: skip
    said = {"unet.r": 2, "unet.lora_alpha": 4, "unet.alpha_pattern": {"to_q": 1}}
    read = to_peft(peft, {"lora_adapter_metadata": json.dumps(said)})
    assert torch.equal(read["unet.x.lora_B.weight"], 2 * b)
    assert torch.equal(read["unet.y.to_q.lora_B.weight"], b / 2)
    for bad in ("[]", "{", json.dumps({"unet.use_rslora": True})):
        with pytest.raises(ModelError):
            to_peft(peft, {"lora_adapter_metadata": bad})


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"lora_unet_conv_in.lora_down.weight": (2, 8)}, "only one half"),
        ({"lora_unet_conv_in.lora_down.weight": (2, 8),
          "lora_unet_conv_in.lora_up.weight": (8, 3)}, "do not make a low-rank layer"),
        ({"lora_unet_input_blocks_1_1_proj_in.lora_down.weight": (2, 8),
          "lora_unet_input_blocks_1_1_proj_in.lora_up.weight": (8, 2)}, "as SDXL's original"),
        ({"lora_unet_conv__in.lora_down.weight": (2, 8),
          "lora_unet_conv__in.lora_up.weight": (8, 2)}, "no name of a layer"),
        ({"lora_unet_conv_in.lora_mid.weight": (2, 2)}, "no part of a plain LoRA"),
    ],
)  # fmt: skip
def test_what_is_not_whole_is_told(tensors: dict[str, tuple[int, ...]], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        to_peft({name: torch.zeros(shape) for name, shape in tensors.items()})
