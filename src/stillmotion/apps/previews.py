"""A picture of the clip while it is made, written anew every few steps."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from stillmotion.animatezero.loading import LoadedModel
from stillmotion.animatezero.preview import LatentPreview, contact_sheet
from stillmotion.animatezero.requests import OnPreview
from stillmotion.apps.outputs import check_file_output
from stillmotion.errors import OutputError
from stillmotion.media.pixels import from_pixels
from stillmotion.media.still import Still
from stillmotion.runtime.files import atomic_path

#: At most so many pictures of one clip.
_NUM_PREVIEWS = 8
_COLUMNS = 16


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
    vae = pipeline.vae
    pixels = from_pixels(still.image).to(vae.device, vae.dtype)
    with torch.inference_mode():
        z_0 = vae.encode(pixels).latent_dist.mode()[0] * vae.config.scaling_factor
    return LatentPreview.of_picture(still.image, z_0)


def preview_writer(model: LoadedModel, still: Still, path: Path, steps: int) -> OnPreview:
    """Writes all frames as they seem to become, 16 in a row; an older picture is replaced.

    `steps` is the number of sampling steps.
    """
    preview = latent_preview(model, still)
    every = -(-steps // _NUM_PREVIEWS)

    def write(index: int, clean: Tensor) -> None:
        if (index + 1) % every and index + 1 != steps:
            return
        frames = preview.rgb(clean, model.pipeline.vae_scale_factor)
        sheet = contact_sheet(frames, columns=_COLUMNS)
        with atomic_path(path, overwrite=True) as temporary:
            Image.fromarray(sheet).save(temporary, format="PNG")

    return write
