"""Networks made from one another compute what those did, until they are trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from tests.dynamicrafter.tiny_networks import KINDS, image_unet, noise, video_unet
from tests.tiny_models import randomise
from torch import Tensor

import stillmotion
from stillmotion.adapters.diffusers_unet3d import is_temporal_parameter
from stillmotion.dynamicrafter.dual_stream import gates
from stillmotion.dynamicrafter.image_model import (
    ContextImageUNet,
    image_attention_state,
    receive_image_attention,
)
from stillmotion.dynamicrafter.inflation import (
    has_detail_guidance,
    network_for,
    text_to_video_from_image,
    with_detail_guidance,
    with_image_context,
)
from stillmotion.dynamicrafter.stages import STAGES, Group, group_of, plan
from stillmotion.dynamicrafter.unet import DynamiCrafterUNet
from stillmotion.errors import InputError, ModelError

MINIATURE = Path(stillmotion.__file__).parent / "miniature" / "weights" / "unet"


@torch.no_grad()
def predict(unet: DynamiCrafterUNet, channels: int = 3, **changes: Any) -> Tensor:
    given = {
        "sample": noise(2, channels, 3, 4, 4),
        "timestep": torch.tensor([481, 20]),
        "encoder_hidden_states": noise(2, 5, 6, seed=1),
        "motion": torch.tensor([3, 24]),
        **changes,
    }
    return unet(**given).sample


def predict_exactly(unet: DynamiCrafterUNet) -> Tensor:
    """In double precision: whatever differs then is no rounding of single precision."""
    sample, text = noise(2, 3, 3, 4, 4), noise(2, 5, 6, seed=1)
    return predict(unet.double(), sample=sample.double(), encoder_hidden_states=text.double())


@torch.no_grad()
def frame_by_frame(unet: UNet2DConditionModel, sample: Tensor, text: Tensor) -> Tensor:
    timestep = torch.tensor([481, 20])
    return torch.stack([unet(f, timestep, text).sample for f in sample.unbind(2)], dim=2)


# From image to video.


@pytest.mark.parametrize("kind", list(KINDS))
def test_each_frame_is_what_the_image_model_makes_of_it(kind: str) -> None:
    image = image_unet(kind)
    video = text_to_video_from_image(image)
    sample, text = noise(2, 3, 3, 4, 4), noise(2, 5, 6, seed=1)
    expected = frame_by_frame(image, sample, text)
    assert expected.std() > 0.1
    assert (predict(video) - expected).abs().max() < 1e-5


def test_the_miniature_becomes_a_video_network() -> None:
    image = UNet2DConditionModel.from_pretrained(MINIATURE, torch_dtype=torch.float32).eval()
    video = text_to_video_from_image(image)
    assert (video.config.spatial_heads, video.config.attention_head_dim) == (4, 32)
    sample, text = noise(2, 8, 2, 8, 8), noise(2, 7, 128, seed=1)
    result = predict(video, sample=sample, encoder_hidden_states=text)
    assert (result - frame_by_frame(image, sample, text)).abs().max() < 1e-5


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_weight_is_carried_over_and_the_others_are_temporal(kind: str) -> None:
    image = image_unet(kind)
    theirs = image.state_dict()
    ours = text_to_video_from_image(image).state_dict()
    for name, weight in theirs.items():
        assert torch.equal(ours[name].flatten(), weight.flatten()), name
    new = ours.keys() - theirs.keys()
    assert {group_of(name) for name in new} == {Group.TEMPORAL, Group.PACE}
    assert {group_of(name) for name in theirs} == {Group.SPATIAL}


@pytest.mark.parametrize(
    ("kind", "changes", "heads", "size"),
    [
        ("1.5", {}, 2, 8),  # 4 and 8 channels: the largest size that divides both widths
        ("2.1", {}, None, 4),
        ("1.5", {"attention_head_dim": 4}, 2, 4),
        ("2.1", {"attention_head_dim": 4}, None, 4),
    ],
)
def test_heads(kind: str, changes: dict[str, int], heads: int | None, size: int) -> None:
    config = text_to_video_from_image(image_unet(kind), **changes).config
    assert (config.spatial_heads, config.attention_head_dim) == (heads, size)


def test_the_number_of_heads_matters() -> None:
    video = text_to_video_from_image(image_unet())
    others = DynamiCrafterUNet.from_config({**video.config, "spatial_heads": 4})
    others.load_state_dict(video.state_dict())
    assert not torch.allclose(predict(others.eval()), predict(video), atol=1e-3)


def test_it_can_learn_to_mix_frames() -> None:
    video = text_to_video_from_image(image_unet())
    video(noise(1, 3, 3, 4, 4), 7, noise(1, 5, 6), motion=torch.tensor([2])).sample.sum().backward()
    last = [n for n, p in video.named_parameters() if is_temporal_parameter(n) and p.grad.any()]
    assert "transformer_in.proj_out.weight" in last
    assert "mid_block.temp_convs.0.conv4.3.weight" in last


def test_the_image_model_is_left_as_it_was() -> None:
    image = image_unet().double()
    before = {name: weight.clone() for name, weight in image.state_dict().items()}
    video = text_to_video_from_image(image)
    assert video.dtype is torch.float64
    assert not video.training
    with torch.no_grad():
        for weight in video.parameters():
            weight.add_(1)
    assert all(torch.equal(weight, before[name]) for name, weight in image.state_dict().items())
    assert text_to_video_from_image(image.train()).training


def test_saves_and_loads_with_its_heads(tmp_path: Path) -> None:
    video = video_unet()
    video.save_pretrained(tmp_path)
    loaded = DynamiCrafterUNet.from_pretrained(tmp_path)
    assert torch.equal(predict(loaded), predict(video))


def test_without_an_embedding_of_the_pace() -> None:
    image = image_unet()
    video = text_to_video_from_image(image, motion_embedding=False)
    expected = frame_by_frame(image, noise(2, 3, 3, 4, 4), noise(2, 5, 6, seed=1))
    assert (predict(video, motion=None) - expected).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"transformer_layers_per_block": 2}, "transformer_layers_per_block"),
        ({"flip_sin_to_cos": False}, "flip_sin_to_cos"),
        ({"class_embed_type": "timestep"}, "class_embed_type"),
        ({"layers_per_block": (1, 1)}, "layers_per_block"),
        ({"down_block_types": ("AttnDownBlock2D", "DownBlock2D")}, "AttnDownBlock2D"),
        ({"attention_head_dim": (4, 2)}, "(4, 2) attention heads"),
    ],
)
def test_other_structures_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError) as refused:
        text_to_video_from_image(image_unet(**changes))
    assert said in str(refused.value)


@pytest.mark.parametrize("size", [0, 3, 16])
def test_heads_that_do_not_fit_are_refused(size: int) -> None:
    with pytest.raises(InputError, match="8, 16"):
        text_to_video_from_image(image_unet(), attention_head_dim=size)


# Image context and detail guidance.


@pytest.mark.parametrize("gate", [True, False])
def test_image_context_leaves_text_to_video_as_it_was(gate: bool) -> None:
    video = video_unet()
    wider = with_image_context(video, gate=gate)
    assert (predict_exactly(wider) - predict_exactly(video)).abs().max() < 1e-12
    wider.float(), video.float()
    assert not torch.allclose(predict(wider, image_tokens=noise(2, 3, 2, 6)), predict(video))
    new = wider.state_dict().keys() - video.state_dict().keys()
    assert {group_of(name) for name in new} == {Group.IMAGE_ATTENTION}
    assert any(name.endswith("alpha") for name in new) == gate


@torch.no_grad()
def test_detail_guidance_counts_for_nothing_at_first() -> None:
    video = with_image_context(video_unet(), gate=True)
    wider = with_detail_guidance(video, 3)
    assert wider.config.in_channels == 6
    tokens, sample = noise(2, 3, 2, 6), noise(2, 3, 3, 4, 4)
    guided = torch.cat([sample, 9 * noise(2, 3, 3, 4, 4, seed=7)], dim=1)
    expected = predict(video, image_tokens=tokens)
    assert torch.equal(predict(wider, sample=guided, image_tokens=tokens), expected)
    wider.conv_in.weight[:, 3:] = 0.1
    result = predict(wider, sample=guided, image_tokens=tokens)
    assert not torch.allclose(result, expected, atol=1e-2)


def test_what_a_network_has_it_cannot_get_again() -> None:
    context = with_image_context(video_unet(), gate=False)
    with pytest.raises(ModelError, match="image context already"):
        with_image_context(context, gate=True)
    with pytest.raises(ModelError, match="detail guidance already"):
        with_detail_guidance(with_detail_guidance(context, 3), 3)


def test_each_stage_gets_its_network_from_the_last() -> None:
    unet = video_unet()
    assert network_for(STAGES["base"], unet) is unet
    for stage in plan()[1:]:
        before, unet = unet, network_for(stage, unet)
        assert unet.config.image_context
        assert unet.config.image_gate
        assert has_detail_guidance(unet) == (stage.detail_guidance != "none")
        kept = {n: w for n, w in before.state_dict().items() if n != "conv_in.weight"}
        assert all(torch.equal(unet.state_dict()[name], w) for name, w in kept.items())
    assert network_for(STAGES["interpolation"], unet) is unet
    for earlier, lacks in (("base", "image context"), ("adapt", "detail guidance")):
        with pytest.raises(ModelError, match=lacks):
            network_for(STAGES[earlier], unet)


# Stage (i), on the image model.


def context_image_unet(gate: bool = True) -> ContextImageUNet:
    """The image model of `image_unet` with image cross-attention in which nothing is zero."""
    unet = ContextImageUNet(image_unet(), gate=gate)
    weights = {n: w.clone() for n, w in image_unet().state_dict().items()}
    randomise(unet, 3).unet.load_state_dict(weights, strict=False)
    return unet


@pytest.mark.parametrize("gate", [True, False])
@torch.no_grad()
def test_without_image_it_is_the_image_model(gate: bool) -> None:
    sample, text = noise(2, 3, 3, 4, 4), noise(2, 5, 6, seed=1)
    result = context_image_unet(gate)(sample, torch.tensor([481, 20]), text).sample
    assert (result - frame_by_frame(image_unet(), sample, text)).abs().max() < 1e-5


@pytest.mark.parametrize("gate", [True, False])
@pytest.mark.parametrize("own", [True, False])
@torch.no_grad()
def test_after_the_transfer_the_video_network_sees_images_alike(gate: bool, own: bool) -> None:
    trained = context_image_unet(gate)
    video = with_image_context(text_to_video_from_image(image_unet()), gate=gate)
    receive_image_attention(video, image_attention_state(trained))
    tokens = noise(2, 3, 2, 6, seed=4) if own else noise(2, 2, 6, seed=4)
    sample, text = noise(2, 3, 3, 4, 4), noise(2, 5, 6, seed=1)
    expected = trained(sample, torch.tensor([481, 20]), text, tokens).sample
    assert (predict(video, image_tokens=tokens) - expected).abs().max() < 1e-5
    assert not torch.allclose(predict(video), expected, atol=1e-2)
    assert gates(video) == gates(trained.unet)
    assert (set(gates(video).values()) != {1.0}) == gate


def test_a_transfer_between_different_networks_is_refused() -> None:
    video = text_to_video_from_image(image_unet())
    trained = context_image_unet()
    for other in (video, with_image_context(video, gate=False)):
        with pytest.raises(ModelError, match="4 layers"):
            receive_image_attention(other, image_attention_state(trained))
