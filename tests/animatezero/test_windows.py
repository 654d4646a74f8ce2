"""Windows that slide along a clip, against plain loops and their own mirror image."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.tiny_models import tiny_unet
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from stillmotion.adapters.adapter import adapted
from stillmotion.adapters.diffusers_sites import TemporalSite, temporal_attentions
from stillmotion.animatezero.settings import AnimateZeroSettings
from stillmotion.animatezero.temporal_adapter import WindowAttention
from stillmotion.animatezero.temporal_control import Pool, src_index
from stillmotion.animatezero.windows import EndBlend, end_index
from stillmotion.diffusion.windows import window_starts
from stillmotion.kernels.temporal import temporal_attention

LENGTH, HEADS, D = 4, 2, 3
INDEX = {"start": src_index, "end": end_index}


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pool(num_frames: int, length: int = LENGTH, seed: int = 0) -> Pool:
    """Tokens (2 heads f d) and positions (heads l d)."""
    return Pool(random(2, HEADS, num_frames, D, seed=seed), random(HEADS, length, D, seed=seed + 1))


def flipped(part: Pool) -> Pool:
    return Pool(part.token.flip(-2), part.position.flip(-2))


def attend(q: Tensor, keys: Pool, values: Pool, src: Tensor) -> Tensor:
    """Through windows of one view, as the adapters call it."""
    return temporal_attention(
        q, keys.token, values.token, src,
        key_positions=keys.position, value_positions=values.position,
    )  # fmt: skip


def plain_loop(q: Tensor, keys: Pool, values: Pool, src: Tensor) -> Tensor:
    """Equation 8 slot by slot."""
    out = torch.zeros_like(q)
    for i in range(q.shape[-2]):
        pairs = [(int(token), slot) for slot, token in enumerate(src[i])]
        k = [keys.token[..., m, :] + keys.position[..., s, :] for m, s in pairs]
        v = [values.token[..., m, :] + values.position[..., s, :] for m, s in pairs]
        scores = [(q[..., i, :] * k_s).sum(-1, keepdim=True) / math.sqrt(q.shape[-1]) for k_s in k]
        total = sum(score.exp() for score in scores)
        out[..., i, :] = sum(
            score.exp() / total * v_s for score, v_s in zip(scores, v, strict=True)
        )
    return out


# Sliding windows


def test_a_window_of_three_slides_over_six_frames() -> None:
    assert (src_index(6, 3) + 1).tolist() == [
        [1, 1, 1],
        [1, 1, 2],
        [1, 2, 3],
        [2, 3, 4],
        [3, 4, 5],
        [4, 5, 6],
    ]
    assert (end_index(6, 3) + 1).tolist() == [
        [1, 2, 3],
        [2, 3, 4],
        [3, 4, 5],
        [4, 5, 6],
        [5, 6, 6],
        [6, 6, 6],
    ]


@given(st.integers(1, 40), st.integers(1, 20))
def test_the_window_of_the_last_frame_is_the_mirror_image(num_frames: int, length: int) -> None:
    mirrored = num_frames - 1 - src_index(num_frames, length).flip(0, 1)
    assert torch.equal(end_index(num_frames, length), mirrored)


@pytest.mark.parametrize("side", INDEX)
@pytest.mark.parametrize("num_frames", [1, 3, 4, 5, 8, 11])
def test_a_window_that_slides_is_the_plain_loop(num_frames: int, side: str) -> None:
    q, keys, values = random(2, HEADS, num_frames, D, seed=9), pool(num_frames), pool(num_frames, 4)
    src = INDEX[side](num_frames, LENGTH)
    assert (attend(q, keys, values, src) - plain_loop(q, keys, values, src)).abs().max() < 1e-13


@pytest.mark.parametrize("side", INDEX)
def test_a_frame_depends_on_what_its_window_reaches_alone(side: str) -> None:
    num_frames = 9
    q, keys, values = random(2, HEADS, num_frames, D, seed=9), pool(num_frames), pool(num_frames, 4)
    src = INDEX[side](num_frames, LENGTH)
    before = attend(q, keys, values, src)
    for changed in range(num_frames):
        tokens = [part.token.clone() for part in (keys, values)]
        for token in tokens:
            token[..., changed, :] += 1
        after = attend(q, Pool(tokens[0], keys.position), Pool(tokens[1], values.position), src)
        for row in range(num_frames):
            is_reached = changed in src[row].tolist()
            assert torch.equal(after[..., row, :], before[..., row, :]) != is_reached


def test_both_ends_are_each_other_backwards() -> None:
    num_frames = 9
    q, keys, values = random(2, HEADS, num_frames, D, seed=9), pool(num_frames), pool(num_frames, 4)
    from_end = attend(q, keys, values, end_index(num_frames, LENGTH))
    backwards = attend(q.flip(-2), flipped(keys), flipped(values), src_index(num_frames, LENGTH))
    assert (from_end - backwards.flip(-2)).abs().max() < 1e-13


def test_equal_values_stay_what_they_are() -> None:
    num_frames = 11
    token = random(D, seed=3).expand(2, HEADS, num_frames, D)
    values = Pool(token, torch.zeros(HEADS, LENGTH, D, dtype=torch.float64))
    q, k = pool(num_frames), pool(num_frames, seed=4)
    for index in INDEX.values():
        seen = attend(q.token, k, values, index(num_frames, LENGTH))
        assert (seen - token).abs().max() < 1e-14


# Overlapping windows


@given(st.integers(1, 200), st.integers(1, 40))
def test_windows_cover_every_frame_and_end_the_clip(num_frames: int, length: int) -> None:
    length = min(length, num_frames)
    starts = list(window_starts(num_frames, length))
    assert starts == sorted(set(starts))
    assert (starts[0], starts[-1] + length) == (0, num_frames)
    covered = {frame for start in starts for frame in range(start, start + length)}
    assert covered == set(range(num_frames))


class Module:
    """The first attention over frames of a small network, on tokens (n f c)."""

    def __init__(self, window: str) -> None:
        self.unet, self.window = tiny_unet().double().requires_grad_(False), window
        sites = temporal_attentions(self.unet, ("down",))
        self.site: TemporalSite = next(iter(sites.values()))
        self.attention: Any = self.site.attention

    def tokens(self, num_frames: int, seed: int = 0) -> Tensor:
        return random(2, num_frames, self.attention.to_q.in_features, seed=seed)

    def __call__(self, z: Tensor, length: int) -> Tensor:
        settings = AnimateZeroSettings(window=self.window, window_length=length)
        adapter = WindowAttention(settings, z.shape[1], everywhere=True)
        with adapted(self.unet, [adapter]):
            return self.attention(z)

    def one_window(self, z: Tensor) -> Tensor:
        """Every query against every key, query by query: frames with positions p_1..p_l."""
        seen = z + self.site.pos_embed.pe[0, : z.shape[1]]
        q, k, v = (
            project(seen).unflatten(-1, (self.attention.heads, -1))
            for project in (self.attention.to_q, self.attention.to_k, self.attention.to_v)
        )
        out = torch.zeros_like(q)
        for i in range(z.shape[1]):
            scores = (q[:, [i]] * k).sum(-1, keepdim=True) / math.sqrt(q.shape[-1])
            shares = scores.exp() / scores.exp().sum(1, keepdim=True)
            out[:, i] = (shares * v).sum(1)
        return self.attention.to_out[0](out.flatten(-2))

    def windows(self, z: Tensor, length: int) -> Iterator[tuple[int, Tensor]]:
        """The first frame of each window and what it has to say of its frames."""
        for start in window_starts(z.shape[1], length):
            yield start, self.one_window(z[:, start : start + length])


def test_one_window_is_global_attention() -> None:
    module = Module("off")
    for num_frames, length in ((LENGTH, LENGTH), (3, LENGTH), (1, LENGTH)):
        z = module.tokens(num_frames)
        assert (module(z, length) - module.one_window(z)).abs().max() < 1e-13


@pytest.mark.parametrize("num_frames", [5, 9, 16])
@pytest.mark.parametrize("length", [1, 2, 4, 5])
def test_overlapping_windows_are_a_weighted_mean(num_frames: int, length: int) -> None:
    module = Module("off")
    z = module.tokens(num_frames)
    ours, windows = module(z, length), list(module.windows(z, length))
    for frame in range(num_frames):
        total, weights = torch.zeros_like(ours[:, 0]), 0
        for start, said in windows:
            slot = frame - start
            if not 0 <= slot < length:
                continue
            weight = min(slot + 1, length - slot)
            total += weight * said[:, slot]
            weights += weight
        assert (ours[:, frame] - total / weights).abs().max() < 1e-13


def test_a_frame_depends_on_the_windows_that_it_is_in_alone() -> None:
    num_frames, length, module = 11, 4, Module("off")
    z = module.tokens(num_frames)
    starts, before = list(window_starts(num_frames, length)), module(z, length)
    for changed in range(num_frames):
        after = z.clone()
        after[:, changed] += 1
        differs = (module(after, length) != before).any(-1).any(0).tolist()
        together = [
            any(s <= i < s + length and s <= changed < s + length for s in starts)
            for i in range(num_frames)
        ]
        assert differs == together


class NumbersWritten(TorchDispatchMode):
    """How many numbers all operations give, as a measure of the memory that they go through."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.count += result.numel() if isinstance(result, Tensor) else 0
        return result


