"""Clips of other tools: matched with pictures and words, or refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stillmotion.errors import InputError
from stillmotion.evaluation.benchmark.clips import (
    find_cases,
    picture_names,
    read_prompts,
    scored_from,
    with_ends,
)

WORDS = {"cat": "a cat", "dog": "a dog"}


@pytest.fixture
def stills(tmp_path: Path) -> Path:
    folder = tmp_path / "stills"
    folder.mkdir()
    for name in WORDS:
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / f"{name}.png")
    return folder


def clips(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    return folder


def test_clips_are_found_by_the_names_of_their_pictures(stills: Path, tmp_path: Path) -> None:
    ours = clips(tmp_path / "ours", "cat.mp4", "dog.webp", "notes.txt")
    theirs = clips(tmp_path / "theirs", "cat-0.mp4", "dog-0.mp4")
    cases, source = find_cases({"ours": ours, "theirs": theirs}, stills, WORDS)
    assert [(case.name, case.prompt) for case in cases] == [("cat", "a cat"), ("dog", "a dog")]
    assert source.given_clip("theirs", cases[1]) == theirs / "dog-0.mp4"
    assert scored_from(source) == "files: decoded mp4"


def test_files_without_loss_are_told_from_others(stills: Path, tmp_path: Path) -> None:
    exact = clips(tmp_path / "exact", "cat.webp", "dog.safetensors")
    _, source = find_cases({"exact": exact}, stills, WORDS)
    assert scored_from(source) == "files: lossless"


def test_a_folder_of_frames_is_a_clip(stills: Path, tmp_path: Path) -> None:
    ours = clips(tmp_path / "ours", "cat.mp4")
    (ours / "dog").mkdir()
    cases, source = find_cases({"ours": ours}, stills, WORDS)
    assert source.given_clip("ours", cases[1]) == ours / "dog"


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["cat.mp4"], "has no clip of dog.png; name each clip as its picture"),
        (["cat.mp4", "dog.mp4", "cow.mp4"], "a clip 'cow' that no picture is named after"),
        (["cat.mp4", "cat.webm", "dog.mp4"], "have one name; keep one of them"),
        (["notes.txt"], "holds no clips; known endings are"),
    ],
)
def test_what_does_not_fit_is_named(
    stills: Path, tmp_path: Path, names: list[str], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        find_cases({"ours": clips(tmp_path / "ours", *names)}, stills, WORDS)


def test_a_picture_without_words_is_named(stills: Path, tmp_path: Path) -> None:
    ours = clips(tmp_path / "ours", "cat.mp4", "dog.mp4")
    with pytest.raises(InputError, match=r"dog\.png has no prompt"):
        find_cases({"ours": ours}, stills, {"cat": "a cat"})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("words.json", '{"cat": "a cat", "dog.png": "a dog"}'),
        ("words.csv", "name,prompt\ncat.png,a cat\ndog,a dog\n"),
        ("words.txt", "a cat\n\na dog\n"),
        ("words.tsv", "dog.png\ta dog\ncat\ta cat\n"),
    ],
)
def test_words_are_read_from_each_kind_of_file(
    stills: Path, tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    assert read_prompts(tmp_path / name, picture_names(stills)) == WORDS


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("words.json", "[1]", "cannot be read as prompts"),
        ("words.json", '{"cat": 1}', "a prompt is no text"),
        ("words.txt", "", "has 0 prompts for 2 pictures"),
        ("words.json", "{", "cannot be read as prompts"),
        ("words.csv", "cat\n", "cannot be read as prompts"),
        ("words.txt", "a cat\n", "has 1 prompts for 2 pictures"),
    ],
)
def test_words_that_cannot_be_read_are_refused(
    stills: Path, tmp_path: Path, name: str, text: str, sentence: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_prompts(tmp_path / name, picture_names(stills))


def test_ends_are_named_as_beginnings(stills: Path, tmp_path: Path) -> None:
    ours = clips(tmp_path / "ours", "cat.mp4", "dog.mp4")
    cases, source = find_cases({"ours": ours}, stills, WORDS)
    ends = tmp_path / "ends"
    ends.mkdir()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(ends / "dog.png")
    assert source.end_picture(cases[1]) is None
    ending = with_ends(source, ends)
    assert ending.end_picture(cases[0]) is None
    assert ending.end_picture(cases[1]) == ends / "dog.png"
    (ends / "dog.png").rename(ends / "cow.png")
    with pytest.raises(InputError, match="a picture 'cow', with which no clip begins"):
        with_ends(source, ends)
