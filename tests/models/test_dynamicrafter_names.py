"""DynamiCrafter's official names: every key of every released variant, both ways."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file
from torch import Tensor

from stillmotion.dynamicrafter.image_context import ImageContext
from stillmotion.dynamicrafter.unet import DynamiCrafterUNet
from stillmotion.errors import ModelError
from stillmotion.models.dynamicrafter_configs import context_config, unet_config, vae_config
from stillmotion.models.dynamicrafter_names import (
    CONTEXT_PREFIX,
    context_from_official,
    context_to_official,
    unet_from_official,
    unet_names,
    unet_to_official,
)
from stillmotion.models.ldm import UNET_PREFIX, VAE_PREFIX, vae_from_ldm, vae_to_ldm

SHARED = Path(__file__).parents[2] / ".." / "shared"
KEYS = SHARED / "notes" / "dynamicrafter_keys.json"
GOLDEN = SHARED / "golden" / "dynamicrafter"
needs_keys = pytest.mark.skipif(not KEYS.is_file(), reason="the lists of official keys")
needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the golden numbers")
# One of each sort, as the published code names them.
PUBLISHED = {
    "conv_in.weight": "input_blocks.0.0.weight",
    "time_embedding.linear_2.bias": "time_embed.2.bias",
    "fps_embedding.linear_1.weight": "fps_embedding.0.weight",
    "fps_embedding.linear_2.bias": "fps_embedding.2.bias",
    "transformer_in.transformer_blocks.0.ff.net.0.proj.bias":
        "init_attn.0.transformer_blocks.0.ff.net.0.proj.bias",
    "down_blocks.0.resnets.1.time_emb_proj.weight": "input_blocks.2.0.emb_layers.1.weight",
    "down_blocks.0.temp_convs.1.conv4.3.weight": "input_blocks.2.0.temopral_conv.conv4.3.weight",
    "down_blocks.0.downsamplers.0.conv.bias": "input_blocks.3.0.op.bias",
    "down_blocks.1.resnets.0.conv_shortcut.weight": "input_blocks.4.0.skip_connection.weight",
    "down_blocks.2.attentions.1.transformer_blocks.0.attn2.to_k.weight":
        "input_blocks.8.1.transformer_blocks.0.attn2.to_k.weight",
    "down_blocks.2.attentions.1.transformer_blocks.0.attn2.processor.to_k_ip.weight":
        "input_blocks.8.1.transformer_blocks.0.attn2.to_k_ip.weight",
    "down_blocks.2.temp_attentions.0.proj_in.weight": "input_blocks.7.2.proj_in.weight",
    "down_blocks.3.temp_convs.1.conv1.0.weight": "input_blocks.11.0.temopral_conv.conv1.0.weight",
    "mid_block.resnets.0.norm1.weight": "middle_block.0.in_layers.0.weight",
    "mid_block.attentions.0.transformer_blocks.0.attn2.processor.alpha":
        "middle_block.1.transformer_blocks.0.attn2.alpha",
    "mid_block.temp_attentions.0.norm.weight": "middle_block.2.norm.weight",
    "mid_block.resnets.1.conv2.bias": "middle_block.3.out_layers.3.bias",
    "mid_block.temp_convs.1.conv2.0.bias": "middle_block.3.temopral_conv.conv2.0.bias",
    "up_blocks.0.upsamplers.0.conv.weight": "output_blocks.2.1.conv.weight",
    "up_blocks.1.upsamplers.0.conv.weight": "output_blocks.5.3.conv.weight",
    "up_blocks.3.temp_attentions.2.proj_out.bias": "output_blocks.11.2.proj_out.bias",
    "conv_norm_out.weight": "out.0.weight",
    "conv_out.bias": "out.2.bias",
}  # fmt: skip


def published(variant: str, prefix: str) -> dict[str, Tensor]:
    """The tensors below a prefix, without memory; the 256 file as published."""
    keys: dict[str, list[int]] = json.loads(KEYS.read_text())[variant]
    mine = {n.removeprefix(prefix): s for n, s in keys.items() if n.startswith(prefix)}
    if variant == "256":
        mine = {n.replace("fps_embedding", "framestride_embed"): s for n, s in mine.items()}
    return {name: torch.empty(shape, device="meta") for name, shape in mine.items()}


def shapes(state: dict[str, Tensor], prefix: str = "") -> dict[str, tuple[int, ...]]:
    return {prefix + name: tuple(tensor.shape) for name, tensor in state.items()}


def as_json(value: Any) -> Any:
    """As JSON has it, which knows no tuples."""
    return list(value) if isinstance(value, tuple) else value


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


@needs_keys
@pytest.mark.parametrize(("variant", "tensors"), [("256", 1532), ("512", 1516)])
def test_every_key_of_the_unet(variant: str, tensors: int) -> None:
    """The sizes come from the shapes, and are the class's own defaults."""
    official = published(variant, UNET_PREFIX)
    assert len(official) == tensors
    config = unet_config(shapes(official))
    with torch.device("meta"):
        unet = DynamiCrafterUNet(image_gate=variant == "256")
    assert {name: as_json(unet.config[name]) for name in config} == config
    state = unet.state_dict()
    assert shapes(unet_to_official(state)) == shapes(official, UNET_PREFIX)
    assert shapes(unet_from_official(official, state)) == shapes(state)
    as_in_the_code = {n.replace("framestride_embed", "fps_embedding"): t for n, t in
                      official.items()}  # fmt: skip
    assert shapes(unet_from_official(as_in_the_code, state)) == shapes(state)
    names = unet_names(state)
    ours = {
        n: official for n, official in PUBLISHED.items() if variant == "256" or "alpha" not in n
    }
    assert {name: names[name] for name in ours} == ours


