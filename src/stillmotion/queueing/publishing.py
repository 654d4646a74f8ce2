"""What a job wrote into its folder, as artifacts."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from stillmotion.media.images import load_image
from stillmotion.media.reading import read_frames
from stillmotion.queueing.uploads import thumbnail
from stillmotion.queueing.views import ArtifactKind, NewArtifact

_LATENTS, _CHAPTERS, _RECORD = ".latents.safetensors", ".chapters.vtt", ".json"
_ZIP = ".frames.zip"
_SCORES = "scores.json"
_CLIPS = {
    ".mp4": "video/mp4", ".webm": "video/webm", ".gif": "image/gif", ".webp": "image/webp",
    ".safetensors": "application/octet-stream",
}  # fmt: skip
# The oldest time that a zip can tell: the same frames give the same bytes.
_NO_TIME = (1980, 1, 1, 0, 0, 0)


def made_in(folder: Path) -> list[NewArtifact]:
    """All that a job has made, in the order of names; a folder of frames becomes a zip file."""
    names = sorted(entry.name for entry in folder.iterdir())
    mains = [name for name in names if _is_main(folder / name)]
    made: list[NewArtifact] = []
    for name in mains:
        main = _main(folder / name)
        made += [main, *_companions(folder, name, main.file, names)]
    return made


def _is_main(path: Path) -> bool:
    if path.is_dir() or path.name == _SCORES:
        return True
    suffix = path.suffix.lower()
    return suffix == ".png" or (suffix in _CLIPS and not path.name.endswith(_LATENTS))


def _main(path: Path) -> NewArtifact:
    if path.name == _SCORES:
        return NewArtifact(file=path.name, kind="scores", content_type="application/json")
    if path.suffix.lower() == ".png":
        image = load_image(path)
        return NewArtifact(
            file=path.name, kind="still", content_type="image/png", width=image.shape[1],
            height=image.shape[0], thumbnail=thumbnail(image),
        )  # fmt: skip
    clip = read_frames(path, count=1).frames
    height, width, count = _size(path, clip.shape[1:3])
    file, content_type = path.name, _CLIPS.get(path.suffix.lower(), "application/zip")
    if path.is_dir():
        file = _zipped(path)
    return NewArtifact(
        file=file, kind="clip", content_type=content_type, width=width, height=height,
        num_frames=count, thumbnail=thumbnail(clip[0]),
    )  # fmt: skip


def _size(path: Path, shape: tuple[int, ...]) -> tuple[int, int, int | None]:
    """Height, width and number of frames, as the clip's record tells them."""
    record = path.with_name(f"{path.name}{_RECORD}")
    try:
        output = json.loads(record.read_text(encoding="utf-8"))["output"]
        return int(output["height"]), int(output["width"]), int(output["num_frames"])
    except (OSError, ValueError, KeyError, TypeError):
        return shape[0], shape[1], None


def _companions(folder: Path, name: str, main: str, names: list[str]) -> list[NewArtifact]:
    stem = Path(name).stem
    wanted: list[tuple[str, ArtifactKind, str]] = [
        (f"{stem}{_LATENTS}", "latents", "application/octet-stream"),
        (f"{name}{_RECORD}", "record", "application/json"),
        (f"{stem}{_CHAPTERS}", "chapters", "text/vtt"),
    ]
    return [
        NewArtifact(file=file, kind=kind, content_type=content_type, main=main)
        for file, kind, content_type in wanted
        if file in names
    ]


def _zipped(frames: Path) -> str:
    """Pack a folder of frames beside it; the name of the file."""
    target = frames.with_name(f"{frames.name}{_ZIP}")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as packed:
        for frame in sorted(frames.iterdir()):
            packed.writestr(zipfile.ZipInfo(frame.name, _NO_TIME), frame.read_bytes())
    return target.name
