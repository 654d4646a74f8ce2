"""The calls that are counted: full-size networks, run by the product's own code.

A denoising call is caught inside the sampling loop of its pipeline (`animate_latents`,
`sample_clip`), so that adapters, control and guidance are exactly those of a clip; only the
networks and their inputs lie on the meta device.  A call is one use of the network with all its
guidance branches, and putting them together; schedulers and decoding are apart.

Calls are counted twice: with the fused kernels of `stillmotion.kernels`, as on a GPU
that has them, and with PyTorch's operators alone, as on a CPU.  The call of AnimateZero that is
counted is the second of a clip, and so stands for all but the first, which also projects texts and
positions; of DynamiCrafter (`full_size_video.py`) both are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from diffusers import DDIMScheduler
from torch import Tensor

from stillmotion.adapters.lean_savings import Savings
from stillmotion.animatezero.anchors import Anchor, DrawnAnchor
from stillmotion.animatezero.denoiser import Denoiser
from stillmotion.animatezero.sampling import Hooks, Start, animate_latents, draw_trajectory
from stillmotion.animatezero.settings import FIG6_ROWS, AnimateZeroSettings
from stillmotion.benchmarks.call import Call
from stillmotion.benchmarks.counting import Counts, counted
from stillmotion.benchmarks.full_size_parts import (
    DECODE,
    LATENT_CHANNELS,
    NUM_FRAMES,
    NUM_STEPS,
    TEXT_TOKENS,
    decode_call,
    latent_size,
    meta,
    networks,
    with_and_without_kernels,
)
from stillmotion.benchmarks.full_size_video import VIDEO_MODELS, dynamicrafter_calls
from stillmotion.diffusion.guidance import classifier_free_guidance
from stillmotion.diffusion.speed import EXACT_CALL
from stillmotion.diffusion.speed import Call as NetworkCall
from stillmotion.errors import InputError
from stillmotion.evaluation.memory import FULL_SIZE

ANIMATEZERO = "animatezero"
DIFFUSERS, PLAIN, CONTROLLED, LOCKSTEP, BESIDE, DRAW = (
    "diffusers", "animatediff", "animatezero", "lockstep", "drawn-beside", "draw",
)  # fmt: skip
"""Names of calls of AnimateZero's networks, besides `DECODE`."""
MODELS = (ANIMATEZERO, *VIDEO_MODELS)
"""What can be counted."""

_TEXT_WIDTH = 768  # of CLIP ViT-L
_GUIDANCE_SCALE = 7.5
_SCHEDULE = {"beta_schedule": "linear", "steps_offset": 1, "clip_sample": False}


def calls(models: Sequence[str] = ()) -> list[Call]:
    """The calls of some models, of all if none is named.

    Raises InputError for a name that is none of `MODELS`.
    """
    for model in models:
        if model not in MODELS:
            raise InputError(f"There is no model {model!r} to count; {', '.join(MODELS)} can be.")
    wanted = [model for model in MODELS if not models or model in models]
    return [call for model in wanted for call in _calls_of(model)]


def _calls_of(model: str) -> Iterator[Call]:
    if model == ANIMATEZERO:
        yield from _animatezero_calls()
    else:
        yield from dynamicrafter_calls(model)


