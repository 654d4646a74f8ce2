"""Which extractors measure: chosen by words such as `clip=FOLDER`, loaded when first used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from stillmotion.errors import InputError, ModelError
from stillmotion.evaluation.benchmark.folder import Feature
from stillmotion.evaluation.extractors.clip import ClipFeatures, miniature_clip
from stillmotion.evaluation.extractors.dis import DisFlow, require_opencv
from stillmotion.evaluation.extractors.dreamsim import DreamSimFeatures
from stillmotion.evaluation.extractors.i3d import I3dFeatures
from stillmotion.evaluation.extractors.interface import (
    Extractor,
    FlowEstimator,
    ImageTextFeatures,
    PerceptualFeatures,
    VideoFeatures,
)
from stillmotion.evaluation.extractors.judge import (
    JudgePerceptual,
    JudgeVideo,
    LoadedJudge,
    judge_file,
    load_judge,
)
from stillmotion.evaluation.extractors.pinned import find_published, is_published
from stillmotion.evaluation.extractors.raft import RaftFlow

Part = Literal["clip", "perceptual", "video", "flow", "judge"]
NONE = "none"
"""The word for a part that is left out, and with it the metrics that need it."""
#: What can be given for each part, for errors and help.
ALLOWED: Mapping[Part, str] = {
    "clip": "miniature, a folder that transformers saved, or a hub id such as "
    "openai/clip-vit-base-patch16",
    "perceptual": "judge, judge:FILE, or a folder of DreamSim's networks",
    "video": "judge, judge:FILE, or a .safetensors file of I3D",
    "flow": "dis, or raft:FILE",
    "judge": "judge, or a judge.safetensors file",
}
#: The kinds of extractor that come with the package, by the word that stands for them.
_WITHIN: Mapping[Part, str] = {
    "clip": "miniature", "perceptual": "judge", "video": "judge", "flow": "dis", "judge": "judge"
}  # fmt: skip
#: The kinds that a path can be of, `KIND:PATH`; a bare path is of the first.
_FROM_PATH: Mapping[Part, tuple[str, ...]] = {
    "clip": ("clip",),
    "perceptual": ("dreamsim", "judge"),
    "video": ("i3d", "judge"),
    "flow": ("raft",),
    "judge": ("judge",),
}


@dataclass(frozen=True, kw_only=True)
class ExtractorChoice:
    """What takes each part; the defaults are the miniature's.  None: metrics are left out."""

    clip: str | None = "miniature"
    """Text-Sim, CLIP-SIM, Domain-Sim, Style-Dist."""
    perceptual: str | None = "judge"
    """PIC."""
    video: str | None = "judge"
    """FVD, KVD."""
    flow: str | None = "dis"
    """Warping error, and how much and how smoothly things move."""
    judge: str | None = "judge"
    """What is seen in a clip of the miniature's world."""

    @classmethod
    def parse(cls, words: Iterable[str], base: ExtractorChoice | None = None) -> ExtractorChoice:
        """Read `PART=VALUE`, several also in one word with commas between, onto `base`.

        `PART=none` leaves a part out.

        Raises:
            InputError: no such part, a part given twice, or a value that cannot be meant.
        """
        given: dict[str, str | None] = {}
        for entry in (entry for word in words for entry in _split(word)):
            part, equals, value = entry.partition("=")
            part, value = part.strip(), value.strip()
            if not equals or part not in ALLOWED or not value:
                raise InputError(
                    f"'{entry}' chooses no extractor; give PART=VALUE with one of the parts "
                    f"{', '.join(ALLOWED)}"
                )
            if part in given:
                raise InputError(f"the extractor for {part} is given twice; give it once")
            given[part] = None if value == NONE else value
        return replace(cls() if base is None else base, **given)

    def chosen(self) -> dict[Part, str]:
        """The parts that are not left out, with their words."""
        words: dict[Part, str | None] = {part: getattr(self, part) for part in ALLOWED}
        return {part: word for part, word in words.items() if word is not None}


MINIATURE = ExtractorChoice()
"""What measures the miniature, by what ships with the package."""


