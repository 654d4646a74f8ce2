"""The facts about diffusers that adapters/diffusers_sites.py rests on.

If an upgrade of diffusers or transformers breaks one of these, mend that file.
"""

from __future__ import annotations

import inspect
from contextlib import ExitStack

import pytest
import torch
from diffusers import AnimateDiffPipeline, UNetMotionModel
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from tests.tiny_models import image_unet_of, tiny_motion_adapter, tiny_pipeline, tiny_unet
from transformers import CLIPTextModel

from stillmotion.adapters.adapter import FrameContext, adapted
from stillmotion.adapters.diffusers_sites import (
    MotionBypass,
    PerFrameNorm,
    ReferenceRows,
    check_unextended,
    is_motion_parameter,
    latent_multiple,
    max_frames,
    motion_modules,
    silence_positions,
    spatial_self_attentions,
    temporal_attentions,
)
from stillmotion.errors import ModelError


@pytest.fixture(scope="module")
def unet() -> UNetMotionModel:
    return tiny_unet()


@pytest.fixture(scope="module")
def real_unet() -> UNetMotionModel:
    """Stable Diffusion 1.5 with AnimateDiff v2, without the memory."""
    with torch.device("meta"):
        return UNetMotionModel(motion_num_attention_heads=8, use_motion_mid_block=True)


def call(unet: UNetMotionModel, x: torch.Tensor) -> torch.Tensor:
    """U-Net output for x (b c f h w) with fixed conditioning."""
    generator = torch.Generator().manual_seed(5)
    embeds = torch.randn((x.shape[0], 3, 8), generator=generator)
    with torch.no_grad():
        return unet(x, 500, embeds.repeat_interleave(x.shape[2], 0)).sample


