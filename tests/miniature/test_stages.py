"""All stages from nothing to the shipped folder, stopped and resumed, and what they refuse."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AnimateDiffPipeline, AutoencoderKL, MotionAdapter, UNet2DConditionModel
from safetensors.torch import load_file
from tests.miniature.microscopic import MAX_STEPS, microscopic_recipe
from torch import Tensor

from stillmotion.errors import InputError, OutputError
from stillmotion.miniature import stages
from stillmotion.miniature.motion import attach_motion
from stillmotion.miniature.package import package
from stillmotion.miniature.recipe import VIDEO_STAGES
from stillmotion.miniature.stages import Workshop
from stillmotion.miniature.train import ALL_STAGES, train_stages
from stillmotion.miniature.video_stages import VideoWorkshop
from stillmotion.training import loop
from stillmotion.training.loop import LoopSettings, Stage

PARTS = (
    "vae",
    "tokenizer",
    "text_encoder",
    "clip",
    "unet",
    "motion_adapter",
    "controlnet",
)
LOOKS = ("pixel-art", "neon", "sketch", "watercolour")
STAGES = (
    "vae", "clip", "text-to-image", "motion", "control", *VIDEO_STAGES, "judge-stills",
    "judge-motion",
)  # fmt: skip


def nothing(progress: float, values: dict[str, float]) -> None:
    """Hears reports."""


def workshop(folder: Path) -> Workshop:
    return Workshop(microscopic_recipe(), folder, torch.device("cpu"), nothing)


def weights(folder: Path) -> dict[str, dict[str, Tensor]]:
    """Every tensor of the parts in a run folder, by file."""
    files = sorted(folder.rglob("*.safetensors"))
    return {str(file.relative_to(folder)): load_file(file) for file in files}


def assert_equal(found: Path, expected: Path) -> None:
    ours, theirs = weights(found), weights(expected)
    assert ours.keys() == theirs.keys()
    for file, tensors in theirs.items():
        assert ours[file].keys() == tensors.keys(), file
        different = [name for name, t in tensors.items() if not torch.equal(ours[file][name], t)]
        assert different == [], file


def test_the_run_folder_holds_every_part(trained: Path) -> None:
    assert {path.name for path in trained.iterdir()} == {
        *PARTS, "judge.safetensors", "loras", "dynamicrafter", "data", "training",
    }  # fmt: skip
    assert {path.stem for path in (trained / "loras").iterdir()} == set(LOOKS)
    checkpoints = {path.stem for path in (trained / "training").glob("*.checkpoint")}
    assert checkpoints == {*STAGES, *(f"domain-{look}" for look in LOOKS)}


def test_every_stage_made_its_steps(trained: Path) -> None:
    for path in (trained / "training").glob("*.checkpoint"):
        half = path.stem.startswith("judge")
        state = torch.load(path, weights_only=True)
        assert state["step"] == (MAX_STEPS // 2 if half else MAX_STEPS), path.stem
        assert all(torch.isfinite(weight).all() for weight in state["weights"]), path.stem


def test_latents_have_unit_variance(trained: Path) -> None:
    # Fitted to other stills of the same world, and kept in half precision.
    latents = load_file(trained / "data" / "latents-plain.safetensors")["latents"]
    assert latents.shape == (12, 8, 8, 8)
    assert 0.6 < latents.float().std() < 1.6


def test_the_motion_network_begins_as_the_image_network(trained: Path) -> None:
    recipe = microscopic_recipe()
    unet = UNet2DConditionModel.from_pretrained(trained / "unet")
    video = attach_motion(unet, stages.build_motion_adapter(recipe))
    generator = torch.Generator().manual_seed(0)
    noisy = torch.randn(1, recipe.latent_channels, 4, 8, 8, generator=generator)
    text = torch.randn(4, 5, recipe.text_width, generator=generator)
    with torch.no_grad():
        moving = video(noisy, torch.tensor([500]), text).sample[0]
        still = unet(noisy[0].transpose(0, 1), torch.tensor([500]), text).sample
    assert (moving.transpose(0, 1) - still).abs().max() < 1e-5


def test_the_motion_module_has_learned(trained: Path) -> None:
    adapter = MotionAdapter.from_pretrained(trained / "motion_adapter")
    outputs = [w for name, w in adapter.state_dict().items() if name.endswith("proj_out.weight")]
    assert outputs
    assert all(weight.abs().max() > 0 for weight in outputs)


def interrupted_once(train: Callable[..., int]) -> Callable[..., int]:
    """A `train` that is sent SIGTERM in the first step of every run without a checkpoint."""

    def wrapped(stage: Stage, settings: LoopSettings, folder: Path, report: Any) -> int:
        original = stage.loss

        def loss(generator: torch.Generator, progress: float) -> dict[str, Tensor]:
            signal.raise_signal(signal.SIGTERM)
            return original(generator, progress)

        if not (folder / f"{stage.name}.checkpoint").exists():
            stage.loss = loss  # type: ignore[method-assign]
        return train(stage, settings, folder, report)

    return wrapped


def run_until_finished(folder: Path, stage: str) -> int:
    """Start a stage again until it is done; how often it was interrupted."""
    for interruptions in range(10):
        try:
            shop = workshop(folder)
            (VideoWorkshop(shop) if stage in VIDEO_STAGES else shop).run(stage)
        except KeyboardInterrupt:
            continue
        return interruptions
    raise AssertionError(f"stage {stage} never ends")


def test_interrupted_stages_end_with_the_same_weights(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "train", interrupted_once(loop.train))
    interruptions = {stage: run_until_finished(tmp_path, stage) for stage in ALL_STAGES}
    # Half of the judge's budget is one step: it is interrupted, and finished.
    assert interruptions == {
        "judge": 2, "vae": 1, "clip": 1, "text-to-image": 1, "domains": 4, "motion": 1,
        "control": 1, **dict.fromkeys(VIDEO_STAGES, 1),
    }  # fmt: skip
    assert_equal(tmp_path, trained)


def test_finished_stages_are_not_trained_again(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "again"
    shutil.copytree(trained, folder)

    def step(*_: object) -> None:
        pytest.fail("a finished stage was trained")

    def render(*_: object) -> None:
        pytest.fail("data was rendered again")

    monkeypatch.setattr(loop._Run, "_step", step)
    monkeypatch.setattr("stillmotion.miniature.data.render_at", render)
    train_stages(ALL_STAGES, recipe=microscopic_recipe(), folder=folder, device="cpu", quiet=True)
    assert_equal(folder, trained)
    assert (folder / "tokenizer" / "tokenizer.json").read_bytes() == (
        trained / "tokenizer" / "tokenizer.json"
    ).read_bytes()


@pytest.mark.parametrize(
    ("stage", "lacks", "names"),
    [
        ("text-to-image", "vae", "vae"),
        ("text-to-image", "text_encoder", "clip"),
        ("domains", "unet", "text-to-image"),
        ("motion", "unet", "text-to-image"),
        ("control", "unet", "text-to-image"),
    ],
)
def test_stages_out_of_order_are_told(
    trained: Path, tmp_path: Path, stage: str, lacks: str, names: str
) -> None:
    for part in PARTS:
        if part != lacks:
            (tmp_path / part).symlink_to(trained / part)
    with pytest.raises(InputError, match=f"{lacks} is missing; train the stage '{names}' first"):
        workshop(tmp_path).run(stage)


def test_an_unknown_stage_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown stage 'sound'; the stages are: judge, vae"):
        workshop(tmp_path).run("sound")


def test_data_of_another_recipe_is_told(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(trained / "data")
    larger = replace(microscopic_recipe(), stills=13)
    with pytest.raises(InputError, match="holds 12 samples of another recipe, not 13"):
        Workshop(larger, tmp_path, torch.device("cpu"), nothing).run("vae")


def test_the_packaged_folder_is_a_pipeline_of_diffusers(packaged: Path) -> None:
    pipe = AnimateDiffPipeline.from_pretrained(packaged, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    for look in LOOKS:
        pipe.load_lora_weights(packaged / "loras" / f"{look}.safetensors", adapter_name=look)
    pipe.set_adapters(["neon"])
    frames = pipe(
        "a red cat in a forest", num_frames=3, height=64, width=64, num_inference_steps=2,
        generator=torch.Generator().manual_seed(0), output_type="pt",
    ).frames  # fmt: skip
    assert frames.shape == (1, 3, 3, 64, 64)
    assert torch.isfinite(frames).all()


def test_the_packaged_weights_are_the_trained_ones_in_half_precision(
    trained: Path, packaged: Path
) -> None:
    full, half = (AutoencoderKL.from_pretrained(f / "vae") for f in (trained, packaged))
    assert half.config.scaling_factor == full.config.scaling_factor
    for name, weight in full.state_dict().items():
        assert torch.equal(half.state_dict()[name], weight.half().float()), name
    stored = load_file(packaged / "unet" / "diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}


def test_an_unfinished_run_is_not_packaged(trained: Path, tmp_path: Path) -> None:
    for part in PARTS[1:]:
        (tmp_path / part).symlink_to(trained / part)
    with pytest.raises(InputError, match=r"lacks vae, loras, judge\.safetensors; train the stages"):
        package(microscopic_recipe(), tmp_path / "out", tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.gpu
def test_all_stages_run_on_a_gpu(tmp_path: Path) -> None:
    recipe = microscopic_recipe()
    train_stages(ALL_STAGES, recipe=recipe, folder=tmp_path / "run", device="cuda", quiet=True)
    package(recipe, tmp_path / "weights", tmp_path / "run")
    assert AnimateDiffPipeline.from_pretrained(tmp_path / "weights") is not None


def test_packaging_never_replaces_a_folder_of_something_else(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="something other than a packaged model"):
        package(microscopic_recipe(), tmp_path, trained)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_the_packaged_folder_tells_nothing_of_this_machine(packaged: Path, trained: Path) -> None:
    texts = [path.read_text() for path in packaged.rglob("*.json")]
    assert not any(str(trained) in text for text in texts)
    assert (packaged / "README.md").is_file()
