"""Tar shards in WebDataset's layout: clip.mp4 with clip.json or clip.txt beside it.

Members with the same name up to the first dot belong together.  The JSON is an object whose
`caption`, `fps`, `licence`, `start` and `end` mean what they mean in a manifest, and whose other
entries are left alone; the text is the caption.

The shards are read by index and not by the webdataset library, which streams them: its position
cannot be saved (webdataset#271), and what it gives depends on the number of workers.  By index,
any clip of any shard is at hand, so shards give what the same clips give as files.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from stillmotion.errors import InputError
from stillmotion.training.clips.rows import ClipRow, Problem, ShardMember, parse_row, spelled

SHARD_SUFFIX = ".tar"
_MAX_NOTE_BYTES = 1 << 20
_TEXTS = ("json", "txt")


def shard_rows(
    shards: Sequence[Path], video_suffixes: Sequence[str]
) -> Iterator[ClipRow | Problem]:
    """Every clip of the shards, in order, or what is wrong with it.

    Headers and notes are read, the clips are not.  Raises InputError for a shard that is missing,
    damaged, cut short or compressed.
    """
    for shard in shards:
        for key, parts in _groups(shard).items():
            yield _row(shard, key, parts, video_suffixes)


def _groups(shard: Path) -> dict[str, dict[str, ShardMember]]:
    """The members of a shard by key and ending, in the order of the keys' first appearance."""
    groups: dict[str, dict[str, ShardMember]] = {}
    try:
        with tarfile.open(shard, "r:") as archive:
            for info in archive:
                path = PurePosixPath(info.name)
                stem, _, ending = path.name.partition(".")
                if not info.isreg() or not stem or not ending:
                    continue  # folders, links and hidden files are no part of a clip
                member = ShardMember(shard, info.name, info.offset_data, info.size)
                parts = groups.setdefault(str(path.parent / stem), {})
                if parts.setdefault(ending.lower(), member) is not member:
                    raise InputError(f"'{shard}' holds '{info.name}' more than once.")
    except (tarfile.TarError, EOFError) as error:
        raise InputError(
            f"'{shard}' is no tar file, is compressed, or is cut short ({error}); give a whole, "
            "uncompressed one."
        ) from error
    except OSError as error:
        raise InputError(f"The shard '{shard}' cannot be read: {error.strerror}.") from error
    return groups


def _row(
    shard: Path, key: str, parts: dict[str, ShardMember], video_suffixes: Sequence[str]
) -> ClipRow | Problem:
    where = f"{shard.name}, {key}"
    videos = [part for ending, part in parts.items() if f".{ending}" in video_suffixes]
    if len(videos) != 1:
        return Problem(
            where,
            f"there must be one clip of this name, in one of {', '.join(video_suffixes)}, and "
            f"there are {len(videos)} among {', '.join(parts)}.",
        )
    try:
        fields = _fields(parts)
    except InputError as error:
        return Problem(where, str(error))
    return parse_row(fields, videos[0], where=where, name=f"{shard.name}/{videos[0].name}")


def _fields(parts: dict[str, ShardMember]) -> dict[str, object]:
    """What the notes beside a clip say; the JSON's caption goes before the text's."""
    texts = {ending: _text(parts[ending]) for ending in _TEXTS if ending in parts}
    fields: dict[str, object] = {"caption": texts["txt"]} if "txt" in texts else {}
    if "json" in texts:
        try:
            note = json.loads(texts["json"])
        except (json.JSONDecodeError, RecursionError) as error:
            raise InputError(f"'{parts['json'].name}' is no JSON: {error}.") from error
        if not isinstance(note, dict):
            raise InputError(f"'{parts['json'].name}' must hold an object.")
        fields |= {spelled(str(name)): value for name, value in note.items()}
    return fields


def _text(member: ShardMember) -> str:
    if member.size > _MAX_NOTE_BYTES:
        raise InputError(
            f"'{member.name}' has {member.size} bytes; a note has at most {_MAX_NOTE_BYTES}."
        )
    try:
        return member.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"'{member.name}' is not UTF-8; save it as UTF-8.") from error
