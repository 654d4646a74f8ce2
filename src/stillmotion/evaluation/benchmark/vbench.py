"""A run's clips as VBench and VBench-I2V read them.

==============================  ==================================================================
videos/METHOD/PROMPT-0.mp4      the clips; -1, -2, ... for more of the same prompt
images/PROMPT.png               the picture, where all clips of a prompt begin with one picture
images/PROMPT-0.png             else each with the name of its clip
prompts.json                    the words of each clip by its file's name, for --prompt_file
export.json                     what was exported, for going on after an interruption
==============================  ==================================================================

VBench (Vchitect/VBench, vbench/utils.py and README) takes what precedes the last "-NUMBER" of a
name for the prompt, so that a name must be the prompt to the letter; folders of clips hold nothing
else, as it takes the ending of whatever file comes first for that of all.  VBench-I2V's
`--mode=custom_input` finds the picture of PROMPT-0.mp4 as PROMPT in `--custom_image_folder`; its
standard mode compares with its own pictures, cropped to the ratio asked for, and needs none.  Where
a prompt cannot be a name, prompts.json has it whole: a "/" becomes a space, and what is longer than
180 characters, the number that VBench-2.0 keeps, or than a file system takes, is cut off.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from stillmotion.errors import InputError, OutputError, StillmotionError
from stillmotion.evaluation.benchmark.folder import Case, Manifest, RunFolder
from stillmotion.media.clips import read_provenance, save_clip
from stillmotion.media.images import load_image, write_picture
from stillmotion.media.provenance import ModelIdentity, Provenance
from stillmotion.media.reading import read_frames
from stillmotion.runtime.files import atomic_path

EXPORT = "export.json"
PROMPTS = "prompts.json"
MAX_CHARACTERS = 180
MAX_BYTES = 230
"""Of a name without number and ending; 255 is what file systems take."""


class _Note(BaseModel):
    """What an export wrote, or was about to write."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    format: Literal["stillmotion-vbench"] = "stillmotion-vbench"
    files: dict[str, str]
    """sha256 of what each file is made from, by its path from the folder."""


@dataclass(frozen=True)
class VBenchExport:
    """What was exported."""

    videos: Mapping[str, Path]
    """The folder of each method: VBench's `--videos_path`."""
    images: Path
    """VBench-I2V's `--custom_image_folder`."""
    prompts: Path
    """VBench's `--prompt_file`."""
    written: int
    """How many files were written now."""
    kept: int
    """How many had been there from an earlier call."""
    ambiguous: tuple[str, ...]
    """Prompts with several pictures, which VBench-I2V cannot tell apart by their names."""


@dataclass(frozen=True)
class _Part:
    """One file to be written."""

    path: str
    """From the folder of the export."""
    source: Path
    case: Case
    method: str | None = None
    """Of a clip; None: a picture."""


@dataclass(frozen=True)
class _Plan:
    manifest: Manifest
    parts: tuple[_Part, ...]
    prompts: Mapping[str, str]
    """By the names of the clips' files."""
    ambiguous: tuple[str, ...]


def export_vbench(
    run: RunFolder,
    target: Path,
    *,
    force: bool = False,
    tick: Callable[[], None] | None = None,
) -> VBenchExport:
    """Write the finished clips of a run, and their pictures, as VBench reads them.

    Clips that are .mp4 already are copied, others encoded as H.264 at the run's rate.  Each file
    appears whole or not at all; called again, it writes what is missing.

    Args:
        run: the run.
        target: the folder; a new one, or that of an earlier export.
        force: whether files there that come from something else are replaced.
        tick: called for each file, whether it was there or not; `num_files` of them.

    Raises:
        InputError: the folder holds no run, or one without finished clips; a clip is missing or
            damaged.
        OutputError: a file to be written is there and comes from something else, or cannot be
            written.
    """
    plan = _plan(run)
    identities = {part.path: _sha256(part.source) for part in plan.parts}
    kept = _prepare(target, identities, force=force)
    _write_json(target / PROMPTS, dict(plan.prompts))
    for part in plan.parts:
        if part.path not in kept:
            _write(part, plan.manifest, target / part.path)
        if tick is not None:
            tick()
    methods = dict.fromkeys(part.method for part in plan.parts if part.method is not None)
    return VBenchExport(
        videos={name: target / "videos" / name for name in methods}, images=target / "images",
        prompts=target / PROMPTS, written=len(plan.parts) - len(kept), kept=len(kept),
        ambiguous=plan.ambiguous,
    )  # fmt: skip


def num_files(run: RunFolder) -> int:
    """How often `export_vbench` ticks.  Raises InputError as it does."""
    return len(_plan(run).parts)


def file_stem(prompt: str) -> str:
    """A prompt as the name of a file: itself, where that is possible; empty if nothing is left."""
    words = "".join(" " if c == "/" or ord(c) < 32 else c for c in prompt).strip()
    stem = words[:MAX_CHARACTERS]
    while len(stem.encode()) > MAX_BYTES:
        stem = stem[:-1]
    return stem.strip()


