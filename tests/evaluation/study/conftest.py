"""Small studies, built once."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.evaluation.study.runs import make_run

from stillmotion.evaluation.study.build import Study, StudyOptions, build_study
from stillmotion.evaluation.study.material import Material, gather


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 3 methods and 4 cases; not to be written to."""
    return make_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="session")
def material(folder: Path) -> Material:
    return gather([folder])


@pytest.fixture(scope="session")
def ranking(material: Material) -> Study:
    """AnimateZero's questions about 4 cases, 2 of them twice, and one attention check."""
    return build_study(material, StudyOptions(seed=5))


@pytest.fixture(scope="session")
def choosing(material: Material) -> Study:
    """DynamiCrafter's questions."""
    return build_study(material, StudyOptions(seed=5, design="dynamicrafter"))
