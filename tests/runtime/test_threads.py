"""How many threads compute, and that the environment is left as it was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from stillmotion.errors import InputError
from stillmotion.runtime import threads
from stillmotion.runtime.threads import (
    choose_threads,
    free_threads,
    single_thread,
    threads_in_use,
    training_threads,
    use_threads,
)


@pytest.mark.parametrize(
    ("cores", "load", "count"),
    [(2, 0.0, 2), (2, 0.4, 2), (2, 1.0, 1), (2, 3.0, 1), (1, 0.0, 1), (64, 0.0, 2), (64, 70.0, 1)],
)
def test_threads_are_those_that_are_free(cores: int, load: float, count: int) -> None:
    assert free_threads(cores, load) == count


def test_what_is_asked_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "usable_cores", lambda: 2)
    monkeypatch.setattr(threads, "current_load", lambda: 1.7)
    assert choose_threads(5, environment={"OMP_NUM_THREADS": "3"}).count == 5
    assert choose_threads(environment={"OMP_NUM_THREADS": "3,2"}).count == 3
    chosen = choose_threads(environment={"OMP_NUM_THREADS": "many"})
    assert chosen.count == 1
    assert chosen.reason == "1.7 of 2 cores are busy"
    with pytest.raises(InputError, match="--threads is 0"):
        choose_threads(0)


def test_a_container_may_grant_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_CGROUPS", tmp_path)
    cores = threads.usable_cores()
    assert cores >= 1
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert threads.usable_cores() == cores
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert threads.usable_cores() == 1
    (tmp_path / "cpu.max").unlink()
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert threads.usable_cores() == cores


def test_a_load_that_has_ended_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (0.25, 9.0, 9.0))
    assert 0 <= threads.current_load() <= 0.25


def test_everything_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    before, count = dict(os.environ), torch.get_num_threads()
    with use_threads(3) as chosen:
        assert chosen.count == 3 == torch.get_num_threads()
        assert threads_in_use() == chosen
        assert os.environ["OMP_NUM_THREADS"] == "3"
        assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
        with single_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 3
    assert (dict(os.environ), torch.get_num_threads()) == (before, count)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    with use_threads(1):
        assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


def test_training_takes_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "usable_cores", lambda: 12)
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert training_threads() is None
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert training_threads() == 12
