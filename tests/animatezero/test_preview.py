"""Previews: colours of latents, the clean picture behind the noise, and contact sheets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler
from tests.tiny_models import tiny_scheduler

from stillmotion.animatezero.photograph import noise_levels
from stillmotion.animatezero.preview import LatentPreview, contact_sheet, predicted_clean
from stillmotion.diffusion.parameterization import velocity
from stillmotion.errors import InputError, ModelError

ROWS = [[0.5, 0.0, 0.0], [0.0, -1.0, 0.25], [0.1, 0.2, -0.3]]
LINEAR = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "linear"}


@pytest.fixture
def preview() -> LatentPreview:
    return LatentPreview.from_rows(ROWS, 2)


def test_a_pixel_is_the_plain_formula(preview: LatentPreview) -> None:
    latents = torch.randn(1, 2, 3, 2, 4, generator=torch.Generator().manual_seed(0))
    seen = preview.rgb(latents, enlarge=1)
    assert seen.shape == (3, 2, 4, 3)
    assert seen.dtype == np.uint8
    for f, y, x in np.ndindex(3, 2, 4):
        a, b = latents[0, :, f, y, x].tolist()
        for channel in range(3):
            value = a * ROWS[0][channel] + b * ROWS[1][channel] + ROWS[2][channel]
            shown = min(max((value + 1) / 2, 0), 1) * 255
            assert abs(int(seen[f, y, x, channel]) - shown) <= 0.5001


def test_frames_are_enlarged_one_by_one(preview: LatentPreview) -> None:
    latents = torch.randn(1, 2, 2, 3, 5, generator=torch.Generator().manual_seed(0))
    both = preview.rgb(latents)
    assert both.shape == (2, 24, 40, 3)
    assert np.array_equal(both[1:], preview.rgb(latents[:, :, 1:]))
    flat = preview.rgb(torch.full((1, 2, 1, 3, 3), 0.4), enlarge=4)
    assert len(np.unique(flat.reshape(-1, 3), axis=0)) == 1
    assert preview.rgb(latents.to(torch.bfloat16)).shape == both.shape


def test_rows_are_kept(preview: LatentPreview) -> None:
    again = LatentPreview.from_rows(preview.rows(), 2)
    assert torch.equal(again.matrix, preview.matrix)
    assert torch.equal(again.bias, preview.bias)
    assert preview.rows() == ROWS


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (ROWS[:2], r"2 in all; its latents of 2 channels need 3 rows of 3"),
        ([*ROWS, ROWS[0]], r"4 in all; its latents of 2 channels need 3 rows of 3"),
        ([[1.0, 2.0], ROWS[1], ROWS[2]], r"rows of \[2, 3\] numbers"),
    ],
)
def test_tables_that_cannot_be_used_are_told(rows, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        LatentPreview.from_rows(rows, 2)


def test_a_map_can_be_fitted_to_one_picture(preview: LatentPreview) -> None:
    """Latents that a known map shows as the picture's own mean colours give that map back."""
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    means = image.reshape(4, 8, 6, 8, 3).mean((1, 3)) / 127.5 - 1
    z_0 = torch.from_numpy(means).float().permute(2, 0, 1) * 2 + 0.5
    fitted = LatentPreview.of_picture(image, z_0)
    assert (fitted.matrix - torch.eye(3) / 2).abs().max() < 1e-4
    assert (fitted.bias + 0.25).abs().max() < 1e-4
    with pytest.raises(InputError, match="4 latents are too few to fit 5 rows"):
        LatentPreview.of_picture(image, torch.zeros(4, 2, 2))


def test_latents_of_another_shape_are_told(preview: LatentPreview) -> None:
    for shape in ((1, 3, 1, 2, 2), (2, 2, 1, 2, 2), (1, 2, 2, 2)):
        with pytest.raises(InputError, match=r"a preview needs \(1, 2, frames, height, width\)"):
            preview.rgb(torch.zeros(shape))
    with pytest.raises(ModelError, match=r"bias of shape \(2,\)"):
        LatentPreview(torch.zeros(4, 3), torch.zeros(2))


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("make", [DDIMScheduler, EulerDiscreteScheduler])
def test_the_clean_latent_is_found_behind_the_noise(make, kind: str) -> None:
    scheduler = make(prediction_type=kind, **LINEAR)
    scheduler.set_timesteps(5)
    generator = torch.Generator().manual_seed(1)
    z_0, noise = torch.randn((2, 1, 4, 3, 2, 2), generator=generator)
    for timestep in scheduler.timesteps:
        z_t = scheduler.add_noise(z_0, noise, timestep[None])
        bar = noise_levels(scheduler, timestep[None]).alpha_bars
        prediction = {
            "epsilon": noise, "sample": z_0, "v_prediction": velocity(z_0, noise, bar),
        }[kind]  # fmt: skip
        assert (predicted_clean(scheduler, prediction, z_t, timestep) - z_0).abs().max() < 1e-3


def test_it_is_what_the_scheduler_itself_estimates() -> None:
    scheduler = tiny_scheduler(prediction_type="v_prediction")
    scheduler.set_timesteps(5)
    z_t, prediction = torch.randn((2, 1, 4, 3, 2, 2), generator=torch.Generator().manual_seed(1))
    for timestep in scheduler.timesteps:
        theirs = scheduler.step(prediction, timestep, z_t).pred_original_sample
        ours = predicted_clean(scheduler, prediction, z_t, timestep)
        assert (ours - theirs).abs().max() < 1e-5


def test_a_contact_sheet_has_every_frame_in_its_place() -> None:
    frames = np.stack([np.full((2, 3, 3), 10 * i, np.uint8) for i in range(5)])
    strip = contact_sheet(frames)
    assert strip.shape == (2, 15, 3)
    assert [int(strip[0, 3 * i, 0]) for i in range(5)] == [0, 10, 20, 30, 40]
    sheet = contact_sheet(frames, columns=2)
    assert sheet.shape == (6, 6, 3)
    assert sheet[::2, ::3, 0].tolist() == [[0, 10], [20, 30], [40, 255]]
    assert np.array_equal(contact_sheet(frames, columns=9), strip)


def test_a_contact_sheet_of_nothing_is_told() -> None:
    frames = np.zeros((2, 2, 3, 3), np.uint8)
    for wrong in (lambda: contact_sheet(frames, columns=0), lambda: contact_sheet(frames[:0])):
        with pytest.raises(InputError, match="at least one frame and one column"):
            wrong()
