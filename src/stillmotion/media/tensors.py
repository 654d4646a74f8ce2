"""Safetensors: the exact frames, and the latents they were decoded from, for further work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from safetensors import SafetensorError, safe_open

from stillmotion.errors import InputError
from stillmotion.media.container import (
    DEFAULT_FPS,
    Clip,
    Container,
    Recording,
    check_decoded_size,
)
from stillmotion.media.provenance import OutputRecord

if TYPE_CHECKING:
    import torch

_NOTE_KEY = "stillmotion"


def load_latents(path: Path) -> torch.Tensor:
    """The latents (b c f h w) kept in a .safetensors clip.  Raises InputError if it has none."""
    with _opened(Path(path), framework="pt") as source:
        if "latents" not in source.keys():  # noqa: SIM118 (not a mapping)
            raise InputError(f"'{path}' holds no latents; it was written without them.")
        latents: torch.Tensor = source.get_tensor("latents")
        return latents


def _write(clip: Recording, path: Path) -> None:
    import torch  # heavy: frames and records are read without it
    from safetensors.torch import save

    tensors = {"frames": torch.tensor(clip.frames)}
    if clip.latents is not None:
        tensors["latents"] = clip.latents.detach().cpu().contiguous()
    # One key only: safetensors writes several in an order that changes from run to run.
    path.write_bytes(save(tensors, metadata={_NOTE_KEY: clip.note}))


def _read(path: Path, record: OutputRecord | None) -> Clip:
    with _opened(path) as source:
        if "frames" not in source.keys():  # noqa: SIM118 (not a mapping)
            raise InputError(f"'{path}' holds no tensor named 'frames'; it is no clip.")
        header = source.get_slice("frames")
        shape = header.get_shape()
        if header.get_dtype() != "U8" or len(shape) != 4 or shape[3] != 3 or 0 in shape:
            raise InputError(
                f"'{path}': the frames must be uint8 (f h w 3), not {header.get_dtype()} {shape}."
            )
        check_decoded_size(path, *shape[:3])
        frames = source.get_tensor("frames")
    fps = record.fps if record is not None else None
    return Clip(frames, fps or DEFAULT_FPS)


def _read_note(path: Path) -> str | None:
    with _opened(path) as source:
        note: str | None = (source.metadata() or {}).get(_NOTE_KEY)
        return note


@contextmanager
def _opened(path: Path, framework: Literal["np", "pt"] = "np") -> Iterator[Any]:
    """Its tensors as those of NumPy or torch; not all that torch has, NumPy has."""
    try:
        with safe_open(path, framework=framework) as source:
            yield source
    except (SafetensorError, OSError) as error:
        raise InputError(f"'{path}' is damaged or no safetensors file: {error}.") from error


SAFETENSORS = Container(
    name="safetensors",
    suffix=".safetensors",
    lossless=True,
    write=_write,
    read=_read,
    read_note=_read_note,
)
