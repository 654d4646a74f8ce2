"""Tables for papers and for other programs."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
from tests.evaluation.study.runs import METHODS
from tests.evaluation.study.test_scoring import STRENGTHS, panel, scored

from stillmotion.evaluation.metrics.ranks import Estimate
from stillmotion.evaluation.study.build import Study
from stillmotion.evaluation.study.scoring import StudyScore, score_study
from stillmotion.evaluation.study.simulate import simulated_answers
from stillmotion.evaluation.study.tables import markdown, scores_csv, wins_csv


@pytest.fixture(scope="module")
def score(ranking: Study) -> StudyScore:
    """A score with chosen numbers."""
    found = scored(ranking, count=3)
    numbers = [(1.5, 1.25, 1.75), (1.5, 1.0, 2.0), (2.996, 2.9, 3.0)]
    scores = tuple(Estimate(*each) for each in numbers)
    other = (*scores[:2], Estimate(np.nan, np.nan, np.nan))
    aspects = (replace(found.aspects[0], scores=scores), replace(found.aspects[1], scores=other))
    return replace(found, aspects=aspects, seconds=20.4)


def test_markdown_of_rankings(score: StudyScore) -> None:
    lines = markdown(score).splitlines()
    assert lines[:5] == [
        "| Method | Motion ↓ | Appearance ↓ |",
        "| --- | --: | --: |",
        # Equal as shown: both are the best, and the next is second.
        "| Glidewise 2 | **1.50** [1.25, 1.75] | **1.50** [1.25, 1.75] |",
        "| Tremolator 2 | **1.50** [1.00, 2.00] | **1.50** [1.00, 2.00] |",
        "| Bleachbox 2 | <u>3.00</u> [2.90, 3.00] | – |",
    ]
    text = "\n".join(lines)
    assert "| Motion | 12 |" in text
    assert "3 raters, 4 cases, 3 methods; 20 s for a question (median)." in text
    assert "With fewer than 10 raters the intervals are too narrow." in text
    assert "- Motion: mean rank, 1 is best." in text


def test_markdown_of_choices(choosing: Study) -> None:
    text = markdown(scored(choosing, count=12))
    head, _, *rows = text.splitlines()
    assert head == "| Method | M.Q. ↑ | T.C. ↑ | I.C. ↑ |"
    assert rows[0].startswith("| Glidewise 2 | **")
    assert rows[1].startswith("| Tremolator 2 | <u>")
    assert " %** [" in rows[0]
    assert "fewer than 10" not in text
    assert "Table 3" in text


def test_titles_and_notes_cannot_break_the_table(score: StudyScore) -> None:
    methods = tuple(m.model_copy(update={"title": "a|b *c* <i>"}) for m in score.key.methods)
    key = score.key.model_copy(update={"methods": methods})
    noted = replace(score.panel, notes=("'|x|' failed",))
    text = markdown(replace(score, key=key, panel=noted))
    assert r"| a\|b \*c\* \<i\> |" in text
    assert r"- '\|x\|' failed." in text


def test_csv_of_scores(ranking: Study, choosing: Study) -> None:
    rows = list(csv.DictReader(scores_csv(scored(ranking, 4)).splitlines()))
    assert len(rows) == 3 * 3 * 3
    assert {row["statistic"] for row in rows} == {"average_rank", "borda", "bradley_terry"}
    strengths = [float(row["value"]) for row in rows
                 if (row["aspect"], row["statistic"]) == ("motion", "bradley_terry")]  # fmt: skip
    assert sum(strengths) == pytest.approx(1, abs=1e-5)
    assert rows[0]["title"] == "Glidewise 2"
    chosen = list(csv.DictReader(scores_csv(scored(choosing, 4)).splitlines()))
    statistics = [(row["aspect"], row["statistic"]) for row in chosen]
    assert ("input_conformity", "selection_rate") in statistics
    assert ("input_conformity", "bradley_terry") not in statistics
    assert ("motion_quality", "preference_rate") in statistics


def test_csv_of_wins(ranking: Study, choosing: Study) -> None:
    rows = list(csv.DictReader(wins_csv(scored(ranking, 5)).splitlines()))
    assert len(rows) == 3 * 6
    counts = {(r["aspect"], r["preferred"], r["other"]): float(r["count"]) for r in rows}
    for one in METHODS:
        for other in METHODS:
            if one != other:
                both = counts["motion", one, other] + counts["motion", other, one]
                assert both == 5 * 4
    chosen = score_study(choosing.key, panel(simulated_answers(choosing.key, STRENGTHS, 5)))
    aspects = {row["aspect"] for row in csv.DictReader(wins_csv(chosen).splitlines())}
    assert aspects == {"motion_quality", "temporal_coherence"}
