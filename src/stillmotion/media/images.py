"""Stills: read with care, written with their provenance.

Pictures come from anywhere, so the header is checked before anything is decoded, only three
formats are ever tried, and nothing but the pixels of the first frame goes further.  Colours are
taken as sRGB; embedded colour profiles are not applied.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from stillmotion.errors import InputError, OutputError
from stillmotion.media.provenance import OutputRecord, Provenance
from stillmotion.runtime.files import atomic_path

MAX_PIXELS = 40_000_000
PNG_KEY = "stillmotion"
"""Key of the iTXt chunk with the provenance."""

_INPUT_FORMATS = ("PNG", "JPEG", "WEBP")
_EXIF_IMAGE_DESCRIPTION = 0x010E


def load_image(path: Path, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Read a PNG, JPEG or WebP picture as RGB, uint8 (h w 3) in 0..255.

    The rotation noted by cameras is applied, transparency is laid on white, 16-bit values are
    reduced to 8 bits, an animation gives its first frame.  Raises InputError if the file is
    missing, damaged, of another format, or larger than `max_pixels` by its header (Pillow itself
    refuses more than about 179 million).
    """
    with open_picture(path) as picture:
        width, height = picture.size
        if width * height > max_pixels:
            raise InputError(
                f"'{path}' has {width} x {height} pixels; at most {max_pixels} pixels are read: "
                "make it smaller first."
            )
        return np.asarray(to_rgb(ImageOps.exif_transpose(picture))).copy()


def read_png_text(path: Path) -> dict[str, str]:
    """The text chunks of a PNG file.  Raises InputError if it is missing or damaged."""
    with open_picture(path, ("PNG",)) as picture:
        assert isinstance(picture, PngImagePlugin.PngImageFile)
        return {key: str(value) for key, value in picture.text.items()}


def read_exif_note(path: Path) -> str | None:
    """The EXIF image description of a WebP picture, where the provenance is kept, or None."""
    with open_picture(path, ("WEBP",)) as picture:
        note = picture.getexif().get(_EXIF_IMAGE_DESCRIPTION)
        return note if isinstance(note, str) else None


def save_image(
    image: NDArray[np.uint8],
    path: Path,
    *,
    provenance: Provenance,
    overwrite: bool = False,
    side_car: bool = True,
) -> None:
    """Write a still, uint8 (h w 3), as .png or .webp (both without loss), with its provenance.

    The record is in the file and, with `side_car`, in `<file>.json`.  Raises OutputError for
    another suffix, if a file exists and `overwrite` is false, or if it cannot be written;
    InputError for an image of another shape or type.
    """
    path = Path(path)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise InputError(
            f"A still must be uint8 of shape (h w 3), not {image.dtype} of shape {image.shape}."
        )
    kind = path.suffix.lower().removeprefix(".")
    if kind not in ("png", "webp"):
        raise OutputError(f"'{path}' cannot be written as a still; use the ending .png or .webp.")
    height, width, _ = image.shape
    output = OutputRecord(format=kind, lossless=True, width=width, height=height)
    note = provenance.model_copy(update={"output": output}).to_json()
    with (
        with_side_car(path, note if side_car else None, overwrite=overwrite),
        atomic_path(path, overwrite=overwrite) as temporary,
    ):
        options = png_options(note) if kind == "png" else webp_options(note)
        write_picture(image, temporary, **options)


@contextmanager
def with_side_car(path: Path, note: str | None, *, overwrite: bool) -> Iterator[None]:
    """Write `note` (if any) to the side-car of `path` when the body has succeeded.

    Whether the side-car is free is checked before the body starts.
    """
    if note is None:
        yield
        return
    with atomic_path(side_car_path(path), overwrite=overwrite) as temporary:
        temporary.write_text(note + "\n", encoding="ascii")
        yield


def side_car_path(path: Path) -> Path:
    """`clip.mp4` -> `clip.mp4.json`, `frames/` -> `frames.json`."""
    return path.parent / f"{path.name}.json"


def latents_path(path: Path) -> Path:
    """`cat.png` -> `cat.latents.safetensors`, of a still that was drawn here."""
    return path.with_name(f"{path.stem}.latents.safetensors")


def write_picture(image: NDArray[np.uint8], path: Path, **options: Any) -> None:
    """Write uint8 (h w 3) with Pillow's `options`.

    Through memory: Pillow's PNG encoder hides the cause (a full disk, say) when writing fails.
    """
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, **options)
    path.write_bytes(buffer.getvalue())


def png_options(note: str) -> dict[str, Any]:
    """Options for Pillow to write a PNG that carries `note`."""
    text = PngImagePlugin.PngInfo()
    text.add_itxt(PNG_KEY, note)
    return {"format": "PNG", "pnginfo": text}


def webp_options(note: str) -> dict[str, Any]:
    """Options for Pillow to write a WebP without loss that carries `note` (EXIF description)."""
    exif = Image.Exif()
    exif[_EXIF_IMAGE_DESCRIPTION] = note
    return {"format": "WEBP", "lossless": True, "exact": True, "exif": exif.tobytes()}


@contextmanager
def open_picture(path: Path, formats: tuple[str, ...] = _INPUT_FORMATS) -> Iterator[Image.Image]:
    """Open a picture (header only) and turn whatever goes wrong with it into one sentence."""
    path = Path(path)
    if path.is_dir():
        raise InputError(f"'{path}' is a folder; give the name of a picture.")
    if not path.is_file():
        raise InputError(f"There is no file '{path}'; check the name.")
    try:
        with warnings.catch_warnings():
            # Our own limit decides, with an error instead of a warning.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=formats) as picture:
                yield picture
    except (InputError, MemoryError):
        raise
    except PermissionError as error:
        raise InputError(f"'{path}' cannot be read: permission denied.") from error
    except UnidentifiedImageError as error:
        names = " or ".join(formats)
        raise InputError(
            f"'{path}' is not a {names} picture, or it is damaged; convert it first."
        ) from error
    except Image.DecompressionBombError as error:
        raise InputError(f"'{path}' has far too many pixels; make it smaller first.") from error
    except Exception as error:  # decoders raise anything on a damaged file
        raise InputError(f"'{path}' is damaged or cut short: {error}.") from error


def to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):  # 16-bit grey, which Pillow would clip instead of scaling
        grey = np.asarray(picture).astype(np.int64) >> 8
        picture = Image.fromarray(grey.clip(0, 255).astype(np.uint8))
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return picture.convert("RGB")
