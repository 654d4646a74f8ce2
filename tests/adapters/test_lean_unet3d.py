"""Every exact saving of DynamiCrafter: the same results up to rounding, and undone.

In double precision, so that a mistake cannot pass for rounding.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor
from tests.dynamicrafter.tiny_pipeline import TRAINED_FRAMES, tiny_dynamicrafter_unet
from torch import Tensor, nn

from stillmotion.adapters.adapter import adapted
from stillmotion.adapters.feature_reuse import FeatureReuse
from stillmotion.adapters.lean_layers import ChannelsLast
from stillmotion.adapters.lean_savings import Savings
from stillmotion.adapters.lean_unet3d import (
    LeanTemporalConvs,
    LeanTemporalTransformers,
    SharedVideoTrunk,
    unet3d_adapters,
)
from stillmotion.diffusion.speed import EXACT_CALL
from stillmotion.diffusion.speed import Call as NetworkCall
from stillmotion.dynamicrafter.dual_stream import SharedContexts, gates_scaled
from stillmotion.dynamicrafter.sampling import Branch, Conditions, Denoiser
from stillmotion.dynamicrafter.scheduler import DynamiCrafterScheduler
from stillmotion.dynamicrafter.settings import DynamiCrafterSettings
from stillmotion.dynamicrafter.unet import DynamiCrafterUNet

NAMES = [field.name for field in fields(Savings)]
ONE_BY_ONE = {name: replace(Savings.none(), **{name: True}) for name in NAMES}
# Temporal convolutions are lean where pictures lie channels last.
CONVOLUTIONS = replace(Savings.none(), motion=True, channels_last=True)
EVERY = {**ONE_BY_ONE, "convolutions": CONVOLUTIONS, "all": Savings()}
GUIDED = DynamiCrafterSettings(guidance_scale=3.0, guidance_rescale=0.7)
THREE = GUIDED.changed(image_guidance_scale=2.0)
EXACT = 1e-11


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def unet() -> DynamiCrafterUNet:
    return tiny_dynamicrafter_unet().double()


class Run:
    """Two predictions of a clip, the second with what was kept in the first."""

    def __init__(
        self,
        settings: DynamiCrafterSettings = GUIDED,
        *,
        branches: int = 2,
        num_frames: int = TRAINED_FRAMES,
        image: Callable[[int], Tensor | None] = lambda n: random(1, 4, 2, 8, seed=n),
        size: tuple[int, int] = (8, 6),
        calls: tuple[NetworkCall, ...] = (EXACT_CALL,) * 2,
        **options: Any,
    ) -> None:
        self.settings, self.num_frames, self.options = settings, num_frames, options
        self.z, self.calls = random(1, 4, num_frames, *size), calls
        self.conditions = Conditions(
            branches=tuple(
                Branch(text=random(1, 3, 8, seed=10 + n), image=image(20 + n))
                for n in range(branches)
            ),
            detail=random(1, 4, num_frames, *size, seed=30),
            pace=torch.tensor([8]),
        )

    def __call__(self, unet: DynamiCrafterUNet, savings: Savings) -> Tensor:
        reuse = FeatureReuse(1) if any(call.reuses for call in self.calls) else None
        denoiser = Denoiser(
            unet=unet, scheduler=DynamiCrafterScheduler(), conditions=self.conditions,
            settings=self.settings, trained_frames=TRAINED_FRAMES, savings=savings, reuse=reuse,
            **self.options,
        )  # fmt: skip
        adapters = [*denoiser.lean(self.num_frames), *([] if reuse is None else [reuse])]
        gates = gates_scaled(unet, self.settings.gate_scales)
        with torch.no_grad(), gates, unet.cached_context(), adapted(unet, adapters):
            made = [
                denoiser.predict(self.z + n, torch.tensor(500 - n), call)
                for n, call in enumerate(self.calls)
            ]
        return torch.cat(made)


RUNS = {
    "guidance": Run(),
    "image and text apart": Run(THREE, branches=3),
    "no guidance": Run(branches=1),
    "one after the other": Run(THREE, branches=3, sequential_guidance=True),
    "windows": Run(num_frames=TRAINED_FRAMES + 3),
    "a short clip": Run(num_frames=3, image=lambda n: random(1, 3, 2, 8, seed=n)),
    "one frame": Run(num_frames=1, image=lambda n: random(1, 1, 2, 8, seed=n)),
    "text alone": Run(image=lambda _: None),
    "gates": Run(GUIDED.changed(gate_scales={0: 0.0, 1: 1.7})),
    "a guidance interval": Run(calls=(EXACT_CALL, NetworkCall(guided=False, reuses=False))),
    "features used again": Run(
        THREE, branches=3, calls=(EXACT_CALL, NetworkCall(guided=True, reuses=True))
    ),
    "odd sizes": Run(size=(7, 5)),
}


@pytest.mark.parametrize("name", RUNS)
def test_results_are_the_same(unet: DynamiCrafterUNet, name: str) -> None:
    """Each saving by itself in an ordinary run; elsewhere those that know of clips or contexts."""
    run = RUNS[name]
    plain = run(unet, Savings.none())
    for saving in EVERY if name == "guidance" else ("text", "trunk", "all"):
        made = run(unet, EVERY[saving])
        assert (made - plain).abs().max() < EXACT * plain.abs().max(), saving


@pytest.mark.parametrize(
    "changes",
    [
        {"image_gate": False},
        {"image_context": False},
        {"motion_embedding": False},
        {"down_block_types": ("DownBlock3D", "CrossAttnDownBlock3D")},
        {"layers_per_block": 2},
        {"spatial_heads": 4},
    ],
    ids=str,
)
def test_other_networks(changes: dict[str, Any]) -> None:
    unet = tiny_dynamicrafter_unet(**changes).double()
    has_image = unet.config.image_context
    run = Run(image=lambda n: random(1, 4, 2, 8, seed=n) if has_image else None)
    if not unet.config.motion_embedding:
        run.conditions = replace(run.conditions, pace=None)
    plain = run(unet, Savings.none())
    assert (run(unet, Savings()) - plain).abs().max() < EXACT * plain.abs().max()


def test_no_savings_are_no_adapters() -> None:
    assert unet3d_adapters(Savings.none(), 4) == []


def test_single_precision() -> None:
    unet, run = tiny_dynamicrafter_unet(), Run()
    run.z = run.z.float()
    run.conditions = Conditions(
        branches=tuple(
            Branch(text=b.text.float(), image=None if b.image is None else b.image.float())
            for b in run.conditions.branches
        ),
        detail=None if run.conditions.detail is None else run.conditions.detail.float(),
        pace=run.conditions.pace,
    )
    plain = run(unet, Savings.none())
    assert (run(unet, Savings()) - plain).abs().max() < 1e-5 * plain.abs().max()


# What is changed, and put back.


def layout(unet: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: parameter.stride() for name, parameter in unet.named_parameters()}


def attributes(unet: nn.Module) -> dict[str, set[str]]:
    return {name: set(vars(module)) for name, module in unet.named_modules()}


def test_the_network_is_as_before() -> None:
    unet = tiny_dynamicrafter_unet().double()
    before = copy.deepcopy(unet.state_dict()), layout(unet), attributes(unet)
    plain = RUNS["guidance"](unet, Savings.none())
    with (
        pytest.raises(RuntimeError, match="stop"),
        adapted(unet, [SharedContexts(), *unet3d_adapters(Savings(), 4)]),
    ):
        raise RuntimeError("stop")
    RUNS["guidance"](unet, Savings())
    assert (layout(unet), attributes(unet)) == before[1:]
    assert all(torch.equal(unet.state_dict()[name], x) for name, x in before[0].items())
    assert torch.equal(RUNS["guidance"](unet, Savings.none()), plain)


def test_every_temporal_layer_is_lean(unet: DynamiCrafterUNet) -> None:
    names = [name for name, _ in unet.named_modules()]
    convs = {n for n in names if n.rpartition(".")[0].endswith(".temp_convs")}
    attentions = {n for n in names if n.rpartition(".")[0].endswith(".temp_attentions")}
    assert set(LeanTemporalConvs().sites(unet)) == convs != set()
    assert set(LeanTemporalTransformers().sites(unet)) == {"transformer_in", *attentions}
    assert len(SharedVideoTrunk(4).sites(unet)) == 4
    assert len(SharedContexts().sites(unet)) == 4


def rows(unet: DynamiCrafterUNet, layer: nn.Module, savings: Savings, run: Run) -> list[int]:
    """Clips that go through the layers of a network which has listeners."""
    seen: list[int] = []
    handle = layer.register_forward_hook(
        lambda _m, given, _out: seen.append(len(given[0]) // TRAINED_FRAMES)
    )
    run(unet, savings)
    handle.remove()
    return seen


def test_the_trunk_is_computed_once(unet: DynamiCrafterUNet) -> None:
    """Its time embedding and convolutions are not listened to, so their layers are asked."""
    three = RUNS["image and text apart"]
    trunk = ONE_BY_ONE["trunk"]
    block: Any = unet.down_blocks[0]
    within = [block.resnets[0].conv1, block.resnets[0].norm1]
    for layer in within:  # a layer that has a listener leaves the trunk as it is
        assert rows(unet, layer, trunk, three) == [3, 3]
    attention = block.attentions[0].transformer_blocks[0].attn1.to_q
    calls = torch.zeros(2)
    plain = nn.Linear.forward

    def counted(layer: nn.Linear, x: Tensor) -> Tensor:
        calls[0] += len(x) * (layer is attention)
        return plain(layer, x)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Linear, "forward", counted)
        three(unet, trunk)
        assert calls[0] == 2 * TRAINED_FRAMES
        three(unet, Savings.none())
        assert calls[0] == (2 + 3 * 2) * TRAINED_FRAMES


def test_texts_are_not_repeated(unet: DynamiCrafterUNet, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    plain = nn.functional.scaled_dot_product_attention

    def attend(q: Tensor, k: Tensor, v: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if k.shape[-2] == 3:  # tokens of the text
            asked.append((len(q), len(k)))
        return plain(q, k, v, *args, **kwargs)

    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", attend)
    RUNS["guidance"](unet, ONE_BY_ONE["text"])
    assert set(asked) == {(2, 2)}
    asked.clear()
    RUNS["guidance"](unet, Savings.none())
    assert set(asked) == {(2 * TRAINED_FRAMES,) * 2}


def test_unusual_layers_are_left_alone() -> None:
    unet = tiny_dynamicrafter_unet()
    block: Any = unet.down_blocks[0]
    before = (LeanTemporalConvs().sites(unet), LeanTemporalTransformers().sites(unet))
    block.temp_convs[0].train()  # with dropout
    assert len(LeanTemporalConvs().sites(unet)) == len(before[0]) - 1
    block.temp_convs[0].eval()
    attention = block.temp_attentions[0].transformer_blocks[0].attn2
    attention.processor = AttnProcessor()
    assert len(LeanTemporalTransformers().sites(unet)) == len(before[1]) - 1
    block.temp_convs[0].conv1[-1].register_forward_hook(lambda *_: None)
    assert len(LeanTemporalConvs().sites(unet)) == len(before[0]) - 1
    block.resnets[0].register_forward_hook(lambda *_: None)
    assert SharedVideoTrunk(4).sites(unet) == ()


def test_wrapped_convolutions_are_called() -> None:
    """As LoRAs wrap them: another module in the place of a convolution, or another forward."""
    unet, run = tiny_dynamicrafter_unet().double(), RUNS["guidance"]
    conv: Any = unet.down_blocks[0].temp_convs[0].conv2[-1]
    forward = conv.forward
    conv.forward = lambda x: 2 * forward(x)
    plain = run(unet, Savings.none())
    assert (run(unet, Savings()) - plain).abs().max() < EXACT * plain.abs().max()


def test_with_gradients_it_is_the_plain_network(unet: DynamiCrafterUNet) -> None:
    x = random(2, 8, 4, 8, 8).requires_grad_()
    given = {
        "encoder_hidden_states": random(2, 3, 8),
        "image_tokens": random(2, 2, 8),
        "motion": torch.tensor([8, 8]),
    }
    (plain,) = torch.autograd.grad(unet(x, 500, **given).sample.square().sum(), x)
    with adapted(unet, [SharedContexts(), *unet3d_adapters(Savings(), 4)]):
        (lean,) = torch.autograd.grad(unet(x, 500, **given).sample.square().sum(), x)
    assert (lean - plain).abs().max() < EXACT * plain.abs().max()


def test_weights_of_temporal_convolutions_lie_channels_last_meanwhile() -> None:
    unet = tiny_dynamicrafter_unet()
    weight: Any = unet.down_blocks[1].temp_convs[0].conv1[-1].weight
    with adapted(unet, [LeanTemporalConvs(), ChannelsLast()]):
        assert weight.is_contiguous(memory_format=torch.channels_last_3d)
        assert not weight.is_contiguous()
    assert weight.is_contiguous()
