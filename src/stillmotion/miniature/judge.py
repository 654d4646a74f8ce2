"""Stage "judge": small independent classifiers of what a picture shows and how a clip moves.

Trained on rendered data only, never on a generated picture, and apart from every network of the
miniature.  Pictures are blurred, shifted in brightness and made noisy in training, so that the
judge reads content and does not rest on pixel-exact rendering.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from stillmotion.errors import ModelError
from stillmotion.miniature.data import ClipSet, StillSet, sample_indices
from stillmotion.runtime.files import atomic_path
from stillmotion.world.scene import Scene
from stillmotion.world.vocabulary import BACKGROUNDS, COLOURS, DOMAINS, MOTIONS, SUBJECTS

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "subject": SUBJECTS,
    "colour": tuple(COLOURS),
    "background": BACKGROUNDS,
    "domain": DOMAINS,
}
_STILL_SIZE, _CLIP_SIZE, _CLIP_FRAMES = 64, 32, 16


@dataclass(frozen=True)
class Verdict:
    """Names read off a frame (or off the first frame, for a clip)."""

    subject: str
    colour: str
    background: str
    domain: str


class StillJudge(nn.Module):
    """Frames `(n, 3, h, w)`, 0 to 1 -> logits per attribute."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 24, 48, 96, 96)
        self.body = nn.Sequential(*(_block(a, b) for a, b in pairwise(widths)))
        self.heads = nn.ModuleDict(
            {name: nn.Linear(96 * 16, len(values)) for name, values in ATTRIBUTES.items()}
        )

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        features = self.body(_fit(frames, _STILL_SIZE) * 2 - 1).flatten(1)
        return {name: head(features) for name, head in self.heads.items()}


