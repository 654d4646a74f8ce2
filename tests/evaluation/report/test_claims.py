"""The papers' claims against runs of which the answer is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from stillmotion.evaluation.benchmark.folder import Case, Manifest, Method, RunFolder, Sample
from stillmotion.evaluation.benchmark.registry import registry
from stillmotion.evaluation.metrics.catalogue import CATALOGUE
from stillmotion.evaluation.report.claims import CLAIMS, check_claims
from stillmotion.evaluation.report.markdown import markdown
from stillmotion.evaluation.report.runs import Run, load_run
from stillmotion.evaluation.report.summary import summarise

NOISE = np.random.default_rng(0).normal(0, 0.01, 12)


def run_of(
    folder: Path, protocol: str, metric: str, values: dict[str, Sequence[float]],
    features: dict[str, Sequence[Sequence[float]]] | None = None, bounds: Sequence[str] = (),
) -> Run:  # fmt: skip
    count = len(next(iter(values.values())))
    cases = tuple(Case(name=f"{i:04d}", prompt="x", seed=i) for i in range(count))
    methods = tuple(Method(name=name, title=name, is_bound=name in bounds) for name in values)
    run = RunFolder(folder)
    run.write_manifest(
        Manifest(
            protocol=protocol,
            title="Run",
            command="stillmotion",
            methods=methods,
            cases=cases,
            extractors={},
            scored_from="lossless",
            versions={},
        )
    )
    for name, numbers in values.items():
        run.add_samples(
            Sample(
                method=name,
                case=case.name,
                clip="",
                metrics={metric: float(number)},
                num_frames=16,
                features={
                    part: tuple(map(float, rows[i]))
                    for part, rows in {
                        "video": (features or {}).get(name),
                        "video-real": (features or {}).get(""),
                    }.items()
                    if rows is not None
                },
            )
            for i, (case, number) in enumerate(zip(cases, numbers, strict=True))
        )
    return load_run(folder)


def test_every_claim_is_of_a_known_metric_and_of_methods_that_there_are() -> None:
    for claim in CLAIMS:
        methods = registry(claim.protocol)  # type: ignore[arg-type]
        assert claim.metric in CATALOGUE
        assert {claim.method, claim.other} <= set(methods)


def test_published_values_are_on_the_side_that_is_claimed() -> None:
    for claim in CLAIMS:
        if claim.published is not None:
            ours, other = claim.published
            assert (ours > other) == claim.more


@pytest.mark.parametrize(
    ("apart", "verdict"),
    [
        (0.2, "holds"),
        (0.002, "leans that way"),
        (-0.002, "leans the other way"),
        (-0.2, "does not hold"),
    ],
)
def test_a_claim_is_judged_by_its_side_and_its_certainty(
    tmp_path: Path, apart: float, verdict: str
) -> None:
    noise = NOISE - NOISE.mean()
    values = {"fig6-e": 0.5 + apart + noise, "animatediff": np.full(12, 0.5)}
    [held] = check_claims(run_of(tmp_path, "animatezero", "domain_sim", values))
    assert held.verdict == verdict
    assert held.difference.mean == pytest.approx(apart)


def test_of_less_is_better_the_other_side_holds(tmp_path: Path) -> None:
    values = {"fig6-e": 0.1 + NOISE, "animatediff": 0.4 + NOISE[::-1]}
    [held] = check_claims(run_of(tmp_path, "animatezero", "style_dist", values))
    assert held.verdict == "holds"


def test_equal_values_hold_nothing(tmp_path: Path) -> None:
    values = {"fig6-e": [0.5] * 8, "animatediff": [0.5] * 8}
    [held] = check_claims(run_of(tmp_path, "animatezero", "text_sim", values))
    assert held.verdict == "leans the other way"


def test_a_run_without_the_methods_or_of_clips_has_no_claims(tmp_path: Path) -> None:
    values = {"fig6-e": [0.5] * 4}
    assert check_claims(run_of(tmp_path / "a", "animatezero", "text_sim", values)) == []
    both = {"fig6-e": [0.5] * 4, "animatediff": [0.1] * 4}
    assert check_claims(run_of(tmp_path / "b", "clips", "text_sim", both)) == []


def test_distances_of_sets_are_judged_by_their_interval(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    real = rng.normal(size=(40, 3))
    features = {
        "": real.tolist(), "dynamicrafter": (real + 0.01 * rng.normal(size=(40, 3))).tolist(),
        "without-context": (rng.normal(size=(40, 3)) + 4).tolist(),
    }  # fmt: skip
    values = {name: [0.0] * 40 for name in ("dynamicrafter", "without-context")}
    run = run_of(tmp_path, "dynamicrafter", "flicker", values, features)
    [held] = [one for one in check_claims(run) if one.claim.metric == "fvd"]
    assert held.difference.p_value is None
    assert held.verdict == "holds"


def test_the_report_says_them(tmp_path: Path) -> None:
    values = {"fig6-e": 0.7 + NOISE, "animatediff": 0.5 + NOISE[::-1]}
    text = markdown(summarise([run_of(tmp_path, "animatezero", "domain_sim", values)]))
    assert "## What the paper claims" in text
    assert "0.8671 / 0.8081 | **holds** |" in text


def test_a_bound_is_never_marked_as_best(tmp_path: Path) -> None:
    values = {"real": [1.0] * 3, "one": [0.5] * 3, "two": [0.4] * 3}
    run = run_of(tmp_path, "dynamicrafter", "input_conformity", values, bounds=("real",))
    [line] = summarise([run]).tables[0].lines
    assert [cell.place for cell in line.cells] == [None, 1, 2]
