"""Pictures that go into a clip: loaded, and brought to a size that the model takes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stillmotion.adapters.diffusers_sites import latent_multiple
from stillmotion.animatezero.loading import LoadedModel
from stillmotion.animatezero.photograph import PhotographSettings
from stillmotion.errors import InputError
from stillmotion.jobs.context import Say
from stillmotion.jobs.sources import Found
from stillmotion.media.fit import Fit, Size, choose_size, fit_picture
from stillmotion.media.still import Still


@dataclass(frozen=True)
class Picture:
    """A still for a clip."""

    still: Still
    name: str | None
    """Of its file."""
    fit: Fit | None = None
    """How a photograph was brought to its size; None if it had one that the model takes."""
    original: NDArray[np.uint8] | None = None
    """The pixels (h w 3) before that."""

    @property
    def given(self) -> NDArray[np.uint8]:
        """The pixels (h w 3) as they were given, by which records know the picture."""
        return self.still.image if self.original is None else self.original


def load_picture(found: Found, *, photograph: bool) -> Picture:
    """A still or any other picture; as a photograph it has no latents.

    Raises InputError if it cannot be read.
    """
    still = Still.load(found.path)
    return Picture(still.without_latents() if photograph else still, found.name)


def fitted(model: LoadedModel, picture: Picture, settings: PhotographSettings, say: Say) -> Picture:
    """The picture as the model can take it; one that was drawn is so already."""
    size = (picture.still.height, picture.still.width)
    target = model_size(model, *size)
    is_drawn = picture.still.settings is not None
    if target == size or is_drawn:
        return picture
    return _fit(picture, target, settings, say)


def model_size(model: LoadedModel, height: int, width: int) -> Size:
    """The size that the model takes for a picture of another: see `choose_size`."""
    own = (model.sampling.height, model.sampling.width)
    assert own[0] is not None
    assert own[1] is not None
    multiple = model.pipeline.vae_scale_factor * latent_multiple(model.pipeline.unet)
    return choose_size(height, width, multiple=multiple, area=own[0] * own[1])


def fitted_to(first: Picture, last: Picture, settings: PhotographSettings, say: Say) -> Picture:
    """The last picture in the size of the first.

    Raises InputError if it was drawn in another size, or if the padding of the two differs.
    """
    size = (first.still.height, first.still.width)
    padding = first.fit.padding if first.fit is not None else (0, 0, 0, 0)
    if (last.still.height, last.still.width) == size and not any(padding):
        return last
    if last.still.latents is not None:
        padded = " with its padding" if any(padding) else ""
        raise InputError(
            f"'{last.name}' was drawn in {last.still.width} x {last.still.height} pixels, but the "
            f"first frame has {size[1]} x {size[0]}{padded}; draw both in one size, or add "
            "--photograph."
        )
    fitted_last = _fit(last, size, settings, say)
    if fitted_last.fit is not None and fitted_last.fit.padding != padding:
        raise InputError(
            f"'{first.name}' and '{last.name}' have different shapes, so the same padding cannot "
            "be cut off both; use --fit cover."
        )
    return fitted_last


def _fit(picture: Picture, target: Size, settings: PhotographSettings, say: Say) -> Picture:
    image, fit = fit_picture(picture.still.image, target, settings.fit)
    still = replace(picture.still, image=image, latents=None, settings=None, seed=None)
    say(
        f"'{picture.name}' has {fit.source[1]} x {fit.source[0]} pixels; the model takes it as "
        f"{target[1]} x {target[0]}, {'cut' if settings.fit == 'cover' else 'padded'} where the "
        "shapes differ"
    )
    return Picture(still, picture.name, fit, picture.given)
