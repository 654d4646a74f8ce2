"""The calls that are counted: full-size networks, run by the product's own code.

A denoising call is caught inside the sampling loop of its pipeline (`animate_latents`,
`sample_clip`), so that adapters, control and guidance are exactly those of a clip; only the
networks and their inputs lie on the meta device.  A call is one use of the network with all its
guidance branches, and putting them together; schedulers and decoding are apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import torch
from diffusers import DDIMScheduler
from torch import Tensor, nn

from stillmotion.animatezero.anchors import Anchor
from stillmotion.animatezero.denoiser import Denoiser
from stillmotion.animatezero.sampling import Hooks, Start, animate_latents, draw_trajectory
from stillmotion.animatezero.settings import FIG6_ROWS, AnimateZeroSettings
from stillmotion.benchmarks.call import Call
from stillmotion.benchmarks.counting import Counts, counted
from stillmotion.diffusion.guidance import classifier_free_guidance
from stillmotion.dynamicrafter.detail_guidance import repeated
from stillmotion.dynamicrafter.sampling import Branch, Conditions, sample_clip
from stillmotion.dynamicrafter.sampling import Denoiser as VideoDenoiser
from stillmotion.dynamicrafter.scheduler import DynamiCrafterScheduler
from stillmotion.dynamicrafter.settings import DynamiCrafterSettings
from stillmotion.dynamicrafter.unet import DynamiCrafterUNet
from stillmotion.errors import InputError
from stillmotion.evaluation.memory import FULL_SIZE, Networks, full_size_networks
from stillmotion.models.dynamicrafter_variants import VARIANTS, Variant

DTYPE = torch.float16
"""Of weights and activations; bfloat16 has as many bytes."""
NUM_FRAMES = FULL_SIZE.num_frames
ANIMATEZERO = "animatezero"
DIFFUSERS, PLAIN, CONTROLLED, LOCKSTEP, DRAW, DECODE, FIRST_STEP, LATER_STEP = (
    "diffusers", "animatediff", "animatezero", "lockstep", "draw", "decode", "first-step",
    "later-step",
)  # fmt: skip
"""Names of calls."""
_VARIANTS = {f"dynamicrafter-{v}": v for v in (Variant.V256, Variant.V512, Variant.V1024)}
MODELS = (ANIMATEZERO, *_VARIANTS)
"""What can be counted."""

_TEXT_TOKENS = 77
_TEXT_WIDTH, _VIDEO_TEXT_WIDTH = 768, 1024  # of CLIP ViT-L, and of OpenCLIP ViT-H
_IMAGE_TOKENS = 16
_LATENT_CHANNELS = 4
_VAE_FACTOR = 8
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
        yield from _dynamicrafter_calls(model, _VARIANTS[model])


def _animatezero_calls() -> Iterator[Call]:
    size = _latent_size(FULL_SIZE.height, FULL_SIZE.width)
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
        yield Call(
            model=ANIMATEZERO, name=name, title=title, compared_with=DIFFUSERS,
            count=partial(_animate_call, settings, size),
        )  # fmt: skip
    yield Call(
        model=ANIMATEZERO, name=DRAW, title="drawing the still, one step",
        count=partial(_draw_call, size),
    )  # fmt: skip
    yield Call(
        model=ANIMATEZERO, name=DECODE, title="decoding one frame",
        count=partial(_decode_call, size),
    )  # fmt: skip


def _dynamicrafter_calls(model: str, variant: Variant) -> Iterator[Call]:
    facts = VARIANTS[variant]
    size = _latent_size(facts.height, facts.width)
    for step, (name, title) in enumerate(((FIRST_STEP, "first step"), (LATER_STEP, "later step"))):
        yield Call(
            model=model, name=name, title=f"{facts.title}, {title}",
            count=partial(_video_call, variant, step),
        )  # fmt: skip
    yield Call(
        model=model, name=DECODE, title=f"{facts.title}, decoding one frame",
        count=partial(_decode_call, size),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _CountedDenoiser(Denoiser):
    """Counts every guided prediction."""

    counts: list[Counts] = field(default_factory=list)

    def predict(self, z_t: Tensor, timestep: Tensor, reference: Tensor | None = None) -> Tensor:
        predict = super().predict
        prediction, counts = counted(lambda: predict(z_t, timestep, reference))
        self.counts.append(counts)
        return prediction


@dataclass(frozen=True, kw_only=True)
class _CountedVideoDenoiser(VideoDenoiser):
    """Counts every guided prediction."""

    counts: list[Counts] = field(default_factory=list)

    def predict(self, z_t: Tensor, timestep: Tensor) -> Tensor:
        predict = super().predict
        prediction, counts = counted(lambda: predict(z_t, timestep))
        self.counts.append(counts)
        return prediction


def _diffusers_call(size: tuple[int, int]) -> Counts:
    """What diffusers' AnimateDiffPipeline computes between two steps of its scheduler."""
    unet = _networks().unet
    latents = _meta(1, _LATENT_CHANNELS, NUM_FRAMES, *size)
    text = _meta(2 * NUM_FRAMES, _TEXT_TOKENS, _TEXT_WIDTH)

    def call() -> Tensor:
        both = torch.cat([latents] * 2)
        halves = unet(both, torch.tensor(0), encoder_hidden_states=text, return_dict=False)[0]
        unconditional, conditional = halves.chunk(2)
        return classifier_free_guidance(unconditional, conditional, _GUIDANCE_SCALE)

    return counted(call)[1]


