"""All that a report says, as plain data: from runs to tables, in which nothing is formatted yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from stillmotion.errors import InputError
from stillmotion.evaluation.benchmark.folder import Method
from stillmotion.evaluation.metrics.catalogue import CATALOGUE, Metric, title_of
from stillmotion.evaluation.report.claims import Held, check_claims
from stillmotion.evaluation.report.runs import Run, differences, unfinished
from stillmotion.evaluation.report.statistics import (
    REAL,
    VIDEO,
    Cell,
    Difference,
    compare,
    mean_cell,
    placed,
    real_features,
    set_cell,
)

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class About:
    """What was run."""

    label: str
    title: str
    protocol: str
    command: str
    scored_from: str
    fps: float
    extractors: dict[str, dict[str, str]]
    versions: dict[str, str]
    facts: dict[str, Any]
    num_cases: int
    num_samples: int


@dataclass(frozen=True, kw_only=True)
class Column:
    """A method of a run."""

    id: str
    """Of its own among all runs: the method's name, after "LABEL/" where there are several."""
    name: str
    run: int
    """Index of the run."""
    title: str
    model: str
    identity: str
    settings: dict[str, Any]
    num_samples: int
    is_bound: bool = False
    """Never marked as best, see `Method`."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A metric of all methods."""

    metric: Metric
    """As the catalogue has it, but for its title, which names the extractor."""
    cells: tuple[Cell, ...]
    """In the order of `Summary.columns`."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """All metrics of all cases, or of those of a group."""

    group: str | None
    """None: all cases."""
    num_cases: int
    lines: tuple[Line, ...]


@dataclass(frozen=True, kw_only=True)
class Versus:
    """A method against another, metric by metric, over the cases that both have."""

    method: str
    reference: str
    """Ids of columns; differences are of `method` minus `reference`."""
    differences: tuple[Difference, ...]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A report."""

    title: str
    runs: tuple[About, ...]
    columns: tuple[Column, ...]
    tables: tuple[Table, ...]
    """The first is of all cases."""
    comparisons: tuple[Versus, ...]
    claims: tuple[Held, ...]
    """What the papers claim, of a single run."""
    notes: tuple[str, ...]
    """What a reader must know to trust the numbers: what is missing, what differs."""

    def metric(self, key: str) -> Metric:
        """The metric with this key, titled as in the tables."""
        return next(line.metric for line in self.tables[0].lines if line.metric.key == key)

    def column(self, name: str) -> Column:
        """The column with this id."""
        return next(column for column in self.columns if column.id == name)


def summarise(runs: Sequence[Run], reference: str | None = None) -> Summary:
    """Everything that a report of one run, or of two side by side, says.

    Args:
        runs: one, or two that share their cases.
        reference: name of the method that the others are compared with; by default the one that
            the run names (`reference` of its facts), or else its first.  Of two runs, methods of
            one name are compared with each other, and only without any those of the second run
            with the reference of the first.

    Raises:
        InputError: no method has the name of `reference`.
    """
    columns = _columns(runs)
    metrics = _metrics(runs)
    groups = list(dict.fromkeys(case.group for run in runs for case in run.cases))
    tables = [_table(runs, columns, metrics, None)]
    if len(groups) > 1:
        tables += [_table(runs, columns, metrics, group) for group in groups]
    return Summary(
        title=" and ".join(dict.fromkeys(run.manifest.title for run in runs)),
        runs=tuple(_about(run) for run in runs),
        columns=columns,
        tables=tuple(tables),
        comparisons=tuple(
            _versus(runs, metrics, one, other) for one, other in _pairs(runs, columns, reference)
        ),
        claims=tuple(check_claims(runs[0])) if len(runs) == 1 else (),
        notes=tuple(_notes(runs, columns)),
    )


def as_facts(summary: Summary) -> dict[str, Any]:
    """The summary as JSON holds it."""
    return {"schema_version": SCHEMA_VERSION, **asdict(summary)}


def _about(run: Run) -> About:
    manifest = run.manifest
    extractors = {part: {"name": found.name, "identity": found.identity}
                  for part, found in manifest.extractors.items()}  # fmt: skip
    return About(
        label=run.label, title=manifest.title, protocol=manifest.protocol,
        command=manifest.command, scored_from=manifest.scored_from, fps=manifest.fps,
        extractors=extractors, versions=dict(manifest.versions), facts=dict(manifest.facts),
        num_cases=len(run.cases), num_samples=len(run.samples),
    )  # fmt: skip


def _columns(runs: Sequence[Run]) -> tuple[Column, ...]:
    """All methods; those of one name in two runs side by side."""
    found = [(run, method) for run in range(len(runs)) for method in runs[run].manifest.methods]
    order = list(dict.fromkeys(method.name for _, method in found))
    found.sort(key=lambda one: order.index(one[1].name))
    return tuple(_column(runs[run], run, method) for run, method in found)


