"""A study's score as Markdown, like the papers' tables, and as CSV for other programs."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence

from stillmotion.evaluation.metrics.ranks import Estimate
from stillmotion.evaluation.study.designs import Kind
from stillmotion.evaluation.study.scoring import AspectScore, StudyScore

_MEANING: dict[Kind, str] = {
    "rank": "mean rank, 1 is best",
    "best": "share of answers that chose the method as the best; the methods sum to 100 %",
    "select": "share of answers that found the method to conform to the picture",
}
_MARKUP = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]<>|#~"})


def markdown(score: StudyScore) -> str:
    """The table of the methods, how far raters agree, and how to read both."""
    return "\n\n".join([_results(score), _agreement(score), _notes(score)])


def scores_csv(score: StudyScore) -> str:
    """Each question and method: score, Borda count and Bradley-Terry strength, with intervals."""
    rows: list[Sequence[object]] = [
        ("aspect", "method", "title", "statistic", "value", "low", "high")
    ]
    for each in score.aspects:
        statistic = {"rank": "average_rank", "best": "preference_rate", "select": "selection_rate"}
        for name, estimates in (
            (statistic[each.aspect.kind], each.scores),
            ("borda", each.borda),
            ("bradley_terry", each.strengths),
        ):
            for method, found in zip(score.methods, estimates, strict=False):
                values = [_plain(value) for value in (found.value, found.low, found.high)]
                rows.append((each.aspect.key, method.name, method.title, name, *values))
    return _csv(rows)


def wins_csv(score: StudyScore) -> str:
    """How often each method was preferred to each other: what Bradley-Terry models are fitted to.

    Selections compare nothing and are left out.
    """
    rows: list[Sequence[object]] = [("aspect", "preferred", "other", "count")]
    for each in score.aspects:
        if each.wins is None:
            continue
        for i, winner in enumerate(score.methods):
            rows += [
                (each.aspect.key, winner.name, loser.name, f"{each.wins[i, j]:g}")
                for j, loser in enumerate(score.methods)
                if i != j
            ]
    return _csv(rows)


def _results(score: StudyScore) -> str:
    arrows = {"rank": "↓", "best": "↑", "select": "↑"}
    heads = [f"{each.aspect.column} {arrows[each.aspect.kind]}" for each in score.aspects]
    columns = [_column(each) for each in score.aspects]
    rows = [
        [method.title.translate(_MARKUP), *(column[place] for column in columns)]
        for place, method in enumerate(score.methods)
    ]
    return _table(["Method", *heads], rows)


def _column(score: AspectScore) -> list[str]:
    """Cells of a question: the best bold, the second best underlined, as they are shown."""
    shown = [_estimate(found, score.aspect.kind) for found in score.scores]
    values = [cell.partition(" [")[0] for cell in shown]
    known = {value for value in values if value != "–"}
    order = sorted(known, key=_leading_number, reverse=score.aspect.kind != "rank")
    marks = dict(zip(order, ("**{}**", "<u>{}</u>"), strict=False))
    return [
        marks.get(value, "{}").format(value) + cell[len(value) :]
        for value, cell in zip(values, shown, strict=True)
    ]


def _estimate(found: Estimate, kind: Kind) -> str:
    if math.isnan(found.value):
        return "–"
    if kind == "rank":
        return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
    low, high = 100 * found.low, 100 * found.high
    return f"{100 * found.value:.2f} % [{low:.1f}, {high:.1f}]"


def _leading_number(cell: str) -> float:
    return float(cell.split()[0])


def _agreement(score: StudyScore) -> str:
    rows = []
    for each in score.aspects:
        same = each.consistency
        oneself = f"{_share(same.share)} ({_share(same.chance)}), {same.num_repeats} repeats"
        rows.append(
            [
                each.aspect.column,
                str(each.num_answers),
                _decimal(each.kendalls_w),
                _decimal(each.alpha),
                oneself if same.num_repeats else "–",
            ]
        )
    heads = ["", "Answers", "Kendall's W", "Krippendorff's α", "With oneself (by chance)"]
    return _table(heads, rows)


def _notes(score: StudyScore) -> str:
    raters = len(score.panel.answers)
    lines = [
        f"{_counted(raters, 'rater')}, {_counted(score.num_cases, 'case')}, "
        f"{len(score.methods)} methods; {score.seconds:.0f} s for a question (median). "
        f"After {score.design.source}. In brackets 95 % bootstrap intervals over raters: they "
        "speak of other raters judging these clips, not of other clips."
    ]
    lines += [f"{each.aspect.column}: {_MEANING[each.aspect.kind]}." for each in score.aspects]
    if raters < 10:
        lines.append("With fewer than 10 raters the intervals are too narrow.")
    lines += [f"{note[0].upper()}{note[1:]}.".translate(_MARKUP) for note in score.panel.notes]
    return "\n".join(f"- {line}" for line in lines)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] + ["--:"] * (len(heads) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _csv(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _plain(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"


def _decimal(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.2f}"


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"
