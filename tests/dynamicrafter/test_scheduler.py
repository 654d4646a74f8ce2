"""DynamiCrafter's scheduler: golden runs, every step count, and what must hold of any step."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler
from safetensors.torch import load_file
from torch import Tensor

from stillmotion.adapters.diffusers_schedulers import check_repeatable, sampled_alpha_bars
from stillmotion.diffusion.ddim import ddim_deviation
from stillmotion.diffusion.guidance import (
    classifier_free_guidance,
    multi_condition_guidance,
    rescale_guidance,
)
from stillmotion.diffusion.parameterization import velocity
from stillmotion.diffusion.schedule import q_sample
from stillmotion.dynamicrafter.scheduler import DynamiCrafterScheduler
from stillmotion.errors import InputError, ModelError

V_512 = {"prediction_type": "v_prediction", "zero_terminal_snr": True, "rescale_base": 0.7,
         "timestep_spacing": "trailing"}  # fmt: skip
VARIANTS = {
    "256": {},
    "512": V_512,
    "1024": {**V_512, "rescale_base": 0.3},
}
SHAPE = (2, 4, 3, 2, 2)


def scheduler_of(variant: str, **changes) -> DynamiCrafterScheduler:
    return DynamiCrafterScheduler(**{**VARIANTS[variant], **changes})


def draw(count: int, seed: int = 0) -> Tensor:
    """(count b c f h w), float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((count, *SHAPE), generator=generator, dtype=torch.float64)


# The official code's numbers.


@dataclass(frozen=True)
class Run:
    """A golden run's settings; the defaults are those of most."""

    prediction: str = "v"
    base: float | None = 0.7
    table: int | range = 10
    scale: float = 7.5
    phi: float = 0.7
    eta: float = 0.0
    multi: bool = False
    image_scale: float | None = None


EPS = {"prediction": "eps", "base": None, "phi": 0.0}
RUNS = {
    "eps_S10": Run(**EPS, scale=1.0),
    "eps_S16_cfg": Run(**EPS, table=range(993, 0, -62)),
    "eps_S30_cfg": Run(**EPS, table=range(991, 0, -33)),
    "eps_S50_cfg": Run(**EPS, table=50),
    "v_S10_norescale": Run(base=None),
    "v_S10": Run(),
    "v_S16_b03": Run(base=0.3, table=16),
    "v_S30": Run(table=30),
    "v_S50": Run(table=50),
    "v_S10_nocfg": Run(scale=1.0, phi=0.0),
    "v_S10_eta1": Run(eta=1.0),
    "eps_S10_eta1": Run(**EPS, eta=1.0),
    "v_S10_multi": Run(multi=True, image_scale=3.0),
    "v_S10_multi_imgnone": Run(multi=True),
    "eps_S10_multi": Run(**EPS, multi=True, image_scale=3.0),
}
TOYS = {"eps": (0.8, 0.35, 0.06, 130.0), "v": (-0.45, 0.5, 0.08, 170.0)}
STRENGTHS = {"full": 1.0, "image": 0.4, "none": -0.25}


@pytest.fixture(scope="module")
def trajectories(golden: Path) -> dict[str, Tensor]:
    return load_file(golden / "dynamicrafter" / "ddim_trajectories.safetensors")


@pytest.fixture(scope="module")
def tables(golden: Path) -> dict[str, Tensor]:
    return load_file(golden / "dynamicrafter" / "schedules.safetensors")


def scheduler_for(run: Run) -> DynamiCrafterScheduler:
    base = {"rescale_base": run.base, "undo_final_rescale": False}
    scheduler = scheduler_of("512" if run.prediction == "v" else "256", **base)
    if isinstance(run.table, range):
        scheduler.set_timesteps(timesteps=run.table)
    else:
        scheduler.set_timesteps(run.table)
    return scheduler


def guided(run: Run, denoiser: Callable[[str], Tensor]) -> Tensor:
    full = denoiser("full")
    if run.scale == 1.0:
        return full
    if run.multi:
        image = denoiser("image")
        m = multi_condition_guidance(denoiser("none"), image, full, run.image_scale, run.scale)
    else:
        m = classifier_free_guidance(denoiser("none"), full, run.scale)
    return rescale_guidance(m, full, run.phi)


