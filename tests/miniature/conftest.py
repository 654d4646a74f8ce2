"""The run folder of one microscopic training, made once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.miniature.microscopic import microscopic_recipe

from stillmotion.miniature.package import package
from stillmotion.miniature.train import ALL_STAGES, train_stages


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("miniature") / "run"
    train_stages(ALL_STAGES, recipe=microscopic_recipe(), folder=folder, device="cpu", quiet=True)
    return folder


@pytest.fixture(scope="session")
def packaged(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("packaged") / "weights"
    package(microscopic_recipe(), target, trained)
    return target
