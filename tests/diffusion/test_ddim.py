"""The DDIM step against its formula, the forward process, and an exact denoiser."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from stillmotion.diffusion.ddim import ddim_deviation, ddim_step
from stillmotion.diffusion.inversion import ddim_inversion_step
from stillmotion.diffusion.schedule import (
    alphas_cumprod,
    q_sample,
    q_sample_gaussian,
    scaled_linear_betas,
    zero_terminal_snr_betas,
)
from stillmotion.errors import InputError

BARS = ((0.5, 0.7), (0.01, 0.2), (0.998, 0.9995), (0.0, 0.1))
MEAN, DEVIATION = 0.8, 0.3


@pytest.fixture
def triple() -> tuple[Tensor, Tensor, Tensor]:
    """A clean latent, noise and fresh noise, float64."""
    generator = torch.Generator().manual_seed(0)
    z_0, noise, fresh = torch.randn((3, 2, 3, 2, 2), generator=generator, dtype=torch.float64)
    return z_0, noise, fresh


@pytest.mark.parametrize(("bar_t", "bar_prev"), BARS)
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_a_step_is_the_plain_formula(
    bar_t: float, bar_prev: float, eta: float, triple: tuple[Tensor, Tensor, Tensor]
) -> None:
    z_0, noise, fresh = triple
    sigma = eta * math.sqrt((1 - bar_prev) / (1 - bar_t)) * math.sqrt(1 - bar_t / bar_prev)
    assert ddim_deviation(bar_t, bar_prev, eta) == pytest.approx(sigma, abs=1e-12)
    expected = torch.empty_like(z_0)
    for place in range(z_0.numel()):
        z, e, n = (float(x.flatten()[place]) for x in triple)
        share = math.sqrt(max(1 - bar_prev - sigma**2, 0))
        expected.view(-1)[place] = math.sqrt(bar_prev) * z + share * e + sigma * n
    ours = ddim_step(z_0, noise, bar_prev, ddim_deviation(bar_t, bar_prev, eta), fresh)
    assert (ours - expected).abs().max() < (1e-7 if bar_t == 0 else 1e-12)


@pytest.mark.parametrize(("bar_t", "bar_prev"), BARS)
def test_without_fresh_noise_it_stays_on_the_path(
    bar_t: float, bar_prev: float, triple: tuple[Tensor, Tensor, Tensor]
) -> None:
    z_0, noise, _ = triple
    z_prev = ddim_step(z_0, noise, bar_prev)
    assert (z_prev - q_sample(z_0, noise, bar_prev)).abs().max() < 1e-12
    back = ddim_inversion_step(z_prev, noise, bar_t, bar_prev)
    assert (back - q_sample(z_0, noise, bar_t)).abs().max() < 1e-12


@pytest.mark.parametrize(("bar_t", "bar_prev"), BARS)
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_old_and_fresh_noise_share_the_variance(bar_t: float, bar_prev: float, eta: float) -> None:
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    sigma = ddim_deviation(bar_t, bar_prev, eta)
    old = float(ddim_step(zero, one, bar_prev, sigma, zero))
    fresh = float(ddim_step(zero, zero, bar_prev, sigma, one))
    assert old**2 + fresh**2 == pytest.approx(1 - bar_prev, abs=1e-12)


def test_no_count_of_steps_takes_the_root_of_a_negative_number() -> None:
    """Every pair of timesteps from pure noise, at the precision of the published tables."""
    bars = alphas_cumprod(zero_terminal_snr_betas(scaled_linear_betas())).float().tolist()
    one = torch.ones(1)
    for bar_prev in bars[:-1]:
        sigma = ddim_deviation(bars[-1], bar_prev, 1.0)
        assert ddim_step(one, one, bar_prev, sigma, one).isfinite().all()


def test_a_deviation_too_large_by_rounding_is_clamped() -> None:
    one = torch.ones(1)
    sigma = math.sqrt(0.9) * (1 + 1e-7)
    assert float(ddim_step(0 * one, one, 0.1, sigma, 0 * one)) == 0


def test_no_interval_is_no_step(triple: tuple[Tensor, Tensor, Tensor]) -> None:
    z_0, noise, fresh = triple
    assert ddim_deviation(0.4, 0.4, 1.0) == 0
    assert ddim_deviation(0.4, math.nextafter(0.4, 0), 1.0) == 0
    assert torch.equal(ddim_step(z_0, noise, 0.4, 0.0, fresh), ddim_step(z_0, noise, 0.4))


@pytest.mark.parametrize("eta", [-0.1, 1.5, float("nan")])
def test_an_impossible_eta_is_told(eta: float) -> None:
    with pytest.raises(InputError, match="eta is"):
        ddim_deviation(0.1, 0.2, eta)


def test_missing_noise_is_told() -> None:
    with pytest.raises(InputError, match="none is given"):
        ddim_step(torch.ones(1), torch.ones(1), 0.5, 0.1)


def gaussian_noise(z_t: Tensor, bar: float) -> Tensor:
    """E[ε | z_t] for data N(MEAN, DEVIATION²)."""
    residual = z_t - math.sqrt(bar) * MEAN
    return math.sqrt(1 - bar) * residual / (bar * DEVIATION**2 + 1 - bar)


def gaussian_step(z_t: Tensor, bar_t: float, bar_prev: float, eta: float, fresh: float) -> Tensor:
    noise = gaussian_noise(z_t, bar_t)
    clean = (z_t - math.sqrt(1 - bar_t) * noise) / math.sqrt(bar_t)
    deviation = ddim_deviation(bar_t, bar_prev, eta)
    return ddim_step(clean, noise, bar_prev, deviation, torch.full_like(z_t, fresh))


def gaussian_moments(num_steps: int, eta: float) -> tuple[float, float]:
    """Mean and variance at ᾱ = 0.9999, sampled from ᾱ = 0.001: exact, for a step is affine."""
    angles = torch.linspace(math.acos(0.001**0.5), math.acos(0.9999**0.5), num_steps + 1)
    bars = (angles.double().cos() ** 2).tolist()
    mean = math.sqrt(bars[0]) * MEAN
    variance = bars[0] * DEVIATION**2 + 1 - bars[0]
    for bar_t, bar_prev in pairwise(bars):
        points = torch.tensor([mean, mean + 1], dtype=torch.float64)
        still = gaussian_step(points, bar_t, bar_prev, eta, 0.0)
        moved = gaussian_step(points, bar_t, bar_prev, eta, 1.0)
        mean = float(still[0])
        variance = float((still[1] - still[0]) ** 2 * variance + (moved[0] - still[0]) ** 2)
    return mean, variance


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_sampling_a_gaussian_converges_to_it(eta: float) -> None:
    """The mean at once, the variance in the first order: a third of the step, a third of the error.

    Without that error, extrapolated from two step sizes, nothing is left of it.
    """
    mean, variance = math.sqrt(0.9999) * MEAN, 0.9999 * DEVIATION**2 + 0.0001
    errors = []
    for num_steps in (300, 900, 2700):
        found_mean, found_variance = gaussian_moments(num_steps, eta)
        assert found_mean == pytest.approx(mean, abs=1e-6)
        errors.append(found_variance / variance - 1)
    assert 2.5 < errors[0] / errors[1] < 3.5
    assert 2.8 < errors[1] / errors[2] < 3.2
    assert abs(3 * errors[2] - errors[1]) / 2 < 1e-3


def test_a_gaussian_s_marginal_is_that_of_its_samples() -> None:
    generator = torch.Generator().manual_seed(3)
    z_0, noise = torch.randn((2, 200_000), generator=generator, dtype=torch.float64)
    samples = q_sample(MEAN + DEVIATION * z_0, noise, 0.3)
    z = q_sample_gaussian(noise, torch.tensor(MEAN), DEVIATION**2, 0.3)
    assert abs(float(z.mean() - samples.mean())) < 0.01
    assert abs(float(z.std() - samples.std())) < 0.01


def test_a_gaussian_s_marginal_by_hand() -> None:
    noise = torch.tensor([[1.0], [-2.0]])
    mean, variance = torch.tensor([[10.0], [20.0]]), torch.tensor([[1.0], [9.0]])
    z = q_sample_gaussian(noise, mean, variance, 0.25)
    expected = torch.tensor([[5 + 1.0], [10 - 2 * math.sqrt(3.0)]])
    assert (z - expected).abs().max() < 1e-6
    assert torch.equal(q_sample_gaussian(noise, mean, 0.0, 0.0), noise)
