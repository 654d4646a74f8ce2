"""What the papers claim, held against a run: which orderings hold, and how surely.

A claim is that one method has more, or less, of a metric than another, over the same cases.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from stillmotion.evaluation.comparison import holm
from stillmotion.evaluation.metrics.catalogue import CATALOGUE
from stillmotion.evaluation.report.runs import Run
from stillmotion.evaluation.report.statistics import (
    SIGNIFICANT,
    Difference,
    compare,
    real_features,
)

Verdict = Literal["holds", "leans that way", "leans the other way", "does not hold"]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """That `method` has `more` or less of a metric than `other`."""

    protocol: str
    metric: str
    method: str
    other: str
    more: bool
    says: str
    """The claim in words."""
    source: str
    published: tuple[float, float] | None = None
    """The paper's values of `method` and `other`, if it gives them."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """A claim with what the run says to it."""

    claim: Claim
    difference: Difference
    verdict: Verdict


_TABLE1 = "AnimateZero, Table 1"
_FIG6 = "AnimateZero, Fig. 6"
_TABLE4 = "DynamiCrafter, Table 4"


def _animatezero(
    metric: str, method: str, other: str, says: str, *, more: bool, source: str = _FIG6,
    published: tuple[float, float] | None = None,
) -> Claim:  # fmt: skip
    return Claim(
        protocol="animatezero", metric=metric, method=method, other=other, more=more, says=says,
        source=source, published=published,
    )  # fmt: skip


def _dynamicrafter(
    metric: str, other: str, says: str, *, more: bool,
    published: tuple[float, float] | None = None, source: str = _TABLE4,
) -> Claim:  # fmt: skip
    return Claim(
        protocol="dynamicrafter", metric=metric, method="dynamicrafter", other=other, more=more,
        says=says, source=source, published=published,
    )  # fmt: skip


def _table1(method: str, how: str) -> tuple[Claim, ...]:
    """Table 1's four columns: the method against AnimateDiff."""
    columns = (
        ("domain_sim", "closer to the image model's domain", True, (0.8671, 0.8081)),
        ("style_dist", "keeps the style of the still", False, (0.1666, 0.3809)),
        ("text_sim", "closer to the words", True, (0.3314, 0.3254)),
        ("warping_error", "more consistent along the flow", False, (0.6562, 0.6719)),
    )
    return tuple(
        _animatezero(
            metric,
            method,
            "animatediff",
            says,
            more=more,
            source=f"{_TABLE1}{how}",
            published=values,
        )
        for metric, says, more, values in columns
    )


CLAIMS = (
    *_table1("fig6-e", ""),
    *_table1("animatezero", ", here with this package's defaults"),
    _animatezero(
        "i1_mse", "fig6-b", "animatediff", "inserted latents make frame 1 the still", more=False
    ),
    _animatezero(
        "first_step_ratio", "fig6-b", "animatediff",
        "inserted latents alone make the clip jump at frame 2", more=True,
    ),
    _animatezero(
        "style_dist", "fig6-c", "fig6-b", "shared keys and values bring the still's style",
        more=False,
    ),
    _animatezero(
        "first_step_ratio", "fig6-e", "fig6-c", "window attention takes the jump away", more=False
    ),
    _animatezero(
        "late_drift", "fig6-d", "fig6-e",
        "without corrected positions the late frames fall apart", more=True,
    ),
    _dynamicrafter(
        "fvd", "without-context", "the context brings clips nearer to real ones", more=False,
        published=(234.66, 372.80),
    ),
    _dynamicrafter(
        "input_conformity", "without-context", "the context keeps the picture", more=True,
        published=(0.5803, 0.4916),
    ),
    _dynamicrafter(
        "input_conformity", "without-detail-guidance", "the detail guidance keeps the picture",
        more=True,
    ),
    _dynamicrafter(
        "text_sim", "without-text", "the words steer the clip (CLIP-SIM)", more=True,
        source="DynamiCrafter, section 5",
    ),
)  # fmt: skip
"""DynamiCrafter's are of a trained model from which an input is withheld, not of models that were
trained without it; `stillmotion evaluate dynamicrafter-ablation` trains those."""


def check_claims(run: Run) -> list[Held]:
    """The claims of which the run has both methods and the metric, with Holm's correction."""
    found = []
    for claim in CLAIMS:
        if claim.protocol != run.manifest.protocol:
            continue
        difference = _difference(run, claim)
        if difference is not None:
            found.append((claim, difference))
    adjusted = holm([math.nan if d.p_value is None else d.p_value for _, d in found])
    return [
        Held(claim=claim, verdict=_verdict(claim, d, p),
             difference=replace(d, p_adjusted=None if math.isnan(p) else p))
        for (claim, d), p in zip(found, adjusted, strict=True)
    ]  # fmt: skip


def _difference(run: Run, claim: Claim) -> Difference | None:
    samples = [
        {sample.case: sample for sample in run.samples_of(name)}
        for name in (claim.method, claim.other)
    ]
    shared = [case.name for case in run.cases if all(case.name in some for some in samples)]
    pairs = [(samples[0][name], samples[1][name]) for name in shared]
    found = compare(pairs, real_features(run), [CATALOGUE[claim.metric]])
    return found[0] if found else None


def _verdict(claim: Claim, difference: Difference, p_adjusted: float) -> Verdict:
    as_claimed = difference.mean != 0 and (difference.mean > 0) == claim.more
    if difference.p_value is None:
        low, high = difference.low, difference.high
        sure = low is not None and high is not None and (low > 0 or high < 0)
    else:
        sure = p_adjusted < SIGNIFICANT
    if as_claimed:
        return "holds" if sure else "leans that way"
    return "does not hold" if sure else "leans the other way"
