"""Clips that another tool made, held against the pictures and words that it was given."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from stillmotion.errors import InputError
from stillmotion.evaluation.benchmark.folder import Case
from stillmotion.evaluation.benchmark.making import Plan, Source
from stillmotion.evaluation.benchmark.named_prompts import read_named_prompts
from stillmotion.media.images import load_image, write_picture
from stillmotion.media.reading import READABLE_SUFFIXES
from stillmotion.runtime.files import atomic_path
from stillmotion.runtime.seeds import derive_seed

_PICTURES = (".png", ".jpg", ".jpeg", ".webp")
_LOSSLESS = frozenset({".webp", ".png", ".apng", ".safetensors", ""})
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class GivenClips(Source):
    """Files: clips by method and case, and the picture of each case."""

    clips: Mapping[tuple[str, str], str]
    pictures: Mapping[str, str]
    ends: Mapping[str, str] = field(default_factory=dict)
    """The picture that clips of a case were to end with, where there is one."""

    def prepare(self, plan: Plan, case: Case) -> None:
        """Copy the picture."""
        picture = load_image(Path(self.pictures[case.name]))
        with atomic_path(plan.run.path / str(case.still), overwrite=True) as temporary:
            write_picture(picture, temporary, format="PNG")

    def given_clip(self, method: str, case: Case) -> Path:
        """The file that is to be scored."""
        return Path(self.clips[method, case.name])

    def end_picture(self, case: Case) -> Path | None:
        """The file of the picture, if one was given."""
        return Path(self.ends[case.name]) if case.name in self.ends else None


def with_ends(source: GivenClips, folder: Path) -> GivenClips:
    """The same clips, which were to end with the pictures of a folder, named as those they begin
    with.

    Raises:
        InputError: no such folder, or a picture that no clip begins with.
    """
    found = _by_name(folder, _PICTURES, "pictures")
    ends = {_UNFIT.sub("-", name): str(path.resolve()) for name, path in found.items()}
    for name in ends:
        if name not in source.pictures:
            raise InputError(
                f"{folder} has a picture '{name}', with which no clip begins; name each end as its "
                "beginning"
            )
    return replace(source, ends=ends)


def find_cases(
    folders: Mapping[str, Path], stills: Path, prompts: Mapping[str, str]
) -> tuple[list[Case], GivenClips]:
    """The cases that all tools made a clip of.

    Args:
        folders: the clips of each method; each clip is named as its picture, with another ending
            and, as VBench has it, perhaps "-" and a number behind.
        stills: the pictures that were animated.
        prompts: the words of each picture, by its name without ending.

    Raises:
        InputError: a folder that is not there or empty, a clip without a picture, a picture
            without words or without a clip of one of the methods.
    """
    pictures = _by_name(stills, _PICTURES, "pictures")
    cases, clips = [], {}
    found = {
        method: {_picture_of(name, pictures, folder): path for name, path in files.items()}
        for method, folder in folders.items()
        if (files := _by_name(folder, READABLE_SUFFIXES, "clips", folders_too=True))
    }
    for name, picture in pictures.items():
        if name not in prompts:
            raise InputError(f"{picture} has no prompt; give one in the file of --prompts")
        for method, files in found.items():
            if name not in files:
                raise InputError(
                    f"{folders[method]} has no clip of {picture.name}; name each clip as its "
                    "picture, or take that picture away"
                )
            clips[method, _UNFIT.sub("-", name)] = str(files[name].resolve())
        cases.append(_case(name, prompts[name]))
    by_case = {_UNFIT.sub("-", name): str(path.resolve()) for name, path in pictures.items()}
    if len(by_case) < len(pictures):
        raise InputError(f"names in {stills} differ in punctuation alone; rename some")
    return cases, GivenClips(clips, by_case)


def scored_from(source: GivenClips) -> str:
    """What the frames of these clips went through, for the manifest."""
    kinds = sorted({Path(clip).suffix.lower() for clip in source.clips.values()})
    lossy = [kind.removeprefix(".") for kind in kinds if kind not in _LOSSLESS]
    return "files: " + ", ".join(["decoded " + one for one in lossy] or ["lossless"])


def read_prompts(path: Path, names: Sequence[str]) -> dict[str, str]:
    """Words by the name of the picture, of the pictures called `names`.

    Files as `read_named_prompts` reads them; or text with nothing but a prompt on each line, in the
    alphabetical order of `names`.

    Raises:
        InputError: no such file, or not as described.
    """
    lines = _lines(path)
    if path.suffix.lower() in (".json", ".csv") or any("\t" in line for line in lines):
        said = read_named_prompts(path)
        stems = {Path(name).stem: words for name, words in said.items()}
        return {name: words for name in names if (words := said.get(name) or stems.get(name))}
    if len(lines) != len(names):
        raise InputError(
            f"{path} has {len(lines)} prompts for {len(names)} pictures; give one on each line, "
            "in the alphabetical order of the pictures"
        )
    return dict(zip(sorted(names), lines, strict=True))


def _lines(path: Path) -> list[str]:
    """Those with words."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the prompts {path} cannot be read ({error}); check the name") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def picture_names(stills: Path) -> list[str]:
    """Names of the pictures in a folder, without endings.  Raises InputError without any."""
    return list(_by_name(stills, _PICTURES, "pictures"))


def _by_name(
    folder: Path, suffixes: Sequence[str], what: str, *, folders_too: bool = False
) -> dict[str, Path]:
    """Files, and folders of frames, by their names without ending, in alphabetical order."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder of {what}; check the name")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        fits = path.suffix.lower() in suffixes if path.is_file() else folders_too
        if not fits:
            continue
        name = path.stem if path.is_file() else path.name
        if name in found:
            raise InputError(f"{found[name]} and {path} have one name; keep one of them")
        found[name] = path
    if not found:
        raise InputError(f"{folder} holds no {what}; known endings are {', '.join(suffixes)}")
    return found


def _picture_of(clip: str, pictures: Mapping[str, Path], folder: Path) -> str:
    for name in (clip, re.sub(r"-\d+$", "", clip)):
        if name in pictures:
            return name
    raise InputError(
        f"{folder} has a clip '{clip}' that no picture is named after; name each clip as its "
        "picture"
    )


def _case(name: str, prompt: str) -> Case:
    unique = _UNFIT.sub("-", name)
    return Case(
        name=unique,
        prompt=prompt,
        seed=derive_seed(0, unique) % 2**31,
        still=f"stills/{unique}.png",
    )
