"""Manifests and shards: what they may say, and what is said of their mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tests.training.coded_clips import (
    SETTINGS,
    generator,
    write_clip,
    write_manifest,
    write_shard,
)

from stillmotion.errors import InputError
from stillmotion.training.clips.checking import check_clips
from stillmotion.training.clips.files import clip_rows, open_clips
from stillmotion.training.clips.rows import ClipRow, Problem, ShardMember


def rows_of(path: Path) -> list[ClipRow | Problem]:
    return list(clip_rows(path))


def csv(folder: Path, text: str) -> Path:
    path = folder / "clips.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_both_kinds_of_manifest_say_the_same(tmp_path: Path) -> None:
    table = csv(
        tmp_path,
        "\ufeffpath,caption,fps,license,start,end\n"
        '"a b.mp4"," a ball, bouncing ",12.5,CC0-1.0,,\n'
        "\n"
        '/clips/c.webm,"two\nlines",,,1.5,4\n'
        "d.mp4,ein Würfel,,,,\n",
    )
    lines = write_manifest(
        tmp_path / "clips.jsonl",
        [
            {"path": "a b.mp4", "caption": "a ball, bouncing", "fps": 12.5, "licence": "CC0-1.0"},
            {"path": "/clips/c.webm", "caption": "two\nlines", "start": 1.5, "end": 4},
            {"path": "d.mp4", "caption": "ein Würfel", "fps": None},
        ],
    )
    read = rows_of(table)
    assert all(isinstance(row, ClipRow) for row in read)
    assert [row.where for row in read] == [f"clips.csv, line {n}" for n in (2, 4, 6)]
    facts = [
        [(r.location, r.caption, r.fps, r.licence, r.start, r.end) for r in rows]  # type: ignore[union-attr]
        for rows in (read, rows_of(lines))
    ]
    assert facts[0] == facts[1]
    assert facts[0][0] == (
        tmp_path / "a b.mp4", "a ball, bouncing", 12.5, "CC0-1.0", 0.0, None
    )  # fmt: skip
    assert facts[0][1][0] == Path("/clips/c.webm")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,caption,licens\n", "line 1: the column 'licens' is unknown; known are path"),
        ("path,fps\n", "line 1: there is no column 'caption'"),
        ("", "line 1: there is no column 'path'"),
        ("path,caption,path\n", "line 1: the column 'path' is there more than once"),
        ("path,caption\n", "lists no clips"),
        ("path,caption\na.mp4,x\n\nb.mp4,one, two\n", "line 4: the row has 3 cells and the"),
        ("path,caption\na.mp4\n", "line 2: the row has 1 cells"),
        ("path,caption\na.mp4, \n", "line 2: the clip has no caption"),
        ("path,caption\n,x\n", "line 2: path is ''"),
        ("path,caption,fps\na.mp4,x,fast\n", "line 2: fps is 'fast'; it must be a number"),
        ("path,caption,fps\na.mp4,x,nan\n", "line 2: fps is 'nan'; it must be a number"),
        ("path,caption,fps\na.mp4,x,0\n", "line 2: fps is 0; it can be 0.01 to 1000"),
        ("path,caption,start,end\na.mp4,x,2,1\n", "line 2: start is 2 s and end 1 s"),
        ('path,caption\na.mp4,"x\n', "line 2: no CSV from here on"),
    ],
)
def test_mistakes_in_a_table_are_told_with_their_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        open_clips(csv(tmp_path, text), SETTINGS)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"path": "a.mp4", "caption": "x"', "line 2: no JSON"),
        ('["a.mp4", "x"]', "line 2: the line must be an object"),
        ('{"path": "a.mp4"}', "line 2: there is no column 'caption'"),
        ('{"path": "a.mp4", "caption": "x", "fp": 3}', "line 2: the column 'fp' is unknown"),
        ('{"path": "a.mp4", "caption": 3}', "line 2: caption is 3; it must be text"),
        ('{"path": 3, "caption": "x"}', "line 2: path is 3"),
        ('{"path": "a.mp4", "caption": "x", "fps": true}', "line 2: fps is True"),
        ('{"path": "a.mp4", "caption": "x", "end": []}', "line 2: end is []"),
        ('{"path": "a.mp4", "caption": "x", "licence": "a", "license": "b"}', "more than once"),
    ],
)
def test_mistakes_in_json_lines_are_told_with_their_line(
    tmp_path: Path, line: str, said: str
) -> None:
    path = tmp_path / "clips.jsonl"
    path.write_text('{"path": "a.mp4", "caption": "x"}\n' + line + "\n")
    with pytest.raises(InputError) as caught:
        open_clips(path, SETTINGS, skip_damaged=True)
    assert "clips.jsonl, line 2" in str(caught.value)
    assert said in str(caught.value)


def test_lists_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes("path,caption\na.mp4,Würfel\n".encode("latin-1"))
    (tmp_path / "empty").mkdir()
    for name, said in [
        ("latin.csv", "not UTF-8"),
        ("gone.csv", "cannot be read: No such file"),
        ("gone.tar", "cannot be read: No such file"),
        ("clips.txt", "is no list of clips; give a manifest"),
        ("empty", r"holds no \.tar shards"),
    ]:
        with pytest.raises(InputError, match=said):
            open_clips(tmp_path / name, SETTINGS)


def test_shards_give_what_the_folder_gives(tmp_path: Path) -> None:
    notes = [
        {"path": "0.mp4", "caption": "a ball", "licence": "CC0-1.0"},
        {"path": "1.webm", "caption": "a star", "fps": 12},
        {"path": "2.mp4", "caption": "a cat", "start": 0.5},
    ]
    for number, note in enumerate(notes):
        write_clip(tmp_path / str(note["path"]), 40, first=60 * number)
    manifest = write_manifest(tmp_path / "m.jsonl", notes)
    (tmp_path / "shards").mkdir()
    contents = [(tmp_path / str(note["path"])).read_bytes() for note in notes]
    extra = {"url": "kept apart", "caption": "a star", "fps": 12}
    write_shard(
        tmp_path / "shards" / "000.tar",
        {
            "a/clip.0.mp4": b"hidden by its own first dot",
            "a/0.mp4": contents[0],
            "a/0.json": json.dumps(notes[0]).encode(),
            "a/0.txt": b"the note goes before this",
        }
        | {"1.webm": contents[1], "1.json": json.dumps(extra).encode()},
    )
    write_shard(
        tmp_path / "shards" / "001.tar",
        {"2.mp4": contents[2], "2.json": b'{"start": 0.5}', "2.txt": b"a cat\n"},
    )
    read = rows_of(tmp_path / "shards")
    assert [str(row.where) for row in read] == [
        "000.tar, a/clip", "000.tar, a/0", "000.tar, 1", "001.tar, 2"
    ]  # fmt: skip
    assert isinstance(read[0], Problem)
    (tmp_path / "shards" / "000.tar").unlink()
    write_shard(
        tmp_path / "shards" / "000.tar",
        {
            "a/0.mp4": contents[0],
            "a/0.json": json.dumps(notes[0]).encode(),
            "1.webm": contents[1],
            "1.json": json.dumps(extra).encode(),
        },
    )
    folder, shards = open_clips(manifest, SETTINGS), open_clips(tmp_path / "shards", SETTINGS)
    assert len(folder) == len(shards) == 3
    for index in range(3):
        for seed in range(2):
            one, other = (source.sample(index, generator(seed)) for source in (folder, shards))
            assert torch.equal(one.frames, other.frames)
            assert one.caption == other.caption
            assert one.frame_stride == other.frame_stride
            assert one.conditioning_fps == other.conditioning_fps
            assert one.licence == other.licence
    assert shards.sample(2, generator()).name == "001.tar/2.mp4"


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"0.mp4": b"x"}, "s.tar, 0: the clip has no caption"),
        ({"0.txt": b"a ball"}, "s.tar, 0: there must be one clip of this name"),
        ({"0.mp4": b"x", "0.webm": b"x", "0.txt": b"a"}, "and there are 2 among mp4, webm, txt"),
        ({"0.mp4": b"x", "0.json": b"{"}, "s.tar, 0: '0.json' is no JSON"),
        ({"0.mp4": b"x", "0.json": b"[]"}, "s.tar, 0: '0.json' must hold an object"),
        ({"0.mp4": b"x", "0.txt": b"\xff"}, "s.tar, 0: '0.txt' is not UTF-8"),
        ({}, "lists no clips"),
    ],
)
def test_mistakes_in_a_shard_are_told_with_their_place(
    tmp_path: Path, members: dict[str, bytes], said: str
) -> None:
    with pytest.raises(InputError) as caught:
        open_clips(write_shard(tmp_path / "s.tar", members), SETTINGS)
    assert said in str(caught.value)


def test_damaged_shards_are_refused(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "s.tar", {"0.txt": b"a ball", "0.mp4": bytes(4000)})
    content = shard.read_bytes()
    with pytest.raises(InputError, match=r"^s\.tar, 0: '0\.mp4' is damaged or no video"):
        open_clips(shard, SETTINGS).sample(0, generator())
    source = open_clips(shard, SETTINGS)
    for broken in (content[:3000], b"no tar at all" * 100, b"\x1f\x8b" + content):
        shard.write_bytes(broken)
        with pytest.raises(InputError, match=r"s\.tar' is no tar file, is compressed, or is cut"):
            open_clips(shard, SETTINGS)
    shard.write_bytes(content[:3000])
    with pytest.raises(InputError, match=r"s\.tar' is cut short at '0\.mp4'"):
        source.sample(0, generator())


def test_a_cut_video_in_a_whole_shard_is_found(tmp_path: Path) -> None:
    for name in ("0.mp4", "0.webm"):
        video = write_clip(tmp_path / name, 60).read_bytes()
        members = {name: video[: int(0.6 * len(video))], "0.txt": b"a ball"}
        shard = write_shard(tmp_path / "s.tar", members)
        with pytest.raises(InputError, match=rf"^s\.tar, 0: '{name}' is cut short"):
            open_clips(shard, SETTINGS).sample(0, generator())


def test_shard_members_read_their_own_bytes(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "s.tar", {"0.mp4": b"abc", "0.txt": b"x", "1.mp4": b"defg",
                                             "1.txt": b"y"})  # fmt: skip
    members = [row.location for row in rows_of(shard) if isinstance(row, ClipRow)]
    assert [m.read() for m in members if isinstance(m, ShardMember)] == [b"abc", b"defg"]


def test_a_check_tells_all_that_is_wrong(tmp_path: Path) -> None:
    write_clip(tmp_path / "good.mp4", 48, fps=24)
    write_clip(tmp_path / "short.mp4", 10)
    (tmp_path / "zeros.mp4").write_bytes(bytes(100))
    manifest = csv(
        tmp_path,
        "path,caption,fps,licence,start,end\n"
        "good.mp4,a ball,,CC0-1.0,,\n"
        "gone.mp4,a ball,,,,\n"
        "good.mp4,,,,,\n"
        "short.mp4,a ball,,,,\n"
        "zeros.mp4,a ball,,,,\n"
        "good.mp4,a ball,,,1,\n"
        "good.mp4,a ball,,,5,\n",
    )
    seen: list[int] = []
    for every_frame in (False, True):
        report = check_clips(manifest, every_frame=every_frame, report=seen.append)
        assert (report.num_clips, report.num_usable) == (7, 2)
        assert report.seconds == pytest.approx(3.0)
        assert report.licences == {"CC0-1.0": 1, None: 1}
        assert [problem.where for problem in report.problems] == [
            f"clips.csv, line {line}" for line in (3, 4, 5, 6, 8)
        ]
        said = [problem.sentence for problem in report.problems]
        for sentence, part in zip(
            said,
            ["There is no clip", "no caption", "10 frames", "damaged", "no frame"],
            strict=True,
        ):
            assert part in sentence
    assert seen == [*range(1, 8), *range(1, 8)]
    assert check_clips(manifest, num_frames=10).num_usable == 3


def test_a_check_of_every_frame_finds_damage_in_the_middle(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", 60)
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat") + len(content[content.index(b"mdat") :]) // 4
    content[start : start + 200] = bytes(200)
    path.write_bytes(content)
    manifest = write_manifest(tmp_path / "m.jsonl", [{"path": "clip.mp4", "caption": "a ball"}])
    assert check_clips(manifest, every_frame=True).num_usable == 0
