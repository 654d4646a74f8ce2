"""Distances between sets of features, against the published code's numbers and plain loops."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from stillmotion.errors import InputError
from stillmotion.evaluation.metrics.distances import frechet_distance, kernel_distance

CASES = ("d16", "d16_same_n", "d48_rank_deficient", "d120")


@pytest.mark.parametrize("case", CASES)
def test_golden_numbers(case: str, golden: Path) -> None:
    stored = load_file(golden / "metrics" / "frechet_kvd.safetensors")
    made, real = stored[f"{case}.fake"], stored[f"{case}.real"]
    assert frechet_distance(made, real) == pytest.approx(float(stored[f"{case}.frechet"]), rel=1e-6)
    assert kernel_distance(made, real) == pytest.approx(float(stored[f"{case}.kvd"]), rel=1e-6)


def test_the_kernel_distance_is_the_plain_loop() -> None:
    rng = torch.Generator().manual_seed(0)
    made, real = torch.randn(5, 3, generator=rng), torch.randn(4, 3, generator=rng) + 1

    def kernel(x: torch.Tensor, y: torch.Tensor) -> float:
        return float((x.double() @ y.double() / 3 + 1) ** 3)

    def within(some: torch.Tensor) -> float:
        pairs = [kernel(a, b) for i, a in enumerate(some) for j, b in enumerate(some) if i != j]
        return sum(pairs) / len(pairs)

    across = [kernel(a, b) for a in made for b in real]
    expected = within(made) + within(real) - 2 * sum(across) / len(across)
    assert kernel_distance(made, real) == pytest.approx(expected, rel=1e-9)


def test_known_answers() -> None:
    rng = torch.Generator().manual_seed(1)
    real = torch.randn(500, 4, generator=rng)
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-9)
    # The means differ by 3 in each of 4 features, the covariances not at all.
    assert frechet_distance(real + 3, real) == pytest.approx(36, rel=1e-5)
    assert kernel_distance(real + 3, real) > 10 * abs(kernel_distance(real[:250], real[250:]))


@pytest.mark.parametrize("shapes", [((1, 3), (5, 3)), ((5, 3), (5, 4)), ((5,), (5,))])
def test_what_cannot_be_compared(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    for distance in (frechet_distance, kernel_distance):
        with pytest.raises(InputError, match="cannot be compared"):
            distance(torch.zeros(shapes[0]), torch.zeros(shapes[1]))
