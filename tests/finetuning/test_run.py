"""`train_stage`: what learns, going on, sizes, ablations, several processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.dynamicrafter.tiny_pipeline import SIZE, tiny_dynamicrafter, tiny_dynamicrafter_unet
from tests.finetuning.tiny_starts import FRAMES, save_starts
from tests.tiny_models import tiny_tokenizer
from torch import Tensor

from stillmotion.dynamicrafter.pipeline import DynamiCrafterPipeline
from stillmotion.dynamicrafter.settings import DynamiCrafterSettings
from stillmotion.dynamicrafter.stages import STAGES, Group, group_of
from stillmotion.errors import InputError, OutputError
from stillmotion.finetuning.request import WORLD, StageRequest, TrainingOptions
from stillmotion.finetuning.run import ClipTraining, Outcome, train_stage

REPOSITORY = Path(__file__).parents[2]
OPTIONS = TrainingOptions(frames=FRAMES, batch=2, steps=2, ema=0.0, learning_rate=1e-3)
WEIGHTS = "diffusion_pytorch_model.safetensors"
PICTURE = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image model, CLIP, clips; `text`, `adapted` and `guided` are video models."""
    folder = save_starts(tmp_path_factory.mktemp("starts"))
    plain = {"image_encoder": None, "image_context": None}
    text = tiny_dynamicrafter_unet(in_channels=4, image_context=False)
    tiny_dynamicrafter(unet=text, **plain).save_pretrained(folder / "text")
    adapted = tiny_dynamicrafter_unet(in_channels=4)
    tiny_dynamicrafter(unet=adapted).save_pretrained(folder / "adapted")
    tiny_dynamicrafter(pace_kind="frame_stride").save_pretrained(folder / "guided")
    return folder


def request(starts: Path, output: Path, stage: str, start: str, **changes: Any) -> StageRequest:
    return StageRequest(
        **{"stage": stage, "start": str(starts / start), "clips": str(starts / "clips.jsonl"),
           "output": output, **changes}
    )  # fmt: skip


def weights(folder: Path, part: str = "unet") -> dict[str, Tensor]:
    return load_file(folder / part / WEIGHTS)


def all_weights(folder: Path) -> dict[str, Tensor]:
    found = {}
    for path in sorted(folder.rglob("*.safetensors")):
        found |= {f"{path.parent.name}.{n}": w for n, w in load_file(path).items()}
    return found


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(w, other[n]) for n, w in one.items())


# What learns.


@pytest.mark.parametrize(
    ("stage", "start"), [("joint", "adapted"), ("joint", "guided"), ("interpolation", "guided")]
)
def test_exactly_what_the_stage_trains_has_changed(
    starts: Path, tmp_path: Path, stage: str, start: str
) -> None:
    train_stage(request(starts, tmp_path / "out", stage, start), OPTIONS)
    before, after = weights(starts / start), weights(tmp_path / "out")
    assert before.keys() == after.keys()
    for name, weight in before.items():
        same = weight.shape == after[name].shape and torch.equal(weight, after[name])
        assert same != (group_of(name) in STAGES[stage].trains), name
    context = (weights(folder, "image_context") for folder in (starts / start, tmp_path / "out"))
    for old, new in zip(*(part.values() for part in context), strict=True):
        assert not torch.equal(old, new)
    for part in ("vae", "text_encoder", "image_encoder"):
        kept = all_weights(starts / start / part)
        assert kept
        assert equal(kept, all_weights(tmp_path / "out" / part))


def test_the_base_trains_what_is_new(starts: Path, tmp_path: Path) -> None:
    train_stage(request(starts, tmp_path / "out", "base", "image"), OPTIONS)
    before, after = weights(starts / "image"), weights(tmp_path / "out")
    for name, weight in after.items():
        if group_of(name) is Group.SPATIAL:
            assert torch.equal(weight, before[name].reshape(weight.shape))
        else:
            assert name not in before
    pipe = DynamiCrafterPipeline.from_pretrained(tmp_path / "out")
    assert not pipe.needs_picture
    pipe.set_progress_bar_config(disable=True)
    # Padded as the image model's tokenizer does.
    assert pipe.text_encoder.config.pad_token_id == tiny_tokenizer().pad_token_id
    settings = DynamiCrafterSettings(num_inference_steps=2)
    clip = pipe.animate(None, "abc", seed=1, settings=settings, num_frames=FRAMES)
    assert clip.frames.shape == (1, FRAMES, SIZE, SIZE, 3)


