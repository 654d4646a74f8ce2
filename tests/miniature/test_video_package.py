"""DynamiCrafter's models in the package, the way back into a run folder, and the ablations."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.miniature.microscopic import microscopic_recipe

from stillmotion.dynamicrafter.loading import load_dynamicrafter
from stillmotion.dynamicrafter.settings import DynamiCrafterSettings
from stillmotion.dynamicrafter.stages import Group, group_of
from stillmotion.dynamicrafter.unet import DynamiCrafterUNet
from stillmotion.errors import InputError, ModelError
from stillmotion.evaluation.run import model_identity
from stillmotion.miniature.package import COPIED, NETWORKS, package
from stillmotion.miniature.stages import Workshop
from stillmotion.miniature.unpack import unpack
from stillmotion.miniature.video_ablations import AblationSteps, train_ablation
from stillmotion.miniature.video_package import VIDEO_PACKAGES
from stillmotion.miniature.video_stages import VIDEO_TEXT_ENCODER, VideoWorkshop
from stillmotion.models.registry import part_path

PICTURE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
QUICK = DynamiCrafterSettings(num_inference_steps=2)
STEPS = AblationSteps(context=2, adapt=1, joint=1)


def workshop(folder: Path) -> VideoWorkshop:
    nothing = lambda done, values: None  # noqa: E731
    shop = Workshop(microscopic_recipe(), folder, torch.device("cpu"), nothing)
    return VideoWorkshop(shop)


@pytest.mark.parametrize("name", VIDEO_PACKAGES)
def test_a_packaged_model_animates(packaged: Path, name: str) -> None:
    """With the parts of the miniature around it, and none of its own in their place."""
    folder = packaged / name
    own = {path.name for path in folder.iterdir() if path.is_dir()}
    # Both read the text encoder that lies in the first of them.
    assert own - {"text_encoder"} == {"unet", "image_context", "scheduler"}
    assert ("text_encoder" in own) == (name == "dynamicrafter")
    assert part_path(folder, "text_encoder").resolve() == packaged / VIDEO_TEXT_ENCODER
    model = load_dynamicrafter(str(folder))
    last = PICTURE if name.endswith("interp") else None
    made = model.pipeline.animate(PICTURE, "a ball", seed=1, num_frames=3, settings=QUICK,
                                  last_frame=last)  # fmt: skip
    assert made.frames.shape == (1, 3, 64, 64, 3)
    assert model.pipeline.config.interpolates == (last is not None)
    assert model.pipeline.config.pace_kind == "frame_stride"
    assert len(model.pipeline.config.latent_mean) == 8
    assert 0 < model.pipeline.config.latent_variance < 10


def test_saved_by_itself_a_model_is_whole(packaged: Path, tmp_path: Path) -> None:
    model = load_dynamicrafter(str(packaged / "dynamicrafter"))
    model.pipeline.save_pretrained(tmp_path / "whole")
    again = load_dynamicrafter(str(tmp_path / "whole"))
    assert again.pipeline.model_fingerprint == model.pipeline.model_fingerprint


def test_the_identity_counts_what_is_shared(packaged: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(packaged, copy)
    folder = copy / "dynamicrafter"
    before = model_identity(folder)
    assert before == model_identity(packaged / "dynamicrafter")
    config = copy / "vae" / "config.json"
    config.write_text(config.read_text() + " ")
    assert model_identity(folder) != before


def test_a_card_stays_where_the_weights_do(packaged: Path, trained: Path, tmp_path: Path) -> None:
    target = tmp_path / "weights"
    shutil.copytree(packaged, target)
    for folder in (target, target / "dynamicrafter"):
        (folder / "README.md").write_text("measured")
    package(microscopic_recipe(), target, trained)
    assert (target / "README.md").read_text() == "measured"
    assert (target / "dynamicrafter" / "README.md").read_text() == "measured"
    weights = target / "dynamicrafter" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes() + b" ")
    package(microscopic_recipe(), target, trained)
    assert (target / "README.md").read_text() == "measured"
    assert "Not measured yet" in (target / "dynamicrafter" / "README.md").read_text()


def test_another_text_encoder_is_measured_anew(
    packaged: Path, trained: Path, tmp_path: Path
) -> None:
    target = tmp_path / "weights"
    shutil.copytree(packaged, target)
    for folder in (target, target / "dynamicrafter-interp"):
        (folder / "README.md").write_text("measured")
    weights = target / VIDEO_TEXT_ENCODER / "model.safetensors"
    weights.write_bytes(weights.read_bytes() + b" ")
    package(microscopic_recipe(), target, trained)
    assert (target / "README.md").read_text() == "measured"
    assert "Not measured yet" in (target / "dynamicrafter-interp" / "README.md").read_text()


def test_without_its_text_encoder_no_video_model_is_packaged(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    shutil.rmtree(run / VIDEO_TEXT_ENCODER)
    package(microscopic_recipe(), tmp_path / "weights", run)
    assert not any((tmp_path / "weights" / name).exists() for name in VIDEO_PACKAGES)


def test_a_run_begins_with_a_package(packaged: Path, tmp_path: Path) -> None:
    """And packaged again, the parts are those of the package, their training remembered."""
    run = tmp_path / "run"
    assert set(unpack(packaged, run)) >= {*NETWORKS, *COPIED, VIDEO_TEXT_ENCODER}
    assert unpack(packaged, run) == ()
    full = NETWORKS["unet"].from_pretrained(run / "unet")
    assert full.dtype == torch.float32
    package(microscopic_recipe(), tmp_path / "again", run)
    for part in NETWORKS:
        [old, new] = [
            next((f / part).glob("*.safetensors")) for f in (packaged, tmp_path / "again")
        ]
        assert old.read_bytes() == new.read_bytes(), part
    trainings = [
        json.loads((f / "training.json").read_text()) for f in (packaged, tmp_path / "again")
    ]
    assert trainings[0]["stages"] == trainings[1]["stages"] != []


def test_only_a_packaged_miniature_begins_a_run(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a packaged miniature"):
        unpack(tmp_path, tmp_path / "run")


@pytest.fixture(scope="module")
def ablated(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ablations") / "run"
    shutil.copytree(trained, folder)
    return folder


@pytest.mark.parametrize(
    "name", ["full", "without-context", "without-detail-guidance", "global-token", "one-stage"]
)
def test_an_ablation_is_a_model(ablated: Path, name: str) -> None:
    model = load_dynamicrafter(str(train_ablation(workshop(ablated), name, STEPS)))
    pipe = model.pipeline
    assert (pipe.image_context is None) == (name == "without-context")
    assert (pipe.unet.config.in_channels == 8) == (name == "without-detail-guidance")
    assert pipe.config.global_token_only == (name == "global-token")
    frames = pipe.animate(PICTURE, "a ball", seed=1, num_frames=2, settings=QUICK).frames
    assert frames.shape == (1, 2, 64, 64, 3)


def test_only_one_ablation_trains_the_layers_over_time(ablated: Path) -> None:
    base = DynamiCrafterUNet.from_pretrained(ablated / "dynamicrafter" / "video" / "unet")
    temporal = {n: w for n, w in base.state_dict().items() if group_of(n) is Group.TEMPORAL}
    for name, stays in (("full", True), ("train-everything", False)):
        model = load_dynamicrafter(str(train_ablation(workshop(ablated), name, STEPS)))
        state = model.pipeline.unet.state_dict()
        assert all(torch.equal(state[n], w) for n, w in temporal.items()) == stays


def test_what_ablations_share_is_trained_once(
    ablated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_ablation(workshop(ablated), "full", STEPS)
    trained: list[str] = []
    real = VideoWorkshop.train
    monkeypatch.setattr(
        VideoWorkshop,
        "train",
        lambda self, run, logs: trained.append(run.stage.name) or real(self, run, logs),
    )
    train_ablation(workshop(ablated), "full", STEPS)
    assert trained == []
    train_ablation(workshop(ablated), "without-detail-guidance", replace(STEPS, joint=2))
    assert trained == ["joint"]
    train_ablation(workshop(ablated), "without-gate", STEPS)
    assert trained == ["joint", "context", "adapt", "joint"]


def test_ablations_that_cannot_be(ablated: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown ablation 'half'; there are full, "):
        train_ablation(workshop(ablated), "half", STEPS)
    with pytest.raises(InputError, match="'adapt' is given 0 steps"):
        AblationSteps(adapt=0)
    with pytest.raises(InputError, match="is missing; train the stage"):
        train_ablation(workshop(tmp_path), "full", STEPS)
