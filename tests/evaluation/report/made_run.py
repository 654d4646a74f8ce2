"""A small run folder as a benchmark writes it, of clips that are drawn by a rule."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stillmotion.evaluation.benchmark.folder import (
    Case,
    Feature,
    Manifest,
    Method,
    RunFolder,
    Sample,
)

METHODS = ("animatediff", "animatezero", "time-travel")
TITLES = ("AnimateDiff", "AnimateZero", "with time travel")
HOSTILE = (
    "\"><script>alert('in')</script><img src=https://example.org/x.png onerror=alert(1)> & "
    "{{ 7*7 }} </style></canvas> | **bold** `code`"
)
NUMBERS: dict[str, tuple[tuple[float | None, ...], ...]] = {
    "i1_mse": ((4.0, 8.0, 6.0, 10.0), (0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0)),
    "i1_psnr": ((42.0, 39.0, 40.0, 38.0), (None,) * 4, (None, None, 48.0, None)),
    "text_sim": ((0.30, 0.32, 0.31, 0.33), (0.32, 0.34, 0.33, 0.35), (0.31, 0.32, 0.32, 0.34)),
    "motion_magnitude": ((1.0, 2.0, 1.5, 0.5), (1.2, 1.8, 1.6, 0.6), (0.9, 0.8, 0.7, 0.6)),
    "first_step_ratio": ((2.0, 1.5, 1.75, None), (1.0, 1.1, 1.0, 1.1), (1.0, 1.0, 1.2, 1.2)),
    "motion_right": ((0.0, 1.0, 0.0, 0.0), (1.0, 1.0, 1.0, 1.0), (1.0, 1.0, 1.0, 0.0)),
}
"""Per key, for each method its values of the cases."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a made run looks like."""

    size: tuple[int, int] = (32, 40)
    """Height and width."""
    num_frames: int = 6
    methods: tuple[str, ...] = METHODS
    groups: tuple[str, ...] = ("plain", "neon")
    scored_from: str = "lossless"
    clip_identity: str = "ab" * 32
    title: str = "Made run"
    num_cases: int = 4
    leave_out: frozenset[tuple[str, str]] = frozenset()
    """Methods and cases that are not finished."""


def clip(method: int, case: int, shape: Shape) -> NDArray[np.uint8]:
    """A square that walks over a gradient, uint8 (f h w 3); each frame, method and case differs."""
    height, width = shape.size
    y, x = np.mgrid[0:height, 0:width]
    frames = []
    for index in range(shape.num_frames):
        frame = np.stack([x * 255 // width, y * 255 // height, np.full_like(x, 60 * case)], -1)
        left = 2 + index * (width - 12) // max(1, shape.num_frames - 1)
        frame[4 + 6 * method : 12 + 6 * method, left : left + 8] = (255, 40 * index, 80 * method)
        frames.append(frame.astype(np.uint8))
    return np.stack(frames)


def case_name(index: int) -> str:
    return f"case-{index + 1}"


def write_run(path: Path, shape: Shape | None = None, prompt: str = "a red ball") -> RunFolder:
    """Write a run folder."""
    shape = shape or Shape()
    folder = RunFolder(path)
    folder.write_manifest(_manifest(shape, prompt))
    (path / "stills").mkdir(parents=True, exist_ok=True)
    samples = []
    for case in range(shape.num_cases):
        Image.fromarray(clip(0, case, shape)[0]).save(path / f"stills/{case_name(case)}.png")
        samples += [_sample(path, METHODS.index(name), case, shape) for name in shape.methods
                    if (name, case_name(case)) not in shape.leave_out]  # fmt: skip
    folder.add_samples(samples)
    return folder


def _manifest(shape: Shape, prompt: str) -> Manifest:
    return Manifest(
        protocol="animatezero", title=shape.title,
        command="stillmotion evaluate animatezero --cases 4",
        methods=tuple(
            Method(name=name, title=TITLES[METHODS.index(name)],
                   settings={"steps": 25, "loop": False}, model="miniature", identity="cd" * 32)
            for name in shape.methods
        ),
        cases=tuple(
            Case(name=case_name(index), prompt=prompt, seed=index,
                 still=f"stills/{case_name(index)}.png",
                 group=shape.groups[index % len(shape.groups)])
            for index in range(shape.num_cases)
        ),
        extractors={"clip": Feature(name="CLIP-miniature", identity=shape.clip_identity),
                    "flow": Feature(name="DIS", identity="opencv 5.0.0 DIS medium"),
                    "video": Feature(name="judge", identity="ef" * 32)},
        scored_from=shape.scored_from, fps=8.0, versions={"stillmotion": "0.1", "python": "3.11"},
    )  # fmt: skip


def _sample(path: Path, method: int, case: int, shape: Shape) -> Sample:
    frames = clip(method, case, shape)
    file = Path("clips") / METHODS[method] / f"{case_name(case)}.webp"
    (path / file).parent.mkdir(parents=True, exist_ok=True)
    pictures = [Image.fromarray(frame) for frame in frames]
    pictures[0].save(path / file, save_all=True, append_images=pictures[1:], duration=125, loop=0,
                     lossless=True, exact=True)  # fmt: skip
    return Sample(
        method=METHODS[method], case=case_name(case), clip=file.as_posix(),
        metrics={key: of[method][case % 4] for key, of in NUMBERS.items()},
        features={"video": (float(case), float(method + case % 2)),
                  "video-real": (float(case), float(case % 2))},
        num_frames=shape.num_frames, seconds=1.0,
    )  # fmt: skip
