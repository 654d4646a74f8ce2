"""Stable Diffusion 1.x in one file: bit-equal there and back, and nothing left over."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
)
from safetensors.torch import load_file, save_file
from tests.tiny_models import UNET_2D, randomise, tiny_text_encoder, tiny_vae
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from stillmotion.errors import ModelError, OutputError
from stillmotion.models.checkpoints import load_checkpoint, load_vae, save_checkpoint
from stillmotion.models.files import identify
from stillmotion.models.layouts import FileKind
from stillmotion.models.ldm import (
    text_encoder_from_ldm,
    text_encoder_to_ldm,
    unet_from_ldm,
    unet_names,
    unet_to_ldm,
    vae_from_ldm,
    vae_names,
    vae_to_ldm,
)
from stillmotion.models.registry import miniature_folder

SD15_UNET = {
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
    "sample_size": 64,
}
SD15_VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "latent_channels": 4,
}
# Of CLIP ViT-L/14; also the defaults of the class, but for the width.
SD15_TEXT = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}
# One name of every sort, as the original code's own configuration (v1-inference.yaml) gives it.
PUBLISHED = {
    "model.diffusion_model.": {
        "conv_in.weight": "input_blocks.0.0.weight",
        "time_embedding.linear_2.bias": "time_embed.2.bias",
        "down_blocks.0.resnets.1.conv2.weight": "input_blocks.2.0.out_layers.3.weight",
        "down_blocks.0.downsamplers.0.conv.weight": "input_blocks.3.0.op.weight",
        "down_blocks.1.resnets.0.conv_shortcut.bias": "input_blocks.4.0.skip_connection.bias",
        "down_blocks.2.attentions.1.proj_in.weight": "input_blocks.8.1.proj_in.weight",
        "down_blocks.3.resnets.1.time_emb_proj.weight": "input_blocks.11.0.emb_layers.1.weight",
        "mid_block.resnets.0.norm1.weight": "middle_block.0.in_layers.0.weight",
        "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0.bias":
            "middle_block.1.transformer_blocks.0.attn1.to_out.0.bias",
        "mid_block.resnets.1.norm2.weight": "middle_block.2.out_layers.0.weight",
        "up_blocks.0.resnets.2.conv1.weight": "output_blocks.2.0.in_layers.2.weight",
        "up_blocks.0.upsamplers.0.conv.weight": "output_blocks.2.1.conv.weight",
        "up_blocks.1.attentions.2.norm.weight": "output_blocks.5.1.norm.weight",
        "up_blocks.1.upsamplers.0.conv.bias": "output_blocks.5.2.conv.bias",
        "up_blocks.3.attentions.2.proj_out.bias": "output_blocks.11.1.proj_out.bias",
        "conv_norm_out.weight": "out.0.weight",
        "conv_out.bias": "out.2.bias",
    },
    "first_stage_model.": {
        "encoder.down_blocks.1.resnets.0.conv_shortcut.weight":
            "encoder.down.1.block.0.nin_shortcut.weight",
        "encoder.down_blocks.2.downsamplers.0.conv.bias": "encoder.down.2.downsample.conv.bias",
        "encoder.mid_block.resnets.1.norm1.weight": "encoder.mid.block_2.norm1.weight",
        "encoder.mid_block.attentions.0.group_norm.weight": "encoder.mid.attn_1.norm.weight",
        "decoder.mid_block.attentions.0.to_out.0.weight": "decoder.mid.attn_1.proj_out.weight",
        "decoder.up_blocks.0.resnets.2.conv2.weight": "decoder.up.3.block.2.conv2.weight",
        "decoder.up_blocks.2.upsamplers.0.conv.weight": "decoder.up.1.upsample.conv.weight",
        "decoder.conv_norm_out.bias": "decoder.norm_out.bias",
        "post_quant_conv.weight": "post_quant_conv.weight",
    },
    "cond_stage_model.transformer.text_model.": {
        "embeddings.position_embedding.weight": "embeddings.position_embedding.weight",
        "encoder.layers.11.self_attn.k_proj.weight": "encoder.layers.11.self_attn.k_proj.weight",
        "final_layer_norm.bias": "final_layer_norm.bias",
    },
}  # fmt: skip


def full_size() -> tuple[UNet2DConditionModel, AutoencoderKL, CLIPTextModel]:
    """Stable Diffusion 1.5, without the memory."""
    with torch.device("meta"):
        return (
            UNet2DConditionModel(**SD15_UNET),
            AutoencoderKL(**SD15_VAE),
            CLIPTextModel(CLIPTextConfig(**SD15_TEXT)),
        )


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


@pytest.fixture(scope="module")
def sd15() -> dict[str, dict[str, Tensor]]:
    unet, vae, text = full_size()
    return {"unet": unet.state_dict(), "vae": vae.state_dict(), "text": text.state_dict()}


def test_the_published_layout(sd15: dict[str, dict[str, Tensor]]) -> None:
    """686, 248 and 197 tensors, of which position_ids is one that networks no longer hold."""
    unet, vae, text = (
        unet_to_ldm(sd15["unet"]), vae_to_ldm(sd15["vae"]), text_encoder_to_ldm(sd15["text"])
    )  # fmt: skip
    assert (len(unet), len(vae), len(text)) == (686, 248, 196)
    assert (len(sd15["unet"]), len(sd15["vae"]), len(sd15["text"])) == (686, 248, 196)
    for ldm, state, (prefix, pairs) in zip(
        (unet, vae, text), sd15.values(), PUBLISHED.items(), strict=True
    ):
        for name, published in pairs.items():
            assert ldm[prefix + published].shape[:2] == state[name].shape[:2]
    assert vae["first_stage_model.encoder.mid.attn_1.q.weight"].shape == (512, 512, 1, 1)
    assert unet["model.diffusion_model.out.2.weight"].shape == (4, 320, 3, 3)


def test_full_size_there_and_back(sd15: dict[str, dict[str, Tensor]]) -> None:
    whole = {
        **unet_to_ldm(sd15["unet"]), **vae_to_ldm(sd15["vae"]), **text_encoder_to_ldm(sd15["text"])
    }  # fmt: skip
    assert len(whole) == 686 + 248 + 196
    extra = {
        "model_ema.decay": torch.zeros(()),
        "betas": torch.zeros(1000),
        "cond_stage_model.transformer.text_model.embeddings.position_ids": torch.zeros(1, 77),
    }
    whole |= extra
    for part, back in (
        ("unet", unet_from_ldm), ("vae", vae_from_ldm), ("text", text_encoder_from_ldm)
    ):  # fmt: skip
        restored = back(whole, sd15[part])
        assert {n: t.shape for n, t in restored.items()} == {
            n: t.shape for n, t in sd15[part].items()
        }


def test_full_size_names_are_those_of_diffusers_own_reader(
    sd15: dict[str, dict[str, Tensor]],
) -> None:
    unet, vae, _ = full_size()
    theirs = convert_ldm_unet_checkpoint(unet_to_ldm(sd15["unet"]), dict(unet.config))
    assert {n: t.shape for n, t in theirs.items()} == {n: t.shape for n, t in sd15["unet"].items()}
    theirs = convert_ldm_vae_checkpoint(vae_to_ldm(sd15["vae"]), dict(vae.config))
    assert {n: t.shape for n, t in theirs.items()} == {n: t.shape for n, t in sd15["vae"].items()}


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_any_size_agrees_with_diffusers_own_reader(levels: int) -> None:
    kinds = {
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D", "DownBlock2D")[:levels],
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D")[:levels][::-1],
    }
    widths = {"block_out_channels": (8, 16, 16)[:levels], "layers_per_block": levels}
    unet = randomise(UNet2DConditionModel(**{**UNET_2D, **kinds, **widths}), 1)
    state = unet.state_dict()
    ldm = unet_to_ldm(state)
    assert len(ldm) == len(state)
    assert same(convert_ldm_unet_checkpoint(ldm, dict(unet.config)), state)
    assert same(unet_from_ldm(ldm, state), state)


def test_a_vae_agrees_with_diffusers_own_reader() -> None:
    vae = tiny_vae()
    state = vae.state_dict()
    ldm = vae_to_ldm(state)
    assert same(convert_ldm_vae_checkpoint(ldm, dict(vae.config)), state)
    assert same(vae_from_ldm(ldm, state), state)
    alone = {n.removeprefix("first_stage_model."): t for n, t in ldm.items()}
    alone |= {"loss.logvar": torch.zeros(()), "model_ema.decay": torch.zeros(())}
    assert same(vae_from_ldm(alone, state), state)
    matrices = {n: t.flatten(1) if "attn_1" in n and t.ndim == 4 else t for n, t in ldm.items()}
    assert same(vae_from_ldm(matrices, state), state)


def test_names_of_early_vae_folders() -> None:
    """Folders saved before diffusers 0.13, Stable Diffusion 1.5's own among them."""
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = tiny_vae().state_dict()
    early = {}
    for name, tensor in state.items():
        for new, former in old.items():
            name = name.replace(f".{new}.", f".{former}.")
        early[name] = tensor
    assert early.keys() != state.keys()
    assert same(vae_to_ldm(early), vae_to_ldm(state))