class MotionJudge(nn.Module):
    """Clips `(n, f, 3, h, w)`, 0 to 1 -> logits over `MOTIONS`.

    Other lengths than 16 frames are resampled in time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_block(6, 24), _block(24, 32))
        self.space_time = nn.Sequential(
            nn.Conv3d(32, 64, 3, (2, 1, 1), 1), nn.GroupNorm(8, 64), nn.SiLU(),
            nn.Conv3d(64, 96, 3, (2, 2, 2), 1), nn.GroupNorm(8, 96), nn.SiLU(),
            nn.Conv3d(96, 96, 3, (2, 1, 1), 1), nn.GroupNorm(8, 96), nn.SiLU(),
        )  # fmt: skip
        self.head = nn.Linear(96 * 2 * 16, len(MOTIONS))

    def forward(self, clips: Tensor) -> Tensor:
        logits: Tensor = self.head(self._seen(clips).flatten(1))
        return logits

    def features(self, clips: Tensor) -> Tensor:
        """What the last layer but one makes of clips, averaged over space: `(n, 192)`."""
        return self._seen(clips).mean((3, 4)).flatten(1)

    def _seen(self, clips: Tensor) -> Tensor:
        count, length = clips.shape[:2]
        keep = torch.linspace(0, length - 1, _CLIP_FRAMES).round().long()
        frames = _fit(clips[:, keep].flatten(0, 1), _CLIP_SIZE).unflatten(0, (count, -1))
        change = frames - frames.roll(1, 1)
        change[:, 0] = 0
        seen = torch.cat((frames * 2 - 1, change * 4), 2).flatten(0, 1)
        features = self.stem(seen).unflatten(0, (count, -1)).transpose(1, 2)
        found: Tensor = self.space_time(features)
        return found


class Judge:
    """Both classifiers, with answers in words."""

    def __init__(self, stills: StillJudge, motions: MotionJudge) -> None:
        self.stills, self.motions = stills.eval(), motions.eval()

    @torch.no_grad()
    def frames(self, frames: Tensor) -> list[Verdict]:
        """Read frames `(n, 3, h, w)`, uint8 or 0 to 1."""
        logits = self.stills(_unit(frames))
        answers = {
            name: [ATTRIBUTES[name][i] for i in values.argmax(1).tolist()]
            for name, values in logits.items()
        }
        rows = zip(*(answers[name] for name in ATTRIBUTES), strict=True)
        return [Verdict(*row) for row in rows]

    @torch.no_grad()
    def motion(self, clips: Tensor) -> list[str]:
        """Read the motion of clips `(n, f, 3, h, w)`, uint8 or 0 to 1."""
        return [MOTIONS[i] for i in self.motions(_unit(clips)).argmax(1).tolist()]

    @torch.no_grad()
    def motion_features(self, clips: Tensor) -> Tensor:
        """Of clips `(n, f, 3, h, w)`, uint8 or 0 to 1, `(n, 192)`: what distances compare."""
        return self.motions.features(_unit(clips))

    def save(self, path: Path) -> None:
        """Write both networks as fp16 safetensors."""
        tensors = {f"stills.{n}": t.half() for n, t in self.stills.state_dict().items()}
        tensors |= {f"motions.{n}": t.half() for n, t in self.motions.state_dict().items()}
        with atomic_path(path, overwrite=True) as temporary:
            save_file(tensors, temporary)

    @classmethod
    def load(cls, path: Path) -> Judge:
        """Read what `save` wrote.

        Raises:
            ModelError: there is no such file.
        """
        if not path.is_file():
            raise ModelError(
                f"no judge at {path}; train it with 'stillmotion train miniature --stage judge'"
            )
        tensors = load_file(path)
        judge = cls(StillJudge(), MotionJudge())
        judge.stills.load_state_dict(_below("stills.", tensors))
        judge.motions.load_state_dict(_below("motions.", tensors))
        return judge


class StillJudgeStage:
    """Classification of stills in every look."""

    name = "judge-stills"

    def __init__(self, judge: StillJudge, stills: StillSet, batch: int) -> None:
        self.judge, self.stills, self.batch = judge, stills, batch
        self.labels = {name: _labels(stills.scenes, name) for name in ATTRIBUTES}

    def parameters(self) -> list[nn.Parameter]:
        return list(self.judge.parameters())

    def loss(self, generator: torch.Generator, progress: float) -> dict[str, Tensor]:
        index = sample_indices(len(self.stills), self.batch, generator)
        frames = disturb(self.stills.images[index].float() / 255, generator)
        logits = self.judge(frames.to(_device(self.judge)))
        losses, right = [], {}
        for name, values in logits.items():
            labels = self.labels[name][index].to(values.device)
            losses.append(F.cross_entropy(values.float(), labels))
            right[name] = (values.argmax(1) == labels).float().mean()
        return {"loss": torch.stack(losses).sum(), **right}


class MotionJudgeStage:
    """Classification of the motion of clips in every look; clips that never move are left out."""

    name = "judge-motion"

    def __init__(self, judge: MotionJudge, clips: ClipSet, batch: int) -> None:
        self.judge, self.clips, self.batch = judge, clips, batch
        self.labels = torch.tensor([MOTIONS.index(s.motion) for s in clips.scenes])

    def parameters(self) -> list[nn.Parameter]:
        return list(self.judge.parameters())

    def loss(self, generator: torch.Generator, progress: float) -> dict[str, Tensor]:
        index = sample_indices(len(self.clips), self.batch, generator)
        clips = self.clips.frames[index].float() / 255
        frames = disturb(clips.flatten(0, 1), generator, per=clips.shape[1]).view_as(clips)
        logits = self.judge(frames.to(_device(self.judge))).float()
        labels = self.labels[index].to(logits.device)
        accuracy = (logits.argmax(1) == labels).float().mean()
        return {"loss": F.cross_entropy(logits, labels), "motion": accuracy}


def disturb(frames: Tensor, generator: torch.Generator, per: int = 1) -> Tensor:
    """Blur some, shift brightness and contrast, add noise; equal within groups of `per` frames."""
    groups = len(frames) // per

    def uniform(low: float, high: float) -> Tensor:
        values = torch.rand(groups, generator=generator) * (high - low) + low
        return values.repeat_interleave(per).view(-1, 1, 1, 1)

    blurred = F.avg_pool2d(frames, 3, 1, 1, count_include_pad=False)
    frames = torch.lerp(frames, blurred, uniform(-0.2, 1.0).clamp(min=0))
    frames = (frames - 0.5) * uniform(0.85, 1.15) + 0.5 + uniform(-0.06, 0.06)
    noise = torch.randn(frames.shape, generator=generator)
    return (frames + noise * uniform(-0.02, 0.05).clamp(min=0)).clamp(0, 1)


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, 2, 1), nn.GroupNorm(8, outputs), nn.SiLU(),
        nn.Conv2d(outputs, outputs, 3, 1, 1), nn.GroupNorm(8, outputs), nn.SiLU(),
    )  # fmt: skip


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t.float() for n, t in tensors.items() if n.startswith(prefix)}


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def _labels(scenes: list[Scene], name: str) -> Tensor:
    return torch.tensor([ATTRIBUTES[name].index(getattr(scene, name)) for scene in scenes])


def _unit(frames: Tensor) -> Tensor:
    return frames.float() / 255 if frames.dtype == torch.uint8 else frames.float()


def _fit(frames: Tensor, size: int) -> Tensor:
    """Bring frames `(n, 3, h, w)` to the size that the judge was trained at."""
    if frames.shape[-2:] == (size, size):
        return frames
    return F.interpolate(frames, (size, size), mode="area")
