"""Style-Dist: the published code's numbers, plain loops, known answers."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from stillmotion.errors import InputError
from stillmotion.evaluation.metrics.style import gram, style_distance, style_distance_raw


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("case", ["a", "b"])
def test_golden_numbers(case: str, golden: Path) -> None:
    stored = load_file(golden / "metrics" / "gram.safetensors")
    one, other = stored[f"{case}.features_1"], stored[f"{case}.features_2"]
    for features, name in ((one, "gram_1"), (other, "gram_2")):
        assert torch.allclose(gram(features).float(), stored[f"{case}.{name}"], rtol=1e-5)
    raw, divided = stored[f"{case}.distance"], stored[f"{case}.distance_over_n_times_d"]
    assert style_distance_raw(one[None], other) == pytest.approx(float(raw), rel=1e-6)
    assert style_distance(one[None], other) == pytest.approx(float(divided), rel=1e-6)


def test_it_is_the_plain_loop() -> None:
    frames, still = draw(0, 3, 5, 4), draw(1, 5, 4)

    def entry(tokens: Tensor, i: int, j: int) -> float:
        return sum(float(token[i]) * float(token[j]) for token in tokens)

    apart = [
        math.sqrt(
            sum((entry(frame, i, j) - entry(still, i, j)) ** 2 for i in range(4) for j in range(4))
        )
        for frame in frames
    ]
    assert style_distance_raw(frames, still) == pytest.approx(sum(apart) / 3, rel=1e-6)
    assert style_distance(frames, still) == pytest.approx(sum(apart) / 3 / 20, rel=1e-6)


def test_known_answers() -> None:
    still = torch.tensor([[1.0, 0.0], [0.0, 1.0]])  # its Gram matrix is the identity
    assert torch.equal(gram(still), torch.eye(2, dtype=torch.float64))
    assert style_distance_raw(torch.zeros(1, 2, 2), still) == pytest.approx(math.sqrt(2))
    assert style_distance_raw(2 * still[None], still) == pytest.approx(3 * math.sqrt(2))


def test_where_a_token_lies_does_not_matter() -> None:
    frames, still = draw(2, 2, 6, 4), draw(3, 6, 4)
    moved = frames[:, torch.tensor([3, 1, 5, 0, 4, 2])]
    assert style_distance(moved, still) == pytest.approx(style_distance(frames, still))
    assert style_distance(still[torch.tensor([3, 1, 5, 0, 4, 2])][None], still) < 1e-9


@pytest.mark.parametrize("shapes", [((2, 5, 4), (5, 3)), ((5, 4), (5, 4)), ((0, 5, 4), (5, 4))])
def test_what_cannot_be_compared(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    for distance in (style_distance, style_distance_raw):
        with pytest.raises(InputError, match="of one network"):
            distance(torch.ones(shapes[0]), torch.ones(shapes[1]))