def test_all_golden_runs_are_here(trajectories: dict[str, Tensor]) -> None:
    assert {key.partition(".")[0] for key in trajectories} - {"toy"} == set(RUNS)


@pytest.mark.parametrize("name", RUNS)
def test_golden_runs(name: str, trajectories: dict[str, Tensor]) -> None:
    run = RUNS[name]
    scheduler = scheduler_for(run)
    assert torch.equal(scheduler.timesteps, trajectories[f"{name}.timesteps"])
    alpha, beta, gamma, tau = TOYS[run.prediction]
    u, w, z = (trajectories[key] for key in ("toy.u", "toy.w", f"{name}.x_T"))
    for index, t in enumerate(scheduler.timesteps):

        def toy(condition: str, z: Tensor = z, t: Tensor = t) -> Tensor:
            wave = beta * torch.sin(t / tau) * u
            return alpha * z + wave + gamma * STRENGTHS[condition] * torch.tanh(z + w)

        noise = trajectories[f"{name}.noise"][index] if run.eta else None
        z, clean = scheduler.step(guided(run, toy), index, z, eta=run.eta, noise=noise)
        assert (z - trajectories[f"{name}.x"][index]).abs().max() < 1e-4, index
        assert (clean - trajectories[f"{name}.pred_x0"][index]).abs().max() < 1e-4, index


@pytest.mark.parametrize(("prefix", "variant"), [("plain", "256"), ("zsnr", "512")])
def test_golden_schedules(prefix: str, variant: str, tables: dict[str, Tensor]) -> None:
    scheduler = scheduler_of(variant)
    assert (scheduler.betas - tables[f"{prefix}.betas"]).abs().max() < 1e-6
    assert (scheduler.alphas_cumprod - tables[f"{prefix}.alphas_cumprod"]).abs().max() < 1e-6
    roots = scheduler.alphas_cumprod.sqrt(), (1 - scheduler.alphas_cumprod).sqrt()
    assert (roots[0] - tables[f"{prefix}.sqrt_alphas_cumprod"]).abs().max() < 1e-6
    assert (roots[1] - tables[f"{prefix}.sqrt_one_minus_alphas_cumprod"]).abs().max() < 1e-6
    assert scheduler.alphas_cumprod.dtype == torch.float32
    assert (float(scheduler.alphas_cumprod[-1]) == 0) == (variant == "512")


@pytest.mark.parametrize("spacing", ["uniform", "uniform_trailing"])
@pytest.mark.parametrize("num_steps", [10, 16, 30, 50])
def test_golden_sampling_tables(spacing: str, num_steps: int, tables: dict[str, Tensor]) -> None:
    def theirs(name: str) -> Tensor:
        return tables[f"{spacing}.S{num_steps}.{name}"].flip(0).double()

    scheduler = scheduler_of("256" if spacing == "uniform" else "512")
    scheduler.set_timesteps(timesteps=theirs("timesteps").long())
    bars = sampled_alpha_bars(scheduler)
    assert (bars[:-1] - theirs("alphas")).abs().max() < 1e-6
    assert (bars[1:] - theirs("alphas_prev")).abs().max() < 1e-6
    for eta in (0, 1):
        pairs = zip(bars.tolist(), bars[1:].tolist(), strict=False)
        ours = torch.tensor([ddim_deviation(*pair, eta) for pair in pairs], dtype=torch.float64)
        assert (ours - theirs(f"sigmas_eta{eta}")).abs().max() < 1e-5