def _column(run: Run, index: int, method: Method) -> Column:
    return Column(
        id=f"{run.label}/{method.name}" if run.label else method.name,
        name=method.name, run=index,
        title=f"{method.title} · {run.label}" if run.label else method.title,
        model=method.model, identity=method.identity, settings=dict(method.settings),
        num_samples=len(run.samples_of(method.name)), is_bound=method.is_bound,
    )  # fmt: skip


def _metrics(runs: Sequence[Run]) -> list[Metric]:
    """Those that any sample has, in the catalogue's order, and then strangers by name."""
    samples = [sample for run in runs for sample in run.samples.values()]
    found = {key for sample in samples for key in sample.metrics}
    if all(any(part in sample.features for sample in samples) for part in (VIDEO, REAL)):
        found |= {"fvd", "kvd"}
    known = [metric for key, metric in CATALOGUE.items() if key in found]
    strangers = sorted(found - CATALOGUE.keys())
    return [_titled(metric, runs) for metric in known] + [
        Metric(key=key, title=key, meaning="Not in this package's catalogue.", better=None)
        for key in strangers
    ]


def _titled(metric: Metric, runs: Sequence[Run]) -> Metric:
    """The metric under the name that the extractors of the runs give it."""
    names = []
    for run in runs:
        part = run.manifest.extractors.get(metric.part) if metric.part else None
        names.append(title_of(metric.key, part.name if part else None))
    return replace(metric, title=" / ".join(dict.fromkeys(names)))


def _table(
    runs: Sequence[Run], columns: Sequence[Column], metrics: Sequence[Metric], group: str | None
) -> Table:
    lines = []
    for metric in metrics:
        cells = [_cell(runs[column.run], column.name, metric, group) for column in columns]
        rivals = [i for i, column in enumerate(columns) if not column.is_bound]
        for i, cell in zip(rivals, placed([cells[i] for i in rivals], metric), strict=True):
            cells[i] = cell
        lines.append(Line(metric=metric, cells=tuple(cells)))
    cases = {case.name for run in runs for case in run.cases if group in (None, case.group)}
    # A group without, say, an end picture has no line for the end-frame error.
    filled = tuple(line for line in lines if any(cell.count or cell.exact for cell in line.cells))
    return Table(group=group, num_cases=len(cases), lines=filled)


def _cell(run: Run, method: str, metric: Metric, group: str | None) -> Cell:
    samples = run.samples_of(method, group)
    if not metric.of_sets:
        return mean_cell(samples, metric)
    # Intervals of sets take a while, and the sets of groups are small.
    return set_cell(samples, real_features(run), metric, with_interval=group is None)


def _pairs(
    runs: Sequence[Run], columns: Sequence[Column], reference: str | None
) -> list[tuple[Column, Column]]:
    """Which columns are compared: (method, reference)."""
    if reference is not None and reference not in {column.name for column in columns}:
        names = ", ".join(dict.fromkeys(column.name for column in columns))
        raise InputError(f"no method is called '{reference}'; there are {names}")
    if len(runs) > 1 and reference is None:
        first = {column.name: column for column in columns if column.run == 0}
        same = [(c, first[c.name]) for c in columns if c.run == 1 and c.name in first]
        if same:
            return same
    named = reference or runs[0].manifest.facts.get("reference")
    origin = next((column for column in columns if column.name == named), columns[0])
    return [(c, origin) for c in columns
            if c is not origin and (len(runs) == 1 or reference or c.run == 1)]  # fmt: skip


def _versus(runs: Sequence[Run], metrics: Sequence[Metric], one: Column, other: Column) -> Versus:
    samples = [
        {s.case: s for s in runs[column.run].samples_of(column.name)} for column in (one, other)
    ]
    cases = [case.name for case in runs[one.run].cases if all(case.name in s for s in samples)]
    pairs = [(samples[0][name], samples[1][name]) for name in cases]
    found = compare(pairs, real_features(runs[one.run]), metrics)
    return Versus(method=one.id, reference=other.id, differences=found)


def _notes(runs: Sequence[Run], columns: Sequence[Column]) -> list[str]:
    notes = []
    for run in runs:
        of_run = f" of {run.label}" if run.label else ""
        for method in run.manifest.methods:
            missing = unfinished(run, method)
            if missing:
                notes.append(
                    f"{method.title}{of_run} lacks {missing} of {len(run.cases)} cases: its means "
                    "are over other cases than those of the rest; the paired comparisons are not."
                )
        if run.num_strangers:
            notes.append(f"{run.num_strangers} samples{of_run} belong to methods or cases that "
                         "the manifest does not name, and are left out.")  # fmt: skip
    if len(runs) > 1:
        notes += [f"Compared although {reason}." for reason in differences(*runs)]
        if runs[0].manifest.fps != runs[1].manifest.fps:
            notes.append("The runs have different frame rates; the gallery plays them frame by "
                         "frame, at the first one's.")  # fmt: skip
    smallest = min((column.num_samples for column in columns if column.num_samples), default=0)
    if 0 < smallest < 10:
        notes.append(f"With {smallest} samples intervals are rough and most differences cannot be "
                     "told from chance.")  # fmt: skip
    return notes