@needs_keys
def test_the_keys_of_1024_are_those_of_512() -> None:
    keys = json.loads(KEYS.read_text())
    assert keys["1024"] == keys["512"]


@needs_keys
@pytest.mark.parametrize("variant", ["256", "512", "1024"])
def test_every_key_of_the_other_networks(variant: str) -> None:
    """With the U-Net's these are all keys there are."""
    official = published(variant, CONTEXT_PREFIX)
    with torch.device("meta"):
        context = ImageContext(**context_config(shapes(official)))
        vae = AutoencoderKL(**vae_config(shapes(published(variant, VAE_PREFIX))))
    state = context.state_dict()
    expected = {"embed_dims": 1280, "num_queries": 16, "num_frames": 16, "heads": 12, "depth": 4}
    assert expected.items() <= dict(context.config).items()
    assert shapes(context_to_official(state)) == shapes(official, CONTEXT_PREFIX)
    assert shapes(context_from_official(official, state)) == shapes(state)
    theirs = published(variant, VAE_PREFIX)
    assert shapes(vae_to_ldm(vae.state_dict())) == shapes(theirs, VAE_PREFIX)
    assert shapes(vae_from_ldm(theirs, vae.state_dict())) == shapes(vae.state_dict())
    counts = [len(published(variant, p)) for p in (UNET_PREFIX, CONTEXT_PREFIX, VAE_PREFIX)]
    assert sum(counts) == len(json.loads(KEYS.read_text())[variant])


@needs_keys
def test_the_text_to_video_network_is_the_rest_of_it() -> None:
    official = published("512", UNET_PREFIX)
    without = {n: t for n, t in official.items() if not n.endswith(("k_ip.weight", "v_ip.weight"))}
    without["input_blocks.0.0.weight"] = torch.empty(320, 4, 3, 3, device="meta")
    config = unet_config(shapes(without))
    assert (config["in_channels"], config["image_context"]) == (4, False)
    with torch.device("meta"):
        state = DynamiCrafterUNet(**config).state_dict()
    assert shapes(unet_to_official(state)) == shapes(without, UNET_PREFIX)
    assert shapes(unet_from_official(without, state)) == shapes(state)


def golden_unet(style: str) -> tuple[DynamiCrafterUNet, dict[str, Tensor]]:
    weights = load_file(GOLDEN / f"unet_{style}.weights.safetensors")
    official = {name.removeprefix(UNET_PREFIX): tensor for name, tensor in weights.items()}
    unet = DynamiCrafterUNet(**unet_config(shapes(official)))
    unet.load_state_dict(unet_from_official(official, unet.state_dict()))
    return unet.eval(), weights


