"""Previews: what a clip will look like, shown while it is being denoised.

A VAE's latents are nearly linear in the colours of the pixels that they stand for, so a small
matrix shows them without the decoder.  Which matrix is a property of the VAE: it is kept with the
model as `latent_rgb` in `stillmotion.json`, and for models without it fitted to the still.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from stillmotion.animatezero.photograph import noise_levels
from stillmotion.diffusion.parameterization import clean_estimate
from stillmotion.errors import InputError, ModelError
from stillmotion.media.pixels import to_pixels

_WHITE = 255


@dataclass(frozen=True, eq=False)
class LatentPreview:
    """A linear map from a latent to a colour in -1..1.  Raises ModelError for other shapes."""

    matrix: Tensor
    """float32 (c 3)."""
    bias: Tensor
    """float32 (3)."""

    def __post_init__(self) -> None:
        if self.matrix.ndim != 2 or self.matrix.shape[1] != 3 or self.bias.shape != (3,):
            raise ModelError(
                f"latent_rgb has a matrix of shape {tuple(self.matrix.shape)} and a bias of shape "
                f"{tuple(self.bias.shape)}; it must be a row of 3 for each channel, and one more"
            )

    @classmethod
    def from_rows(cls, rows: Sequence[Sequence[float]], channels: int) -> LatentPreview:
        """From `latent_rgb` of a model's description: `channels` rows of the matrix, then the bias.

        Raises ModelError for another shape.
        """
        if len(rows) != channels + 1 or any(len(row) != 3 for row in rows):
            raise ModelError(
                f"latent_rgb of this model has rows of {sorted({len(row) for row in rows})} "
                f"numbers, {len(rows)} in all; its latents of {channels} channels need "
                f"{channels + 1} rows of 3"
            )
        table = torch.tensor(rows, dtype=torch.float32)
        return cls(table[:-1], table[-1])

    @classmethod
    def fitted(cls, latents: Tensor, colours: Tensor) -> LatentPreview:
        """Least squares of colours in -1..1 (n 3) on latents (n c), as the U-Net has them scaled.

        Raises InputError if there are fewer latents than numbers to be fitted.
        """
        if len(latents) <= latents.shape[1]:
            raise InputError(
                f"{len(latents)} latents are too few to fit {latents.shape[1] + 1} rows; give "
                "more or larger pictures."
            )
        values = latents.double()
        with_one = torch.cat([values, values.new_ones(len(values), 1)], dim=1)
        table = torch.linalg.lstsq(with_one, colours.double()).solution.float()
        return cls(table[:-1], table[-1])

    @classmethod
    def of_picture(cls, image: NDArray[np.uint8], z_0: Tensor) -> LatentPreview:
        """Fitted to one picture, RGB (h w 3), and its clean latents (c h' w').

        For models without a table: the frames of a clip have the colours of its still.  Raises
        InputError as `fitted` does.
        """
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None] / 127.5 - 1
        means = F.adaptive_avg_pool2d(pixels, (z_0.shape[-2], z_0.shape[-1]))[0]
        return cls.fitted(z_0.cpu().flatten(1).T, means.flatten(1).T)

    def rows(self) -> list[list[float]]:
        """What `from_rows` reads, to be kept in a model's description."""
        table = torch.cat([self.matrix, self.bias[None]])
        return [[round(value, 5) for value in row] for row in table.tolist()]

    def colours(self, latents: Tensor) -> Tensor:
        """Latents (n c h w), in the U-Net's scaling -> float32 (n 3 h w), about -1..1."""
        values = latents.float()
        flat = values.movedim(1, -1) @ self.matrix.to(values) + self.bias.to(values)
        return flat.movedim(-1, 1)

    def rgb(self, latents: Tensor, enlarge: int = 8) -> NDArray[np.uint8]:
        """Latents (1 c f h w), in the U-Net's scaling -> RGB uint8 (f h*k w*k 3), k = `enlarge`.

        8 is the size of the clip with the VAE of Stable Diffusion.  Enlarged smoothly, so that
        small latents do not look like tiles.  Raises InputError for latents of another shape.
        """
        if latents.ndim != 5 or latents.shape[:2] != (1, len(self.matrix)):
            raise InputError(
                f"The latents have shape {tuple(latents.shape)}; a preview needs "
                f"(1, {len(self.matrix)}, frames, height, width)."
            )
        colours = self.colours(latents[0].transpose(0, 1).cpu())
        if enlarge > 1:
            colours = F.interpolate(colours, scale_factor=enlarge, mode="bicubic")
        return to_pixels(colours)


def predicted_clean(scheduler: Any, prediction: Tensor, z_t: Tensor, timestep: Tensor) -> Tensor:
    """z_0 as the network sees it in `z_t` at `timestep` (a scalar): what a preview should show.

    `z_t` is in the scheduler's own scaling, before `scale_model_input`; the result, of the same
    shape, is clean.  Raises ModelError as `noise_levels` and `clean_estimate` do.
    """
    levels = noise_levels(scheduler, timestep.reshape(1))
    kind = scheduler.config.prediction_type
    estimate = clean_estimate(
        z_t.float() / levels.scale, prediction.float(), levels.alpha_bars, kind
    )
    return estimate.to(z_t.dtype)


def contact_sheet(frames: NDArray[np.uint8], columns: int | None = None) -> NDArray[np.uint8]:
    """All frames (f h w 3) in one picture (H W 3), row by row from the left; one row by default.

    What is left over of the last row is white.  Raises InputError for no frames, or columns below
    1.
    """
    count = len(frames)
    columns = count if columns is None else min(columns, count)
    if columns < 1:
        raise InputError("A contact sheet needs at least one frame and one column.")
    rows = math.ceil(count / columns)
    _, height, width, depth = frames.shape
    cells = np.full((rows * columns, height, width, depth), _WHITE, dtype=np.uint8)
    cells[:count] = frames
    grid = cells.reshape(rows, columns, height, width, depth).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(grid.reshape(rows * height, columns * width, depth))
