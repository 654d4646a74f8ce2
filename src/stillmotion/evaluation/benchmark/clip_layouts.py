"""Where folders of real clips have their words: UCF-101, MSR-VTT, and any other folder."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stillmotion.errors import InputError
from stillmotion.evaluation.benchmark.named_prompts import read_named_prompts
from stillmotion.media.reading import READABLE_SUFFIXES

Layout = Literal["ucf101", "msrvtt", "folder"]
ALL_SPLITS = "all"
_CLIPS = frozenset(READABLE_SUFFIXES) - {".png"}  # a .png is nearly always one picture
_UCF_NAME = re.compile(r"v_(?P<kind>[A-Za-z]+)_g\d+_c\d+", re.IGNORECASE)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


@dataclass(frozen=True, kw_only=True)
class RealClip:
    """A clip that a camera took, or at least no method of the benchmark."""

    path: Path
    key: str
    """What it is known by on every machine: class and name, video_id, or the path from the folder
    with "/" and without ending."""
    prompts: tuple[str, ...]
    """What is said of it, one or more, sorted."""
    group: str = ""
    """Its class, where there are classes."""


def clip_files(folder: Path) -> list[Path]:
    """All clips below a folder, sorted; hidden ones are passed over.

    Raises:
        InputError: it is no folder, or holds no clips.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder of clips; check the name")
    found = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in _CLIPS
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    ]
    if not found:
        raise InputError(f"{folder} holds no clips; known endings are {', '.join(sorted(_CLIPS))}")
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def recognised(folder: Path, files: Sequence[Path], prompts: Path | None) -> Layout:
    """Whose layout a folder has: by the names of UCF-101, by an annotation of MSR-VTT's form."""
    if any(_UCF_NAME.fullmatch(path.stem) for path in files):
        return "ucf101"
    return "msrvtt" if caption_files(folder, prompts) else "folder"


def ucf101(folder: Path, files: Sequence[Path], test_list: Path | None) -> list[RealClip]:
    """Clips `v_Class_g01_c01.avi`; the prompt is the class in words.

    Args:
        folder: UCF-101, with a folder for each class, or what it lies in.
        files: of `clip_files`.
        test_list: `testlist01.txt` or another of the official lists; None: all clips.

    Raises:
        InputError: no clip has such a name, or none is in the list.
    """
    wanted = None if test_list is None else _listed(test_list)
    found = []
    for path in files:
        name = _UCF_NAME.fullmatch(path.stem)
        # The lists and the files differ in how they write HandstandPushups.
        if name is None or (wanted is not None and path.stem.lower() not in wanted):
            continue
        kind = name["kind"]
        if path.parent.name.lower() == kind.lower():
            kind = path.parent.name
        key = f"{kind}/{path.stem}"
        found.append(RealClip(path=path, key=key, prompts=(class_words(kind),), group=kind))
    if not found:
        named = "v_Class_g01_c01.avi, as in UCF-101" if wanted is None else f"one of {test_list}"
        raise InputError(f"no clip in {folder} is named {named}; give another folder or layout")
    return found


def class_words(name: str) -> str:
    """The name of a class in words: "ApplyEyeMakeup" -> "apply eye makeup"."""
    return " ".join(_WORD.findall(name)).lower()