@needs_golden
@pytest.mark.parametrize("style", ["256style", "512style"])
def test_official_weights_in_their_places(style: str) -> None:
    """The network computes what the official one does, and gives the same tensors back."""
    unet, weights = golden_unet(style)
    assert same(unet_to_official(unet.state_dict()), weights)
    io = load_file(GOLDEN / f"unet_{style}.io.safetensors")
    text, image = io["A.context"][:, :77], io["A.context"][:, 77:].unflatten(1, (16, 16))
    with torch.no_grad():
        found = unet(io["A.x"], io["A.timesteps"], text, image, motion=io["A.fs"]).sample
    assert (found - io["A.output"]).abs().max() < 2e-4


@needs_golden
def test_official_query_transformer_in_its_places() -> None:
    weights = load_file(GOLDEN / "resampler.weights.safetensors")
    official = {name.removeprefix(CONTEXT_PREFIX): tensor for name, tensor in weights.items()}
    config = context_config(shapes(official)) | {"dim_head": 8, "heads": 3}
    context = ImageContext(**config)
    state = context_from_official(official, context.state_dict())
    context.load_state_dict(state)
    assert same(context_to_official(context.state_dict()), weights)
    alone = context.resampler.state_dict()
    assert same(context_from_official(official, alone), alone)
    io = load_file(GOLDEN / "resampler.io.safetensors")
    with torch.no_grad():
        found = context(io["input"]).flatten(1, 2)
    assert (found - io["output"]).abs().max() < 1e-4


TINY: dict[str, Any] = {
    "block_out_channels": (32, 32),
    "down_block_types": ("CrossAttnDownBlock3D", "DownBlock3D"),
    "up_block_types": ("UpBlock3D", "CrossAttnUpBlock3D"),
    "attention_head_dim": 4,
    "cross_attention_dim": 8,
}


@pytest.mark.parametrize(("layers", "image_gate"), [(1, True), (3, False)])
def test_any_size_there_and_back(layers: int, image_gate: bool) -> None:
    with torch.device("meta"):
        unet = DynamiCrafterUNet(**TINY, layers_per_block=layers, image_gate=image_gate)
    state = unet.state_dict()
    official = {n.removeprefix(UNET_PREFIX): t for n, t in unet_to_official(state).items()}
    assert len(official) == len(state)
    config = unet_config(shapes(official))
    assert {name: config[name] for name in TINY} == {n: as_json(v) for n, v in TINY.items()}
    assert (config["layers_per_block"], config["image_gate"]) == (layers, image_gate)
    assert shapes(unet_from_official(official, state)) == shapes(state)


def test_what_is_missing_or_left_over_is_named() -> None:
    with torch.device("meta"):
        unet = DynamiCrafterUNet(**TINY, layers_per_block=1)
        context = ImageContext(8, 8, 8, depth=1, heads=1)
    state = unet.state_dict()
    official = {n.removeprefix(UNET_PREFIX): t for n, t in unet_to_official(state).items()}
    with pytest.raises(ModelError, match=r"'x' holds 'input_blocks.1.0.more', for which"):
        unet_from_official({**official, "input_blocks.1.0.more": official["out.0.bias"]}, state,
                           "'x'")  # fmt: skip
    gone = {name: t for name, t in official.items() if name != "fps_embedding.0.bias"}
    with pytest.raises(ModelError, match=r"lacks 'fps_embedding.linear_1.bias'"):
        unet_from_official(gone, state, "'x'")
    with pytest.raises(ModelError, match="is in no query transformer"):
        context_to_official({"layers.0.attn.to_x.weight": torch.zeros(1)})
    theirs = context_to_official(context.state_dict())
    theirs = {n.removeprefix(CONTEXT_PREFIX): t for n, t in theirs.items()}
    del theirs["layers.0.0.to_kv.weight"]
    with pytest.raises(ModelError, match=r"lacks 2 tensors, such as 'resampler.layers.0.attn.to_k"):
        context_from_official(theirs, context.state_dict())
