"""`stillmotion evaluate animatezero`, `dynamicrafter`, `clips`, `methods` and `export`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.apps.conftest import Run

from stillmotion.evaluation.benchmark.cases import rendered_cases, rendered_clip
from stillmotion.media.clips import save_clip
from stillmotion.media.provenance import ModelIdentity, Provenance

NO_NETWORKS = [
    word
    for part in ("clip", "perceptual", "video", "flow", "judge")
    for word in ("--extractor", f"{part}=none")
]


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Two pictures, their words, and the clips of two tools: the real ones, and rest."""
    for folder in ("stills", "real", "rest"):
        (tmp_path / folder).mkdir()
    words = {}
    for case in rendered_cases(2):
        clip = rendered_clip(case, 8, 64)
        told = Provenance(
            kind="clip", method="test", prompt=case.prompt, seed=0,
            model=ModelIdentity(name="none", fingerprint=""),
        )  # fmt: skip
        Image.fromarray(clip[0]).save(tmp_path / "stills" / f"{case.name}.png")
        save_clip(clip, tmp_path / "real" / f"{case.name}.webp", provenance=told)
        rest = np.repeat(clip[:1], 8, 0)
        save_clip(rest, tmp_path / "rest" / f"{case.name}.webp", provenance=told)
        words[case.name] = case.prompt
    (tmp_path / "words.json").write_text(json.dumps(words))
    return tmp_path


def test_clips_of_other_tools_are_scored_and_exported(made: Path, run: Run) -> None:
    shown = run(
        "evaluate", "clips", str(made / "real"), f"idle={made / 'rest'}", "--stills",
        str(made / "stills"), "--prompts", str(made / "words.json"), "-o", str(made / "run"),
        "--processes", "1", "--json", *NO_NETWORKS,
    )  # fmt: skip
    assert shown.code == 0, shown.err
    facts = json.loads(shown.out)
    assert [column["name"] for column in facts["columns"]] == ["real", "idle"]
    lines = {line["metric"]["key"]: line["cells"] for line in facts["tables"][0]["lines"]}
    assert lines["flicker"][0]["mean"] > 0
    assert lines["flicker"][1]["mean"] == 0
    assert lines["i1_mse"][0]["mean"] == 0
    assert (made / "run" / "report.html").is_file()
    assert facts["runs"][0]["command"].startswith(f"stillmotion evaluate clips {made / 'real'} ")
    sent = run("evaluate", "export", str(made / "run"), "-o", str(made / "vbench"))
    assert sent.code == 0, sent.err
    assert len(list((made / "vbench" / "videos" / "idle").glob("*.mp4"))) == 2


def test_methods_are_listed(run: Run) -> None:
    shown = run("evaluate", "methods")
    assert shown.code == 0
    assert "animatediff" in shown.out
    assert "svd" in shown.out
    assert "(usual)" in shown.out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["animatezero", "--methods", "gen-2"], "there is no method 'gen-2'"),
        (["animatezero", "--methods", "svd"], "give it with --weights svd=PATH"),
        (["animatezero", "--score-as", "gif"], "--score-as is lossless or mp4, not 'gif'"),
        (["animatezero", "--weights", "svd"], "--weights takes NAME=PATH, not 'svd'"),
        (["animatezero", "--extractor", "nose=x"], "'nose=x' chooses no extractor"),
        (["animatezero", "--prompts", "none.txt"], "the prompts none.txt cannot be read"),
        (["dynamicrafter", "--clips", "nowhere"], "nowhere"),
        (["dynamicrafter", "--clips", ".", "--layout", "kinetics"], "no layout 'kinetics'"),
        (["export", "nowhere", "-o", "x"], "holds no manifest.json"),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    words: list[str], sentence: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = run("evaluate", *words)
    assert shown.code == 2
    assert sentence in shown.err
    assert "Traceback" not in shown.err


def test_two_folders_of_one_name_are_refused(made: Path, run: Run) -> None:
    other = made / "other" / "real"
    other.mkdir(parents=True)
    shown = run(
        "evaluate", "clips", str(made / "real"), str(other), "--stills", str(made / "stills"),
        "--prompts", str(made / "words.json"), "-o", str(made / "run"),
    )  # fmt: skip
    assert shown.code == 2
    assert "two folders are called 'real'; name them, NAME=DIR" in shown.err
