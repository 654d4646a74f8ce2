"""The query transformer P against the published one, and its tokens at other clip lengths."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.dynamicrafter import golden
from torch import Tensor

from stillmotion.dynamicrafter.image_context import ImageContext, resampled
from stillmotion.errors import InputError


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def tiny() -> ImageContext:
    torch.manual_seed(0)
    return ImageContext(
        embed_dims=12,
        output_dims=6,
        hidden_dims=8,
        depth=1,
        dim_head=4,
        heads=2,
        num_queries=3,
        num_frames=5,
    )


@golden.needs_golden
@pytest.mark.parametrize("what", ["", "zero_"])
def test_equals_the_published_resampler(what: str) -> None:
    io = golden.read("resampler.io")
    context = golden.image_context()
    with torch.no_grad():
        result = context(io[f"{what}input"])
    assert result.shape[1:] == (16, 16, 16)
    assert (result.flatten(1, 2) - io[f"{what}output"]).abs().max() < 1e-4


def test_size_of_the_released_network() -> None:
    with torch.device("meta"):
        context = ImageContext()
    assert sum(p.numel() for p in context.parameters()) == 48_787_456
    assert context(torch.empty((2, 257, 1280), device="meta")).shape == (2, 16, 16, 1024)


def test_any_number_of_tokens_will_do(tiny: ImageContext) -> None:
    """The class token alone is the paper's "single global token" (Table 4)."""
    tokens = noise(2, 9, 12)
    assert tiny(tokens).shape == tiny(tokens[:, :1]).shape == (2, 5, 3, 6)
    assert not torch.allclose(tiny(tokens), tiny(tokens[:, :1]), atol=1e-3)


def test_saves_and_loads_to_the_bit(tiny: ImageContext, tmp_path: Path) -> None:
    tiny.save_pretrained(tmp_path)
    again = ImageContext.from_pretrained(tmp_path)
    assert dict(again.config).items() >= {"num_queries": 3, "num_frames": 5, "heads": 2}.items()
    assert torch.equal(again(noise(1, 9, 12)), tiny(noise(1, 9, 12)))


def test_gradients_reach_every_weight(tiny: ImageContext) -> None:
    (tiny(noise(2, 9, 12)) * noise(2, 5, 3, 6, seed=1)).sum().backward()
    assert [n for n, p in tiny.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("shape", [(2, 9, 16), (9, 12), (2, 1, 9, 12)])
def test_other_tokens_are_refused(tiny: ImageContext, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"\(batch, tokens, 12\)"):
        tiny(noise(*shape))


# Other clip lengths.


def test_the_trained_length_is_left_alone() -> None:
    tokens = noise(2, 16, 3, 6)
    assert resampled(tokens, 16) is tokens


@pytest.mark.parametrize("num_frames", [2, 3, 8, 15, 17, 24, 31, 32, 64])
def test_resampling_is_linear_in_time_and_keeps_the_ends(num_frames: int) -> None:
    tokens = noise(2, 16, 3, 6)
    result = resampled(tokens, num_frames)
    assert result.shape == (2, num_frames, 3, 6)
    assert torch.equal(result[:, 0], tokens[:, 0])
    assert torch.equal(result[:, -1], tokens[:, -1])
    for i in range(num_frames):
        at = i * 15 / (num_frames - 1)
        low = min(int(at), 14)
        expected = (1 - (at - low)) * tokens[:, low] + (at - low) * tokens[:, low + 1]
        assert (result[:, i] - expected).abs().max() < 1e-5


@pytest.mark.parametrize("num_frames", [8, 24])
def test_each_frame_has_tokens_of_its_own(num_frames: int) -> None:
    result = resampled(noise(1, 16, 3, 6), num_frames)[0].flatten(1)
    apart = torch.cdist(result, result) + 9 * torch.eye(num_frames)
    assert apart.min() > 0.1


def test_trained_frames_among_the_new_ones_are_exact() -> None:
    tokens = noise(1, 16, 3, 6)
    assert torch.equal(resampled(tokens, 31)[:, ::2], tokens)
    assert torch.equal(resampled(tokens, 1), tokens[:, :1])
    assert torch.equal(resampled(tokens, 6), tokens[:, ::3])


def test_resampling_keeps_dtype_and_gradients() -> None:
    tokens = noise(1, 16, 3, 6).bfloat16().requires_grad_()
    result = resampled(tokens, 9)
    assert result.dtype == torch.bfloat16
    result.sum().backward()
    assert tokens.grad is not None
    assert tokens.grad.any()


@pytest.mark.parametrize(("shape", "num_frames"), [((2, 48, 6), 8), ((2, 16, 3, 6), 0)])
def test_what_cannot_be_resampled_is_refused(shape: tuple[int, ...], num_frames: int) -> None:
    with pytest.raises(InputError, match="at least 1 frame"):
        resampled(noise(*shape), num_frames)
