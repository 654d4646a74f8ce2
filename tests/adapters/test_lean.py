"""Every exact saving: the same results up to rounding, in all settings that meet it, and undone.

In double precision, so that a mistake cannot pass for rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNetMotionModel
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from tests.models.tiny_folders import make_ip_adapter
from tests.tiny_models import tiny_pipeline, tiny_unet
from torch import Tensor, nn

from stillmotion.adapters import lean_text
from stillmotion.adapters.adapter import Adapter, FrameContext, adapted, shadow
from stillmotion.adapters.diffusers_sites import JOINT_PROJECTION, MotionBypass, motion_modules
from stillmotion.adapters.lean_layers import ChannelsLast
from stillmotion.adapters.lean_motion import LeanMotion
from stillmotion.adapters.lean_projections import JointProjections
from stillmotion.adapters.lean_resnet import LeanResnets
from stillmotion.adapters.lean_savings import Savings
from stillmotion.adapters.lean_text import TextProcessor, TextProjections, TextRows
from stillmotion.adapters.lean_transformer import LeanTransformers
from stillmotion.adapters.lean_trunk import SharedTrunk
from stillmotion.adapters.v1_norm import AcrossFramesResnetNorm
from stillmotion.animatezero.control import control_adapters
from stillmotion.animatezero.image_prompt import load_ip_adapter
from stillmotion.animatezero.memory import ChunkedFeedForward
from stillmotion.animatezero.settings import FIG6_ROWS, AnimateZeroSettings
from stillmotion.animatezero.windows import EndBlend

NUM_FRAMES = 5
NAMES = [field.name for field in fields(Savings)]
ONE_BY_ONE = {name: replace(Savings.none(), **{name: True}) for name in NAMES}
EVERY = {**ONE_BY_ONE, "all": Savings()}
STOCK = replace(FIG6_ROWS["a"], frame_norm="across_frames")
LOCKSTEP = AnimateZeroSettings(kv_source="still")
SETTINGS = {
    "AnimateZero": AnimateZeroSettings(),
    "the still beside it": LOCKSTEP,
    "diffusers' AnimateDiff": STOCK,
    "AnimateDiff": FIG6_ROWS["a"],
    "windows without correction": FIG6_ROWS["d"],
    "norms across frames": AnimateZeroSettings(frame_norm="across_frames"),
    "lockstep, across frames": replace(LOCKSTEP, frame_norm="across_frames"),
    "windows everywhere": AnimateZeroSettings(window_blocks=("down", "mid", "up")),
    "a clip longer than its window": AnimateZeroSettings(window_length=3),
    "positions farther apart": AnimateZeroSettings(motion_strength=1.5),
}
EXACT = 1e-11


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def unet() -> UNetMotionModel:
    return tiny_unet().double()


class Call:
    """One use of a U-Net for a clip under settings: with guidance both halves, else one."""

    def __init__(
        self,
        settings: AnimateZeroSettings,
        *,
        two_ends: bool = False,
        halves: int = 2,
        one_text: bool = True,
        more: Callable[[FrameContext], list[Adapter]] = lambda context: [],
        **options: Any,
    ) -> None:
        references = (1 + two_ends) * settings.needs_reference_row
        self.settings, self.two_ends = settings, two_ends
        self.context = FrameContext(num_frames=NUM_FRAMES, num_reference_rows=references)
        rows = self.context.num_rows
        embeds = random(halves if one_text else halves * rows, 3, 8, seed=5)
        embeds = embeds.repeat_interleave(rows, 0) if one_text else embeds
        self.text = TextRows(embeds=embeds, num_rows=rows, one_text=one_text)
        self.x = random(1, 4, rows, 4, 4).expand(halves, -1, -1, -1, -1)
        self.more, self.options = more, options

    def adapters(self, savings: Savings) -> list[Adapter]:
        ends = EndBlend(NUM_FRAMES) if self.two_ends else None
        control = control_adapters(
            self.settings, self.context, ends, every_attention=savings.motion
        )
        return [*control, *self.more(self.context), *savings.adapters(self.context, self.text)]

    def __call__(self, unet: UNetMotionModel, savings: Savings) -> Tensor:
        with torch.no_grad(), adapted(unet, self.adapters(savings)):
            first = self._once(unet, self.x)
            # What was kept in the first call is used in the second.
            return torch.cat([first, self._once(unet, self.x + 1)])

    def _once(self, unet: UNetMotionModel, x: Tensor) -> Tensor:
        return unet(x, 500, self.text.embeds, **self.options).sample


def error(unet: UNetMotionModel, call: Call, savings: Savings) -> float:
    plain = call(unet, Savings.none())
    return float((call(unet, savings) - plain).abs().max() / plain.abs().max())


# Each saving


@pytest.mark.parametrize("settings", SETTINGS)
def test_results_are_the_same(unet, settings: str) -> None:
    call = Call(SETTINGS[settings])
    plain = call(unet, Savings.none())
    for name, savings in EVERY.items():
        difference = (call(unet, savings) - plain).abs().max()
        assert difference < EXACT * plain.abs().max(), name


@pytest.mark.parametrize("saving", ["motion", "text", "trunk", "all"])
@pytest.mark.parametrize("settings", [AnimateZeroSettings(), LOCKSTEP])
def test_both_ends(unet, settings: AnimateZeroSettings, saving: str) -> None:
    assert error(unet, Call(settings, two_ends=True), EVERY[saving]) < EXACT
    longer = replace(settings, window_length=3)
    assert error(unet, Call(longer, two_ends=True), EVERY[saving]) < EXACT


@pytest.mark.parametrize("saving", ["text", "trunk", "all"])
@pytest.mark.parametrize("one_text", [False, True])
@pytest.mark.parametrize("halves", [1, 2])
def test_guidance_and_a_text_for_each_frame(unet, halves: int, one_text: bool, saving: str) -> None:
    for settings in (AnimateZeroSettings(), LOCKSTEP):
        call = Call(settings, halves=halves, one_text=one_text)
        assert error(unet, call, EVERY[saving]) < EXACT


@pytest.mark.parametrize("saving", ["resnets", "motion", "trunk", "channels_last", "all"])
@pytest.mark.parametrize("settings", [AnimateZeroSettings(), LOCKSTEP])
def test_norms_of_version_1(unet, settings: AnimateZeroSettings, saving: str) -> None:
    call = Call(settings, more=lambda context: [AcrossFramesResnetNorm(context)])
    assert error(unet, call, EVERY[saving]) < EXACT


@pytest.mark.parametrize("saving", ["feed_forward", "transformers", "motion", "all"])
def test_feed_forward_in_parts(unet, saving: str) -> None:
    call = Call(LOCKSTEP, more=lambda context: [ChunkedFeedForward(3)])
    assert error(unet, call, EVERY[saving]) < EXACT


@pytest.mark.parametrize("saving", EVERY)
def test_drawing(unet, saving: str) -> None:
    """One row, motion modules bypassed."""
    context, text = FrameContext(num_frames=1), random(2, 3, 8, seed=5)
    rows = TextRows(embeds=text, num_rows=1, one_text=True)

    def draw(savings: Savings) -> Tensor:
        lean = savings.adapters(context, rows, moves=False)
        with torch.no_grad(), adapted(unet, [MotionBypass(), *lean]):
            return unet(random(1, 4, 1, 6, 4).expand(2, -1, -1, -1, -1), 500, text).sample

    plain = draw(Savings.none())
    assert (draw(EVERY[saving]) - plain).abs().max() < EXACT * plain.abs().max()


def test_residuals_of_a_controlnet(unet) -> None:
    """They come to skip connections of all halves, behind the trunk."""
    sizes = [(8, 4), (8, 4), (8, 2), (16, 2)]
    down = tuple(random(2 * NUM_FRAMES, c, n, n, seed=n + c) for c, n in sizes)
    call = Call(
        AnimateZeroSettings(),
        down_block_additional_residuals=down,
        mid_block_additional_residual=random(2 * NUM_FRAMES, 16, 2, 2, seed=9),
    )
    for savings in EVERY.values():
        assert error(unet, call, savings) < EXACT


def test_lora_merged_or_not() -> None:
    from peft import LoraConfig, inject_adapter_in_model

    unet = tiny_unet().double()
    targets = ["to_q", "to_k", "to_v", "to_out.0", "proj", "conv1", "time_emb_proj"]
    inject_adapter_in_model(LoraConfig(r=2, target_modules=targets), unet)
    for index, (name, parameter) in enumerate(unet.named_parameters()):
        if "lora" in name:
            parameter.data = random(*parameter.shape, seed=index) / 3
    unet.eval()
    call = Call(AnimateZeroSettings())
    assert JointProjections().sites(unet) == ()
    unmerged = call(unet, Savings.none())
    for savings in EVERY.values():
        assert (call(unet, savings) - unmerged).abs().max() < EXACT * unmerged.abs().max()
    for module in unet.modules():
        if hasattr(module, "merge"):
            module.merge()
    merged = call(unet, Savings())
    assert (merged - unmerged).abs().max() < EXACT * unmerged.abs().max()


def test_an_ip_adapter(tmp_path: Path) -> None:
    """Its cross-attentions stay as they are, among lean layers."""
    pipe = tiny_pipeline()
    load_ip_adapter(pipe, make_ip_adapter(tmp_path / "ip.safetensors"))
    unet = pipe.unet.double()
    for settings in (AnimateZeroSettings(), LOCKSTEP):
        call = Call(settings, added_cond_kwargs={"image_embeds": [random(2, 1, 6)]})
        assert TextProjections(call.text).sites(unet) == ()
        for savings in EVERY.values():
            assert error(unet, call, savings) < EXACT


def test_a_lora_that_is_turned_within_a_clip_is_followed() -> None:
    """What was projected before holds no longer."""
    from peft import LoraConfig, inject_adapter_in_model

    unet = tiny_unet().double()
    inject_adapter_in_model(LoraConfig(r=2, target_modules=["to_q", "to_k", "to_v"]), unet)
    for index, (name, parameter) in enumerate(unet.named_parameters()):
        if "lora" in name:
            parameter.data = random(*parameter.shape, seed=index)

    def second_call(savings: Savings) -> Tensor:
        call = Call(AnimateZeroSettings())
        scales = [m.scaling for m in unet.modules() if hasattr(m, "scaling")]
        with torch.no_grad(), adapted(unet, call.adapters(savings)):
            call._once(unet, call.x)
            for scaling in scales:
                scaling["default"] = 0.25
            result = call._once(unet, call.x)
            for scaling in scales:
                scaling["default"] = 4.0
        return result

    plain = second_call(Savings.none())
    assert (second_call(Savings()) - plain).abs().max() < EXACT * plain.abs().max()


def test_other_sizes_and_an_mid_block_without_motion() -> None:
    unet = tiny_unet(use_motion_mid_block=False).double()
    assert not any(name.startswith("mid_block") for name in motion_modules(unet))
    for settings in (AnimateZeroSettings(), LOCKSTEP):
        call = Call(settings)
        call.x = random(1, 4, call.context.num_rows, 6, 10).expand(2, -1, -1, -1, -1)
        assert error(unet, call, Savings()) < EXACT


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision(dtype: torch.dtype) -> None:
    """As far from exact numbers as without savings, about."""
    exact = Call(LOCKSTEP)(tiny_unet().double(), Savings.none())
    unet, call = tiny_unet().to(dtype), Call(LOCKSTEP)
    call.x = call.x.to(dtype)
    call.text = replace(call.text, embeds=call.text.embeds.to(dtype))
    plain, lean = (
        (call(unet, s).double() - exact).abs().mean() for s in (Savings.none(), Savings())
    )
    assert lean < 1.5 * plain


# What is done, and undone


def state(unet: nn.Module) -> list[tuple[Any, ...]]:
    """Everything that the savings touch, down to where the weights lie apart."""
    return [
        (name, set(vars(module)), vars(module).get("forward"), getattr(module, "processor", None))
        for name, module in unet.named_modules()
    ]


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("saving", EVERY)
def test_the_network_is_as_before(saving: str, fails: bool) -> None:
    unet = tiny_unet().double()
    before, weights = state(unet), {k: w.clone() for k, w in unet.state_dict().items()}
    plain = Call(STOCK)(unet, Savings.none())
    call = Call(LOCKSTEP)
    if fails:
        call.x = call.x[:, :, :-1]
        with pytest.raises((RuntimeError, ValueError)):
            call(unet, EVERY[saving])
    else:
        call(unet, EVERY[saving])
    assert state(unet) == before
    for name, weight in unet.state_dict().items():
        assert torch.equal(weight, weights[name])
        assert weight.stride() == weights[name].stride()
        assert weight.untyped_storage().nbytes() == weight.numel() * weight.element_size()
    assert torch.equal(Call(STOCK)(unet, Savings.none()), plain)


def test_nothing_is_done_without_savings(unet) -> None:
    assert Savings.none().adapters(FrameContext(num_frames=3)) == []
    assert len(Savings().adapters(FrameContext(num_frames=3), Call(STOCK).text)) == len(NAMES)
    assert len(Savings().adapters(FrameContext(num_frames=3))) == len(NAMES) - 1


SITES: dict[str, tuple[Callable[[Call], Adapter], int]] = {
    "projections": (lambda call: JointProjections(), 14 + 4),
    "motion": (lambda call: LeanMotion(call.context), 7),
    "text": (lambda call: TextProjections(call.text), 4),
    "resnets": (lambda call: LeanResnets(), 8 + 1),
    "transformers": (lambda call: LeanTransformers(), 2 * 4),
    "trunk": (lambda call: SharedTrunk(call.context.num_rows), 3),
}


@pytest.mark.parametrize("saving", SITES)
def test_each_saving_has_its_sites(unet, saving: str) -> None:
    make, expected = SITES[saving]
    call = Call(STOCK)
    with adapted(unet, control_adapters(STOCK, call.context, every_attention=True)):
        assert len(make(call).sites(unet)) == expected


def touched(unet: nn.Module, saving: str) -> set[str]:
    make, _ = SITES[saving]
    call = Call(STOCK)
    with adapted(unet, control_adapters(STOCK, call.context, every_attention=True)):
        return set(make(call).sites(unet))


def test_whatever_somebody_changed_stays_as_it_is(unet) -> None:
    with ExitStack() as undo:
        resnet = unet.down_blocks[0].resnets[0]
        shadow(resnet, "forward", resnet.forward, undo)
        assert "down_blocks.0.resnets.0" not in touched(unet, "resnets")
        assert touched(unet, "trunk") == set()
    with ExitStack() as undo:
        shadow(unet.up_blocks[1].resnets[0], "output_scale_factor", 2.0, undo)
        assert "up_blocks.1.resnets.0" not in touched(unet, "resnets")
    attention = unet.up_blocks[1].attentions[0].transformer_blocks[0].attn2
    with ExitStack() as undo:
        shadow(attention, "processor", AttnProcessor(), undo)
        assert len(touched(unet, "text")) == 3
    with ExitStack() as undo:
        block = unet.mid_block.attentions[0].transformer_blocks[0]
        shadow(block, "_chunk_size", 2, undo)
        assert "mid_block.attentions.0.transformer_blocks.0" not in touched(unet, "transformers")
    handle = unet.mid_block.motion_modules[0].norm.register_forward_hook(lambda *_: None)
    assert "mid_block.motion_modules.0" not in touched(unet, "motion")
    handle.remove()
    dropout = unet.down_blocks[1].resnets[0].dropout
    with ExitStack() as undo:
        shadow(dropout, "p", 0.1, undo)
        assert "down_blocks.1.resnets.0" in touched(unet, "resnets")
        shadow(dropout, "training", True, undo)
        assert "down_blocks.1.resnets.0" not in touched(unet, "resnets")


def test_motion_modules_with_other_attentions_are_left_to_diffusers(unet) -> None:
    """One of them has a processor of somebody else; reference rows are still led past it."""

    class Others(Adapter):
        def sites(self, model: nn.Module) -> tuple[str, ...]:
            return ("down_blocks.0.motion_modules.0",)

        def inject(self, model: nn.Module, undo: ExitStack) -> None:
            block = model.get_submodule(self.sites(model)[0]).transformer_blocks[0]
            shadow(block.attn1, "processor", AttnProcessor2_0(), undo)

    call = Call(LOCKSTEP, more=lambda context: [Others()])
    assert error(unet, call, Savings()) < EXACT


def test_with_gradients_it_is_diffusers_network(unet) -> None:
    call = Call(STOCK)
    x = call.x.clone().requires_grad_()
    expected = torch.autograd.grad(unet(x, 500, call.text.embeds).sample.sum(), x)[0]
    with adapted(unet, call.adapters(Savings())):
        ours = torch.autograd.grad(unet(x, 500, call.text.embeds).sample.sum(), x)[0]
    assert (ours - expected).abs().max() < EXACT * expected.abs().max()


# Text


def projections(unet: nn.Module) -> list[int]:
    """Rows of text that the next calls project to keys, filled as they are made."""
    seen: list[int] = []
    for name, module in unet.named_modules():
        if name.endswith(".attn2.to_k") and ".attentions." in name:
            module.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    return seen


@pytest.mark.parametrize(("one_text", "rows"), [(True, 2), (False, 10)])
def test_text_is_projected_once_for_a_clip(one_text: bool, rows: int) -> None:
    unet = tiny_unet().double()
    seen = projections(unet)
    call = Call(AnimateZeroSettings(), one_text=one_text)
    only_text = ONE_BY_ONE["text"]
    call(unet, only_text)
    assert seen == [rows] * 4  # layers; the second call adds none
    # The next clip has another text in the same place: nothing of the first is used.
    call.text.embeds.add_(1)
    assert error(unet, call, only_text) < EXACT


def test_halves_one_after_the_other_have_their_own_texts(unet) -> None:
    call = Call(AnimateZeroSettings())
    rows = call.context.num_rows
    both = call(unet, Savings())
    with torch.no_grad(), adapted(unet, call.adapters(Savings())):
        apart = [
            unet(call.x[:1] + step, 500, half).sample
            for step in (0, 1)
            for half in call.text.embeds.split(rows)
        ]
    assert (torch.cat(apart) - both).abs().max() < EXACT * both.abs().max()


def test_texts_of_somebody_else_are_never_kept(unet) -> None:
    call = Call(AnimateZeroSettings())
    texts = [random(2 * NUM_FRAMES, 3, 8, seed=seed) for seed in (1, 2)]

    def outputs(savings: Savings) -> Tensor:
        with torch.no_grad(), adapted(unet, call.adapters(savings)):
            return torch.cat([unet(call.x, 500, text).sample for text in texts])

    plain = outputs(Savings.none())
    assert (outputs(Savings()) - plain).abs().max() < EXACT * plain.abs().max()


def test_long_texts_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lean_text, "MAX_KEPT_ROWS", 9)
    unet = tiny_unet().double()
    seen = projections(unet)
    call = Call(AnimateZeroSettings(), one_text=False)
    call(unet, ONE_BY_ONE["text"])
    assert seen == [10] * 8


def test_what_was_projected_goes_with_the_adapter(unet) -> None:
    call = Call(AnimateZeroSettings())
    attention = unet.mid_block.attentions[0].transformer_blocks[0].attn2
    with torch.no_grad(), adapted(unet, call.adapters(Savings())):
        processor = attention.processor
        call._once(unet, call.x)
        assert isinstance(processor, TextProcessor)
        assert processor._kept
    assert not processor._kept
    assert JOINT_PROJECTION not in vars(attention)


# Where weights lie


def test_channels_lie_last_only_where_norms_keep_them_so() -> None:
    unet = tiny_unet()
    resnet = unet.down_blocks[0].resnets[0]
    conv = resnet.conv1
    seen: list[bool] = []
    handle = resnet.norm2.register_forward_pre_hook(
        lambda _, args: seen.append(args[0].is_contiguous(memory_format=torch.channels_last))
    )
    with torch.no_grad(), adapted(unet, [ChannelsLast()]):
        assert conv.weight.is_contiguous(memory_format=torch.channels_last)
        unet(torch.zeros(1, 4, 2, 4, 4), 500, torch.zeros(2, 3, 8))
    handle.remove()
    assert seen == [True]
    assert conv.weight.is_contiguous()
    assert ChannelsLast().sites(tiny_unet().to("meta")) == ()


def test_joint_projections_are_the_weights_themselves() -> None:
    unet = tiny_unet().double()
    call = Call(STOCK)
    plain = call(unet, Savings.none())
    with torch.no_grad(), adapted(unet, call.adapters(Savings())):
        for attention in motion_modules(unet).values():
            attention.transformer_blocks[0].attn1.to_q.weight.mul_(0.5)
        changed = call._once(unet, call.x)
    for attention in motion_modules(unet).values():
        attention.transformer_blocks[0].attn1.to_q.weight.data.mul_(2)
    assert (changed - plain[:2]).abs().max() > 1e-3
    assert torch.equal(call(unet, Savings.none()), plain)
