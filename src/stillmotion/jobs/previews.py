"""A picture of the clip while it is made, written anew every few steps."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from stillmotion.animatezero.loading import LoadedModel
from stillmotion.animatezero.preview import LatentPreview, contact_sheet
from stillmotion.animatezero.requests import OnPreview
from stillmotion.errors import OutputError
from stillmotion.jobs.outputs import check_file_output
from stillmotion.media.pixels import from_pixels
from stillmotion.media.still import Still
from stillmotion.runtime.files import atomic_path

#: At most so many pictures of one clip.
_NUM_PREVIEWS = 8
_COLUMNS = 16
_SIDE = 256


def check_preview_path(path: Path | None, *, overwrite: bool) -> None:
    """Raises OutputError unless the preview is to be a PNG that can be written."""
    if path is None:
        return
    if path.suffix.lower() != ".png":
        raise OutputError(f"'{path}' cannot hold a preview; use the ending .png.")
    check_file_output(path, overwrite=overwrite)


def latent_preview(model: LoadedModel, still: Still) -> LatentPreview:
    """The model's map from latents to colours or, without one, a map fitted to the still.

    Raises ModelError for a table of another shape, InputError for too small a still.
    """
    pipeline, rows = model.pipeline, model.folder.description.latent_rgb
    if rows is not None:
        return LatentPreview.from_rows(rows, pipeline.unet.config.in_channels)
    if still.latents is not None:
        return LatentPreview.of_picture(still.image, still.latents[-1])
    return fitted_preview(pipeline.vae, still.image)


def fitted_preview(vae: Any, image: NDArray[np.uint8]) -> LatentPreview:
    """A map for the latents of `vae`, fitted to a picture (h w 3) of a size that it takes.

    Raises InputError for too small a picture.
    """
    pixels = from_pixels(image).to(vae.device, vae.dtype)
    with torch.inference_mode():
        z_0 = vae.encode(pixels).latent_dist.mode()[0] * vae.config.scaling_factor
    return LatentPreview.of_picture(image, z_0)


def sheet_maker(
    preview: LatentPreview, vae_scale_factor: int, steps: int, give: Callable[[bytes], None]
) -> OnPreview:
    """Gives PNGs of all frames as they seem to become, 16 in a row, at most 8 of a clip.

    `steps` is the number of sampling steps.
    """
    every = -(-steps // _NUM_PREVIEWS)

    def write(index: int, clean: Tensor) -> None:
        if (index + 1) % every and index + 1 != steps:
            return
        frames = preview.rgb(clean, vae_scale_factor)
        sheet = contact_sheet(frames, columns=_COLUMNS)
        buffer = io.BytesIO()
        Image.fromarray(sheet).save(buffer, format="PNG")
        give(buffer.getvalue())

    return write


def small_picture(image: NDArray[np.uint8], side: int = _SIDE) -> bytes:
    """A picture (h w 3) as a PNG of at most `side` pixels in both directions."""
    picture = Image.fromarray(image)
    picture.thumbnail((side, side))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def file_writer(path: Path) -> Callable[[bytes], None]:
    """Writes each picture to `path`, in place of an older one."""

    def write(picture: bytes) -> None:
        with atomic_path(path, overwrite=True) as temporary:
            temporary.write_bytes(picture)

    return write
