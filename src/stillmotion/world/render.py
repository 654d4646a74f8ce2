"""Scene -> buffers -> frames, vectorised over frames and pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from stillmotion.world.backgrounds import BACKDROPS
from stillmotion.world.domains import stylise
from stillmotion.world.motion import Pose, pose, progress
from stillmotion.world.scene import Scene
from stillmotion.world.subjects import Part, parts
from stillmotion.world.vocabulary import COLOURS

#: Part ids of the subject start here; smaller ids are background layers (0 is the sky).
FIRST_SUBJECT_ID = 8
SUBJECT_DEPTH = 0.9


@dataclass(frozen=True)
class Buffers:
    """What is in the picture, before any look.

    albedo: `(f, 3, h, w)`, 0 to 1, anti-aliased.  part_id: `(f, h, w)` uint8, the topmost part
    of each pixel.  layer_depths: depth of each id, `(ids,)`.
    """

    albedo: Tensor
    part_id: Tensor
    layer_depths: Tensor

    @property
    def subject_mask(self) -> Tensor:
        """`(f, h, w)` bool: pixels that show the subject."""
        return self.part_id >= FIRST_SUBJECT_ID

    @property
    def depth(self) -> Tensor:
        """`(f, h, w)`, 0 (far) to 1 (near)."""
        return self.layer_depths[self.part_id.long()]

    @cached_property
    def edges(self) -> Tensor:
        """`(f, h, w)`: 1 on both sides of a border between parts, else 0."""
        return edge_map(self.part_id)


@dataclass(frozen=True)
class WorldClip:
    """A rendered clip: `frames` `(f, 3, h, w)`, 0 to 1, with the buffers it was made of."""

    scene: Scene
    frames: Tensor
    buffers: Buffers


@lru_cache(maxsize=16)
def pixel_grid(size: int) -> tuple[Tensor, Tensor]:
    """Pixel centres `(1, h, w)` in half frames, -1 to 1: x to the right, y downwards."""
    centres = (torch.arange(size, dtype=torch.float32) + 0.5) * (2 / size) - 1
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    return x[None].contiguous(), y[None].contiguous()


def render_clip(scene: Scene, num_frames: int = 16, size: int = 64) -> WorldClip:
    """Render a whole clip of `size` x `size` pixels."""
    return render_at(scene, progress(scene, num_frames), size)


def render_at(scene: Scene, at: Tensor, size: int = 64) -> WorldClip:
    """Render the scene at the given progress values, shape `(f,)`, 0 to 1."""
    buffers = draw_buffers(scene, pose(scene, at), size)
    frames = stylise(scene.domain, buffers.albedo, lambda: buffers.edges)
    return WorldClip(scene, frames, buffers)


def to_canonical(x: Tensor, y: Tensor, at: Pose) -> tuple[Tensor, Tensor]:
    """Screen coordinates to the subject's own.

    Coordinates broadcast: of an upright subject, `u` needs no rows and `v` no columns, and all
    that is computed from one of them alone costs a row or a column and not a picture.
    """
    dx, dy = x - at.x, y - at.y
    if not at.angle.any():
        return dx / at.scale, dy / at.scale
    cos, sin = torch.cos(at.angle) / at.scale, torch.sin(at.angle) / at.scale
    return cos * dx + sin * dy, cos * dy - sin * dx


def to_screen(u: Tensor, v: Tensor, at: Pose) -> tuple[Tensor, Tensor]:
    """The subject's own coordinates to screen coordinates; inverse of `to_canonical`."""
    cos, sin = torch.cos(at.angle) * at.scale, torch.sin(at.angle) * at.scale
    return at.x + cos * u - sin * v, at.y + sin * u + cos * v