def test_a_text_encoder_with_and_without_its_inner_name() -> None:
    state = tiny_text_encoder().state_dict()
    ldm = text_encoder_to_ldm(state)
    assert all(n.startswith("cond_stage_model.transformer.text_model.") for n in ldm)
    theirs = convert_ldm_clip_checkpoint(ldm)
    assert same({n.removeprefix("text_model."): t for n, t in theirs.items()}, state)
    assert same(text_encoder_from_ldm(ldm, state), state)
    flat = {n.replace("text_model.", ""): t for n, t in ldm.items()}
    assert same(text_encoder_from_ldm(flat, state), state)
    wrapped = {f"text_model.{n}": t for n, t in state.items()}
    assert same(text_encoder_to_ldm(wrapped), ldm)
    assert same(text_encoder_from_ldm(ldm, wrapped), wrapped)


def test_what_does_not_fit_is_told() -> None:
    state = randomise(UNet2DConditionModel(**UNET_2D), 1).state_dict()
    ldm = unet_to_ldm(state)
    short = {n: t for n, t in ldm.items() if "out.2" not in n}
    with pytest.raises(ModelError, match=r"'x' lacks 2 tensors, such as 'conv_out\.weight'"):
        unet_from_ldm(short, state, "'x'")
    more = {**ldm, "model.diffusion_model.label_emb.0.0.weight": torch.zeros(1)}
    with pytest.raises(ModelError, match=r"'x' holds 'label_emb.0.0.weight', for which"):
        unet_from_ldm(more, state, "'x'")
    wide = {**ldm, "model.diffusion_model.input_blocks.0.0.weight": torch.zeros(8, 9, 3, 3)}
    with pytest.raises(ModelError, match=re.escape("(8, 9, 3, 3), and the network needs (8, 4")):
        unet_from_ldm(wide, state, "'x'")
    with pytest.raises(ModelError, match="is in no U-Net"):
        unet_names(["add_embedding.linear_1.weight"])


