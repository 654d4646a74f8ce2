"""The miniature's judge as an extractor: what stands in for DreamSim and I3D on its world.

Numbers that it gives carry its name, "PIC-judge" and "FVD-judge": it was trained on the world's
rendered scenes alone and says nothing of photographs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from stillmotion.errors import ModelError
from stillmotion.evaluation.extractors.pixels import centred_unit, check_frames, in_batches
from stillmotion.miniature.judge import Judge
from stillmotion.models.loading import explained
from stillmotion.models.registry import miniature_folder, part_path
from stillmotion.models.sources import sha256

_FRAMES, _CLIPS = 64, 16
"""How many are read at once."""
_SIZE = 64
"""Pixels of a side, at which the judge reads stills; it averages larger ones."""


@dataclass(frozen=True)
class LoadedJudge:
    """A judge, where it runs, and what reports call it."""

    judge: Judge
    device: torch.device
    identity: str
    name: str = "judge"


def judge_file() -> Path:
    """The judge that ships with the package."""
    return part_path(miniature_folder(), "judge.safetensors")


def load_judge(path: Path, device: str | torch.device = "cpu") -> LoadedJudge:
    """Read a judge that `stillmotion train miniature --stage judge` wrote.

    Raises:
        ModelError: there is no such file, or it is of another kind.
    """
    if path.is_dir():
        raise ModelError(f"'{path}' is a folder; give the judge's file, judge.safetensors")
    with explained(str(path)):
        judge = Judge.load(path)
    place = torch.device(device)
    for network in (judge.stills, judge.motions):
        network.to(place).requires_grad_(False)
    return LoadedJudge(judge, place, sha256(path))


class JudgeVideo:
    """`VideoFeatures`: the judge's of motion, (n 192), from clips of any length and size."""

    def __init__(self, loaded: LoadedJudge) -> None:
        self._loaded = loaded
        self.name, self.identity = loaded.name, loaded.identity

    def clips(self, clips: Tensor) -> Tensor:
        """Features (n 192) of clips, uint8 (n f 3 h w)."""
        check_frames(clips, "n f 3 h w")
        judge, device = self._loaded.judge, self._loaded.device
        return in_batches(lambda part: judge.motion_features(part.to(device)), clips, _CLIPS)


class JudgePerceptual:
    """`PerceptualFeatures`: what the judge's network of stills sees of a frame, (n 1536).

    The activations before its classifiers, minus their own mean, at length 1, as DreamSim's are.
    The mean is taken off since activations lean to the positive: unrelated scenes then lie 0.94
    apart instead of 0.83, of 1 for vectors with nothing in common.  A scene's own frames, blurred
    or a little noisy, stay below 0.1.
    """

    def __init__(self, loaded: LoadedJudge) -> None:
        self._loaded = loaded
        self.name, self.identity = loaded.name, loaded.identity

    def frames(self, frames: Tensor) -> Tensor:
        """Unit vectors (n 1536) of frames, uint8 (n 3 h w)."""
        check_frames(frames)
        return in_batches(self._seen, frames, _FRAMES)

    def _seen(self, frames: Tensor) -> Tensor:
        unit = frames.to(self._loaded.device).float() / 255
        if unit.shape[-2:] != (_SIZE, _SIZE):
            unit = F.interpolate(unit, (_SIZE, _SIZE), mode="area")
        return centred_unit(self._loaded.judge.stills.body(unit * 2 - 1).flatten(1))