def test_the_context_trains_beside_an_image_model_that_rests(starts: Path, tmp_path: Path) -> None:
    stage = request(starts, tmp_path / "out", "context", "image", image_encoder=starts / "clip")
    train_stage(stage, OPTIONS)
    learned = load_file(tmp_path / "out" / "image_attention.safetensors")
    assert {group_of(name) for name in learned} == {Group.IMAGE_ATTENTION}
    assert any(weight.abs().max() > 0 for n, weight in learned.items() if n.endswith("alpha"))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "image_attention.safetensors", "image_context", "image_encoder", "training.json",
    }  # fmt: skip
    adapt = request(starts, tmp_path / "next", "adapt", "text", context=tmp_path / "out")
    train_stage(adapt, replace(OPTIONS, learning_rate=1e-30))
    received = weights(tmp_path / "next")
    assert all(torch.allclose(received[name], weight) for name, weight in learned.items())


# Going on.


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Every loss that is computed."""
    seen: list[float] = []
    plain = ClipTraining.loss

    def loss(self: ClipTraining, *given: Any) -> dict[str, Tensor]:
        values = plain(self, *given)
        seen.append(values["loss"].item())
        return values

    monkeypatch.setattr(ClipTraining, "loss", loss)
    return seen


def killed() -> None:
    raise RuntimeError("killed")


@pytest.mark.parametrize(
    ("end", "error"),
    [(killed, RuntimeError), (lambda: signal.raise_signal(signal.SIGTERM), KeyboardInterrupt)],
    ids=["killed", "terminated"],
)
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(
    starts: Path,
    tmp_path: Path,
    losses: list[float],
    monkeypatch: pytest.MonkeyPatch,
    end: Callable[[], None],
    error: type[BaseException],
) -> None:
    options = replace(OPTIONS, steps=3, accumulate=2, ema=0.9, checkpoint_seconds=0.0, workers=1)
    train_stage(request(starts, tmp_path / "whole", "joint", "adapted"), options)
    whole, losses[:] = list(losses), []
    stopped = request(starts, tmp_path / "out", "joint", "adapted")
    with monkeypatch.context() as patched:
        plain = ClipTraining.loss

        def loss(self: ClipTraining, *given: Any) -> dict[str, Tensor]:
            if len(losses) == 3:
                patched.undo()
                end()
            return plain(self, *given)

        patched.setattr(ClipTraining, "loss", loss)
        with pytest.raises(error):
            train_stage(stopped, options)
    assert not (tmp_path / "out").exists()
    done = len(losses) - len(losses) % 2 if error is KeyboardInterrupt else 2
    del losses[done:]
    assert train_stage(stopped, replace(options, workers=0)).steps == 3
    assert losses == whole
    assert equal(all_weights(tmp_path / "out"), all_weights(tmp_path / "whole"))


def test_a_finished_run_is_not_trained_again_but_can_be_made_longer(
    starts: Path, tmp_path: Path, losses: list[float]
) -> None:
    stage = request(starts, tmp_path / "out", "joint", "adapted")
    train_stage(stage, OPTIONS)
    again = train_stage(stage, OPTIONS)
    assert (again.was_finished, again.steps, len(losses)) == (True, 2, 2)
    longer = train_stage(stage, replace(OPTIONS, steps=3))
    assert (longer.was_finished, longer.steps, len(losses)) == (False, 3, 3)
    with pytest.raises(OutputError, match=r"trained otherwise \(seed 0, not 1\)"):
        train_stage(stage, replace(OPTIONS, seed=1))
    elsewhere = replace(stage, output=tmp_path / "other", run_folder=stage.folder)
    with pytest.raises(InputError, match=r"begun otherwise \(batch 2, not 3\)"):
        train_stage(elsewhere, replace(OPTIONS, batch=3))


# Sizes, sources, ablations.


def test_another_size_makes_a_model_of_that_size(starts: Path, tmp_path: Path) -> None:
    options = replace(OPTIONS, height=32, width=48, frames=3)
    train_stage(request(starts, tmp_path / "out", "joint", "guided"), options)
    config = json.loads((tmp_path / "out" / "unet" / "config.json").read_text())
    assert config["sample_size"] == [16, 24]
    says = json.loads((tmp_path / "out" / "stillmotion.json").read_text())
    assert (says["height"], says["width"], says["num_frames"]) == (32, 48, 3)
    assert animated(tmp_path / "out").shape == (1, FRAMES, 32, 48, 3)


def animated(folder: Path) -> np.ndarray[Any, Any]:
    pipe = DynamiCrafterPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    settings = DynamiCrafterSettings(num_inference_steps=2)
    frames: np.ndarray[Any, Any] = pipe.animate(
        PICTURE, "abc", seed=1, settings=settings, num_frames=FRAMES
    ).frames
    return frames


@pytest.mark.parametrize(
    ("ablation", "stage", "start"),
    [
        ("without-context", "joint", "text"),
        ("without-detail-guidance", "joint", "adapted"),
        ("train-everything", "joint", "adapted"),
        ("first-frame", "joint", "adapted"),
    ],
)
def test_ablations_are_trained_and_animate(
    starts: Path, tmp_path: Path, ablation: str, stage: str, start: str
) -> None:
    train_stage(request(starts, tmp_path / "out", stage, start, ablation=ablation), OPTIONS)
    assert animated(tmp_path / "out").shape == (1, FRAMES, SIZE, SIZE, 3)
    before, after = weights(starts / start), weights(tmp_path / "out")
    moved = [n for n in before if group_of(n) is Group.TEMPORAL
             and not torch.equal(before[n], after[n])]  # fmt: skip
    assert bool(moved) == (ablation == "train-everything")


def test_the_image_context_can_be_learned_on_the_video_model(starts: Path, tmp_path: Path) -> None:
    stage = request(
        starts, tmp_path / "out", "adapt", "text", ablation="one-stage",
        image_encoder=starts / "clip",
    )  # fmt: skip
    train_stage(stage, OPTIONS)
    assert animated(tmp_path / "out").shape[1] == FRAMES


@pytest.mark.parametrize("ablation", ["without-gate", "global-token"])
def test_what_the_context_learns_decides_the_stages_after_it(
    starts: Path, tmp_path: Path, ablation: str
) -> None:
    names = {"ablation": ablation, "clips": WORLD}
    context = request(
        starts, tmp_path / "context", "context", "image", image_encoder=starts / "clip", **names
    )
    train_stage(context, OPTIONS)
    adapt = request(
        starts, tmp_path / "adapt", "adapt", "text", context=tmp_path / "context", **names
    )
    with pytest.raises(ValueError, match=r"same gate|must agree"):
        train_stage(replace(adapt, ablation="full"), OPTIONS)
    train_stage(adapt, OPTIONS)
    train_stage(request(starts, tmp_path / "joint", "joint", str(adapt.output), **names), OPTIONS)
    pipe = DynamiCrafterPipeline.from_pretrained(tmp_path / "joint")
    assert pipe.config.global_token_only == (ablation == "global-token")
    assert pipe.unet.config.image_gate == (ablation != "without-gate")
    assert animated(tmp_path / "joint").shape[1] == FRAMES


def test_clips_that_are_too_short_end_the_run_with_a_sentence(starts: Path, tmp_path: Path) -> None:
    stage = request(starts, tmp_path / "out", "joint", "guided")
    with pytest.raises(InputError, match="the clip has 24 frames and a sample takes 25"):
        train_stage(stage, replace(OPTIONS, frames=25, batch=1))


# Several processes.


def together(starts: Path, output: Path, sharded: bool) -> None:
    """The command in two processes, as `torchrun` starts them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    world = {
        **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GLOO_SOCKET_IFNAME": "lo"},
        **{"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"},
    }
    command = [
        sys.executable, "-m", "stillmotion", "train", "dynamicrafter", "--stage", "joint",
        "--start", str(starts / "adapted"), "--clips", str(starts / "clips.jsonl"), "-o",
        str(output), "--frames", str(FRAMES), "--batch", "1", "--steps", "3", "--ema", "0.0",
        "--learning-rate", "1e-3", "--device", "cpu", "-q", *["--sharded"] * sharded,
    ]  # fmt: skip
    processes = [
        subprocess.Popen(
            command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, **world, "RANK": rank, "LOCAL_RANK": rank},
        )
        for rank in "01"
    ]  # fmt: skip
    try:
        said = [process.communicate(timeout=600) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], said
    assert said[0][0].startswith("trained: joint, 3 steps")
    assert said[1][0] == ""


def distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return sum((w.float() - other[n].float()).square().sum().item() for n, w in one.items()) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("sharded", [False, True], ids=["copies", "shared-out"])
def test_two_processes_train_as_one_that_accumulates(
    starts: Path, tmp_path: Path, sharded: bool
) -> None:
    together(starts, tmp_path / "two", sharded)
    alone: Outcome = train_stage(
        request(starts, tmp_path / "one", "joint", "adapted"),
        replace(OPTIONS, batch=1, accumulate=2, steps=3),
    )
    assert alone.steps == 3
    start, one, two = (
        all_weights(f) for f in (starts / "adapted", tmp_path / "one", tmp_path / "two")
    )
    assert one.keys() == two.keys()
    moved = distance(one, {**one, **{n: w for n, w in start.items() if w.shape == one[n].shape}})
    assert moved > 5e-3
    # Rounding alone: Adam can turn the sign of a step where a gradient is next to zero.
    assert distance(one, two) < 0.02 * moved
    assert json.loads((tmp_path / "two" / "unet" / "config.json").read_text()) == json.loads(
        (tmp_path / "one" / "unet" / "config.json").read_text()
    )
