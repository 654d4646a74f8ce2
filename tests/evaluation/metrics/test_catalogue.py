"""The catalogue: complete, consistent, and no stand-in under a paper's name."""

from __future__ import annotations

import math

import pytest

from stillmotion.errors import InputError
from stillmotion.evaluation.metrics.catalogue import CATALOGUE, stored, title_of

KEYS = [
    "i1_mse",
    "i1_psnr",
    "i1_mse_uint8wrap",
    "end_mse",
    "warping_error",
    "text_sim",
    "domain_sim",
    "style_dist",
    "style_dist_raw",
    "fvd",
    "kvd",
    "input_conformity",
    "clip_conformity",
    "motion_magnitude",
    "motion_smoothness",
    "flicker",
    "first_step_ratio",
    "largest_step_ratio",
    "late_drift",
    "loop_error",
    "saturation_drift",
    "brightness_drift",
    "subject",
    "colour",
    "background",
    "domain",
    "subject_last",
    "motion_right",
    "rank_motion",
    "rank_appearance",
    "rank_subjective",
]


def test_every_key_in_the_order_of_presentation() -> None:
    assert list(CATALOGUE) == KEYS
    assert all(metric.key == key for key, metric in CATALOGUE.items())


def test_titles_are_told_apart() -> None:
    titles = [metric.title for metric in CATALOGUE.values()]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("key", KEYS)
def test_each_says_what_it_is(key: str) -> None:
    metric = CATALOGUE[key]
    assert metric.meaning.endswith(".")
    assert metric.source
    assert metric.digits >= 0
    if metric.share:
        assert metric.better == "higher"


def test_directions_of_the_papers() -> None:
    """The arrows of AnimateZero's Tables 1 and 2 and DynamiCrafter's Table 1."""
    lower = "i1_mse warping_error style_dist fvd kvd rank_motion rank_appearance rank_subjective"
    higher = "text_sim domain_sim input_conformity"
    assert all(CATALOGUE[key].better == "lower" for key in lower.split())
    assert all(CATALOGUE[key].better == "higher" for key in higher.split())


@pytest.mark.parametrize(
    ("key", "name", "title"),
    [
        ("text_sim", "CLIP-miniature", "Text-Sim (CLIP-miniature)"),
        ("text_sim", "CLIP ViT-B/16", "Text-Sim (CLIP ViT-B/16)"),
        ("warping_error", "DIS", "Warping error ×10³ (DIS)"),
        ("fvd", "I3D", "FVD"),
        ("fvd", "judge", "FVD-judge"),
        ("kvd", "judge", "KVD-judge"),
        ("input_conformity", "DreamSim", "PIC"),
        ("input_conformity", "judge", "PIC-judge"),
        ("subject", "judge", "Subject right (judge)"),
        ("i1_mse", "anything", "I1-MSE"),
        ("i1_mse", None, "I1-MSE"),
        ("text_sim", None, "Text-Sim"),
        ("fvd", None, "FVD-unnamed"),
    ],
)
def test_titles_carry_the_extractor(key: str, name: str | None, title: str) -> None:
    assert title_of(key, name) == title


@pytest.mark.parametrize("name", ["judge", "i3d", "I3D-miniature", "DreamSim", ""])
def test_no_stand_in_is_called_fvd(name: str) -> None:
    assert title_of("fvd", name) != "FVD"
    assert title_of("kvd", name) != "KVD"


def test_an_unknown_key() -> None:
    with pytest.raises(InputError, match="'fid' is no metric; known are i1_mse, "):
        title_of("fid")


def test_what_files_hold() -> None:
    assert stored(0.5) == 0.5
    assert stored(math.nan) is stored(math.inf) is stored(-math.inf) is None
