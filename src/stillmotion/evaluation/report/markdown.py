"""The tables of a report as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from stillmotion.evaluation.metrics.catalogue import Metric
from stillmotion.evaluation.report.numbers import (
    NOTHING,
    direction,
    heading,
    interval,
    of_cell,
    of_difference,
    probability,
    published,
    remark,
    short_identity,
)
from stillmotion.evaluation.report.statistics import Cell, Difference
from stillmotion.evaluation.report.summary import About, Column, Summary, Table, Versus

LEGEND = (
    "Means over clips with 95 % intervals (bootstrap over clips; of yes or no, Wilson's; of "
    "distances of sets, a delete-half jackknife); **bold** is the best, *italic* the second "
    "best, values that are shown alike share a place; none is marked where all are alike."
)
PAIRED = (
    "Mean differences over the cases that both have, with 95 % bootstrap intervals; p of a "
    "sign-flip test (of yes or no: McNemar's), and corrected by Holm for the number of metrics.  "
    "Distances of sets have intervals by a delete-half jackknife, and no p."
)

CLAIMED = (
    "Differences over the cases that both methods have, with 95 % intervals, and p corrected by "
    "Holm for the number of claims.  A claim holds, or does not, if p is below 0.05 (of distances "
    "of sets: if the interval leaves out 0); else the numbers only lean to one side."
)


def markdown(summary: Summary) -> str:
    """The whole report but its plots and clips."""
    return "\n".join(_lines(summary)).rstrip() + "\n"


def tables(summary: Summary) -> str:
    """The tables alone: what a terminal shows."""
    parts: list[str] = []
    for table in summary.tables:
        parts += [_caption(table), "", *_table(table, summary.columns), ""]
    return "\n".join(parts).rstrip()


def claims(summary: Summary) -> str:
    """The papers' claims alone; empty without any."""
    return "\n".join(_claims(summary)) if summary.claims else ""


def comparisons(summary: Summary) -> str:
    """The paired comparisons alone."""
    parts: list[str] = []
    for versus in summary.comparisons:
        parts += [*_versus(versus, summary), ""]
    return "\n".join(parts).rstrip()


def _lines(summary: Summary) -> Iterator[str]:
    yield from (f"# {_text(summary.title)}", "")
    for about in summary.runs:
        yield from _about(about)
    for note in summary.notes:
        yield from (f"> {_text(note)}", "")
    yield from ("## Results", "", LEGEND, "")
    for table in summary.tables:
        if table.group is not None:
            yield from (f"### {_text(table.group or 'no group')}", "")
        yield from (_caption(table), "", *_table(table, summary.columns), "")
    if summary.claims:
        yield from ("## What the paper claims", "", CLAIMED, "", *_claims(summary), "")
    if summary.comparisons:
        yield from ("## Paired comparisons", "", PAIRED, "", comparisons(summary), "")
    yield from ("## Metrics", "")
    for line in summary.tables[0].lines:
        yield _explained(line.metric)
    yield ""
    yield from ("## Methods", "")
    for column in summary.columns:
        yield _method(column)


def _about(about: About) -> Iterator[str]:
    if about.label:
        yield from (f"**{_text(about.label)}**: {_text(about.title)}", "")
    yield f"- Command: {_code(about.command)}"
    yield f"- Protocol: {_text(about.protocol)}, {about.num_cases} cases, {about.num_samples} clips"
    yield f"- Scored from: {_text(about.scored_from)} frames"
    used = [f"{part} = {_text(one['name'])} ({_code(short_identity(one['identity']))})"
            for part, one in about.extractors.items()]  # fmt: skip
    yield f"- Extractors: {', '.join(used) or 'none'}"
    versions = ", ".join(f"{_text(name)} {_text(known)}" for name, known in about.versions.items())
    yield from (f"- Versions: {versions}", "")


def _claims(summary: Summary) -> Iterator[str]:
    yield _row(["claim", "metric", "methods", "difference here", "p", "in the paper", ""])
    yield "|:--|:--|:--|--:|--:|--:|:--|"
    for held in summary.claims:
        claim, found = held.claim, held.difference
        metric = summary.metric(claim.metric)
        names = (summary.column(name).title for name in (claim.method, claim.other))
        told = f"{of_difference(found, metric)} {interval(found.low, found.high, metric)}".rstrip()
        yield _row([
            f"{claim.says} ({claim.source})", _text(heading(metric)),
            " against ".join(map(_text, names)), told, probability(found.p_adjusted),
            published(claim.published), f"**{held.verdict}**",
        ])  # fmt: skip


def _caption(table: Table) -> str:
    where = "All cases" if table.group is None else f"Cases of {_text(table.group or 'no group')}"
    return f"{where} ({table.num_cases}):"


def _table(table: Table, columns: Sequence[Column]) -> Iterator[str]:
    yield _row(["metric", *(_text(column.title) for column in columns)])
    yield f"|:--{'|--:' * len(columns)}|"
    for line in table.lines:
        cells = [_cell(cell, line.metric, table.num_cases) for cell in line.cells]
        yield _row([_text(heading(line.metric)), *cells])


def _cell(cell: Cell, metric: Metric, num_cases: int) -> str:
    mark = {1: "**", 2: "*"}.get(cell.place or 0, "")
    value = f"{mark}{of_cell(cell, metric)}{mark}"
    more = remark(cell, num_cases)
    parts = (value, interval(cell.low, cell.high, metric), f"({more})" if more else "")
    return " ".join(part for part in parts if part)


def _versus(versus: Versus, summary: Summary) -> Iterator[str]:
    method, reference = summary.column(versus.method), summary.column(versus.reference)
    yield from (f"### {_text(method.title)} minus {_text(reference.title)}", "")
    if not versus.differences:
        yield "They share no case with a value."
        return
    yield _row(["metric", "pairs", "difference", "p", "p (Holm)", "verdict"])
    yield "|:--|--:|--:|--:|--:|:--|"
    for difference in versus.differences:
        yield _row(_difference(difference, summary.metric(difference.key)))


def _difference(difference: Difference, metric: Metric) -> list[str]:
    around = interval(difference.low, difference.high, metric)
    return [
        _text(heading(metric)),
        str(difference.count),
        f"{of_difference(difference, metric)} {around}".rstrip(),
        probability(difference.p_value),
        probability(difference.p_adjusted),
        difference.verdict or NOTHING,
    ]


def _explained(metric: Metric) -> str:
    source = f" Source: {_text(metric.source)}." if metric.source else ""
    return f"- **{_text(metric.title)}** ({direction(metric)}): {_text(metric.meaning)}{source}"


def _method(column: Column) -> str:
    said = [f"- **{_text(column.title)}** ({_code(column.name)})"]
    if column.model:
        identity = f" ({_code(short_identity(column.identity))})" if column.identity else ""
        said.append(f"model {_text(column.model)}{identity}")
    said += [f"{_text(key)} {_text(str(value))}" for key, value in column.settings.items()]
    return ", ".join(said)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(text: str) -> str:
    """Words that anyone may have written, as nothing but words of one line."""
    return re.sub(r"([\\`*_{}\[\]<>|#~&])", r"\\\1", " ".join(text.split()))


def _code(text: str) -> str:
    """The same as code; a fence longer than any in it holds it together."""
    text = " ".join(text.split()).replace("|", "\\|")
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if longest or not text else ""
    return f"{fence}{space}{text}{space}{fence}"
