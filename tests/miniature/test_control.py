"""The ControlNet stage: how it begins, what it learns from, what it is packaged as."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import torch
from diffusers import AnimateDiffControlNetPipeline, ControlNetModel, UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file
from tests.miniature.microscopic import microscopic_recipe
from torch import Tensor

from stillmotion.diffusion.parameterization import velocity
from stillmotion.diffusion.schedule import q_sample
from stillmotion.errors import InputError
from stillmotion.media.control_maps import edges
from stillmotion.miniature import data
from stillmotion.miniature.control import (
    EDGES_FILE,
    ControlStage,
    build_controlnet,
    edge_maps,
)
from stillmotion.miniature.package import package
from stillmotion.miniature.stages import PLAIN, Workshop
from stillmotion.miniature.text_to_image import build_scheduler, build_unet
from stillmotion.miniature.train import train_stages
from stillmotion.runtime.seeds import derive_seed
from stillmotion.world.scene import Fixed


def nothing(progress: float, values: dict[str, float]) -> None:
    """Hears reports."""


def workshop(folder: Path) -> Workshop:
    return Workshop(microscopic_recipe(), folder, torch.device("cpu"), nothing)


def control_stage(folder: Path) -> ControlStage:
    """The stage on the data of a finished run, its ControlNet fresh."""
    shop = workshop(folder)
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    stills = shop._still_latents(microscopic_recipe().stills, PLAIN, "plain")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        controlnet = build_controlnet(unet, generator())
    return ControlStage(4, stills, shop._edges(), unet, controlnet, shop.conditioner())


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_it_begins_as_the_image_network() -> None:
    unet = build_unet(microscopic_recipe())
    controlnet = build_controlnet(unet, generator())
    noisy, text = torch.randn(2, 8, 8, 8, generator=generator()), torch.ones(2, 5, 128)
    maps, timesteps = torch.rand(2, 3, 64, 64, generator=generator()), torch.tensor([3, 700])
    with torch.no_grad():
        down, middle = controlnet(noisy, timesteps, text, controlnet_cond=maps, return_dict=False)
        controlled = unet(
            noisy, timesteps, text,
            down_block_additional_residuals=down, mid_block_additional_residual=middle,
        ).sample  # fmt: skip
        assert torch.equal(controlled, unet(noisy, timesteps, text).sample)


def test_it_is_a_copy_of_the_encoder() -> None:
    unet = build_unet(microscopic_recipe())
    theirs, ours = unet.state_dict(), build_controlnet(unet, generator()).state_dict()
    own = [name for name in ours if name not in theirs]
    assert all(name.startswith("controlnet_") for name in own)
    copied = ours.keys() - set(own)
    assert {name.split(".")[0] for name in copied} == {
        "conv_in", "time_embedding", "down_blocks", "mid_block",
    }  # fmt: skip
    assert all(torch.equal(ours[name], theirs[name]) for name in copied)


def test_training_sees_the_edges_that_users_clips_go_through() -> None:
    stills = data.render_stills(3, 5, 64)
    maps = edge_maps(stills.images)
    assert maps.shape == (3, 64, 64)
    assert maps.dtype == torch.uint8
    for still, found in zip(stills.images, maps, strict=True):
        expected = edges(still.permute(1, 2, 0).numpy())
        assert torch.equal(found[..., None].expand(-1, -1, 3), torch.from_numpy(expected))


def test_edges_belong_to_the_stills_of_the_latents(trained: Path) -> None:
    recipe = microscopic_recipe()
    seed = derive_seed(recipe.seed, "latents", "plain")
    stills = data.render_stills(recipe.stills, seed, recipe.image_size, Fixed(domain="plain"))
    kept = load_file(trained / EDGES_FILE)["edges"]
    assert torch.equal(kept, edge_maps(stills.images))


def test_only_the_controlnet_learns(trained: Path) -> None:
    stage = control_stage(trained)
    before = {name: weight.clone() for name, weight in stage.unet.state_dict().items()}
    optimiser = torch.optim.SGD(stage.parameters(), lr=0.1)
    for step in range(3):
        optimiser.zero_grad()
        stage.loss(generator(step), 0.0)["loss"].backward()
        optimiser.step()
    assert all(weight.grad is None for weight in stage.unet.parameters())
    assert all(torch.equal(before[n], weight) for n, weight in stage.unet.state_dict().items())
    # The outputs, zero at first, let the gradient through to the maps one step later.
    reader = stage.controlnet.controlnet_cond_embedding
    assert reader.conv_in.weight.grad.abs().max() > 0
    assert stage.controlnet.controlnet_mid_block.weight.abs().max() > 0


def test_a_batch_follows_from_its_generator(trained: Path) -> None:
    stage = control_stage(trained)
    with torch.no_grad():
        first, again, other = (stage.loss(generator(seed), 0.0)["loss"] for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_more_than_half_of_the_captions_are_dropped(trained: Path) -> None:
    stage = control_stage(trained)
    index = torch.zeros(400, dtype=torch.long)
    text = stage._text(index, generator())
    empty = (text == stage._no_caption).flatten(1).all(1).float().mean()
    # One half, and a tenth of the other.
    assert 0.48 < empty < 0.62


@pytest.mark.slow
def test_it_learns_to_use_the_edges(trained: Path) -> None:
    """Stills told apart by their edges alone: right edges must serve, wrong ones mislead."""
    stage = control_stage(trained)
    optimiser = torch.optim.AdamW(stage.parameters(), lr=2e-3)
    for step in range(300):
        optimiser.zero_grad()
        stage.loss(generator(step), 0.0)["loss"].backward()
        optimiser.step()
    index = torch.arange(12)
    clean = stage.stills.latents.float()
    # So noisy that little but the edges tells what was there.
    timesteps = torch.full((12,), 800)
    alpha = build_scheduler().alphas_cumprod[timesteps].view(-1, 1, 1, 1)
    noise = torch.randn(clean.shape, generator=generator())
    noisy, target = q_sample(clean, noise, alpha), velocity(clean, noise, alpha)

    def error(shown: Tensor) -> float:
        text = stage._no_caption.expand(12, -1, -1)
        with torch.no_grad():
            return float(stage.error(noisy, target, timesteps, text, shown).mean())

    assert error(index) < 0.9 * error(index.roll(1))


def test_the_packaged_controlnet_serves_diffusers(trained: Path, tmp_path: Path) -> None:
    package(microscopic_recipe(), tmp_path / "weights", trained)
    stored = load_file(tmp_path / "weights" / "controlnet" / "diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    pipe = AnimateDiffControlNetPipeline.from_pretrained(
        tmp_path / "weights",
        controlnet=ControlNetModel.from_pretrained(tmp_path / "weights" / "controlnet"),
        torch_dtype=torch.float32,
    )
    pipe.set_progress_bar_config(disable=True)
    frames = pipe(
        "a red cat", num_frames=2, height=64, width=64, num_inference_steps=2,
        conditioning_frames=[Image.new("RGB", (64, 64))] * 2,
        generator=generator(), output_type="pt",
    ).frames  # fmt: skip
    assert frames.shape == (1, 2, 3, 64, 64)
    assert torch.isfinite(frames).all()


def test_packaging_works_without_it(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for part in trained.iterdir():
        if part.name != "controlnet":
            (run / part.name).symlink_to(part)
    package(microscopic_recipe(), tmp_path / "weights", run)
    assert (tmp_path / "weights" / "unet").is_dir()
    assert not (tmp_path / "weights" / "controlnet").exists()


def test_missing_opencv_is_told_before_the_other_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(InputError, match=r"OpenCV.*pip install 'stillmotion\[edit\]'"):
        train_stages(("clip", "control"), recipe=microscopic_recipe(), folder=tmp_path, quiet=True)
    assert list(tmp_path.iterdir()) == []


def test_edges_that_are_there_need_no_opencv(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    shutil.rmtree(run / "controlnet")
    (run / "training" / "control.checkpoint").unlink()
    monkeypatch.setitem(sys.modules, "cv2", None)
    train_stages(("control",), recipe=microscopic_recipe(), folder=run, device="cpu", quiet=True)
    assert (run / "controlnet" / "config.json").is_file()
