"""The procedural world as a source of clips, of the same kind as one's own."""

from __future__ import annotations

import random
from dataclasses import dataclass
from fractions import Fraction

import torch

from stillmotion.errors import InputError
from stillmotion.media.fit import fit_picture
from stillmotion.runtime.seeds import derive_seed, drawn_random
from stillmotion.training.clips.samples import ClipSample, ClipSettings
from stillmotion.training.clips.timing import conditioning_fps, excerpt
from stillmotion.world.captions import caption
from stillmotion.world.motion import progress
from stillmotion.world.render import render_at
from stillmotion.world.scene import Fixed, sample_scene


@dataclass(frozen=True, kw_only=True)
class WorldSettings:
    """What is rendered, and how it is described.  Raises InputError for impossible numbers."""

    count: int
    """How many scenes there are."""
    seed: int = 0
    length: int = 16
    """Frames in which a scene shows its whole motion; a longer one is slower at stride 1."""
    fps: float = 8.0
    """Frames per second of a scene before strides."""
    domain: float = 1.0
    """Part of the captions that name the look."""
    motion: float = 1.0
    """Part of the captions that name the motion."""
    fixed: Fixed | None = None
    """What all scenes have in common."""

    def __post_init__(self) -> None:
        if self.count < 1 or self.length < 1 or not self.fps > 0:
            raise InputError(
                f"A world needs at least 1 scene of 1 frame and a rate above 0, not {self.count} "
                f"of {self.length} at {self.fps:g} frames per second."
            )


class WorldClips:
    """Scenes of the procedural world.

    Scene `index` of a seed is always the same one; strides, starts and wording are drawn.  It is
    rendered as a square of the longer side and cut to size.
    """

    def __init__(self, world: WorldSettings, settings: ClipSettings) -> None:
        if world.length < settings.num_frames:
            raise InputError(
                f"The scenes have {world.length} frames and a sample takes {settings.num_frames}; "
                "make the scenes longer."
            )
        self.world = world
        self.settings = settings

    def __len__(self) -> int:
        return self.world.count

    def sample(self, index: int, generator: torch.Generator) -> ClipSample:
        """As `ClipSource.sample`."""
        world, settings = self.world, self.settings
        seed = derive_seed(world.seed, "clip", index)
        scene = sample_scene(random.Random(seed), world.fixed)
        drawn = excerpt(world.length, settings, generator)
        steps = drawn.start + drawn.stride * torch.arange(settings.num_frames)
        at = progress(scene, world.length)[steps]
        rendered = render_at(scene, at, max(settings.height, settings.width)).frames
        pixels = (rendered.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        size = (settings.height, settings.width)
        frames = [torch.from_numpy(fit_picture(frame, size)[0]) for frame in pixels]
        words = drawn_random(generator)
        return ClipSample(
            frames=torch.stack(frames).permute(0, 3, 1, 2).contiguous(),
            caption=caption(
                scene, words, motion=words.random() < world.motion, domain=world.domain
            ),
            frame_stride=drawn.stride,
            conditioning_fps=conditioning_fps(Fraction(world.fps), drawn.stride),
            licence=None,
            name=f"scene {index}",
        )
