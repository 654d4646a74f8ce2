"""The facts about diffusers that adapters/diffusers_unet3d.py rests on.

If an upgrade of diffusers breaks one of these, mend that file.
"""

from __future__ import annotations

import inspect
import logging
from functools import partial
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel, UNet3DConditionModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from diffusers.models.embeddings import TimestepEmbedding
from diffusers.models.resnet import ResnetBlock2D, TemporalConvLayer
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from diffusers.utils import logging as diffusers_logging
from torch import Tensor, nn

from stillmotion.adapters.diffusers_unet3d import (
    CONTEXT_KEY,
    SummedTimestepEmbedding,
    checkpoint_layers,
    construct,
    is_temporal_parameter,
    set_spatial_heads,
    silence_temporal_layers,
    spatial_cross_attentions,
)
from stillmotion.errors import ModelError

CONFIG: dict[str, Any] = {
    "block_out_channels": (8, 16),
    "down_block_types": ("CrossAttnDownBlock3D", "DownBlock3D"),
    "up_block_types": ("UpBlock3D", "CrossAttnUpBlock3D"),
    "layers_per_block": 1,
    "cross_attention_dim": 6,
    "attention_head_dim": 4,
    "norm_num_groups": 4,
}
SITES = [
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2",
    "mid_block.attentions.0.transformer_blocks.0.attn2",
    "up_blocks.1.attentions.0.transformer_blocks.0.attn2",
    "up_blocks.1.attentions.1.transformer_blocks.0.attn2",
]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def unet() -> UNet3DConditionModel:
    torch.manual_seed(0)
    return UNet3DConditionModel(**CONFIG).eval()


@torch.no_grad()
def call(unet: UNet3DConditionModel, **changes: Any) -> Tensor:
    """Two clips of 3 frames."""
    given = {"sample": noise(2, 4, 3, 4, 4), "encoder_hidden_states": noise(2, 5, 6), **changes}
    return unet(timestep=7, **given).sample