def draw_buffers(scene: Scene, at: Pose, size: int) -> Buffers:
    """Composite background and subject, back to front."""
    num_frames = at.x.shape[0]
    sky, ids, depths = _background(scene.background, scene.background_shift, size)
    albedo = sky.expand(num_frames, -1, -1, -1).clone()
    part_id = ids.expand(num_frames, -1, -1).clone()
    rows, columns, side = _windows(scene, at, size)
    patch = torch.stack([albedo[k, :, r : r + side, c : c + side] for k, (r, c) in
                         enumerate(zip(rows, columns, strict=True))])  # fmt: skip
    patch_id = torch.stack([part_id[k, r : r + side, c : c + side] for k, (r, c) in
                            enumerate(zip(rows, columns, strict=True))])  # fmt: skip
    u, v = to_canonical(_centres(columns, side, size)[:, None, :],
                        _centres(rows, side, size)[:, :, None], at)  # fmt: skip
    colour = torch.tensor(COLOURS[scene.colour])
    for index, part in enumerate(parts(scene.subject)):
        distance = part.distance(*part.deform.inverse(u, v, at.phase)) * at.scale
        cover = (0.5 - distance * (size / 2)).clamp_(0, 1)
        _paint(patch, part, colour, distance, cover)
        patch_id.masked_fill_(cover > 0.5, FIRST_SUBJECT_ID + index)
    for k, (r, c) in enumerate(zip(rows, columns, strict=True)):
        albedo[k, :, r : r + side, c : c + side] = patch[k]
        part_id[k, r : r + side, c : c + side] = patch_id[k]
    return Buffers(albedo, part_id, depths)


def _paint(patch: Tensor, part: Part, colour: Tensor, distance: Tensor, cover: Tensor) -> None:
    """Blend a part into `patch` `(f, 3, n, n)`, darker towards the part's outline."""
    if part.colour is not None:
        colour = torch.lerp(colour, torch.tensor(part.colour), part.tint)
    shade = (0.62 - distance * 6.0).clamp_(max=1.0).mul_(cover)
    patch.mul_((1 - cover)[:, None])
    patch.addcmul_(shade[:, None], colour[:, None, None])


def _windows(scene: Scene, at: Pose, size: int) -> tuple[list[int], list[int], int]:
    """First row and column of a square window around the subject in each frame, and its side.

    Only what the subject can reach is drawn anew in each frame; it saves most of the work.
    """
    num_frames = at.x.shape[0]
    if scene.subject == "waves":
        return [0] * num_frames, [0] * num_frames, size
    reach = at.scale.max().item() * (1.45 if at.angle.any() else 1.3)
    side = min(int(reach * size) + 3, size)

    def first(centre: Tensor) -> list[int]:
        start = ((centre.flatten() + 1) * (size / 2)).round().long() - side // 2
        return start.clamp(0, size - side).tolist()

    return first(at.y), first(at.x), side


def _centres(first: list[int], side: int, size: int) -> Tensor:
    """Centres of `side` pixels from each of `first` on, in half frames: `(f, side)`."""
    place = torch.tensor(first, dtype=torch.float32)[:, None] + torch.arange(side)
    return (place + 0.5) * (2 / size) - 1


@lru_cache(maxsize=16)
def _background(name: str, shift: float, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Albedo `(1, 3, h, w)`, part ids `(1, h, w)` and the depth of every id `(ids,)`."""
    backdrop = BACKDROPS[name]
    x, y = pixel_grid(size)
    top, bottom = torch.tensor(backdrop.top), torch.tensor(backdrop.bottom)
    blend = ((y + 1) / 2).clamp(0, 1)[:, None]
    albedo = torch.lerp(top[:, None, None], bottom[:, None, None], blend)
    part_id = torch.zeros(1, size, size, dtype=torch.uint8)
    depths = torch.full((256,), SUBJECT_DEPTH)
    depths[0] = 0.0
    for index, layer in enumerate(backdrop.layers, start=1):
        cover = (0.5 - layer.distance(x + shift, y) * (size / 2)).clamp(0, 1)
        albedo = torch.lerp(albedo, torch.tensor(layer.colour)[:, None, None], cover[:, None])
        part_id = part_id.masked_fill(cover > 0.5, index)
        depths[index] = layer.depth
    return albedo, part_id, depths


def edge_map(part_id: Tensor) -> Tensor:
    """Outlines between parts: `(f, h, w)` float, 1 on both sides of a border, else 0."""
    edges = torch.zeros(part_id.shape, dtype=torch.bool)
    across = part_id[:, :, 1:] != part_id[:, :, :-1]
    down = part_id[:, 1:] != part_id[:, :-1]
    edges[:, :, 1:] |= across
    edges[:, :, :-1] |= across
    edges[:, 1:] |= down
    edges[:, :-1] |= down
    return edges.float()
