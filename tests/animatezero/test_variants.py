"""Several clips of one still; and what is told while clips are being made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.tiny_models import tiny_pipeline, tiny_scheduler
from torch import Tensor

from stillmotion.animatezero.photograph import PhotographSettings
from stillmotion.animatezero.prompt import PromptTrack
from stillmotion.animatezero.settings import PAPER, AnimateZeroSettings, TimeTravel
from stillmotion.diffusion.settings import SamplingSettings
from stillmotion.errors import InputError
from stillmotion.media.still import Still

INVERSION = PhotographSettings(trajectory="inversion")
STEPS = 3


@pytest.fixture(scope="module")
def photograph() -> Still:
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Still(image=image)


class Counter:
    """How often the U-Net is used, and with how many rows each time."""

    def __init__(self, pipe: Any) -> None:
        self._unet = pipe.unet
        self.rows: list[int] = []

    def __enter__(self) -> Counter:
        def count(module: object, args: tuple[Tensor, ...]) -> None:
            self.rows.append(args[0].shape[0] * args[0].shape[2])

        self._handle = self._unet.register_forward_pre_hook(count)
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.remove()


# Variants


@pytest.mark.parametrize("source", ["drawn", "diffusion", "inversion"])
def test_variants_are_the_single_clips(pipe, still, photograph, sampling, source: str) -> None:
    own = still if source == "drawn" else photograph
    options = {
        "num_frames": 3,
        "sampling": sampling,
        "photograph": PhotographSettings(trajectory="inversion" if source == "inversion" else
                                         "diffusion"),
    }  # fmt: skip
    made = list(pipe.variants(own, "a ball", seeds=[3, 4, 3], **options))
    assert len(made) == 3
    for variant, seed in zip(made, [3, 4, 3], strict=True):
        single = pipe.animate(own, "a ball", seed=seed, **options)
        assert torch.equal(variant.latents, single.latents)
        assert np.array_equal(variant.frames, single.frames)
    assert not torch.equal(made[0].latents, made[1].latents)


def test_variants_come_one_by_one(pipe, still) -> None:
    with Counter(pipe) as counter:
        clips = pipe.variants(still, seeds=[1, 2, 3], num_frames=2)
        assert counter.rows == []
        for done in (1, 2):
            next(clips)
            assert len(counter.rows) == done * STEPS
            assert torch.is_grad_enabled()
        clips.close()
    assert torch.is_grad_enabled()
    assert not any("forward" in vars(module) for module in pipe.unet.modules())


def test_what_cannot_work_is_said_before_the_first(pipe, still) -> None:
    with Counter(pipe) as counter, pytest.raises(InputError, match="num_frames is 0"):
        next(pipe.variants(still, seeds=[1], num_frames=0))
    with pytest.raises(InputError, match="whole number from 0"):
        next(pipe.variants(still, seeds=[1, -1], num_frames=2))
    assert counter.rows == []


@pytest.mark.parametrize("guidance_scale", [1.0, 2.0])
def test_a_photograph_is_inverted_once_for_all(pipe, photograph, guidance_scale: float) -> None:
    """Each step of the inversion is one row of the image model, without guidance."""
    sampling = SamplingSettings(num_inference_steps=STEPS, guidance_scale=guidance_scale)
    settings = PhotographSettings(trajectory="inversion", refinements=1)
    with Counter(pipe) as counter:
        for clip in pipe.variants(
            photograph, "a", seeds=[1, 2, 3], num_frames=4, sampling=sampling, photograph=settings
        ):
            assert np.array_equal(clip.frames[0, 0], photograph.image)
    rows = 4 * (1 + sampling.uses_guidance)
    assert counter.rows == [1] * 2 * STEPS + [rows] * 3 * STEPS


def test_an_inverted_photograph_starts_from_its_own_noise(pipe, photograph, sampling) -> None:
    """So the seed does not enter frame 1, as it does where noise is added."""
    starts = {}
    for name, settings in (("inversion", INVERSION), ("diffusion", PhotographSettings())):
        seen: list[Tensor] = []
        handle = pipe.unet.register_forward_pre_hook(
            lambda module, args, seen=seen: seen.append(args[0]) if args[0].shape[2] > 1 else None
        )
        for seed in (1, 2):
            pipe.animate(
                photograph, "a", seed=seed, num_frames=2, sampling=sampling, photograph=settings
            )
        handle.remove()
        starts[name] = seen[0][:, :, 0], seen[STEPS][:, :, 0]
    assert torch.equal(*starts["inversion"])
    assert not torch.equal(*starts["diffusion"])


def test_texts_are_read_once_for_all(pipe, still) -> None:
    calls = []
    handle = pipe.text_encoder.register_forward_pre_hook(lambda module, args: calls.append(1))
    track = PromptTrack({0: "a", 1: "b", 2: "a"})
    list(pipe.variants(still, track, seeds=[1, 2, 3], num_frames=3))
    handle.remove()
    assert len(calls) == 2 * 2  # each of two texts, with the negative prompt beside it


# Progress


def check_progress(told: list[tuple[int, int]], total: int) -> None:
    assert told == [(done, total) for done in range(1, total + 1)]


TRAVEL = AnimateZeroSettings(time_travel=TimeTravel(repeats=3, start=1, stop=3))


@pytest.mark.parametrize(
    ("control", "settings", "per_clip", "per_inversion"),
    [
        (AnimateZeroSettings(), PhotographSettings(), STEPS, 0),
        (AnimateZeroSettings(kv_source="still"), PhotographSettings(), STEPS, 0),
        (TRAVEL, PhotographSettings(), 1 + 3 + 3, 0),
        (AnimateZeroSettings(), INVERSION, STEPS, STEPS),
        (TRAVEL, PhotographSettings(trajectory="inversion", refinements=2), 7, 3 * STEPS),
        (
            AnimateZeroSettings(insert_latents=False, share_keys_values=False),
            INVERSION,
            STEPS,
            0,
        ),
    ],
)
def test_progress_ends_at_its_total(
    pipe, photograph, sampling, control, settings, per_clip: int, per_inversion: int
) -> None:
    told: list[tuple[int, int]] = []
    options = {
        "num_frames": 3,
        "sampling": sampling,
        "control": control,
        "photograph": settings,
        "progress": lambda *x: told.append(x),
    }
    pipe.animate(photograph, "a", seed=1, **options)
    check_progress(told, per_clip + per_inversion)
    told.clear()
    list(pipe.variants(photograph, "a", seeds=[1, 2], **options))
    check_progress(told, 2 * (per_clip + per_inversion))


def test_progress_of_a_loop_and_of_a_drawn_clip(pipe, still, photograph, sampling) -> None:
    told: list[tuple[int, int]] = []
    options = {
        "num_frames": 3,
        "sampling": sampling,
        "photograph": INVERSION,
        "progress": lambda *x: told.append(x),
    }
    pipe.animate(photograph, "a", seed=1, last_frame=photograph, **options)
    check_progress(told, 3 * STEPS)
    told.clear()
    pipe.animate(still, seed=1, last_frame=photograph, **options)
    check_progress(told, 2 * STEPS)
    told.clear()
    pipe.animate(still, seed=1, last_frame=still, **options)
    check_progress(told, STEPS)


@pytest.mark.parametrize(("beside", "drawing"), [(True, 0), (False, 3)])
def test_a_call_s_bar_counts_the_calls_of_the_network(
    monkeypatch: pytest.MonkeyPatch, beside: bool, drawing: int
) -> None:
    pipe, bars = tiny_pipeline(), []

    class Bar:
        def __init__(self, total: int) -> None:
            self.total, self.done = total, 0
            bars.append(self)

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: object) -> None: ...

        def update(self) -> None:
            self.done += 1

    monkeypatch.setattr(pipe, "progress_bar", lambda total: Bar(total))
    options: dict[str, Any] = {"num_frames": 2, "num_inference_steps": 3, "control": TRAVEL}
    pipe("a", output_type="latent", draws_beside=beside, **options)
    assert [(bar.done, bar.total) for bar in bars] == [(drawing + 7, drawing + 7)]


# Previews


@pytest.mark.parametrize(
    "changes",
    [{}, {"prediction_type": "v_prediction"}, {"prediction_type": "sample"}],
    ids=lambda changes: changes.get("prediction_type", "epsilon"),
)
def test_the_last_preview_is_the_clip(changes: dict[str, str]) -> None:
    """DDIM's last step goes to ᾱ = 1, where z_0 is what the network says that it is."""
    pipe = tiny_pipeline(scheduler=tiny_scheduler(**changes))
    sampling = SamplingSettings(num_inference_steps=STEPS, guidance_scale=1.5)
    (still,) = pipe.draw("a", seeds=[1], sampling=sampling)
    told: list[tuple[int, Tensor]] = []
    clip = pipe.animate(
        still, seed=3, num_frames=4, control=PAPER, on_preview=lambda *x: told.append(x)
    )
    assert [index for index, _ in told] == [0, 1, 2]
    assert all(preview.shape == clip.latents.shape for _, preview in told)
    scale = clip.latents.abs().max()
    last = told[-1][1][:, :, 1:]
    assert (last - clip.latents[:, :, 1:]).abs().max() < 1e-5 * scale
    assert not torch.allclose(told[0][1][:, :, 1:], last, atol=1e-2)


@pytest.mark.parametrize("control", [AnimateZeroSettings(), TRAVEL])
def test_looking_on_changes_nothing(pipe, still, control) -> None:
    """Once for each step, also where steps are repeated."""
    indices = []
    looked = pipe.animate(
        still,
        seed=3,
        num_frames=3,
        control=control,
        on_preview=lambda index, clean: indices.append(index) or clean.zero_(),
    )
    assert indices == [0, 1, 2]
    plain = pipe.animate(still, seed=3, num_frames=3, control=control)
    assert torch.equal(looked.latents, plain.latents)


def test_previews_and_callbacks_go_together(pipe, still) -> None:
    """The preview is of the prediction, whatever the callback makes of the step."""
    previews: list[Tensor] = []

    def zero(owner: object, step: int, timestep: Tensor, kept: dict[str, Tensor]) -> Any:
        return {"latents": torch.zeros_like(kept["latents"])}

    clip = pipe.animate(
        still,
        seed=3,
        num_frames=3,
        callback_on_step_end=zero,
        on_preview=lambda index, clean: previews.append(clean),
    )
    assert clip.latents[:, :, 1:].abs().max() == 0
    assert previews[-1][:, :, 1:].abs().min() > 0
