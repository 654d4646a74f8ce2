"""Whitened text: another form of the same conditioning, in which rare directions are learned."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.miniature.test_video import shop
from torch import Tensor

from stillmotion.adapters.diffusers_unet3d import spatial_cross_attentions
from stillmotion.dynamicrafter.unet import DynamiCrafterUNet
from stillmotion.miniature.video_stages import VideoWorkshop
from stillmotion.miniature.whitening import WhitenedText


def embeddings(count: int = 400) -> Tensor:
    """One direction a hundred times smaller than the others, as motion's are."""
    generator = torch.Generator().manual_seed(0)
    embeds = torch.randn(count, 3, 8, generator=generator)
    turn = torch.linalg.qr(torch.randn(8, 8, generator=generator)).Q
    return embeds @ torch.diag(torch.tensor([1.0, 3, 5, 1, 1, 1, 1, 0.05])) @ turn


def test_all_directions_have_the_same_size() -> None:
    embeds = embeddings()
    whitened = WhitenedText(embeds)(embeds).flatten(0, 1)
    moments = whitened.T @ whitened / len(whitened)
    assert torch.linalg.eigvalsh(moments).min() > 0.3
    mean = embeds.square().mean()
    assert (moments / mean).diagonal().max() < 1.01
    assert whitened.square().mean() / mean == pytest.approx(1, abs=0.1)


def test_a_direction_without_content_is_not_blown_up() -> None:
    embeds = embeddings()
    embeds[..., 0] = 0
    whitened = WhitenedText(embeds)(embeds)
    assert whitened.isfinite().all()
    assert whitened[..., 0].abs().max() < 1e-2


def learned(unet: DynamiCrafterUNet) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in unet.state_dict().items()}


def test_a_network_says_the_same_and_keeps_what_it_learns(trained: Path) -> None:
    video = VideoWorkshop(shop(trained))
    unet = DynamiCrafterUNet.from_pretrained(trained / "dynamicrafter" / "video" / "unet").eval()
    conditioner, whitened = shop(trained).conditioner(), video._whitened()
    text = conditioner.embed(["a red ball rolling to the left"])
    z = torch.randn(1, 8, 4, 8, 8, generator=torch.Generator().manual_seed(1))

    @torch.no_grad()
    def said(context: Tensor) -> Tensor:
        answer: Tensor = unet(
            z, torch.tensor(500), encoder_hidden_states=context, motion=torch.tensor([3])
        ).sample
        return answer

    plain, before = said(text), learned(unet)
    sites = [
        f"{name}.to_{which}.weight" for name in spatial_cross_attentions(unet) for which in "kv"
    ]
    assert sites
    with whitened.learned_by(unet):
        assert (said(whitened(text)) - plain).abs().max() < 1e-4
        assert (said(text) - plain).abs().max() > 1e-3
        changed = [
            name for name, value in unet.state_dict().items() if value.ne(before[name]).any()
        ]
        assert sorted(changed) == sorted(sites)
        with torch.no_grad():
            unet.get_parameter(sites[0]).add_(0.01)
        taught = said(whitened(text))
    assert (said(text) - taught).abs().max() < 1e-4
    after = unet.state_dict()
    assert (after[sites[0]] - before[sites[0]]).abs().max() > 1e-3
    assert all(
        (after[name] - before[name]).abs().max() < 1e-5 for name in before if name != sites[0]
    )


def test_words_for_motion_count_more(trained: Path) -> None:
    """Of the embeddings' size, in the coordinates that the video stages learn in."""
    conditioner, whitened = shop(trained).conditioner(), VideoWorkshop(shop(trained))._whitened()
    left, right = conditioner.embed(
        [f"a red ball rolling to the {side}" for side in ("left", "right")]
    )
    share = (left - right).norm() / left.norm()
    share_whitened = whitened(left - right).norm() / whitened(left).norm()
    assert share_whitened > 2 * share


def test_an_interruption_leaves_the_network_as_it_was(trained: Path) -> None:
    unet = DynamiCrafterUNet.from_pretrained(trained / "dynamicrafter" / "video" / "unet")
    whitened, before = VideoWorkshop(shop(trained))._whitened(), learned(unet)
    with pytest.raises(KeyboardInterrupt), whitened.learned_by(unet):
        raise KeyboardInterrupt
    assert all((v - before[n]).abs().max() < 1e-5 for n, v in unet.state_dict().items())
