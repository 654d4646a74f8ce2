"""One made run, written and read once."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.evaluation.report.made_run import HOSTILE, write_run

from stillmotion.evaluation.report.runs import Run, load_run
from stillmotion.evaluation.report.summary import Summary, summarise
from stillmotion.evaluation.report.writing import Written, write_reports


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; not to be written to."""
    return write_run(tmp_path_factory.mktemp("runs") / "made").path


@pytest.fixture(scope="session")
def made(folder: Path) -> Run:
    return load_run(folder)


@pytest.fixture(scope="session")
def summary(made: Run) -> Summary:
    return summarise([made])


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Reports of a run whose prompt tries to get out of its place."""
    path = tmp_path_factory.mktemp("runs") / "hostile"
    return write_reports(write_run(path, prompt=HOSTILE))