@pytest.mark.parametrize("base", [0.7, 0.3])
@pytest.mark.parametrize("num_steps", [10, 16, 30, 50])
def test_golden_scales(base: float, num_steps: int, tables: dict[str, Tensor]) -> None:
    """By steps in which the network predicts a clean latent of ones, scaled."""
    scheduler = scheduler_of("512", rescale_base=base, prediction_type="sample",
                             undo_final_rescale=False)  # fmt: skip
    scheduler.set_timesteps(num_steps)
    at, prev = (
        tables[f"uniform_trailing.S{num_steps}.{name}.base{base}"].flip(0)
        for name in ("scale", "scale_prev")
    )
    z = torch.zeros(1)
    for index in range(num_steps):
        step = scheduler.step(at[index] * torch.ones(1), index, z)
        assert (step.pred_original_sample - prev[index]).abs() < 1e-6


@pytest.mark.parametrize(("prefix", "variant"), [("plain", "256"), ("zsnr", "512")])
def test_golden_forward_process(prefix: str, variant: str, golden: Path) -> None:
    numbers = load_file(golden / "dynamicrafter" / "forward_process.safetensors")
    given = numbers["x0"], numbers["noise"], numbers["t"]
    plain = scheduler_of(variant, prediction_type="v_prediction", rescale_base=None)
    assert (plain.noised(*given) - numbers[f"{prefix}.q_sample"]).abs().max() < 2e-6
    assert (plain.target(*given) - numbers[f"{prefix}.v_target"]).abs().max() < 2e-6
    if prefix == "zsnr":
        z = scheduler_of(variant).noised(*given)
        assert (z - numbers["zsnr.q_sample_dynamic_rescale_base0.7"]).abs().max() < 2e-6


# Every count of steps.


@pytest.mark.parametrize("variant", VARIANTS)
def test_any_count_of_steps_is_met_exactly(variant: str) -> None:
    scheduler = scheduler_of(variant)
    for num_steps in range(1, 1001):
        scheduler.set_timesteps(num_steps)
        assert len(scheduler.timesteps) == num_steps
        assert scheduler.timesteps.dtype == torch.int64
        assert (scheduler.timesteps.diff() < 0).all()
        assert variant == "256" or int(scheduler.timesteps[0]) == 999
        bars = sampled_alpha_bars(scheduler)
        assert bars.isfinite().all()
        assert (bars.diff() >= 0).all()


# Counts at which the official sampler gives NaN or an error, or one more step, and others.
SPREAD = (1, 2, 3, 7, 11, 14, 15, 16, 20, 25, 27, 30, 33, 35, 38, 39, 50, 61, 62, 63, 64, 103, 121,
          333, 667, 1000)  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("num_steps", SPREAD)
def test_no_count_of_steps_gives_nan(variant: str, num_steps: int) -> None:
    scheduler = scheduler_of(variant)
    scheduler.set_timesteps(num_steps)
    z, prediction, noise = draw(3).float()
    for index in range(num_steps):
        z, clean = scheduler.step(0.1 * prediction, index, z, eta=1.0, noise=noise)
        assert z.isfinite().all(), index
        assert clean.isfinite().all(), index


@pytest.mark.parametrize("variant", ["512", "1024"])
def test_first_step_from_pure_noise_forgets_the_noise(variant: str) -> None:
    """At ᾱ_t = 0 and η = 1 all noise is fresh, at every count: the published NaN."""
    scheduler = scheduler_of(variant)
    z, other, prediction, noise = draw(4)
    for num_steps in range(1, 200):
        scheduler.set_timesteps(num_steps)
        ours = scheduler.step(prediction, 0, z, eta=1.0, noise=noise).prev_sample
        again = scheduler.step(prediction, 0, other, eta=1.0, noise=noise).prev_sample
        assert ours.isfinite().all()
        assert (ours - again).abs().max() < 1e-7


# What holds of any step.


def perfect(scheduler: DynamiCrafterScheduler, index: int, z_0: Tensor, noise: Tensor) -> Tensor:
    """What a network that knows all predicts for the step `index`."""
    timesteps = scheduler.timesteps[index].expand(z_0.shape[0])
    return scheduler.target(z_0, noise, timesteps)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("num_steps", [1, 4, 10, 50])