def test_names_are_one_to_one(sd15: dict[str, dict[str, Tensor]]) -> None:
    for names in (unet_names(sd15["unet"]), vae_names(sd15["vae"])):
        assert len(set(names.values())) == len(names)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ldm") / "miniature.safetensors"
    save_checkpoint(miniature_folder(), path)
    return path


def saved(part: str, stem: str = "diffusion_pytorch_model") -> dict[str, Tensor]:
    tensors = load_file(miniature_folder() / part / f"{stem}.safetensors")
    return {n.removeprefix("text_model."): t for n, t in tensors.items()}


def test_the_miniature_there_and_back(exported: Path) -> None:
    assert identify(exported) is FileKind.LDM
    loaded = load_checkpoint(exported, miniature_folder())
    assert loaded.vae is not None
    assert loaded.text_encoder is not None
    assert same(loaded.unet.state_dict(), saved("unet"))
    assert same(loaded.vae.state_dict(), saved("vae"))
    assert same(loaded.text_encoder.state_dict(), saved("text_encoder", "model"))
    ids = torch.arange(4)[None]
    plain = CLIPTextModel.from_pretrained(miniature_folder() / "text_encoder").eval()
    with torch.no_grad():
        ours, theirs = loaded.text_encoder.float()(ids)[0], plain.float()(ids)[0]
    assert torch.equal(ours, theirs)


def test_single_precision_survives_bit_by_bit(exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    single = {n: t.float() / 3 for n, t in load_file(exported).items()}
    save_file(single, path)
    loaded = load_checkpoint(path, miniature_folder())
    assert same(unet_to_ldm(loaded.unet.state_dict()), {
        n: t for n, t in single.items() if n.startswith("model.")})  # fmt: skip


def test_parts_that_a_file_lacks(exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({n: t for n, t in load_file(exported).items() if n.startswith("model.")}, path)
    loaded = load_checkpoint(path, miniature_folder())
    assert loaded.vae is None
    assert loaded.text_encoder is None


def test_a_vae_in_a_file_of_its_own(exported: Path, tmp_path: Path) -> None:
    original = tmp_path / "x.safetensors"
    save_file({n: t for n, t in load_file(exported).items() if n.startswith("first_")}, original)
    published = miniature_folder() / "vae" / "diffusion_pytorch_model.safetensors"
    for path in (original, published):
        assert same(load_vae(path, miniature_folder()).state_dict(), saved("vae"))


def test_files_in_the_way_and_folders_that_lack_parts(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="exists already"):
        save_checkpoint(miniature_folder(), exported)
    with pytest.raises(ModelError, match=r"has no diffusion_pytorch_model\.safetensors"):
        save_checkpoint(tmp_path, tmp_path / "x.safetensors")
    with pytest.raises(ModelError, match=r"has no unet/config\.json"):
        load_checkpoint(exported, tmp_path)
    assert list(tmp_path.iterdir()) == []
