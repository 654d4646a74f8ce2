"""From the words of a shell to a job that the server can make."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stillmotion.apps.job_words import changed_job, job_from_words, with_uploads
from stillmotion.errors import InputError

ID = "0123456789abcdef" * 2


def uploader(sent: list[Path]) -> Callable[[Path], dict[str, Any]]:
    def upload(path: Path) -> dict[str, Any]:
        sent.append(path)
        return {"id": f"{len(sent):032x}"}

    return upload


def told(*words: str, settings: tuple[str, ...] = ()) -> tuple[dict[str, Any], list[Path]]:
    sent: list[Path] = []
    return with_uploads(job_from_words(words, None, settings), uploader(sent)), sent


def test_a_text_and_settings_are_a_job() -> None:
    job, sent = told("draw", "1 red balloon", settings=("seed=7", "count=2", "clip-skip=1"))
    assert job == {
        "kind": "draw", "prompt": "1 red balloon", "seed": 7, "count": 2, "clip_skip": 1
    }  # fmt: skip
    assert sent == []


def test_files_are_sent_once_and_ids_stay() -> None:
    job, sent = told("interpolate", "a.png", "a.png", "rising")
    assert sent == [Path("a.png")]
    assert job["still"] == job["last_frame"] == {"artifact": f"{1:032x}", "name": "a.png"}
    job, sent = told("loop", ID)
    assert (job["still"], sent) == ({"artifact": ID}, [])


def test_a_prompt_that_looks_like_a_number_is_text() -> None:
    assert told("animate", ID, settings=("prompt=7",))[0]["prompt"] == "7"
    assert told("draw", "on")[0]["prompt"] == "on"


@pytest.mark.parametrize("as_text", [json.dumps, lambda job: f"# a job\n{json.dumps(job)}"])
def test_a_file_names_files_beside_it(tmp_path: Path, as_text: Callable[[Any], str]) -> None:
    file = tmp_path / "job.yaml"
    job = {"kind": "evaluate", "still": {"path": "a.png"}, "clips": ["b.mp4", ID], "prompt": "x"}
    file.write_text(as_text(job))
    sent: list[Path] = []
    made = with_uploads(job_from_words((), file, ()), uploader(sent))
    assert sorted(sent) == [tmp_path / "a.png", tmp_path / "b.mp4"]
    assert made["clips"][1] == {"artifact": ID}


@pytest.mark.parametrize(
    ("words", "settings", "said"),
    [
        ((), (), "Give either a kind"),
        (("paint", "x"), (), "'paint' is not a job"),
        (("draw", "a", "b"), (), "takes PROMPT"),
        (("draw",), (), "prompt is missing"),
        (("draw", "a"), ("seed",), "give FIELD=VALUE"),
        (("draw", "a"), ("seed=[",), "cannot be read"),
        (("draw", "a"), ("sed=1",), "there is no field 'sed'"),
        (("draw", "a"), ("steps=0",), "steps is 0"),
    ],
)
def test_mistakes_are_told(words: tuple[str, ...], settings: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match=said.replace("[", r"\[")):
        job_from_words(words, None, settings)


@pytest.mark.parametrize("text", ["a: [", "- 1", "", "!!python/object:os.system {}"])
def test_a_file_that_is_no_job_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=r"job\.yaml"):
        job_from_words((), file, ())


def test_a_job_is_changed() -> None:
    job = changed_job({"kind": "draw", "prompt": "a", "seed": 1}, ["seed=2"])
    assert (job.seed, job.prompt) == (2, "a")
