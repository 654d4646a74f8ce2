"""Windows that slide along a clip, against plain loops and their own mirror image."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from stillmotion.animatezero.attention import global_attention
from stillmotion.animatezero.temporal_control import (
    Pool,
    corrected_window_attention,
    src_index,
)
from stillmotion.animatezero.windows import (
    EndBlend,
    end_index,
    overlapping_attention,
    sliding_attention,
)
from stillmotion.diffusion.windows import window_starts

LENGTH, HEADS, D = 4, 2, 3
INDEX = {"start": src_index, "end": end_index}


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pool(num_frames: int, length: int = LENGTH, seed: int = 0) -> Pool:
    """Tokens (2 heads f d) and positions (heads l d)."""
    return Pool(random(2, HEADS, num_frames, D, seed=seed), random(HEADS, length, D, seed=seed + 1))


def flipped(part: Pool) -> Pool:
    return Pool(part.token.flip(-2), part.position.flip(-2))


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
@pytest.mark.parametrize("num_frames", [4, 5, 8, 11])
def test_sliding_attention_is_the_plain_loop(num_frames: int, side: str) -> None:
    q, keys, values = random(2, HEADS, num_frames, D, seed=9), pool(num_frames), pool(num_frames, 4)
    src = INDEX[side](num_frames, LENGTH)
    ours = sliding_attention(q, keys, values, src)
    assert (ours - plain_loop(q, keys, values, src)).abs().max() < 1e-13


@pytest.mark.parametrize("side", INDEX)
def test_a_window_as_long_as_the_clip_is_the_paper_s(side: str) -> None:
    q, keys, values = random(2, HEADS, LENGTH, D, seed=9), pool(LENGTH), pool(LENGTH, seed=4)
    src = INDEX[side](LENGTH, LENGTH)
    ours = sliding_attention(q, keys, values, src)
    assert torch.equal(ours, corrected_window_attention(q, keys, values, src))


@pytest.mark.parametrize("side", INDEX)
def test_a_frame_depends_on_what_its_window_reaches_alone(side: str) -> None:
    num_frames = 9
    q, keys, values = random(2, HEADS, num_frames, D, seed=9), pool(num_frames), pool(num_frames, 4)
    src = INDEX[side](num_frames, LENGTH)
    before = sliding_attention(q, keys, values, src)
    for changed in range(num_frames):
        tokens = [part.token.clone() for part in (keys, values)]
        for token in tokens:
            token[..., changed, :] += 1
        after = sliding_attention(
            q, Pool(tokens[0], keys.position), Pool(tokens[1], values.position), src
        )
        for row in range(num_frames):
            is_reached = changed in src[row].tolist()
            assert torch.equal(after[..., row, :], before[..., row, :]) != is_reached


def test_both_ends_are_each_other_backwards() -> None:
    num_frames = 9
    q, keys, values = random(2, HEADS, num_frames, D, seed=9), pool(num_frames), pool(num_frames, 4)
    from_end = sliding_attention(q, keys, values, end_index(num_frames, LENGTH))
    backwards = sliding_attention(
        q.flip(-2), flipped(keys), flipped(values), src_index(num_frames, LENGTH)
    )
    assert (from_end - backwards.flip(-2)).abs().max() < 1e-13


# Overlapping windows


@given(st.integers(1, 200), st.integers(1, 40))
def test_windows_cover_every_frame_and_end_the_clip(num_frames: int, length: int) -> None:
    length = min(length, num_frames)
    starts = list(window_starts(num_frames, length))
    assert starts == sorted(set(starts))
    assert (starts[0], starts[-1] + length) == (0, num_frames)
    covered = {frame for start in starts for frame in range(start, start + length)}
    assert covered == set(range(num_frames))


def test_one_window_is_global_attention() -> None:
    q, k, v = pool(LENGTH), pool(LENGTH, seed=4), pool(LENGTH, seed=6)
    expected = global_attention(*(part.token + part.position for part in (q, k, v)))
    assert (overlapping_attention(q, k, v) - expected).abs().max() < 1e-14


@pytest.mark.parametrize("num_frames", [5, 9, 16])
@pytest.mark.parametrize("length", [1, 2, 4])
def test_overlapping_attention_is_a_weighted_mean(num_frames: int, length: int) -> None:
    q, k, v = (pool(num_frames, length, seed=seed) for seed in (0, 4, 6))
    ours = overlapping_attention(q, k, v)
    for frame in range(num_frames):
        total, weights = torch.zeros(2, HEADS, D, dtype=torch.float64), 0
        for start in window_starts(num_frames, length):
            slot = frame - start
            if not 0 <= slot < length:
                continue
            seen = [
                part.token[..., start : start + length, :] + part.position for part in (q, k, v)
            ]
            weight = min(slot + 1, length - slot)
            total += weight * global_attention(*seen)[..., slot, :]
            weights += weight
        assert (ours[..., frame, :] - total / weights).abs().max() < 1e-13


def test_equal_values_stay_what_they_are() -> None:
    value = random(D, seed=3)
    num_frames = 11
    token = value.expand(2, HEADS, num_frames, D)
    values = Pool(token, torch.zeros(HEADS, LENGTH, D, dtype=torch.float64))
    q, k = pool(num_frames), pool(num_frames, seed=4)
    assert (overlapping_attention(q, k, values) - token).abs().max() < 1e-14
    slid = sliding_attention(q.token, k, values, src_index(num_frames, LENGTH))
    assert (slid - token).abs().max() < 1e-14


class NumbersWritten(TorchDispatchMode):
    """How many numbers all operations give, as a measure of the memory that they go through."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.count += result.numel() if isinstance(result, Tensor) else 0
        return result


@pytest.mark.parametrize("kind", ["sliding", "overlapping"])
def test_cost_grows_linearly_with_the_clip(kind: str) -> None:
    def cost(num_frames: int) -> tuple[int, int]:
        q, k, v = (pool(num_frames, 8, seed=seed) for seed in (0, 4, 6))
        with (
            sdpa_kernel(SDPBackend.MATH),
            FlopCounterMode(display=False) as flops,
            NumbersWritten() as written,
        ):
            if kind == "sliding":
                sliding_attention(q.token, k, v, src_index(num_frames, 8))
            else:
                overlapping_attention(q, k, v)
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
