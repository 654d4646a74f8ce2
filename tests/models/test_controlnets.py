"""ControlNets from folders and files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import ControlNetModel
from safetensors.torch import save_file
from tests.tiny_models import image_unet_of, randomise, tiny_unet

from stillmotion.errors import ModelError
from stillmotion.models.controlnets import load_controlnet


@pytest.fixture
def net() -> ControlNetModel:
    image_unet = image_unet_of(tiny_unet())
    built = ControlNetModel.from_unet(image_unet, conditioning_embedding_out_channels=(4, 8))
    return randomise(built, 4)


def same(one: ControlNetModel, other: ControlNetModel) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def test_the_model_s_own(net: ControlNetModel, tmp_path: Path) -> None:
    net.save_pretrained(tmp_path / "controlnet")
    found = load_controlnet(None, tiny_unet(), tmp_path)
    assert same(found, net)
    assert not found.training
    assert not any(p.requires_grad for p in found.parameters())


def test_a_folder_and_a_file(net: ControlNetModel, tmp_path: Path) -> None:
    net.save_pretrained(tmp_path / "mine")
    save_file(net.state_dict(), tmp_path / "mine.safetensors")
    for name in ("mine", "mine.safetensors"):
        found = load_controlnet(str(tmp_path / name), tiny_unet(), tmp_path)
        assert same(found, net), name


def test_precision_is_that_of_the_network(net: ControlNetModel, tmp_path: Path) -> None:
    net.save_pretrained(tmp_path / "controlnet")
    unet = tiny_unet()
    torch.nn.Module.to(unet, torch.bfloat16)
    assert load_controlnet(None, unet, tmp_path).dtype == torch.bfloat16


def test_none_and_unknown_ones_are_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="comes without a ControlNet; name one with --controlnet"):
        load_controlnet(None, tiny_unet(), tmp_path)
    with pytest.raises(ModelError, match="there is no ControlNet 'nowhere'"):
        load_controlnet("nowhere", tiny_unet(), tmp_path)
    with pytest.raises(ModelError, match="not on this machine"):
        load_controlnet("user/net", tiny_unet(), tmp_path)


def test_another_kind_of_file(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match="a ControlNet was expected"):
        load_controlnet(str(tmp_path / "a.safetensors"), tiny_unet(), tmp_path)


def test_another_family(net: ControlNetModel, tmp_path: Path) -> None:
    net.save_pretrained(tmp_path / "mine")
    wider = tiny_unet(cross_attention_dim=16)
    with pytest.raises(ModelError, match="another family"):
        load_controlnet(str(tmp_path / "mine"), wider, tmp_path)


def test_a_damaged_folder(net: ControlNetModel, tmp_path: Path) -> None:
    net.save_pretrained(tmp_path / "mine")
    (tmp_path / "mine" / "config.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_controlnet(str(tmp_path / "mine"), tiny_unet(), tmp_path)