def video(num_frames: int, batch: int = 2, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((batch, 4, num_frames, 4, 4), generator=generator)


def test_counts_in_the_real_network(real_unet: UNetMotionModel) -> None:
    assert len(spatial_self_attentions(real_unet)) == 16
    counts = {b: len(temporal_attentions(real_unet, (b,))) for b in ("down", "mid", "up")}
    assert counts == {"down": 16, "mid": 2, "up": 24}
    assert len(temporal_attentions(real_unet, ("down", "mid", "up"))) == 42
    assert len(motion_modules(real_unet)) == 21
    assert max_frames(real_unet) == 32
    assert latent_multiple(real_unet) == 8


def test_networks_without_a_mid_motion_module() -> None:
    unet = tiny_unet(use_motion_mid_block=False)
    assert temporal_attentions(unet, ("mid",)) == {}
    assert len(motion_modules(unet)) == 6


def test_motion_parameters_are_what_the_image_model_lacks(unet: UNetMotionModel) -> None:
    theirs = set(image_unet_of(unet).state_dict())
    assert {name for name in unet.state_dict() if not is_motion_parameter(name)} == theirs


def test_spatial_layers_see_frames_fastest(unet: UNetMotionModel) -> None:
    seen = []
    attention = next(iter(spatial_self_attentions(unet).values()))
    handle = attention.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    x = video(3)
    x[:] = x[:, :, :1]
    x[0, :, 1] += 1  # sample 0, frame 1
    with adapted(unet, [MotionBypass()]):
        call(unet, x)
    handle.remove()
    rows = seen[0]
    assert rows.shape == (6, 16, 8)
    differs = [not torch.equal(rows[i], rows[3 * (i // 3)]) for i in range(6)]
    assert differs == [False, True, False, False, False, False]


def test_temporal_layers_see_locations_in_the_batch_and_positions_added(
    unet: UNetMotionModel,
) -> None:
    block = unet.down_blocks[0].motion_modules[0].transformer_blocks[0]
    seen = {}
    handles = [
        module.register_forward_hook(
            lambda module, args, output, name=name: seen.update({name: (args, output)})
        )
        for name, module in [("norm1", block.norm1), ("norm2", block.norm2)]
    ]
    handles += [
        module.register_forward_pre_hook(
            lambda module, args, kwargs, name=name: seen.update({name: (args, kwargs)}),
            with_kwargs=True,
        )
        for name, module in [("attn1", block.attn1), ("attn2", block.attn2)]
    ]
    call(unet, video(3))
    for handle in handles:
        handle.remove()
    sites = temporal_attentions(unet, ("down",))
    for norm, attention in (("norm1", "attn1"), ("norm2", "attn2")):
        (received, *_), kwargs = seen[attention]
        assert received.shape == (2 * 16, 3, 8)
        assert kwargs.get("encoder_hidden_states") is None
        site = sites[f"down_blocks.0.motion_modules.0.transformer_blocks.0.{attention}"]
        assert torch.equal(received, seen[norm][1] + site.positions(received, 3))


def test_positions_follow_the_module_to_another_dtype() -> None:
    unet = tiny_unet()
    site = next(iter(temporal_attentions(unet, ("down",)).values()))
    unet.to(torch.bfloat16)
    assert site.pos_embed.pe.dtype == torch.bfloat16
    assert site.positions(torch.zeros(1, 3, 8), 3).dtype == torch.float32


def test_positions_of_another_speed_lie_between_the_rows() -> None:
    """Whole steps hit rows of the table exactly, others lie straight between their neighbours."""
    site = next(iter(temporal_attentions(tiny_unet(), ("down",)).values()))
    table, like = site.pos_embed.pe[0], torch.zeros(1, 3, 8)
    assert torch.equal(site.positions(like, 8), table)
    assert torch.equal(site.positions(like, 8, 1.0), table)
    assert torch.equal(site.positions(like, 3, 3.0), table[[0, 3, 6]])
    assert torch.equal(site.positions(like, 2, 7.0), table[[0, 7]])
    half = site.positions(like, 5, 1.5)
    assert torch.equal(half[[0, 2, 4]], table[[0, 3, 6]])
    assert torch.allclose(half[1], (table[1] + table[2]) / 2, atol=1e-6)
    assert torch.allclose(half[3], (table[4] + table[5]) / 2, atol=1e-6)
    slow = site.positions(like, 6, 0.25)
    assert torch.allclose(slow[3], (table[0] + 3 * table[1]) / 4, atol=1e-6)
    for speed in (1.0, 1.5):
        rows = site.positions(like.bfloat16(), 4, speed)
        assert rows.dtype == torch.bfloat16
        assert (rows.float() - site.positions(like, 4, speed)).abs().max() < 1e-2


def test_a_silenced_table_adds_nothing_to_any_number_of_frames() -> None:
    """Silenced once for each of the two attentions that share it."""
    unet = tiny_unet()
    block = unet.down_blocks[0].motion_modules[0].transformer_blocks[0]
    x = torch.randn((2, 20, 8), generator=torch.Generator().manual_seed(0))
    expected, names = block.pos_embed(x[:, :4]), list(unet.state_dict())
    assert not torch.equal(expected, x[:, :4])
    with ExitStack() as undo:
        silence_positions(block.pos_embed, undo)
        silence_positions(block.pos_embed, undo)
        assert torch.equal(block.pos_embed(x), x)
        assert list(unet.state_dict()) == names
    assert torch.equal(block.pos_embed(x[:, :4]), expected)
    assert "forward" not in vars(block.pos_embed)
    with pytest.raises(RuntimeError):
        block.pos_embed(x)


def test_with_positions_silenced_temporal_layers_see_the_norm_s_output_alone() -> None:
    unet = tiny_unet()
    block = unet.down_blocks[0].motion_modules[0].transformer_blocks[0]
    normed, received = [], []
    block.norm1.register_forward_hook(lambda module, args, output: normed.append(output))
    block.attn1.register_forward_pre_hook(lambda module, args: received.append(args[0]))
    with ExitStack() as undo:
        silence_positions(block.pos_embed, undo)
        call(unet, video(3))
    assert torch.equal(received[0], normed[0])


def test_a_processor_is_found_in_the_instance_before_the_class(unet: UNetMotionModel) -> None:
    attention = next(iter(spatial_self_attentions(unet).values()))
    assert isinstance(vars(attention)["processor"], AttnProcessor2_0)
    assert "processor" not in attention.state_dict()
    assert "self.processor(" in inspect.getsource(Attention.forward)


def test_set_attn_processor_empties_its_argument(unet: UNetMotionModel) -> None:
    """Why processors are put on each attention by itself."""
    processors = dict(unet.attn_processors)
    unet.set_attn_processor(processors)
    assert processors == {}


def test_motion_norm_runs_across_frames_in_diffusers(unet: UNetMotionModel) -> None:
    """If this fails because diffusers mended it, PerFrameNorm has become unnecessary."""
    module = unet.down_blocks[0].motion_modules[0]
    x = torch.randn((2, 8, 3, 4, 4), generator=torch.Generator().manual_seed(0))
    changed = x.clone()
    changed[:, :, 2] *= 10
    assert not torch.allclose(module.norm(x)[:, :, :2], module.norm(changed)[:, :, :2])
    with adapted(unet, [PerFrameNorm()]):
        normalised = module.norm(x)
        assert torch.equal(normalised[:, :, :2], module.norm(changed)[:, :, :2])
    for frame in range(3):
        alone = module.norm(x[:, :, frame])
        assert (normalised[:, :, frame] - alone).abs().max() < 1e-6


def test_motion_modules_take_the_frames_by_name() -> None:
    parameters = inspect.signature(AnimateDiffTransformer3D.forward).parameters
    assert list(parameters)[1] == "hidden_states"
    assert parameters["num_frames"].default == 1


def test_bypass_is_the_image_model(unet: UNetMotionModel) -> None:
    """Text to image inside the video network equals UNet2DConditionModel on the same weights."""
    image_unet = image_unet_of(unet)
    x = video(1)
    embeds = torch.randn((2, 3, 8), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        expected = image_unet(x[:, :, 0], 500, embeds).sample
        assert not torch.allclose(call(unet, x)[:, :, 0], expected, atol=1e-3)
        with adapted(unet, [MotionBypass()]):
            assert (call(unet, x)[:, :, 0] - expected).abs().max() <= 1e-6


def test_reference_rows_neither_move_nor_are_seen(unet: UNetMotionModel) -> None:
    frames, reference = video(3), video(1, seed=1)
    context = FrameContext(num_frames=3, num_reference_rows=1)
    plain = call(unet, frames)
    with adapted(unet, [MotionBypass()]):
        still = call(unet, reference)
    with adapted(unet, [ReferenceRows(context)]):
        both = call(unet, torch.cat([reference, frames], 2))
    assert (both[:, :, 1:] - plain).abs().max() < 1e-5
    assert (both[:, :, :1] - still).abs().max() < 1e-5


def test_all_adapters_leave_no_trace() -> None:
    unet, x = tiny_unet(), video(3)
    before, names = call(unet, x), list(unet.state_dict())
    own = {name: set(vars(module)) for name, module in unet.named_modules()}
    context = FrameContext(num_frames=3)
    with adapted(unet, [PerFrameNorm(), ReferenceRows(context), MotionBypass()]):
        assert list(unet.state_dict()) == names
    assert torch.equal(call(unet, x), before)
    assert {name: set(vars(module)) for name, module in unet.named_modules()} == own


@pytest.mark.parametrize("adapter", [MotionBypass(), PerFrameNorm()])
def test_sites_name_what_is_changed(unet: UNetMotionModel, adapter) -> None:
    own = {name: vars(module).get("forward") for name, module in unet.named_modules()}
    with adapted(unet, [adapter]):
        changed = {n for n, m in unet.named_modules() if vars(m).get("forward") is not own[n]}
    assert changed == set(adapter.sites(unet))


def test_foreign_attentions_are_refused() -> None:
    unet = tiny_unet()
    next(iter(spatial_self_attentions(unet).values())).residual_connection = True
    with pytest.raises(ModelError, match="not the plain self-attention"):
        spatial_self_attentions(unet)


def test_free_noise_is_refused() -> None:
    pipe = tiny_pipeline()
    pipe.register_modules(motion_adapter=tiny_motion_adapter())
    pipe.enable_free_noise(context_length=4)
    with pytest.raises(ModelError, match="disable_free_noise"):
        temporal_attentions(pipe.unet, ("down",))
    with pytest.raises(ModelError, match="disable_free_noise"):
        check_unextended(pipe)


def test_free_init_is_refused() -> None:
    pipe = tiny_pipeline()
    check_unextended(pipe)
    pipe.enable_free_init()
    with pytest.raises(ModelError, match="disable_free_init"):
        check_unextended(pipe)


def test_networks_without_motion_are_refused() -> None:
    with pytest.raises(ModelError, match="no motion modules"):
        max_frames(image_unet_of(tiny_unet()))


def test_clip_skip_is_still_broken() -> None:
    """If this fails, clip_skip works again and can be offered."""
    assert "text_encoder.text_model" in inspect.getsource(AnimateDiffPipeline.encode_prompt)
    assert not hasattr(CLIPTextModel, "text_model")
    assert not hasattr(tiny_pipeline().text_encoder, "text_model")