def _animatezero_calls() -> Iterator[Call]:
    size = latent_size(FULL_SIZE.height, FULL_SIZE.width)
    controls = {
        PLAIN: ("AnimateDiff by this package", FIG6_ROWS["a"]),
        CONTROLLED: ("AnimateZero, keys and values of the video", AnimateZeroSettings()),
        LOCKSTEP: (
            "AnimateZero, the still's row beside the video",
            AnimateZeroSettings(kv_source="still"),
        ),
    }
    yield Call(
        model=ANIMATEZERO, name=DIFFUSERS, title="AnimateDiff by diffusers, eager",
        count=partial(_diffusers_call, size),
    )  # fmt: skip
    for name, (title, settings) in controls.items():
        count = partial(animate_call, settings, size)
        yield from with_and_without_kernels(ANIMATEZERO, name, title, count, DIFFUSERS)
    yield from with_and_without_kernels(
        ANIMATEZERO, BESIDE, "AnimateZero and drawing its still, in one call",
        partial(animate_call, AnimateZeroSettings(), size, draws_beside=True), DIFFUSERS,
    )  # fmt: skip
    yield from with_and_without_kernels(
        ANIMATEZERO, DRAW, "drawing the still, one step", partial(_draw_call, size)
    )
    yield Call(
        model=ANIMATEZERO, name=DECODE, title="decoding one frame",
        count=partial(decode_call, size),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _CountedDenoiser(Denoiser):
    """Counts every guided prediction."""

    counts: list[Counts] = field(default_factory=list)

    def predict(
        self,
        z_t: Tensor,
        timestep: Tensor,
        reference: Tensor | None = None,
        call: NetworkCall = EXACT_CALL,
    ) -> Tensor:
        predict = super().predict
        prediction, counts = counted(lambda: predict(z_t, timestep, reference, call))
        self.counts.append(counts)
        return prediction


def _diffusers_call(size: tuple[int, int]) -> Counts:
    """What diffusers' AnimateDiffPipeline computes between two steps of its scheduler."""
    unet = networks().unet
    latents = meta(1, LATENT_CHANNELS, NUM_FRAMES, *size)
    text = meta(2 * NUM_FRAMES, TEXT_TOKENS, _TEXT_WIDTH)

    def call() -> Tensor:
        both = torch.cat([latents] * 2)
        halves = unet(both, torch.tensor(0), encoder_hidden_states=text, return_dict=False)[0]
        unconditional, conditional = halves.chunk(2)
        return classifier_free_guidance(unconditional, conditional, _GUIDANCE_SCALE)

    return counted(call)[1]


def animate_call(
    settings: AnimateZeroSettings,
    size: tuple[int, int],
    savings: Savings | None = None,
    *,
    step: int = 1,
    draws_beside: bool = False,
) -> Counts:
    """A guided prediction of `animate_latents`, with one given still if the settings use it.

    `size` is that of the latents (h w); `step` the first (0) or a later one (1).  With
    `draws_beside` the still is not given, but drawn in the same calls.
    """
    has_reference = draws_beside or settings.needs_reference_row
    denoiser = _denoiser(NUM_FRAMES + int(has_reference), savings)
    still: Anchor | DrawnAnchor = Anchor(0, meta(NUM_STEPS + 1, LATENT_CHANNELS, *size))
    if draws_beside:
        still = DrawnAnchor(meta(1, LATENT_CHANNELS, *size))
    noise = meta(1, LATENT_CHANNELS, NUM_FRAMES, *size)
    start = Start(
        noise=noise,
        more_noise=lambda: torch.empty_like(noise),
        anchors=[still] if settings.needs_trajectory else [],
    )
    with torch.no_grad():
        animate_latents(denoiser, start, settings, Hooks(_pass))
    return denoiser.counts[step]


def _draw_call(size: tuple[int, int]) -> Counts:
    """A guided prediction of `draw_trajectory`, not the first."""
    denoiser = _denoiser(1)
    with torch.no_grad():
        draw_trajectory(denoiser, meta(1, LATENT_CHANNELS, *size), Hooks(_pass))
    return denoiser.counts[-1]


def _denoiser(num_rows: int, savings: Savings | None = None) -> _CountedDenoiser:
    """Its timesteps lie on the host, since a step looks them up in tables."""
    scheduler = DDIMScheduler(**_SCHEDULE)
    scheduler.set_timesteps(NUM_STEPS)
    return _CountedDenoiser(
        unet=networks().unet,
        scheduler=scheduler,
        prompt_embeds=meta(2 * num_rows, TEXT_TOKENS, _TEXT_WIDTH),
        guidance_scale=_GUIDANCE_SCALE,
        uses_guidance=True,
        step_options={},
        savings=Savings() if savings is None else savings,
        one_text=True,
    )


def _pass() -> None:
    """Nobody follows the sampling."""
