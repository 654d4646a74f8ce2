"""The recipe of the miniature: sizes, widths, data and budgets of every stage.

One recipe for CPU and GPU: `cpu_recipe` and `gpu_recipe` differ only in numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from stillmotion.errors import InputError
from stillmotion.training.loop import LoopSettings

VIDEO_STAGES = (
    "video-text", "video-image", "video", "context", "adapt", "joint", "finish", "interpolation",
)  # fmt: skip
"""Those of the miniature DynamiCrafter: its text encoder, its image and text-to-video models, the
paper's three, one in which all of it goes on learning, and interpolation."""
STAGES: tuple[str, ...] = (
    "vae", "clip", "text-to-image", "domains", "motion", "control", *VIDEO_STAGES,
)  # fmt: skip
"""The stages in the order in which they need each other; "judge" stands apart."""


@dataclass(frozen=True, kw_only=True)
class StageBudget:
    """Batch size and optimisation of one stage."""

    batch: int
    loop: LoopSettings


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that determines the trained weights, up to rounding."""

    image_size: int = 64
    num_frames: int = 16
    latent_channels: int = 8
    vae_widths: tuple[int, ...] = (16, 32, 64, 64)
    unet_widths: tuple[int, ...] = (96, 160)
    video_widths: tuple[int, ...] = (48, 96)
    """Of DynamiCrafter's networks, of which the package holds two."""
    video_text_layers: int = 2
    """Of the text encoder that both of them read."""
    unet_layers: int = 1
    heads: int = 4
    text_width: int = 128
    text_layers: int = 4
    text_length: int = 32
    position_rows: int = 32
    lora_rank: int = 8
    stills: int = 24_000
    """Pictures that the VAE, CLIP and the text-to-image stage learn from."""
    domain_stills: int = 8_000
    clips: int = 8_000
    video_clips: int = 8_000
    """Clips of every look, for the text-to-video model and DynamiCrafter."""
    judge_stills: int = 16_000
    judge_clips: int = 5_000
    seed: int = 20261120
    budgets: dict[str, StageBudget] = field(default_factory=dict)

    def with_budget(self, stage: str, seconds: float) -> Recipe:
        """The same recipe with another time budget for one stage."""
        if seconds <= 0:
            raise InputError(f"the budget of a stage must be positive, not {seconds} seconds")
        old = self.budgets[stage]
        loop = replace(old.loop, budget_seconds=seconds)
        return replace(self, budgets={**self.budgets, stage: replace(old, loop=loop)})


def _stage(seconds: float, batch: int, rate: float, **loop: float | bool) -> StageBudget:
    settings = LoopSettings(budget_seconds=seconds, learning_rate=rate, **loop)  # type: ignore[arg-type]
    return StageBudget(batch=batch, loop=settings)


def cpu_recipe() -> Recipe:
    """64x64 pixels on two CPU cores: 7 to 8 hours in all."""
    return Recipe(
        budgets={
            "judge": _stage(500, 64, 2e-3),
            "vae": _stage(1700, 8, 1.5e-3),
            "clip": _stage(280, 128, 1e-3),
            "text-to-image": _stage(2600, 32, 1e-3),
            "domains": _stage(600, 24, 2.5e-3),
            "motion": _stage(4800, 4, 1e-3),
            "control": _stage(1500, 32, 1e-3),
            # In float32: at these widths converting to bfloat16 costs more than it saves.
            "video-text": _stage(300, 96, 1e-3, bfloat16=False),
            "video-image": _stage(1000, 32, 1e-3, bfloat16=False),
            "video": _stage(3900, 4, 1e-3, bfloat16=False),
            "context": _stage(1000, 32, 1e-3, bfloat16=False),
            "adapt": _stage(450, 4, 5e-4, bfloat16=False),
            "joint": _stage(1500, 4, 7e-4, bfloat16=False),
            "finish": _stage(4500, 8, 7e-4, bfloat16=False),
            "interpolation": _stage(900, 4, 5e-4, bfloat16=False),
        }
    )


def gpu_recipe() -> Recipe:
    """128x128 pixels and wider nets for one large GPU: about an hour in all."""
    return Recipe(
        image_size=128,
        vae_widths=(32, 64, 96, 96),
        unet_widths=(96, 192),
        stills=120_000,
        domain_stills=10_000,
        clips=12_000,
        budgets={
            "judge": _stage(300, 256, 2e-3),
            "vae": _stage(900, 64, 1e-3),
            "clip": _stage(240, 512, 1e-3),
            "text-to-image": _stage(1200, 512, 1e-3),
            "domains": _stage(90, 256, 5e-4),
            "motion": _stage(1200, 48, 5e-4),
            "control": _stage(300, 256, 5e-4),
            "video-text": _stage(200, 256, 1e-3),
            "video-image": _stage(600, 256, 5e-4),
            "video": _stage(900, 32, 3e-4),
            "context": _stage(300, 256, 1e-3),
            "adapt": _stage(300, 32, 3e-4),
            "joint": _stage(600, 32, 3e-4),
            "finish": _stage(600, 32, 3e-4),
            "interpolation": _stage(300, 32, 3e-4),
        },
    )


RECIPES = {"cpu": cpu_recipe, "gpu": gpu_recipe}
