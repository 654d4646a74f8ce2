"""DynamiCrafter's benchmark: the first frame and words of real clips, animated by every method.

The paper takes 2048 clips of 16 frames from UCF-101 and from MSR-VTT, every third frame, at 256 x
256 pixels (section 5; its authors' answers on their site).  Without a folder of clips they are
rendered scenes of the procedural world, which no training saw.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stillmotion.evaluation.benchmark.cases import rendered_clip
from stillmotion.evaluation.benchmark.folder import Case
from stillmotion.evaluation.benchmark.making import Plan, Source
from stillmotion.evaluation.benchmark.methods import Frames
from stillmotion.evaluation.benchmark.real_clips import STRIDE, sample_clip
from stillmotion.media.images import write_picture
from stillmotion.runtime.files import atomic_path


@dataclass(frozen=True)
class RenderedScenes(Source):
    """Clips of the world."""

    size: int
    """Pixels of a side."""

    def prepare(self, plan: Plan, case: Case) -> None:
        """Write the clip's first frame."""
        clip = self.real_clip(case, plan.num_frames)
        _write_first(clip, plan.run.path / str(case.still))

    def real_clip(self, case: Case, num_frames: int) -> Frames:
        """The clip of the scene."""
        return rendered_clip(case, num_frames, self.size)


@dataclass(frozen=True)
class FilmedClips(Source):
    """Clips in files, whose paths are among the facts of the cases."""

    size: tuple[int, int]
    """Height and width."""
    stride: int = STRIDE

    def prepare(self, plan: Plan, case: Case) -> None:
        """Write the clip's first frame."""
        clip = self.real_clip(case, plan.num_frames)
        _write_first(clip, plan.run.path / str(case.still))

    def real_clip(self, case: Case, num_frames: int) -> Frames:
        """The part of the file that the case's seed chooses."""
        return sample_clip(
            Path(str(case.facts["file"])), num_frames=num_frames, stride=self.stride,
            size=self.size, seed=case.seed, total=int(str(case.facts["frames"])),
        )  # fmt: skip


def _write_first(clip: Frames, path: Path) -> None:
    with atomic_path(path, overwrite=True) as temporary:
        write_picture(clip[0], temporary, format="PNG")
