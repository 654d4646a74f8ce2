"""The folder of a benchmark run: what was asked for, what was made, and what was measured.

============================  ==================================================================
manifest.json                 `Manifest`: the protocol, the methods, the cases, every version
stills/CASE.png               the picture that a case begins with
clips/METHOD/CASE.webp        the clip, without loss
samples.jsonl                 `Sample`, one line for each finished clip
report.html, .md, .json       written by `stillmotion.evaluation.report`
============================  ==================================================================
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from stillmotion.errors import InputError
from stillmotion.runtime.files import atomic_path

MANIFEST, SAMPLES = "manifest.json", "samples.jsonl"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Case(_Record):
    """One thing that every method makes: a picture, words, and a seed."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Of its files, and how samples of different methods are paired."""
    prompt: str
    seed: int
    still: str | None = None
    """Path of the picture from the run folder; None where a method makes its own."""
    group: str = ""
    """The look, the checkpoint or the class it belongs to, for tables by group."""
    facts: dict[str, JsonValue] = {}
    """More that a protocol knows: what the scene shows, where a real clip lies."""


class Method(_Record):
    """One column of the tables."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    title: str
    settings: dict[str, JsonValue] = {}
    """What it was called with."""
    model: str = ""
    identity: str = ""
    """sha256 of its weights, or of what made its clips; empty where nobody knows."""
    is_bound: bool = False
    """Shown for comparison and never marked as best: the real clips, the picture at rest."""


class Feature(_Record):
    """An extractor that took part."""

    name: str
    identity: str


class Manifest(_Record):
    """Every input and version of a run."""

    schema_version: int = 1
    protocol: str
    """animatezero, dynamicrafter, clips, or a name of one's own."""
    title: str
    command: str
    """How to make it again."""
    methods: tuple[Method, ...]
    cases: tuple[Case, ...]
    extractors: dict[str, Feature]
    """By their part: clip, perceptual, video, flow, judge."""
    scored_from: str
    """"lossless" frames, or what the files' codec left of them: "decoded h264", ..."""
    fps: float = 8.0
    versions: dict[str, str]
    """Of this package, Python, torch and what else was used."""
    facts: dict[str, JsonValue] = {}


class Sample(_Record):
    """One finished clip, measured."""

    method: str
    case: str
    clip: str
    """Path of its file from the run folder; an absolute one where the clips lie elsewhere."""
    metrics: dict[str, float | None]
    """By the keys of `stillmotion.evaluation.metrics.catalogue`; None: not defined for this clip,
    such as a ratio of steps of a clip that rests."""
    features: dict[str, tuple[float, ...]] = {}
    """What distances between sets compare, by the part: "video"; "video-real" of the real clip,
    which one sample of a case has."""
    num_frames: int
    seconds: float | None = None
    """How long making it took; None where it was not made here."""


class RunFolder:
    """Reads and writes a run; a killed run goes on where it was."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read_manifest(self) -> Manifest:
        """The manifest.

        Raises:
            InputError: there is none, or it is not valid.
        """
        path = self.path / MANIFEST
        try:
            return Manifest.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise InputError(
                f"{self.path} holds no {MANIFEST}; give a folder that 'stillmotion evaluate "
                "animatezero', 'dynamicrafter' or 'clips' wrote"
            ) from None
        except ValidationError as error:
            raise InputError(f"{path} is not valid: {error.errors()[0]['msg']}") from None

    def write_manifest(self, manifest: Manifest) -> None:
        """Write the manifest, in place of an older one."""
        self.path.mkdir(parents=True, exist_ok=True)
        with atomic_path(self.path / MANIFEST, overwrite=True) as temporary:
            temporary.write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")

    def read_samples(self) -> dict[tuple[str, str], Sample]:
        """Finished samples by method and case; what a killed run left of a line is passed over."""
        path = self.path / SAMPLES
        if not path.exists():
            return {}
        found = {}
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                sample = Sample.model_validate_json(line)
            except ValidationError:
                continue
            found[sample.method, sample.case] = sample
        return found

    def add_samples(self, samples: Iterable[Sample]) -> None:
        """Append finished samples, each as a whole line."""
        path = self.path / SAMPLES
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as log:
            log.seek(0, 2)
            if log.tell() > 0:
                log.seek(-1, 2)
                if log.read(1) != b"\n":
                    log.write(b"\n")
            for sample in samples:
                log.write(_line(sample.model_dump(mode="json")))
                log.flush()


def _line(facts: dict[str, Any]) -> bytes:
    return (json.dumps(facts, ensure_ascii=False, allow_nan=False) + "\n").encode()
