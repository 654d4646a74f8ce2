"""One process: batches of a step, recomputation, precision, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.training.regression import NetworkRegression, Regression, settings
from torch import Tensor

from stillmotion.errors import InputError
from stillmotion.runtime.seeds import derive_seed
from stillmotion.training import processes
from stillmotion.training.checkpoint import load_checkpoint
from stillmotion.training.loop import train
from stillmotion.training.processes import process_device
from stillmotion.training.sharding import whole_state_dict


class Seen(Regression):
    """Notes the seeds of its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.seeds: list[int] = []

    def loss(self, generator: torch.Generator, progress: float) -> dict[str, Tensor]:
        self.seeds.append(generator.initial_seed())
        return super().loss(generator, progress)


class BothAtOnce(Regression):
    """One batch of what is accumulated otherwise."""

    def loss(self, generator: torch.Generator, progress: float) -> dict[str, Tensor]:
        step = self.computed // 2
        halves = [
            super(BothAtOnce, self).loss(
                torch.Generator().manual_seed(derive_seed(0, self.name, step, half)), progress
            )["loss"]
            for half in (0, 1)
        ]
        return {"loss": (halves[0] + halves[1]) / 2}


def equal(found: list[Tensor], expected: list[Tensor]) -> bool:
    return all(map(torch.equal, found, expected))


def test_a_batch_is_a_function_of_seed_stage_and_step(tmp_path: Path) -> None:
    stage = Seen()
    train(stage, settings(max_steps=3, seed=5), tmp_path)
    assert stage.seeds == [derive_seed(5, "regression", step) for step in range(3)]


def test_accumulated_batches_are_one_larger_batch(tmp_path: Path) -> None:
    parts, whole = Regression(), BothAtOnce()
    limits = settings(max_steps=20, gradient_accumulation_steps=2)
    assert train(parts, limits, tmp_path / "parts") == 20
    assert parts.computed == 40
    train(whole, settings(max_steps=20), tmp_path / "whole")
    assert all(map(torch.allclose, parts.copies(), whole.copies()))
    assert not equal(parts.copies(), Regression().copies())


def test_recomputation_changes_memory_and_not_weights(tmp_path: Path) -> None:
    plain, recomputing = NetworkRegression(), NetworkRegression()
    train(plain, settings(), tmp_path / "plain")
    train(recomputing, settings(gradient_checkpointing=True), tmp_path / "recomputing")
    assert recomputing.hidden_layers == 2 * plain.hidden_layers
    assert equal(recomputing.copies(), plain.copies())


def test_one_process_has_nothing_to_share_out(tmp_path: Path) -> None:
    plain, sharded = NetworkRegression(), NetworkRegression()
    train(plain, settings(), tmp_path / "plain")
    train(sharded, settings(sharded=True), tmp_path / "sharded")
    assert equal(sharded.copies(), plain.copies())
    assert equal(list(whole_state_dict(sharded.network).values()), sharded.copies())


@pytest.fixture
def float16_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss scaling, which accelerate does on GPUs alone, on the CPU; the first scales overflow."""
    made = processes._accelerator

    def scaling(limits, device):  # type: ignore[no-untyped-def]
        accelerator = made(settings(bfloat16=False), device)
        accelerator.state._mixed_precision, accelerator.native_amp = "fp16", True
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**24)
        return accelerator

    monkeypatch.setattr(processes, "_accelerator", scaling)


@pytest.mark.usefixtures("float16_on_the_cpu")
def test_steps_that_overflow_in_float16_are_skipped_and_resumed(tmp_path: Path) -> None:
    whole, stopped, resumed = Regression(), Regression(), Regression()
    limits = settings(float16=True)
    train(whole, limits, tmp_path / "whole")
    state = load_checkpoint(tmp_path / "whole" / "regression.checkpoint")
    assert state is not None
    assert 2 <= 40 - state["average_updates"] < 20, "the first steps overflow"
    assert 1 < state["scaler"]["scale"] < 2.0**24

    def stop(computed: int) -> None:
        if computed == 17:
            raise KeyboardInterrupt

    stopped.before = stop
    with pytest.raises(KeyboardInterrupt):
        train(stopped, settings(float16=True, checkpoint_seconds=0.0), tmp_path / "stopped")
    train(resumed, limits, tmp_path / "stopped")
    assert resumed.losses == whole.losses[17:]
    assert equal(resumed.copies(), whole.copies())


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_it_learns_in_mixed_precision_on_a_gpu(tmp_path: Path, precision: str) -> None:
    stage = NetworkRegression()
    stage.network.cuda()
    train(stage, settings(max_steps=300, **{precision: True}), tmp_path)
    assert sum(stage.losses[-20:]) < 0.2 * sum(stage.losses[:20])
    assert all(weight.dtype == torch.float32 for weight in stage.parameters())


def test_settings_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gradient_accumulation_steps is 0"):
        settings(gradient_accumulation_steps=0)
    with pytest.raises(InputError, match="use bfloat16, not float16"):
        settings(float16=True, sharded=True)
    with pytest.raises(InputError, match="float16 trains on a GPU only"):
        train(Regression(), settings(float16=True), tmp_path)
    with pytest.raises(InputError, match="regression cannot compute activations a second time"):
        train(Regression(), settings(gradient_checkpointing=True), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_processes_launched_for_another_engine_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = processes.DistributedType.FSDP
    monkeypatch.setattr(processes.Accelerator, "distributed_type", property(lambda _: engine))
    with pytest.raises(InputError, match="launched for FSDP, which the loop does not use"):
        train(Regression(), settings(), tmp_path)


def test_each_process_gets_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    cuda = torch.device("cuda")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert process_device(cuda) == cuda
    monkeypatch.setenv("LOCAL_RANK", "6")
    assert process_device(cuda) == torch.device("cuda:2")
    assert chosen == [torch.device("cuda:2")]
    assert process_device(torch.device("cuda:3")) == torch.device("cuda:3")
    assert process_device(torch.device("cpu")) == torch.device("cpu")