def _animate_call(settings: AnimateZeroSettings, size: tuple[int, int]) -> Counts:
    """One guided prediction of `animate_latents`, with one given still if the settings use it."""
    denoiser = _denoiser(NUM_FRAMES + int(settings.needs_reference_row))
    still = Anchor(0, _meta(2, _LATENT_CHANNELS, *size))
    noise = _meta(1, _LATENT_CHANNELS, NUM_FRAMES, *size)
    start = Start(
        noise=noise,
        more_noise=lambda: torch.empty_like(noise),
        anchors=[still] if settings.needs_trajectory else [],
    )
    with torch.no_grad():
        animate_latents(denoiser, start, settings, Hooks(_pass))
    [counts] = denoiser.counts
    return counts


def _draw_call(size: tuple[int, int]) -> Counts:
    """One guided prediction of `draw_trajectory`."""
    denoiser = _denoiser(1)
    with torch.no_grad():
        draw_trajectory(denoiser, _meta(1, _LATENT_CHANNELS, *size), Hooks(_pass))
    [counts] = denoiser.counts
    return counts


def _denoiser(num_rows: int) -> _CountedDenoiser:
    """A denoiser with one timestep, which lies on the host, since a step looks it up in tables."""
    scheduler = DDIMScheduler(**_SCHEDULE)
    scheduler.set_timesteps(1)
    return _CountedDenoiser(
        unet=_networks().unet,
        scheduler=scheduler,
        prompt_embeds=_meta(2 * num_rows, _TEXT_TOKENS, _TEXT_WIDTH),
        guidance_scale=_GUIDANCE_SCALE,
        uses_guidance=True,
        step_options={},
    )


def _video_call(variant: Variant, step: int) -> Counts:
    """One prediction of a clip: in the first the contexts are projected, later they are known."""
    return _video_steps(variant)[step]


@cache
def _video_steps(variant: Variant) -> tuple[Counts, ...]:
    """The two predictions of `sample_clip` for a clip of two steps."""
    facts = VARIANTS[variant]
    size = _latent_size(facts.height, facts.width)
    scheduler = DynamiCrafterScheduler(**facts.scheduler)
    scheduler.set_timesteps(2)
    denoiser = _CountedVideoDenoiser(
        unet=_video_unet(variant is Variant.V256),
        scheduler=scheduler,
        conditions=_conditions(size, facts.default_pace),
        settings=DynamiCrafterSettings(
            guidance_scale=facts.guidance_scale, guidance_rescale=facts.guidance_rescale
        ),
        trained_frames=NUM_FRAMES,
    )
    noise = partial(_meta, 1, _LATENT_CHANNELS, NUM_FRAMES, *size)
    with torch.no_grad():
        sample_clip(denoiser, noise(), noise)
    return tuple(denoiser.counts)


def _conditions(size: tuple[int, int], pace: int) -> Conditions:
    """Nothing, and text with a picture: the two branches that all released scripts use."""
    nothing, full = (
        Branch(
            text=_meta(1, _TEXT_TOKENS, _VIDEO_TEXT_WIDTH),
            image=_meta(1, NUM_FRAMES, _IMAGE_TOKENS, _VIDEO_TEXT_WIDTH),
        )
        for _ in range(2)
    )
    return Conditions(
        branches=(nothing, full),
        detail=repeated(_meta(1, _LATENT_CHANNELS, *size), NUM_FRAMES),
        pace=torch.full((1,), pace, device="meta"),
    )


def _decode_call(size: tuple[int, int]) -> Counts:
    """The decoder as `models.decoding` calls it, before pixels go to the host.

    DynamiCrafter's VAE is Stable Diffusion's.
    """
    vae = _networks().vae
    latents = _meta(1, _LATENT_CHANNELS, *size)
    return counted(lambda: vae.decode(latents).sample)[1]


@cache
def _networks() -> Networks:
    networks = full_size_networks(DTYPE)
    networks.unet.eval()
    networks.vae.eval()
    return networks


@cache
def _video_unet(has_gate: bool) -> Any:
    """The network of DynamiCrafter 256, which has gates, or of 512 and 1024."""
    with torch.device("meta"):
        unet = DynamiCrafterUNet(image_gate=has_gate).eval()
        return nn.Module.to(unet, dtype=DTYPE)


def _latent_size(height: int, width: int) -> tuple[int, int]:
    return height // _VAE_FACTOR, width // _VAE_FACTOR


def _meta(*shape: int) -> Tensor:
    return torch.empty(*shape, dtype=DTYPE, device="meta")


def _pass() -> None:
    """Nobody follows the sampling."""
