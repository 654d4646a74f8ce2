"""Small clips and records for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stillmotion.media.provenance import InputIdentity, ModelIdentity, Provenance, StillRecipe

EXACT = ["clip.webp", "clip.safetensors", "frames"]
FILES = ["clip.mp4", "clip.webm", "clip.gif", "clip.webp", "clip.safetensors"]
ALL = [*FILES, "frames"]
LONG_PROMPT = 'a lantern in the snow, ein Würfel, 雪の中の灯り, 🏮 [bold] <b> "quoted" \\n ' * 80


def provenance(prompt: str = LONG_PROMPT) -> Provenance:
    return Provenance(
        kind="clip",
        method="animatezero",
        prompt=prompt,
        negative_prompt="blurry, niedrige Qualität",
        seed=2**63 - 1,
        model=ModelIdentity(name="miniature", fingerprint="ab" * 32),
        settings={"steps": 25, "eta": 0.0, "size": [64, 64], "loop": False, "lora": None},
        inputs=(InputIdentity(role="still", sha256="cd" * 32, name="cat.png"),),
        still=StillRecipe(prompt="a cat", seed=4, settings={"guidance_scale": 7.5}),
    )


def moving_disc(num_frames: int = 6, height: int = 40, width: int = 56) -> NDArray[np.uint8]:
    """A red disc that moves over smooth colours: uint8 (f h w 3)."""
    y, x = np.mgrid[0:height, 0:width]
    frames = []
    for index in range(num_frames):
        frame = np.stack(
            [
                127 + 90 * np.sin(x / 20 + index * 0.3),
                127 + 90 * np.cos(y / 25 - index * 0.2),
                255 * (x + y) / (height + width),
            ],
            axis=-1,
        )
        centre = width * (0.3 + 0.05 * index)
        frame[(x - centre) ** 2 + (y - height / 2) ** 2 < (height / 5) ** 2] = (200, 60, 60)
        frames.append(frame)
    return np.stack(frames).clip(0, 255).astype(np.uint8)


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def psnr(decoded: NDArray[np.uint8], original: NDArray[np.uint8]) -> float:
    error = np.mean((decoded.astype(np.float64) - original) ** 2)
    return float(10 * np.log10(255**2 / error))


def contents(path: Path) -> dict[str, bytes]:
    """The bytes of a file, or of all files of a folder."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {file.name: file.read_bytes() for file in files}
