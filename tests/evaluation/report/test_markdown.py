"""The Markdown of a report, to the letter."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.evaluation.report.made_run import Shape, write_run

from stillmotion.evaluation.metrics.catalogue import CATALOGUE
from stillmotion.evaluation.report import numbers
from stillmotion.evaluation.report.markdown import comparisons, markdown, tables
from stillmotion.evaluation.report.runs import load_run
from stillmotion.evaluation.report.statistics import Cell
from stillmotion.evaluation.report.summary import Summary, summarise
from stillmotion.evaluation.report.writing import Written

TABLE = """\
All cases (4):

| metric | AnimateDiff | AnimateZero | with time travel |
|:--|--:|--:|--:|
| I1-MSE ↓ | 7.000 [5.000, 9.000] | **0.000** [0.000, 0.000] | *0.250* [0.000, 0.750] |
| I1-PSNR (dB) ↑ | 39.75 [38.50, 41.25] | **exact** | 48.00 (n = 1, 3 exact) |
| Text-Sim (CLIP-miniature) ↑ | 0.3150 [0.3050, 0.3250] | **0.3350** [0.3250, 0.3450] | \
*0.3225* [0.3125, 0.3350] |
| FVD-judge ↓ | **0.00** | *1.00* | 4.00 |
| KVD-judge ↓ | **−23.00** | *−13.44* | 81.75 |
| Motion magnitude (DIS) (px/step) | 1.25 [0.75, 1.75] | 1.30 [0.85, 1.70] | 0.75 [0.65, 0.85] |
| First step / later steps | 1.75 [1.50, 2.00] (n = 3) | 1.05 [1.00, 1.10] | 1.10 [1.00, 1.20] |
| Motion right ↑ | 25.0 % [4.6, 69.9] | **100.0 %** [51.0, 100.0] | *75.0 %* [30.1, 95.4] |"""

COMPARISON = """\
### AnimateZero minus AnimateDiff

| metric | pairs | difference | p | p (Holm) | verdict |
|:--|--:|--:|--:|--:|:--|
| I1-MSE ↓ | 4 | −7.000 [−9.000, −5.000] | 0.125 | 0.625 | – |
| Text-Sim (CLIP-miniature) ↑ | 4 | +0.0200 [0.0200, 0.0200] | 0.125 | 0.625 | – |
| FVD-judge ↓ | 4 | +1.00 | – | – | – |"""


def test_the_table_of_all_cases(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path / "run", Shape(groups=("",))).path)
    assert tables(summarise([run])) == TABLE


def test_the_paired_comparison(summary: Summary) -> None:
    assert comparisons(summary).startswith(COMPARISON)


def test_the_report_says_what_was_run(summary: Summary) -> None:
    text = markdown(summary)
    assert text.startswith(
        "# Made run\n\n- Command: `stillmotion evaluate animatezero --cases 4`\n"
    )
    assert "- Scored from: lossless frames\n" in text
    assert "clip = CLIP-miniature (`abababababab`), flow = DIS (`opencv 5.0.0 DIS medium`)" in text
    assert "- Versions: stillmotion 0.1, python 3.11\n" in text
    assert "> With 4 samples intervals are rough" in text
    assert "- **FVD-judge** (lower is better): Frechet distance" in text
    assert "### neon\n\nCases of neon (2):\n" in text
    assert "- **AnimateDiff** (`animatediff`), model miniature (`cdcdcdcdcdcd`), steps 25" in text
    assert text.endswith("\n")
    assert "\n\n\n" not in text


@pytest.mark.parametrize(
    ("title", "written"),
    [
        ("a | b", r"# a \| b"),
        ("<script>x</script>\n# not a title", r"# \<script\>x\</script\> \# not a title"),
        ("*star* _line_ `code` [link](x)", r"# \*star\* \_line\_ \`code\` \[link\](x)"),
    ],
)
def test_words_stay_words(tmp_path: Path, title: str, written: str) -> None:
    run = load_run(write_run(tmp_path / "run", Shape(title=title)).path)
    assert markdown(summarise([run])).splitlines()[0] == written


def test_the_files_hold_the_same_tables(hostile: Written) -> None:
    text = hostile.markdown_path.read_text(encoding="utf-8")
    assert hostile.markdown.splitlines()[2:8] == text[text.index("| metric") :].splitlines()[:6]


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("text_sim", 0.31416, "0.3142"),
        ("i1_mse", -0.0001, "0.000"),
        ("kvd", -1.5, "−1.50"),
        ("motion_right", 0.5, "50.0 %"),
    ],
)
def test_numbers(key: str, value: float, shown: str) -> None:
    assert numbers.shown(value, CATALOGUE[key]) == shown


def test_remarks() -> None:
    cell = Cell(mean=1.0, low=None, high=None, count=3)
    assert numbers.remark(cell, 3) == ""
    assert numbers.remark(cell, 4) == "n = 3"
    exact = Cell(mean=None, low=None, high=None, count=0, exact=2)
    assert numbers.remark(exact, 2) == ""
    assert numbers.remark(exact, 3) == "2 exact"
    assert numbers.of_cell(exact, CATALOGUE["i1_psnr"]) == "exact"


@pytest.mark.parametrize(
    ("value", "said"), [(None, "–"), (0.0004, "< 0.001"), (0.03, "0.030"), (1.0, "1.000")]
)
def test_probabilities(value: float | None, said: str) -> None:
    assert numbers.probability(value) == said
