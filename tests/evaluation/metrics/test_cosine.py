"""Metrics of features: Text-Sim, Domain-Sim, PIC, CLIP's similarity to the picture."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stillmotion.errors import InputError
from stillmotion.evaluation.metrics.cosine import cosines
from stillmotion.evaluation.metrics.domain_similarity import domain_similarity
from stillmotion.evaluation.metrics.input_conformity import clip_conformity, input_conformity
from stillmotion.evaluation.metrics.text_similarity import text_similarity

TO_ONE = (text_similarity, input_conformity, clip_conformity)
"""All means of cosines with one vector, of different networks."""


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def cosine(one: Tensor, other: Tensor) -> float:
    dot = sum(float(a) * float(b) for a, b in zip(one, other, strict=True))
    return dot / math.sqrt(sum(float(a) ** 2 for a in one) * sum(float(b) ** 2 for b in other))


def test_the_means_are_the_plain_loops() -> None:
    frames, others = draw(0, 5, 7), draw(1, 3, 7)
    table = [[cosine(frame, other) for other in others] for frame in frames]
    assert cosines(frames, others).tolist() == [pytest.approx(row, rel=1e-6) for row in table]
    assert domain_similarity(frames, others) == pytest.approx(sum(map(sum, table)) / 15)
    for metric in TO_ONE:
        assert metric(frames, others[1]) == pytest.approx(sum(row[1] for row in table) / 5)


def test_known_answers() -> None:
    frames = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    for metric in TO_ONE:
        assert metric(frames, torch.tensor([3.0, 0.0])) == pytest.approx(0.5)
        assert metric(frames, torch.tensor([[-1.0, -1.0]])) == pytest.approx(-math.sqrt(0.5))
        assert metric(frames[:1].expand(4, 2), frames[0]) == pytest.approx(1)
    assert domain_similarity(frames, frames) == pytest.approx(0.5)


@settings(max_examples=30)
@given(st.integers(0, 2**31 - 1), st.floats(0.01, 100))
def test_length_and_order_do_not_matter(seed: int, factor: float) -> None:
    frames, others = draw(seed, 4, 6), draw(seed + 1, 3, 6)
    value = domain_similarity(frames, others)
    assert -1 <= value <= 1
    assert domain_similarity(factor * frames, others.flip(0)) == pytest.approx(value, abs=1e-6)
    assert text_similarity(frames.flip(0), factor * others[0]) == pytest.approx(
        text_similarity(frames, others[0]), abs=1e-6
    )


@pytest.mark.parametrize("shapes", [((0, 3), (1, 3)), ((2, 3), (1, 4)), ((3,), (1, 3))])
def test_what_does_not_fit(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(InputError, match="have no cosines"):
        cosines(torch.ones(shapes[0]), torch.ones(shapes[1]))


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_features_without_a_direction(value: float) -> None:
    frames = torch.ones(2, 3)
    frames[1] = value
    for metric in (domain_similarity, *TO_ONE):
        with pytest.raises(InputError, match="check the extractor"):
            metric(frames, torch.ones(1, 3))