def test_a_perfect_network_leads_to_the_end(variant: str, num_steps: int) -> None:
    """z at timestep 0 and ẑ_0 itself, at every count of steps: nothing stays scaled."""
    scheduler = scheduler_of(variant)
    scheduler.set_timesteps(num_steps)
    z_0, noise = draw(2)
    z = scheduler.noised(z_0, noise, scheduler.timesteps[0].expand(2))
    for index in range(num_steps):
        prediction = perfect(scheduler, index, z_0, noise)
        assert (scheduler.predicted_clean(prediction, index, z) - z_0).abs().max() < 1e-6
        z, clean = scheduler.step(prediction, index, z)
    assert (clean - z_0).abs().max() < 1e-6
    end = q_sample(z_0, noise, float(scheduler.alphas_cumprod[0]))
    assert (z - end).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("base", "num_steps", "left"),
    [(0.7, 50, 0.9857), (0.7, 20, 0.9632), (0.7, 4, 0.813), (0.3, 25, 0.9316), (0.3, 4, 0.563)],
)
def test_the_published_sampler_leaves_the_result_scaled(
    base: float, num_steps: int, left: float
) -> None:
    """By as much as was measured of it; the switch changes the last step and no other."""
    z_0, noise = draw(2)
    ends = {}
    for undo in (False, True):
        scheduler = scheduler_of("512", rescale_base=base, undo_final_rescale=undo)
        scheduler.set_timesteps(num_steps)
        z, states = q_sample(z_0, noise, 0.0), []
        for index in range(num_steps):
            z, clean = scheduler.step(perfect(scheduler, index, z_0, noise), index, z)
            states.append(z)
        ends[undo] = states, clean
    assert (ends[True][1] - z_0).abs().max() < 1e-6
    assert (ends[False][1] - left * z_0).abs().max() < 1e-3
    for theirs, ours in zip(ends[False][0][:-1], ends[True][0][:-1], strict=True):
        assert torch.equal(theirs, ours)
    assert not torch.equal(ends[False][0][-1], ends[True][0][-1])


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("num_steps", [1, 4, 10, 25, 50])
def test_it_is_diffusers_scheduler_where_that_is_right(kind: str, num_steps: int) -> None:
    ours = DynamiCrafterScheduler(prediction_type=kind)
    theirs = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
        set_alpha_to_one=False, steps_offset=1, prediction_type=kind,
    )  # fmt: skip
    ours.set_timesteps(num_steps)
    theirs.set_timesteps(num_steps)
    assert torch.equal(ours.timesteps, theirs.timesteps)
    z, prediction = draw(2).float()
    for index, t in enumerate(theirs.timesteps):
        ours_next, ours_clean = ours.step(prediction, index, z)
        expected = theirs.step(prediction, t, z)
        # One step each: ᾱ rounds differently there, and 1/√ᾱ is up to 14 in the first step.
        limit = 2e-5 * float(expected.pred_original_sample.abs().max())
        assert (ours_next - expected.prev_sample).abs().max() < limit
        assert (ours_clean - expected.pred_original_sample).abs().max() < limit
        z = ours_next


def test_steps_remember_nothing() -> None:
    scheduler = scheduler_of("512")
    scheduler.set_timesteps(10)
    check_repeatable(scheduler, "Time travel")
    z, prediction = draw(2)
    first = scheduler.step(prediction, 4, z)
    scheduler.step(prediction, 7, z)
    again = scheduler.step(prediction, 4, z)
    assert torch.equal(first.prev_sample, again.prev_sample)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step_loses_the_rounding_of_its_result_only(variant: str, dtype: torch.dtype) -> None:
    scheduler = scheduler_of(variant)
    scheduler.set_timesteps(50)
    z, prediction, noise = (0.5 * x.to(dtype) for x in draw(3))
    for index in (1, 25, 49):
        given = {"eta": 0.5, "noise": noise}
        ours = scheduler.step(prediction, index, z, **given)
        given["noise"] = noise.double()
        exact = scheduler.step(prediction.double(), index, z.double(), **given)
        for rounded, wanted in zip(ours, exact, strict=True):
            assert rounded.dtype == dtype
            limit = torch.finfo(dtype).eps / 2 * wanted.abs() + 2e-6 * wanted.abs().max()
            assert ((rounded - wanted).abs() <= limit).all()


