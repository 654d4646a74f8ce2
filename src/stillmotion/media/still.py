"""A still: a picture, and how it came to be."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from stillmotion.diffusion.settings import SamplingSettings
from stillmotion.diffusion.speed import EXACT, SpeedSettings
from stillmotion.errors import InputError, OutputError
from stillmotion.media.images import (
    PNG_KEY,
    load_image,
    read_png_text,
    save_image,
)
from stillmotion.media.images import latents_path as latents_path
from stillmotion.media.provenance import ModelIdentity, Provenance, fingerprint_pixels
from stillmotion.runtime.files import atomic_path

METHOD = "text-to-image"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, kw_only=True, eq=False)
class Still:
    """A picture; if it was drawn here, with the latents of every step and all that led to it.

    Without `latents` it is animated as a photograph is.  Raises InputError if the parts do not
    fit together.
    """

    image: NDArray[np.uint8]
    """RGB, (h w 3), 0..255."""
    latents: Tensor | None = None
    """float32 (s+1 c h/m w/m): z_T first, z_0 last, in the scheduler's scaling."""
    timesteps: tuple[int, ...] = ()
    """The s timesteps at which the U-Net was called."""
    prompt: str = ""
    seed: int | None = None
    """None for a photograph, or if drawn from a generator in an unknown state."""
    settings: SamplingSettings | None = None
    model: dict[str, str] = field(default_factory=dict)
    """`name` and `fingerprint` of what drew it."""
    scheduler_fingerprint: str = ""
    speed: SpeedSettings = EXACT
    """Shortcuts that were taken in drawing it."""

    def __post_init__(self) -> None:
        _check_image(self.image)
        if self.latents is not None:
            _check_latents(self.latents, self.image, self.timesteps)

    @property
    def height(self) -> int:
        """In pixels."""
        return int(self.image.shape[0])

    @property
    def width(self) -> int:
        """In pixels."""
        return int(self.image.shape[1])

    def without_latents(self) -> Still:
        """The same picture as if it were a photograph, to be animated by any model."""
        return replace(self, latents=None)

    def provenance(self) -> Provenance:
        """The record of how it was drawn.  Raises InputError for a photograph, which was not."""
        if self.settings is None or self.seed is None:
            raise InputError(
                "This picture was not drawn from a seed here, so there is no record of it to save; "
                "animate the file that it came from."
            )
        speed = self.speed.record()
        return Provenance(
            kind="still",
            method=METHOD,
            prompt=self.prompt,
            negative_prompt=self.settings.negative_prompt,
            seed=self.seed,
            model=ModelIdentity(**self.model),
            settings={
                "sampling": asdict(self.settings),
                "timesteps": list(self.timesteps),
                "scheduler_fingerprint": self.scheduler_fingerprint,
                **({} if speed is None else {"speed": speed}),
            },
        )

    def save(self, path: Path, *, overwrite: bool = False) -> None:
        """Write a PNG with its provenance and, beside it, `<stem>.latents.safetensors`.

        Raises OutputError if `path` is not a .png, or if a file is there and not to be replaced;
        InputError for a photograph.
        """
        path = Path(path)
        if path.suffix.lower() != ".png":
            raise OutputError(f"'{path}' cannot hold a still; use the ending .png.")
        if self.latents is None:
            save_image(self.image, path, provenance=self.provenance(), overwrite=overwrite)
            latents_path(path).unlink(missing_ok=True)  # left from the still that was replaced
            return
        metadata = {"pixels_sha256": fingerprint_pixels(self.image)}
        # The picture comes last: whoever sees it finds its latents there.
        with atomic_path(latents_path(path), overwrite=overwrite) as temporary:
            # Not save_file, which makes a file that only its owner can read.
            temporary.write_bytes(save({"latents": self.latents.contiguous()}, metadata))
            save_image(self.image, path, provenance=self.provenance(), overwrite=overwrite)

    @classmethod
    def load(cls, path: Path) -> Still:
        """Read what `save` wrote, or any picture as a photograph.

        If the latents file is missing, `latents` is None.  Raises InputError if it belongs to
        another picture or is damaged, or if the picture cannot be read.
        """
        path = Path(path)
        image = load_image(path)
        record = _read_record(path)
        latents = _load_latents(latents_path(path), image)
        if record is None:
            if latents is not None:
                raise InputError(
                    f"'{path}' has lost the record of how it was drawn, so its latents cannot be "
                    f"used; move '{latents_path(path)}' away to animate it as a photograph."
                )
            return cls(image=image)
        return cls(image=image, latents=latents, **record)


def _check_image(image: NDArray[np.uint8]) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise InputError(
            f"The picture has shape {image.shape} and type {image.dtype}; give RGB pixels of "
            "shape (height, width, 3) and type uint8."
        )


def _check_latents(latents: Tensor, image: NDArray[np.uint8], timesteps: tuple[int, ...]) -> None:
    if latents.dtype != torch.float32 or latents.ndim != 4:
        raise InputError(
            f"The latents have shape {tuple(latents.shape)} and type {latents.dtype}; a still has "
            "float32 latents of shape (steps + 1, channels, height, width)."
        )
    if len(latents) != len(timesteps) + 1:
        raise InputError(
            f"There are latents for {len(latents)} noise levels but {len(timesteps)} timesteps; a "
            "still has one more latent than timesteps.  Draw it again."
        )
    height, width = latents.shape[2:]
    if image.shape[0] * width != image.shape[1] * height or image.shape[0] % height:
        raise InputError(
            f"Latents of {height} x {width} do not fit a picture of {image.shape[0]} x "
            f"{image.shape[1]} pixels.  Draw the still again."
        )
    if not bool(latents.isfinite().all()):
        raise InputError("The latents hold infinite or undefined numbers.  Draw the still again.")


def _read_record(path: Path) -> dict[str, Any] | None:
    """The arguments of `Still` kept in a PNG, or None if it is no drawn still."""
    with path.open("rb") as file:
        if file.read(len(_PNG_SIGNATURE)) != _PNG_SIGNATURE:
            return None
    note = read_png_text(path).get(PNG_KEY)
    if note is None:
        return None
    try:
        record = Provenance.from_json(note)
        if record.kind != "still":
            return None
        kept: dict[str, Any] = record.settings
        return {
            "prompt": record.prompt,
            "seed": record.seed,
            "settings": SamplingSettings(**kept["sampling"]),
            "timesteps": tuple(int(t) for t in kept["timesteps"]),
            "model": record.model.model_dump(),
            "scheduler_fingerprint": kept["scheduler_fingerprint"],
            "speed": SpeedSettings.from_record(kept.get("speed")),
        }
    except (InputError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"The record in '{path}' is damaged; draw the still again.") from error


def _load_latents(path: Path, image: NDArray[np.uint8]) -> Tensor | None:
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            owner = (file.metadata() or {}).get("pixels_sha256")
            latents: Tensor = file.get_tensor("latents")
    except (SafetensorError, OSError) as error:
        raise InputError(f"'{path}' is damaged ({error}); draw the still again.") from error
    if owner != fingerprint_pixels(image):
        raise InputError(
            f"'{path}' belongs to another picture; move it away to animate this one as a "
            "photograph, or draw the still again."
        )
    return latents