@dataclass(frozen=True)
class Extractors:
    """The chosen extractors; each is loaded when it is first asked for.

    All raise ModelError when what was chosen cannot be used.  A copy for another process takes the
    choice with it and loads its own.
    """

    choice: ExtractorChoice
    device: str = "cpu"

    @cached_property
    def clip(self) -> ImageTextFeatures | None:
        """None if it is left out, as all others."""
        if self.choice.clip is None:
            return None
        _, path = _meant("clip", self.choice.clip)
        return miniature_clip(self.device) if path is None else ClipFeatures.load(path, self.device)

    @cached_property
    def perceptual(self) -> PerceptualFeatures | None:
        """DreamSim, or the judge in its place."""
        if self.choice.perceptual is None:
            return None
        kind, path = _meant("perceptual", self.choice.perceptual)
        if path is None or kind == "judge":
            return JudgePerceptual(self._judge_in(path))
        return DreamSimFeatures.load(path, self.device)

    @cached_property
    def video(self) -> VideoFeatures | None:
        """I3D, or the judge in its place."""
        if self.choice.video is None:
            return None
        kind, path = _meant("video", self.choice.video)
        if path is None or kind == "judge":
            return JudgeVideo(self._judge_in(path))
        return I3dFeatures.load(path, self.device)

    @cached_property
    def flow(self) -> FlowEstimator | None:
        """Raises InputError if OpenCV is needed and not installed."""
        if self.choice.flow is None:
            return None
        _, path = _meant("flow", self.choice.flow)
        return DisFlow() if path is None else RaftFlow.load(path, self.device)

    @cached_property
    def judge(self) -> LoadedJudge | None:
        """What reads the contents of frames and the motion of clips."""
        if self.choice.judge is None:
            return None
        return self._judge_in(_meant("judge", self.choice.judge)[1])

    def features(self) -> dict[str, Feature]:
        """Name and identity of each part that is not left out, for a manifest; loads them all."""
        found: dict[str, Extractor | None] = {
            part: getattr(self, part) for part in self.choice.chosen()
        }
        return {
            part: Feature(name=extractor.name, identity=extractor.identity)
            for part, extractor in found.items()
            if extractor is not None
        }

    def __reduce__(self) -> tuple[type[Extractors], tuple[ExtractorChoice, str]]:
        return Extractors, (self.choice, self.device)

    @cached_property
    def _judges(self) -> dict[Path, LoadedJudge]:
        return {}

    def _judge_in(self, path: Path | None) -> LoadedJudge:
        """The judge in a file (None: the package's), one for all parts that it takes."""
        file = judge_file() if path is None else path
        if file not in self._judges:
            self._judges[file] = load_judge(file, self.device)
        return self._judges[file]


def load_extractors(choice: ExtractorChoice = MINIATURE, device: str = "cpu") -> Extractors:
    """The extractors of a choice: what is not there is told now, what cannot be read on loading.

    Raises:
        InputError: OpenCV is needed and not installed.
        ModelError: something is not there or not on this machine, with how to get it.
    """
    for part, word in choice.chosen().items():
        _, path = _meant(part, word)
        if part == "flow" and path is None:
            require_opencv()
    return Extractors(choice, device)


def _meant(part: Part, word: str) -> tuple[str, Path | None]:
    """The kind of extractor that a word chooses, and where it lies; None: in the package.

    Raises:
        ModelError: there is no such thing.
    """
    if word == _WITHIN[part]:
        return word, None
    kind, colon, rest = word.partition(":")
    named = bool(colon) and kind in _FROM_PATH[part]
    kind, word = (kind, rest) if named else (_FROM_PATH[part][0], word)
    path = Path(word).expanduser()
    if path.exists():
        return kind, path
    if not named and is_published(part, word):
        return kind, find_published(part, word)
    raise ModelError(
        f"there is no '{word}' to take for {part}; give {ALLOWED[part]}, or {NONE} to leave out "
        "what needs it"
    )


def _split(word: str) -> list[str]:
    """`a=x,b=y` -> both; a comma that no part follows belongs to a path."""
    entries: list[str] = []
    for piece in word.split(","):
        part, equals, _ = piece.partition("=")
        if entries and not (equals and part.strip().isidentifier()):
            entries[-1] += f",{piece}"
        else:
            entries.append(piece)
    return entries