# An exact denoiser: data of mean and variance known, whose steps are affine.

MEAN, DEVIATION = 0.8, 0.3


def gaussian_prediction(scheduler: DynamiCrafterScheduler, index: int, z_t: Tensor) -> Tensor:
    """The best prediction for data N(MEAN, DEVIATION²), scaled as in training."""
    t = int(scheduler.timesteps[index])
    bar, scale = float(scheduler.alphas_cumprod[t]), float(scheduler.clean_scales[t])
    mean, variance = scale * MEAN, (scale * DEVIATION) ** 2
    residual = (z_t - math.sqrt(bar) * mean) / (bar * variance + 1 - bar)
    clean, noise = mean + math.sqrt(bar) * variance * residual, math.sqrt(1 - bar) * residual
    kind = scheduler.config.prediction_type
    return noise if kind == "epsilon" else velocity(clean, noise, bar)


def gaussian_moments(scheduler: DynamiCrafterScheduler, eta: float) -> tuple[float, float]:
    """Mean and variance of the results, exactly, when starting from the right ones."""
    points = torch.tensor([0.0, 1.0], dtype=torch.float64)
    start = scheduler.analytic_start(points, torch.tensor(MEAN).double(), DEVIATION**2)
    mean, variance = float(start[0]), float(start[1] - start[0]) ** 2
    for index in range(len(scheduler.timesteps)):
        z = torch.tensor([mean, mean + 1], dtype=torch.float64)
        prediction = gaussian_prediction(scheduler, index, z)
        still, moved = (
            scheduler.step(prediction, index, z, eta=eta, noise=torch.full_like(z, n)).prev_sample
            for n in (0.0, 1.0)
        )
        mean = float(still[0])
        variance = float((still[1] - still[0]) ** 2 * variance + (moved[0] - still[0]) ** 2)
    return mean, variance


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("start", [None, 799])
@pytest.mark.parametrize("variant", VARIANTS)
def test_sampling_a_gaussian_converges_to_it(variant: str, start: int | None, eta: float) -> None:
    """The mean at once, the variance as steps grow, also with rescaling and from a later start."""
    scheduler = scheduler_of(variant)
    span = 1 + int(scheduler.timesteps[0] if start is None else start)
    bar = float(scheduler.alphas_cumprod[0])
    mean, variance = math.sqrt(bar) * MEAN, bar * DEVIATION**2 + 1 - bar
    errors = []
    for num_steps in (span // 4, span // 2, span):
        scheduler.set_timesteps(num_steps, start=start)
        found_mean, found_variance = gaussian_moments(scheduler, eta)
        assert found_mean == pytest.approx(mean, abs=1e-6)
        errors.append(abs(found_variance / variance - 1))
    assert errors[0] > 1.6 * errors[1] > 1.6**2 * errors[2]
    assert errors[2] < (0.04 if eta else 0.015)


# Starting later (conditional image leakage).


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("start", [999, 939, 500, 49])
def test_a_later_start(variant: str, start: int) -> None:
    scheduler = scheduler_of(variant)
    for num_steps in (1, 10, 16, 50):
        scheduler.set_timesteps(num_steps, start=start)
        assert len(scheduler.timesteps) == num_steps
        assert (scheduler.timesteps.diff() < 0).all()
        assert int(scheduler.timesteps[0]) <= start
        assert variant == "256" or int(scheduler.timesteps[0]) == start


def test_the_start_of_the_published_method() -> None:
    """Its M = 940 are the timesteps below 940."""
    scheduler = scheduler_of("512")
    scheduler.set_timesteps(47, start=939)
    assert scheduler.timesteps.tolist() == list(range(939, 0, -20))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_analytic_start_has_the_moments_of_noised_clips(variant: str) -> None:
    scheduler = scheduler_of(variant)
    scheduler.set_timesteps(10, start=799)
    generator = torch.Generator().manual_seed(1)
    mean = torch.linspace(-2, 2, 5, dtype=torch.float64)
    data, noise = torch.randn((2, 40_000, 5), generator=generator, dtype=torch.float64)
    z_0 = mean + DEVIATION * data
    noised = scheduler.noised(z_0, noise, scheduler.timesteps[0].expand(len(z_0)))
    start = scheduler.analytic_start(noise, mean, DEVIATION**2)
    assert (noised.mean(0) - start.mean(0)).abs().max() < 0.02
    assert (noised.std(0) - start.std(0)).abs().max() < 0.02


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_analytic_start_is_the_plain_formula(variant: str) -> None:
    scheduler = scheduler_of(variant)
    scheduler.set_timesteps(10, start=799)
    t = int(scheduler.timesteps[0])
    bar, scale = float(scheduler.alphas_cumprod[t]), float(scheduler.clean_scales[t])
    noise, mean = draw(2)
    wanted = math.sqrt(bar) * scale * mean + math.sqrt(1 - bar + bar * scale**2 * 25) * noise
    assert (scheduler.analytic_start(noise, mean, 25.0) - wanted).abs().max() < 1e-12
    each = torch.full_like(mean, 25.0)
    assert (scheduler.analytic_start(noise, mean, each) - wanted).abs().max() < 1e-12


def test_the_analytic_start_at_no_signal_is_noise() -> None:
    scheduler = scheduler_of("512")
    scheduler.set_timesteps(10)
    noise = draw(1)[0].half()
    assert torch.equal(scheduler.analytic_start(noise, torch.ones(1), 4.0), noise)


# Training.


@pytest.mark.parametrize("kind", ["v_prediction", "sample"])
def test_targets_are_of_the_scaled_latent(kind: str) -> None:
    scheduler = scheduler_of("512", prediction_type=kind)
    z_0, noise = draw(2)
    t = torch.tensor([3, 998])
    noised, target = scheduler.noised(z_0, noise, t), scheduler.target(z_0, noise, t)
    for sample in range(2):
        bar = float(scheduler.alphas_cumprod[t[sample]])
        scaled = float(scheduler.clean_scales[t[sample]]) * z_0[sample]
        wanted = scaled if kind == "sample" else velocity(scaled, noise[sample], bar)
        assert (target[sample] - wanted).abs().max() < 1e-12
        assert (noised[sample] - q_sample(scaled, noise[sample], bar)).abs().max() < 1e-12


def test_the_target_of_an_epsilon_network_is_the_noise() -> None:
    z_0, noise = draw(2)
    assert torch.equal(scheduler_of("256").target(z_0, noise, torch.tensor([0, 999])), noise)


def test_training_keeps_the_dtype() -> None:
    scheduler = scheduler_of("512")
    z_0, noise = draw(2).bfloat16()
    t = torch.tensor([0, 999])
    assert scheduler.noised(z_0, noise, t).dtype == torch.bfloat16
    assert scheduler.target(z_0, noise, t).dtype == torch.bfloat16
    # At timestep 0, ᾱ = 0.99915 is 1 in bfloat16; the little noise must be there all the same.
    exact = scheduler.noised(z_0.double(), noise.double(), t)
    assert ((scheduler.noised(z_0, noise, t) - exact).abs() <= 2**-8 * exact.abs()).all()


def test_training_timesteps_are_uniform_and_the_generator_s() -> None:
    scheduler = scheduler_of("256")
    generator = torch.Generator().manual_seed(5)
    t = scheduler.training_timesteps(20_000, generator)
    assert t.dtype == torch.int64
    assert int(t.min()) == 0
    assert int(t.max()) == 999
    assert t.bincount(minlength=1000).max() < 50
    again = scheduler.training_timesteps(20_000, torch.Generator().manual_seed(5))
    assert torch.equal(t, again)


# Configuration and bad inputs.


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_is_saved_and_loaded(variant: str, tmp_path: Path) -> None:
    scheduler = scheduler_of(variant, undo_final_rescale=variant == "512")
    scheduler.save_pretrained(tmp_path)
    assert (tmp_path / "scheduler_config.json").is_file()
    loaded = DynamiCrafterScheduler.from_pretrained(tmp_path)
    for name in inspect.signature(DynamiCrafterScheduler.__init__).parameters.keys() - {"self"}:
        assert loaded.config[name] == scheduler.config[name], name
    for name in ("betas", "alphas_cumprod", "clean_scales", "timesteps"):
        assert torch.equal(getattr(loaded, name), getattr(scheduler, name))
    changed = DynamiCrafterScheduler.from_config(scheduler.config, rescale_base=0.5)
    assert changed.config.rescale_base == 0.5
    assert changed.config.prediction_type == scheduler.config.prediction_type


def test_without_a_choice_of_steps_all_are_taken() -> None:
    assert scheduler_of("512").timesteps.tolist() == list(range(999, -1, -1))
    assert scheduler_of("256").timesteps.tolist() == list(range(999, -1, -1))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"prediction_type": "flow"}, "'flow'; it can be"),
        ({"timestep_spacing": "uniform"}, "'uniform'; it can be leading, trailing"),
        ({"zero_terminal_snr": True}, "use v_prediction"),
        ({"rescale_base": 0.0}, "above 0 and at most 1"),
        ({"rescale_base": 7.0}, "above 0 and at most 1"),
        ({"num_train_timesteps": 1}, "2 timesteps or more"),
        ({"beta_start": 0.5}, "0 < beta_start <= beta_end < 1"),
        ({"beta_end": 1.0}, "0 < beta_start <= beta_end < 1"),
        ({"beta_start": 0.0}, "0 < beta_start <= beta_end < 1"),
    ],
)
def test_wrong_configurations_are_told(config: dict[str, object], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        DynamiCrafterScheduler(**config)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "either"),
        ({"num_inference_steps": 3, "timesteps": [5, 3, 1]}, "either"),
        ({"num_inference_steps": 0}, "0 sampling steps"),
        ({"num_inference_steps": 1001}, "from 1 to 1000"),
        ({"num_inference_steps": 51, "start": 49}, "from 1 to 50"),
        ({"num_inference_steps": 5, "start": 1000}, "timestep 1000; 0..999 can"),
        ({"num_inference_steps": 5, "start": -1}, "timestep -1"),
        ({"timesteps": [3, 1], "start": 3}, "leave out start=3"),
        ({"timesteps": [1, 3]}, "descend"),
    ],
)
def test_wrong_timesteps_are_told_and_change_nothing(given: dict[str, object], said: str) -> None:
    scheduler = scheduler_of("512")
    scheduler.set_timesteps(7)
    before = scheduler.timesteps
    with pytest.raises(InputError, match=said):
        scheduler.set_timesteps(**given)
    assert scheduler.timesteps is before