def msrvtt(folder: Path, files: Sequence[Path], prompts: Path | None, split: str) -> list[RealClip]:
    """Clips that an annotation of MSR-VTT's form describes, by their names.

    Args:
        folder: the clips, anywhere below it.
        files: of `clip_files`.
        prompts: the annotation; None: all that lie in the folder.
        split: which videos, where the annotation tells of splits; "all" for every one.

    Raises:
        InputError: no annotation, a damaged one, no such split, or none of its clips is there.
    """
    found = caption_files(folder, prompts)
    if not found:
        raise InputError(
            f"{prompts or folder} is, or holds, no annotation of MSR-VTT's form; give the JSON "
            'file with "sentences": [{"video_id": ..., "caption": ...}] as the prompts'
        )
    captions: dict[str, set[str]] = {}
    splits: dict[str, str] = {}
    for path, content in found.items():
        _gather(path, content, captions, splits)
    if splits and split != ALL_SPLITS and split not in splits.values():
        raise InputError(
            f"the annotation has no videos of the split '{split}'; it has: "
            f"{', '.join(sorted(set(splits.values())))}; choose one of them, or {ALL_SPLITS}"
        )
    clips = [
        RealClip(path=path, key=path.stem, prompts=tuple(sorted(captions[path.stem])))
        for path in files
        if path.stem in captions and split in (ALL_SPLITS, splits.get(path.stem, split))
    ]
    if not clips:
        raise InputError(
            f"{folder} holds none of the clips that {', '.join(map(str, found))} describes; they "
            "are named as their video_id"
        )
    return clips


def caption_files(folder: Path, prompts: Path | None) -> dict[Path, dict[str, Any]]:
    """The JSON files with captions in MSR-VTT's form: `prompts`, or those in the folder."""
    if prompts is not None:
        paths = [prompts] if prompts.suffix.lower() == ".json" else []
    else:
        paths = sorted([*folder.glob("*.json"), *folder.glob("*/*.json")])
    found = {}
    for path in paths:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(content, dict) and isinstance(content.get("sentences"), list):
            found[path] = content
    return found


def any_folder(folder: Path, files: Sequence[Path], prompts: Path | None) -> list[RealClip]:
    """Any clips, with the words of a file, or of a text file beside each clip.

    Args:
        folder: the clips, anywhere below it.
        files: of `clip_files`.
        prompts: .json with an object {file: prompt}, .csv with the columns file and prompt, or
            text with the file, a tab and the prompt on each line; None: `clip.txt` beside each
            `clip.mp4`.  Files are named by their path from the folder or their name alone, with
            or without ending.

    Raises:
        InputError: the file cannot be read, or a clip has no words.
    """
    words = None if prompts is None else read_named_prompts(prompts)
    clips, without = [], []
    for path in files:
        said = _beside(path) if words is None else _said_of(folder, path, words)
        if said:
            clips.append(RealClip(path=path, key=_key(folder, path), prompts=(said,)))
        else:
            without.append(path)
    if without:
        where = "in a text file beside each clip" if prompts is None else f"in {prompts}"
        raise InputError(
            f"{len(without)} of the {len(files)} clips in {folder} have no prompt, the first of "
            f"them {without[0].name}; give one {where}"
        )
    return clips


def _gather(
    path: Path, content: Mapping[str, Any], captions: dict[str, set[str]], splits: dict[str, str]
) -> None:
    """Add what one annotation says.  Raises InputError where it says it in another form."""
    try:
        for sentence in content["sentences"]:
            video, caption = str(sentence["video_id"]), str(sentence["caption"]).strip()
            if caption:
                captions.setdefault(video, set()).add(caption)
        for video in content.get("videos") or ():
            if video.get("split"):
                splits[str(video["video_id"])] = str(video["split"])
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is not of MSR-VTT's form: a sentence has video_id and caption, a video has "
            f"video_id and split ({type(error).__name__}: {error})"
        ) from error


def _listed(path: Path) -> set[str]:
    """Names, in lower case and without ending, of an official list: Class/v_Class_g01_c01.avi 1."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the list {path} cannot be read ({error}); check the name") from error
    return {Path(line.split()[0]).stem.lower() for line in lines if line.strip()}


def _beside(path: Path) -> str:
    try:
        return " ".join(path.with_suffix(".txt").read_text(encoding="utf-8-sig").split())
    except (OSError, UnicodeDecodeError):
        return ""


def _said_of(folder: Path, path: Path, words: Mapping[str, str]) -> str:
    whole = path.relative_to(folder)
    names = (whole.as_posix(), whole.with_suffix("").as_posix(), path.name, path.stem)
    return next((words[name] for name in names if name in words), "")


def _key(folder: Path, path: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()
