"""The results that the repository keeps: `python -m tools.results RUNS docs/results`.

From the runs that `make benchmark` makes it writes their tables, what they say to the papers'
claims, and a moving picture of one case in each look; the runs with all clips and their pages stay
where they are.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stillmotion.evaluation.benchmark.folder import RunFolder
from stillmotion.evaluation.report.markdown import claims, markdown, tables
from stillmotion.evaluation.report.runs import Run, load_run
from stillmotion.evaluation.report.summary import Summary, summarise
from stillmotion.media.images import load_image
from stillmotion.media.reading import read_frames
from stillmotion.runtime.files import atomic_path

RUNS = {
    "animatezero": "AnimateZero: Tables 1 and 2, Fig. 6",
    "dynamicrafter": "DynamiCrafter: Tables 2 and 4",
}
SCALE = 2
_BACKGROUND = 255
_GAP = 4
_HEAD = """# Results on the miniature

Written by `make benchmark`, which anyone can run: on two cores in less than an hour.  Numbers
compare methods with each other; with other networks in the place of CLIP, I3D and DreamSim they
compare with nothing that is published.  How to read them: [evaluation.md](../evaluation.md).
"""


def main(arguments: list[str]) -> None:
    """Write the pages of all runs that are there."""
    source, target = map(Path, arguments)
    target.mkdir(parents=True, exist_ok=True)
    parts = [_HEAD]
    for name, title in RUNS.items():
        run = load_run(source / name)
        summary = summarise([run])
        _write(target / f"{name}.md", markdown(summary))
        moving_picture(run, target / f"{name}.webp")
        parts.append(section(name, title, run, summary))
    _write(target / "README.md", "\n".join(parts))


def section(name: str, title: str, run: Run, summary: Summary) -> str:
    """What the first page says of a run."""
    columns = ["the given picture", *(method.title for method in run.manifest.methods)]
    overall, _, _ = tables(summary).partition("\n\nCases of ")
    return "\n".join([
        f"## {title}", "",
        f"`{run.manifest.command}`; [all tables]({name}.md).", "",
        f"![{title}]({name}.webp)", "",
        f"From left to right: {'; '.join(columns)}.", "",
        "What the paper claims, and what is found here:", "",
        claims(summary), "",
        overall, "",
    ])  # fmt: skip


def moving_picture(run: Run, path: Path) -> None:
    """One case of each group, a row each: the picture and the clip of every method."""
    groups = dict.fromkeys(case.group for case in run.cases)
    cases = [next(case for case in run.cases if case.group == group) for group in groups]
    folder = RunFolder(run.path).path
    rows = []
    for case in cases:
        clips = [
            read_frames(folder / run.samples[method.name, case.name].clip).frames
            for method in run.manifest.methods
        ]
        still = np.repeat(load_image(folder / str(case.still))[None], len(clips[0]), 0)
        rows.append(_side_by_side([still, *clips]))
    frames = np.concatenate(rows, axis=1).repeat(SCALE, 1).repeat(SCALE, 2)
    pictures = [Image.fromarray(frame) for frame in frames]
    with atomic_path(path, overwrite=True) as temporary:
        pictures[0].save(
            temporary, save_all=True, append_images=pictures[1:], duration=125, loop=0,
            quality=70, method=6,
        )  # fmt: skip


def _side_by_side(clips: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    padded = [
        np.pad(clip, ((0, 0), (0, _GAP), (0, _GAP), (0, 0)), constant_values=_BACKGROUND)
        for clip in clips
    ]
    return np.concatenate(padded, axis=2)


def _write(path: Path, text: str) -> None:
    with atomic_path(path, overwrite=True) as temporary:
        temporary.write_text(text.rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
