"""Training data rendered from the world, kept on disk so that a resumed stage starts at once."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from stillmotion.errors import InputError
from stillmotion.runtime.files import atomic_path
from stillmotion.runtime.seeds import derive_seed, drawn_random
from stillmotion.world.captions import caption
from stillmotion.world.motion import progress
from stillmotion.world.render import render_at
from stillmotion.world.scene import Fixed, Pacing, Scene, sample_scene


@dataclass(frozen=True, kw_only=True)
class StillSet:
    """Rendered stills: `images` `(n, 3, h, w)` uint8, `masks` `(n, h, w)` bool (the subject)."""

    images: Tensor
    masks: Tensor
    scenes: list[Scene]

    def __len__(self) -> int:
        return len(self.scenes)


@dataclass(frozen=True, kw_only=True)
class LatentSet:
    """Stills or clips as the VAE encodes them.

    latents: scaled, `(n, c, h, w)` or `(n, f, c, h, w)` float16.  weights: how much each latent
    cell counts in the loss, without `c`, float32.
    """

    latents: Tensor
    weights: Tensor
    scenes: list[Scene]

    def __len__(self) -> int:
        return len(self.scenes)


@dataclass(frozen=True, kw_only=True)
class ClipSet:
    """Rendered clips: `frames` `(n, f, 3, h, w)` uint8, `masks` `(n, f, h, w)` bool."""

    frames: Tensor
    masks: Tensor
    scenes: list[Scene]

    def __len__(self) -> int:
        return len(self.scenes)


def still_scene(seed: int, index: int, fixed: Fixed | None = None) -> tuple[Scene, float]:
    """The scene of one still and the moment of its motion, 0 to 1; early moments are favoured.

    A still that will be animated is a first frame, so most stills show the motion's beginning.
    """
    rng = random.Random(derive_seed(seed, "still", index))
    scene = sample_scene(rng, fixed)
    return scene, 0.0 if rng.random() < 0.4 else rng.random()


def clip_scene(seed: int, index: int, fixed: Fixed | None = None) -> Scene:
    """The scene of one clip."""
    return sample_scene(random.Random(derive_seed(seed, "clip", index)), fixed)


def render_stills(count: int, seed: int, size: int, fixed: Fixed | None = None) -> StillSet:
    """Render stills `0..count-1` of a seed."""
    images = torch.empty(count, 3, size, size, dtype=torch.uint8)
    masks = torch.empty(count, size, size, dtype=torch.bool)
    scenes = []
    for index in range(count):
        scene, moment = still_scene(seed, index, fixed)
        clip = render_at(scene, torch.tensor([moment]), size)
        images[index] = to_uint8(clip.frames[0])
        masks[index] = clip.buffers.subject_mask[0]
        scenes.append(scene)
    return StillSet(images=images, masks=masks, scenes=scenes)


def render_clips(
    count: int, seed: int, size: int, num_frames: int, fixed: Fixed | None = None
) -> ClipSet:
    """Render clips `0..count-1` of a seed."""
    frames = torch.empty(count, num_frames, 3, size, size, dtype=torch.uint8)
    masks = torch.empty(count, num_frames, size, size, dtype=torch.bool)
    scenes = []
    for index in range(count):
        scene = clip_scene(seed, index, fixed)
        clip = render_at(scene, progress(scene, num_frames), size)
        frames[index] = to_uint8(clip.frames)
        masks[index] = clip.buffers.subject_mask
        scenes.append(scene)
    return ClipSet(frames=frames, masks=masks, scenes=scenes)


def judge_clip_scene(seed: int, index: int) -> Scene:
    """The scene of one clip of any look that does move."""
    moving: tuple[Pacing, ...] = ("steady", "steady", "rest", "ease", "accelerate")
    rng = random.Random(derive_seed(seed, "judge-clip", index))
    return sample_scene(rng, Fixed(pacing=rng.choice(moving)))


def render_judge_clips(count: int, seed: int, size: int) -> Tensor:
    """`(n, 16, 3, h, w)` uint8, rendered at twice `size` and averaged down."""
    frames = []
    for index in range(count):
        scene = judge_clip_scene(seed, index)
        clip = render_at(scene, progress(scene, 16), 2 * size)
        frames.append(to_uint8(F.avg_pool2d(clip.frames, 2)))
    return torch.stack(frames)


def to_uint8(image: Tensor) -> Tensor:
    """0..1 float to 0..255 uint8, rounded."""
    return (image.clamp(0, 1) * 255).round().to(torch.uint8)


def to_model_range(image: Tensor) -> Tensor:
    """0..255 uint8 to -1..1 float, what the VAE takes."""
    return image.float().div(127.5).sub(1)


def cached(path: Path, count: int, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors `(count, ...)` from `path`, made and written there first if need be.

    Raises:
        InputError: what is there is not `count` samples.
    """
    if path.exists():
        tensors = load_file(path)
        if found := {len(tensor) for tensor in tensors.values()} - {count}:
            raise InputError(
                f"{path} holds {found.pop()} samples of another recipe, not {count}; "
                "use another folder or delete it"
            )
        return tensors
    # Contiguous as after loading: the order in memory changes how networks round.
    tensors = {name: tensor.contiguous() for name, tensor in make().items()}
    with atomic_path(path, overwrite=True) as temporary:
        save_file(tensors, temporary)
    return tensors


def cached_stills(
    path: Path, count: int, seed: int, size: int, fixed: Fixed | None = None
) -> StillSet:
    """`render_stills`, kept at `path`; scenes are drawn again from the seed."""

    def make() -> dict[str, Tensor]:
        rendered = render_stills(count, seed, size, fixed)
        return {"images": rendered.images, "masks": rendered.masks}

    kept = cached(path, count, make)
    scenes = [still_scene(seed, index, fixed)[0] for index in range(count)]
    return StillSet(images=kept["images"], masks=kept["masks"], scenes=scenes)


def cached_judge_clips(path: Path, count: int, seed: int, size: int) -> ClipSet:
    """`render_judge_clips`, kept at `path`, with their scenes and no masks."""
    kept = cached(path, count, lambda: {"frames": render_judge_clips(count, seed, size)})
    scenes = [judge_clip_scene(seed, index) for index in range(count)]
    return ClipSet(frames=kept["frames"], masks=torch.empty(0), scenes=scenes)


def random_caption(
    scene: Scene, generator: torch.Generator, *, domain: float, motion: float
) -> str:
    """A caption worded by the generator; `domain` and `motion` are probabilities of being named."""
    rng = drawn_random(generator)
    return caption(scene, rng, motion=rng.random() < motion, domain=domain)


def sample_indices(count: int, batch: int, generator: torch.Generator) -> Tensor:
    """`batch` indices below `count`, drawn with replacement."""
    return torch.randint(count, (batch,), generator=generator)