def test_wrong_steps_are_told() -> None:
    scheduler = scheduler_of("512")
    scheduler.set_timesteps(5)
    z, prediction = draw(2)
    for index in (-1, 5):
        with pytest.raises(InputError, match=f"no step {index}; the 5 steps"):
            scheduler.step(prediction, index, z)
        with pytest.raises(InputError, match="count from 0"):
            scheduler.predicted_clean(prediction, index, z)
    with pytest.raises(InputError, match=r"prediction has the shape \(4, 3, 2, 2\)"):
        scheduler.step(prediction[0], 0, z)
    with pytest.raises(InputError, match=r"noise has the shape \(1, 4, 3, 2, 2\)"):
        scheduler.step(prediction, 0, z, eta=1.0, noise=z[:1])
    with pytest.raises(InputError, match="none is given"):
        scheduler.step(prediction, 0, z, eta=1.0)
    with pytest.raises(InputError, match=r"eta is 1\.5"):
        scheduler.step(prediction, 0, z, eta=1.5, noise=z)


def test_wrong_training_shapes_are_told() -> None:
    scheduler = scheduler_of("512")
    z_0, noise = draw(2)
    for given in ((z_0, noise[:1], torch.tensor([1, 2])), (z_0, noise, torch.tensor([1]))):
        for method in (scheduler.noised, scheduler.target):
            with pytest.raises(InputError, match="a timestep for each sample"):
                method(*given)
