"""Small run folders for studies: procedural clips, each method recognisable by its pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stillmotion.evaluation.benchmark.folder import Case, Manifest, Method, RunFolder, Sample

METHODS = ("glidewise", "tremolator", "bleachbox")
FRAMES, FPS = 6, 6.0
PROMPT = "a red ball <b>rolls</b> & \"rests\"</script><script>alert('{{data}}')</script>"


def still(case: int, height: int = 24, width: int = 32) -> NDArray[np.uint8]:
    """The picture of a case: uint8 (h w 3)."""
    y, x = np.mgrid[0:height, 0:width]
    ball = (x - 8) ** 2 + (y - height / 2) ** 2 < 36
    picture = np.stack([x * 4, np.full_like(x, 40 + 20 * case), y * 6], -1).clip(0, 255)
    picture[ball] = (220, 40, 40)
    return picture.astype(np.uint8)


def clip(method: int, case: int, frames: int = FRAMES, **size: int) -> NDArray[np.uint8]:
    """A clip of a method: the picture slides; blue says whose it is and green at which frame."""
    first = still(case, **size)
    moved = np.stack([np.roll(first, 2 * index, axis=1) for index in range(frames)])
    moved[:, :4, :4, 2] = 24 * method % 256
    moved[:, :4, :4, 1] = (4 * np.arange(frames) % 256)[:, None, None]
    return moved


def make_run(
    folder: Path,
    methods: Sequence[str] = METHODS,
    cases: int = 4,
    *,
    first: int = 0,
    **options: Any,
) -> Path:
    """Write a run folder; `first` is the number of its first method, so that runs differ."""
    run = RunFolder(folder)
    found = [
        Case(name=f"case-{i}", prompt=f"{i}: {PROMPT}", seed=i, still=f"stills/case-{i}.png",
             group=("plain", "neon")[i % 2])
        for i in range(cases)
    ]  # fmt: skip
    run.write_manifest(
        Manifest(
            protocol="clips", title="A secretive run", command="stillmotion evaluate clips",
            methods=tuple(Method(name=name, title=f"{name.title()} 2", identity=f"{i}" * 64)
                          for i, name in enumerate(methods)),
            cases=tuple(found), extractors={}, scored_from="lossless", fps=FPS, versions={},
        )
    )  # fmt: skip
    for number, name in enumerate(methods, first):
        for index, case in enumerate(found):
            write_clip(folder / f"clips/{name}/{case.name}.webp", clip(number, index, **options))
    for index, case in enumerate(found):
        write_still(folder / f"stills/{case.name}.png", still(index))
    run.add_samples(
        Sample(method=name, case=case.name, clip=f"clips/{name}/{case.name}.webp", metrics={},
               num_frames=FRAMES)
        for name in methods for case in found
    )  # fmt: skip
    return folder


def write_clip(path: Path, frames: NDArray[np.uint8], fps: float = FPS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *rest = (Image.fromarray(frame) for frame in frames)
    first.save(path, save_all=True, append_images=rest, duration=round(1000 / fps), lossless=True,
               exact=True, loop=0)  # fmt: skip


def write_still(path: Path, picture: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
