"""The facts about diffusers that adapters/feature_reuse.py rests on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from diffusers import UNetMotionModel
from tests.dynamicrafter.tiny_pipeline import tiny_dynamicrafter_unet
from tests.tiny_models import tiny_unet
from torch import Tensor, nn

from stillmotion.adapters.adapter import shadow

FRAMES = 2
DEEPER = {
    "block_out_channels": (8, 16, 16),
    "layers_per_block": 2,
}


def motion_unet() -> nn.Module:
    return tiny_unet(
        **DEEPER,
        down_block_types=("CrossAttnDownBlockMotion", "CrossAttnDownBlockMotion",
                          "DownBlockMotion"),
        up_block_types=("UpBlockMotion", "CrossAttnUpBlockMotion", "CrossAttnUpBlockMotion"),
    )  # fmt: skip


def unet_3d() -> nn.Module:
    return tiny_dynamicrafter_unet(
        **DEEPER,
        down_block_types=("CrossAttnDownBlock3D", "CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D", "CrossAttnUpBlock3D"),
    )


UNETS: dict[str, Callable[[], Any]] = {"UNetMotionModel": motion_unet, "UNet3D": unet_3d}


def call(unet: Any, size: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    z = random(2, unet.config.in_channels, FRAMES, size, size)
    if isinstance(unet, UNetMotionModel):
        return unet(z, torch.tensor(5), encoder_hidden_states=random(2 * FRAMES, 3, 8))[0]
    return unet(z, torch.tensor(5), random(2, 3, 8), image_tokens=random(2, FRAMES, 2, 8),
                motion=torch.tensor([3]), return_dict=False)[0]  # fmt: skip


@pytest.fixture(params=list(UNETS))
def unet(request: pytest.FixtureRequest) -> Any:
    return UNETS[request.param]()


@torch.no_grad()
def test_blocks_and_layers_are_read_at_every_call(unet: Any) -> None:
    """Shorter lists in their place are obeyed, and the network is whole again without them."""
    before = call(unet)
    ran: list[str] = []
    handles = [
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
        for name, module in unet.named_modules()
        if name.startswith(("down_blocks", "mid_block", "up_blocks"))
    ]
    with ExitStack() as undo:
        last = unet.up_blocks[-1]
        shadow(unet, "down_blocks", [], undo)
        shadow(unet, "mid_block", None, undo)
        shadow(unet, "up_blocks", [last], undo)
        for name in ("resnets", "attentions", "motion_modules", "temp_convs", "temp_attentions"):
            if hasattr(last, name):
                shadow(last, name, list(getattr(last, name))[-1:], undo)
        taken: dict[str, Any] = {}
        plain = last.forward

        def forward(**kwargs: Any) -> Any:
            taken.update(kwargs)
            return plain(**kwargs)

        shadow(last, "forward", forward, undo)
        shadow(last, "upsamplers", None, undo)
        call(unet)
    for handle in handles:
        handle.remove()
    assert {name.split(".")[0] for name in ran} == {"up_blocks"}
    assert {int(name.split(".")[1]) for name in ran} == {2}
    assert {name.split(".")[3] for name in ran if name.count(".") >= 3} == {"2"}
    # One layer takes one skip connection, conv_in's own, which is the hidden state as well here.
    assert len(taken["res_hidden_states_tuple"]) == 1
    assert torch.equal(taken["res_hidden_states_tuple"][0], taken["hidden_states"])
    assert torch.equal(call(unet), before)


@torch.no_grad()
def test_what_a_layer_does_last(unet: Any) -> None:
    """The next layer begins with its result, the skip connection behind it."""
    for block in unet.up_blocks:
        names = ("motion_modules", "temp_attentions", "temp_convs")
        last = next(getattr(block, name) for name in names if hasattr(block, name))[0]
        seen: list[Tensor] = []
        handles = [
            last.register_forward_hook(
                lambda _m, _i, out, seen=seen: seen.append(
                    out[0] if isinstance(out, tuple) else out
                )
            ),
            block.resnets[1].register_forward_hook(
                lambda _m, args, kwargs, _o, seen=seen: seen.append(
                    args[0] if args else kwargs["input_tensor"]
                ),
                with_kwargs=True,
            ),
        ]
        call(unet)
        for handle in handles:
            handle.remove()
        result, begun = seen
        assert torch.equal(begun[:, : result.shape[1]], result)


def test_skip_connections_are_one_of_every_layer_and_downsampler(unet: Any) -> None:
    encoder = 1 + sum(len(b.resnets) + (b.downsamplers is not None) for b in unet.down_blocks)
    assert sum(len(block.resnets) for block in unet.up_blocks) == encoder