@pytest.mark.parametrize("window", ["corrected", "off"], ids=["sliding", "overlapping"])
def test_cost_grows_linearly_with_the_clip(window: str) -> None:
    module = Module(window)

    def cost(num_frames: int) -> tuple[int, int]:
        z = module.tokens(num_frames)
        with (
            sdpa_kernel(SDPBackend.MATH),
            FlopCounterMode(display=False) as flops,
            NumbersWritten() as written,
        ):
            module(z, 8)
        return flops.get_total_flops(), written.count

    costs = [cost(num_frames) for num_frames in (32, 64, 128)]
    for short, middle, long in zip(*costs, strict=True):
        assert middle > short > 0
        assert long - middle == 2 * (middle - short)


# Both ends


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("num_frames", [2, 3, 16, 37])
def test_each_end_is_itself_exactly(num_frames: int, dtype: torch.dtype) -> None:
    start, end = random(num_frames, 5).to(dtype), random(num_frames, 5, seed=1).to(dtype)
    mixed = EndBlend(num_frames).mix(start, end, (-1, 1))
    assert mixed.dtype == dtype
    assert torch.equal(mixed[0], start[0])
    assert torch.equal(mixed[-1], end[-1])


def test_weights_rise_evenly() -> None:
    weights = EndBlend(5).weights
    assert torch.allclose(weights, torch.tensor([0, 0.25, 0.5, 0.75, 1], dtype=torch.float64))
    start, end = random(5, 2), random(5, 2, seed=1)
    mixed = EndBlend(5).mix(start, end, (-1, 1))
    for frame, share in enumerate(weights):
        expected = (1 - share) * start[frame] + share * end[frame]
        assert torch.allclose(mixed[frame], expected, atol=1e-15)
