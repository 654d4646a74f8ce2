"""`stillmotion models` and `stillmotion doctor`."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.apps.conftest import Run

from stillmotion import __version__
from stillmotion.apps.speed import Speed
from stillmotion.errors import ModelError
from stillmotion.world.vocabulary import DOMAINS, SUBJECTS

SPEED = Speed(
    device="cpu",
    precision="float32",
    threads=1,
    gflops=50.0,
    num_frames=16,
    num_steps=25,
    miniature_step_seconds=0.4,
    miniature_clip_seconds=10.0,
    full_clip_seconds=18_550.0,
)


def test_models_are_listed_and_described(run: Run) -> None:
    done = run("models")
    assert done.code == 0
    assert done.err == ""
    assert "64 x 64 pixels" in done.out
    assert all(name in done.out for name in (*DOMAINS, *SUBJECTS))
    [facts] = run("models", "miniature", "--json").facts["models"]
    assert facts["name"] == "miniature"
    assert Path(facts["path"], "model_index.json").is_file()


def test_a_model_in_a_folder_is_described(run: Run, tmp_path: Path) -> None:
    [facts] = run("models", "miniature", "--json").facts["models"]
    (tmp_path / "mine").symlink_to(facts["path"])
    [other] = run("models", str(tmp_path / "mine"), "--json").facts["models"]
    assert other["looks"] == facts["looks"]
    assert "unknown model 'none'" in run("models", "none").error


def test_doctor_measures(run: Run) -> None:
    facts = run("doctor", "--device", "cpu", "--json").facts
    assert facts["packages"]["stillmotion"] == __version__
    assert facts["packages"]["torch"]
    speed = facts["speed"]
    assert speed["gflops"] > 0.1
    assert speed["miniature_clip_seconds"] == pytest.approx(
        speed["num_steps"] * speed["miniature_step_seconds"]
    )
    assert speed["full_clip_seconds"] > speed["miniature_clip_seconds"]


def test_doctor_says_what_is_measured_and_what_is_not(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stillmotion.apps.speed.measure_speed", lambda device: SPEED)
    monkeypatch.setattr("stillmotion.runtime.system.host_memory", lambda: (None, None))
    told = " ".join(run("doctor").out.split())
    assert "memory this system does not tell" in told
    assert "speed measured: 50 GFLOP/s in a product of float32 matrices on cpu, with 1 th" in told
    assert "miniature measured: 0.40 s for one step of a clip of 16 frames" in told
    assert "about 10 s for its 25 steps" in told
    assert "full size estimated, not measured: at least 5.2 h" in told


def test_doctor_examines_a_damaged_installation(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ModelError("the model folder lacks vae")

    monkeypatch.setattr("stillmotion.apps.speed.load_model", fail)
    done = run("doctor")
    assert done.code == 0
    assert "not measured: the model folder lacks vae" in done.out
    assert "torch" in done.out


def test_doctor_refuses_a_device_that_is_not_there(run: Run) -> None:
    assert "The device 'cuda:99'" in run("doctor", "--device", "cuda:99").error