class Spy(nn.Module):
    """A processor that is a module and declares the context's name."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []
        self.weight = nn.Parameter(torch.zeros(1))

    def __call__(
        self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None,
        ip_hidden_states=None,
    ) -> Tensor:  # fmt: skip
        self.seen.append((hidden_states, encoder_hidden_states, attention_mask, ip_hidden_states))
        return AttnProcessor2_0()(attn, hidden_states, encoder_hidden_states)


def attentions(unet: nn.Module) -> dict[str, Attention]:
    return {name: m for name, m in unet.named_modules() if isinstance(m, Attention)}


def test_counts_in_the_real_network() -> None:
    with torch.device("meta"):
        real = UNet3DConditionModel()
    blocks = [name.partition(".")[0] for name in spatial_cross_attentions(real)]
    assert blocks == ["down_blocks"] * 6 + ["mid_block"] + ["up_blocks"] * 9
    assert len(attentions(real)) == 16 * 4 + 2


def test_sites_are_registered_in_another_order_than_they_run(unet: UNet3DConditionModel) -> None:
    assert list(spatial_cross_attentions(unet)) == SITES
    registered = [name for name in attentions(unet) if name in SITES]
    assert registered == [SITES[0], SITES[2], SITES[3], SITES[1]]
    ran = []
    for name, site in spatial_cross_attentions(unet).items():
        site.register_forward_hook(lambda *_, name=name: ran.append(name))
    call(unet)
    assert ran == SITES


def test_only_these_sites_read_the_text(unet: UNet3DConditionModel) -> None:
    read = []
    for name, attention in attentions(unet).items():
        attention.register_forward_pre_hook(
            lambda module, args, kwargs, name=name: (
                read.append(name) if kwargs.get("encoder_hidden_states") is not None else None
            ),
            with_kwargs=True,
        )
    call(unet)
    assert read == SITES


def test_spatial_layers_see_frames_fastest_and_the_text_repeated(
    unet: UNet3DConditionModel,
) -> None:
    spy, text = Spy(), noise(2, 5, 6)
    first = spatial_cross_attentions(unet)[SITES[0]]
    first.set_processor(spy)
    sample = noise(2, 4, 1, 4, 4).repeat(1, 1, 3, 1, 1)
    sample[0, :, 1] += 1  # clip 0, frame 1
    call(unet, sample=sample, encoder_hidden_states=text)
    hidden, encoder, mask, _ = spy.seen[0]
    assert hidden.shape == (6, 16, 8)
    assert torch.equal(hidden[3], hidden[4])
    assert not torch.equal(hidden[0], hidden[1])
    assert torch.equal(encoder, text.repeat_interleave(3, 0))
    assert mask is None


def test_the_context_reaches_whoever_declares_it_and_the_others_are_quiet(
    unet: UNet3DConditionModel, caplog: pytest.LogCaptureFixture
) -> None:
    spies = {name: Spy() for name in attentions(unet)}
    context = object()  # any object passes, not only tensors
    for name, attention in attentions(unet).items():
        attention.set_processor(spies[name])
    call(unet, cross_attention_kwargs={CONTEXT_KEY: context})
    assert [name for name, spy in spies.items() if spy.seen[0][3] is not context] == []
    unet.set_attn_processor(AttnProcessor2_0())
    diffusers_logging.enable_propagation()
    with caplog.at_level(logging.WARNING):
        call(unet, cross_attention_kwargs={CONTEXT_KEY: context})
        assert caplog.records == []
        call(unet, cross_attention_kwargs={"another_name": context})
    diffusers_logging.disable_propagation()
    assert "another_name" in caplog.text


def test_the_other_attentions_keep_a_processor_that_does_not_declare_it(
    unet: UNet3DConditionModel,
) -> None:
    assert {type(attention.processor) for attention in attentions(unet).values()} == {
        AttnProcessor2_0
    }
    assert CONTEXT_KEY not in inspect.signature(AttnProcessor2_0.__call__).parameters
    # nn.Module's own __call__ declares nothing.
    assert CONTEXT_KEY not in inspect.signature(nn.Module.__call__).parameters


def test_the_weights_of_a_processor_belong_to_the_network(unet: UNet3DConditionModel) -> None:
    spatial_cross_attentions(unet)[SITES[0]].set_processor(Spy())
    assert f"{SITES[0]}.processor.weight" in unet.state_dict()


def test_sites_are_plain_attentions(unet: UNet3DConditionModel) -> None:
    for site in spatial_cross_attentions(unet).values():
        extras = ("spatial_norm", "group_norm", "norm_q", "norm_k", "norm_cross")
        assert [extra for extra in extras if getattr(site, extra, None)] == []
        assert not site.residual_connection
        assert site.rescale_output_factor == 1.0
        assert site.to_k.in_features == site.to_v.in_features == 6
        assert site.to_k.out_features == site.to_q.out_features


def test_timestep_cond_is_the_second_argument_of_the_time_embedding(
    unet: UNet3DConditionModel,
) -> None:
    assert type(unet.time_embedding) is TimestepEmbedding
    seen = []
    unet.time_embedding.register_forward_pre_hook(lambda module, args: seen.append(args))
    unet.time_embedding.cond_proj = nn.Linear(8, 8)
    condition = noise(2, 8)
    call(unet, timestep_cond=condition)
    assert seen[0][1] is condition


def test_a_summed_embedding_adds_afterwards(unet: UNet3DConditionModel) -> None:
    summed = SummedTimestepEmbedding(8, 32)
    summed.load_state_dict(unet.time_embedding.state_dict())  # the same names
    sinusoid, condition = noise(2, 8), noise(2, 32)
    expected = unet.time_embedding(sinusoid)
    assert torch.equal(summed(sinusoid), expected)
    assert torch.equal(summed(sinusoid, condition), expected + condition)
    unet.time_embedding = summed
    plain = call(unet)
    assert torch.equal(call(unet, timestep_cond=torch.zeros(2, 32)), plain)
    assert not torch.allclose(call(unet, timestep_cond=9 * condition), plain, atol=1e-3)


def test_the_sinusoid_has_cosines_first(unet: UNet3DConditionModel) -> None:
    frequencies = 10000 ** (-torch.arange(4) / 4)
    expected = torch.cat([(7 * frequencies).cos(), (7 * frequencies).sin()])
    assert (unet.time_proj(torch.tensor([7]))[0] - expected).abs().max() < 1e-6


def test_the_constructor_without_its_configuration() -> None:
    class Wrapped(UNet3DConditionModel):
        @register_to_config
        def __init__(self, width: int = 8) -> None:
            super().__init__(**CONFIG)

    class Bare(UNet3DConditionModel):
        @register_to_config
        def __init__(self, width: int = 8) -> None:
            construct(self, **CONFIG)

    def entries(network: UNet3DConditionModel) -> set[str]:
        return {name for name in network.config if not name.startswith("_")}

    assert "mid_block_scale_factor" in entries(Wrapped())  # what makes `construct` necessary
    assert entries(Bare()) == {"width"}
    assert list(Bare().state_dict()) == list(UNet3DConditionModel(**CONFIG).state_dict())


def test_a_configuration_entry_hides_a_submodule_of_its_name(unet: UNet3DConditionModel) -> None:
    unet.register_to_config(conv_in="hidden")
    with pytest.warns(FutureWarning, match="direct"):
        assert unet.conv_in == "hidden"


# What the video model has from the image model, and what it has not.


def test_heads_of_one_size_at_all_levels(unet: UNet3DConditionModel) -> None:
    """If diffusers takes a number of heads one day, set_spatial_heads may be unnecessary."""
    sizes = {a.to_q.out_features // a.heads for a in attentions(unet).values()}
    assert sizes == {CONFIG["attention_head_dim"]}
    with pytest.raises(NotImplementedError):
        UNet3DConditionModel(**CONFIG, num_attention_heads=2)


def test_spatial_heads_are_those_of_the_image_model(unet: UNet3DConditionModel) -> None:
    same_heads = {"attention_head_dim": 4, "norm_num_groups": 4, "cross_attention_dim": 6}
    image = UNet2DConditionModel(
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        **same_heads,
    )
    temporal = {n: a.heads for n, a in attentions(unet).items() if is_temporal_parameter(n)}
    set_spatial_heads(unet, 4)
    ours, theirs = attentions(unet), attentions(image)
    assert theirs.keys() == ours.keys() - temporal.keys()
    for name, attention in theirs.items():
        for setting in ("heads", "scale", "sliceable_head_dim"):
            assert getattr(ours[name], setting) == getattr(attention, setting)
    assert {n: ours[n].heads for n in temporal} == temporal


@pytest.mark.parametrize("heads", [0, -2, 3, 16])
def test_heads_must_divide_the_channels(unet: UNet3DConditionModel, heads: int) -> None:
    with pytest.raises(ModelError, match=f"{heads} attention heads"):
        set_spatial_heads(unet, heads)


def test_silent_temporal_layers_leave_every_frame_alone(unet: UNet3DConditionModel) -> None:
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter.add_(0.05)
    sample = noise(2, 4, 3, 4, 4)
    alone = [call(unet, sample=frame.unsqueeze(2)) for frame in sample.unbind(2)]
    assert not torch.allclose(call(unet, sample=sample), torch.cat(alone, 2), atol=1e-2)
    silence_temporal_layers(unet)
    alone = [call(unet, sample=frame.unsqueeze(2)) for frame in sample.unbind(2)]
    assert torch.allclose(call(unet, sample=sample), torch.cat(alone, 2), atol=1e-5)


def test_temporal_parameters_in_the_real_network() -> None:
    with torch.device("meta"):
        real = UNet3DConditionModel()
    count = sum(p.numel() for n, p in real.named_parameters() if is_temporal_parameter(n))
    # 266.89 M of convolutions, 272.85 M of attentions, 5.58 M of transformer_in
    assert count == pytest.approx(545.32e6, abs=0.02e6)


# Gradient checkpointing.


def test_gradient_checkpointing_is_refused_by_diffusers(unet: UNet3DConditionModel) -> None:
    """If this fails, diffusers does it now, and checkpoint_layers may be unnecessary."""
    with pytest.raises(ValueError, match="does not support gradient checkpointing"):
        unet.enable_gradient_checkpointing()
    calls = []

    def checkpoint(layer: nn.Module, *args: Any) -> Any:
        calls.append(layer)
        return layer(*args)

    unet._set_gradient_checkpointing(True, checkpoint)
    unet(noise(2, 4, 3, 4, 4), 7, noise(2, 5, 6))
    blocks = [site.removesuffix(".attn2") for site in SITES]
    assert calls == [unet.get_submodule(name) for name in blocks]


def test_layers_are_checkpointed_each_once(unet: UNet3DConditionModel) -> None:
    kinds = (ResnetBlock2D, TemporalConvLayer, TransformerTemporalModel)
    layers = [module for module in unet.modules() if isinstance(module, kinds)]
    calls: list[Any] = []

    def checkpoint(function: Any, *args: Any) -> Any:
        calls.append(function)
        return function(*args)

    expected = call(unet)
    checkpoint_layers(unet, checkpoint)
    checkpoint_layers(unet, checkpoint)
    result = unet(noise(2, 4, 3, 4, 4), 7, noise(2, 5, 6)).sample
    assert torch.equal(result, expected)
    assert len(calls) == len(layers) == 21
    assert {id(c.func.__self__) for c in calls if isinstance(c, partial)} == set(map(id, layers))
    assert torch.equal(call(unet), expected)  # without gradients nothing is recomputed
    assert len(calls) == len(layers)
    checkpoint_layers(unet, None)
    assert [layer for layer in layers if "forward" in vars(layer)] == []