def _plan(run: RunFolder) -> _Plan:
    manifest = run.read_manifest()
    done = run.read_samples()
    pairs = [
        (method.name, case, done[method.name, case.name])
        for method in manifest.methods
        for case in manifest.cases
        if (method.name, case.name) in done
    ]
    if not pairs:
        raise InputError(f"{run.path} has no finished clips to export; let the run go on first")
    names = _names(manifest.cases)
    clips = [
        _Part(f"videos/{method}/{names[case.name]}.mp4", run.path / sample.clip, case, method)
        for method, case, sample in pairs
    ]
    cases = {case.name: case for _, case, _ in pairs if case.still is not None}
    pictures, ambiguous = _pictures(run, list(cases.values()), names)
    prompts = {f"{names[case.name]}.mp4": case.prompt for _, case, _ in pairs}
    return _Plan(manifest, (*clips, *pictures), prompts, ambiguous)


def _names(cases: Iterable[Case]) -> dict[str, str]:
    """PROMPT-NUMBER of each case: numbered by the manifest's order, finished or not."""
    seen: Counter[str] = Counter()
    names = {}
    for case in cases:
        stem = file_stem(case.prompt) or case.name
        names[case.name] = f"{stem}-{seen[stem]}"
        seen[stem] += 1
    return names


def _pictures(
    run: RunFolder, cases: list[Case], names: Mapping[str, str]
) -> tuple[list[_Part], tuple[str, ...]]:
    """The pictures under the names of their prompts, or of their clips where those differ."""
    by_stem: dict[str, list[Case]] = {}
    for case in cases:
        by_stem.setdefault(names[case.name].rpartition("-")[0], []).append(case)
    parts, ambiguous = [], []
    for stem, those in by_stem.items():
        sources = [run.path / str(case.still) for case in those]
        if len({_sha256(source) for source in sources}) == 1:
            parts.append(_Part(f"images/{stem}.png", sources[0], those[0]))
            continue
        ambiguous.append(stem)
        parts += [
            _Part(f"images/{names[case.name]}.png", source, case)
            for case, source in zip(those, sources, strict=True)
        ]
    return parts, tuple(sorted(ambiguous))


def _prepare(target: Path, identities: Mapping[str, str], *, force: bool) -> set[str]:
    """Note in the folder what is to come; which of it is there.

    What is there of other origin is refused, or removed by `force` before the note says otherwise.
    """
    before = _read_note(target)
    if before is None and target.is_dir() and any(target.iterdir()) and not force:
        raise OutputError(
            f"'{target}' holds other things than an earlier export; give a new folder, or write "
            "into it with --force (force=True)."
        )
    files = {} if before is None else before.files
    there = [path for path in identities if (target / path).exists()]
    others = [path for path in there if files.get(path) != identities[path]]
    if others and not force:
        raise OutputError(
            f"{len(others)} files in '{target}' were made from something else, the first of them "
            f"'{others[0]}'; give a new folder, or replace them with --force (force=True)."
        )
    for path in others:
        (target / path).unlink()
    _write_json(target / EXPORT, _Note(files={**files, **identities}).model_dump())
    return set(there) - set(others)


def _read_note(target: Path) -> _Note | None:
    try:
        return _Note.model_validate_json((target / EXPORT).read_bytes())
    except FileNotFoundError:
        return None
    except (NotADirectoryError, ValidationError) as error:
        raise OutputError(
            f"'{target}' is no folder of an export that can go on; give a new folder."
        ) from error


def _write(part: _Part, manifest: Manifest, path: Path) -> None:
    """One clip or picture.  Raises InputError if its source is missing or damaged."""
    if part.method is None:
        picture = load_image(part.source)
        with atomic_path(path, overwrite=False) as temporary:
            write_picture(picture, temporary, format="PNG")
    elif part.source.suffix.lower() == ".mp4":
        with atomic_path(path, overwrite=False) as temporary:
            shutil.copyfile(part.source, temporary)
    else:
        clip = read_frames(part.source)
        note = _provenance(part, manifest)
        save_clip(clip.frames, path, fps=clip.fps, provenance=note, side_car=False)


def _provenance(part: _Part, manifest: Manifest) -> Provenance:
    """The clip's own record, or what the run tells of it."""
    try:
        return read_provenance(part.source)
    except StillmotionError:
        pass  # of another tool
    method = next(one for one in manifest.methods if one.name == part.method)
    return Provenance(
        kind="clip", method=f"benchmark: {method.name}", prompt=part.case.prompt,
        seed=part.case.seed, settings=method.settings,
        model=ModelIdentity(name=method.model, fingerprint=method.identity),
    )  # fmt: skip


def _sha256(source: Path) -> str:
    """Of a file, or of the files of a folder of frames.

    Raises InputError if it is missing or cannot be read.
    """
    digest = hashlib.sha256()
    try:
        for path in sorted(source.iterdir()) if source.is_dir() else [source]:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    except OSError as error:
        raise InputError(
            f"'{source}', a part of the run, cannot be read ({error.strerror}); make it again"
        ) from error
    return digest.hexdigest()


def _write_json(path: Path, value: object) -> None:
    with atomic_path(path, overwrite=True) as temporary:
        text = json.dumps(value, indent=1, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")
