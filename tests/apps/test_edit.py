"""`stillmotion edit`: what is made and told, with an untrained ControlNet; and, with the one that
comes with the miniature, that a clip follows the edges it is given."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from PIL import Image
from tests.apps.conftest import Run

from stillmotion import load_clip
from stillmotion.evaluation.metrics.edge_agreement import edge_agreement
from stillmotion.media.clips import read_provenance
from stillmotion.media.control_maps import edges
from stillmotion.models.registry import miniature_folder
from stillmotion.world.render import render_clip
from stillmotion.world.scene import Scene, sample_scene

FAST = ("--steps", "3", "--seed", "1", "-q")


@pytest.fixture(scope="module")
def controlnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    unet = UNet2DConditionModel.from_pretrained(miniature_folder() / "unet")
    net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 8, 8, 8))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        for block in net.controlnet_down_blocks:
            torch.nn.init.normal_(block.weight, std=0.05)
    folder = tmp_path_factory.mktemp("nets") / "edges"
    net.save_pretrained(folder)
    return folder


def saved_clip(here: Path, size: int) -> Path:
    scene: Scene = sample_scene(random.Random(3))
    frames = render_clip(scene, 5, size).frames.permute(0, 2, 3, 1)
    if frames.dtype != torch.uint8:
        frames = (frames * 255).round().to(torch.uint8)
    Image.fromarray(frames[0].numpy()).save(
        here / "source.webp",
        save_all=True,
        append_images=[Image.fromarray(frame.numpy()) for frame in frames[1:]],
        duration=1000 // 12,
        lossless=True,
    )
    return here / "source.webp"


@pytest.fixture
def clip(here: Path) -> Path:
    return saved_clip(here, 96)


def test_a_clip_drawn_anew(run: Run, clip: Path, controlnet: Path) -> None:
    done = run("edit", clip, "a red cat", "-o", "new.webp", "--frames", "3", "--stride", "2",
               "--controlnet", controlnet, "--json", *FAST)  # fmt: skip
    assert done.code == 0, done.err
    made = load_clip("new.webp")
    assert made.frames.shape[0] == 3
    assert made.fps == pytest.approx(6, rel=0.02)
    assert done.facts["first_frame_is_the_still"]
    kept = read_provenance("new.webp")
    assert kept.settings["guide"]["source"] == "source.webp"
    assert kept.settings["guide"]["control"] == "edges"
    assert kept.still is None


def test_the_miniature_s_own_follows_the_edges(run: Run, here: Path) -> None:
    """The words say nothing of where things are: outlines can come from the edges alone."""
    clip = saved_clip(here, 64)
    wanted = edges(load_clip(clip).frames)
    command = ("edit", clip, "a ball", "--steps", "8", "--seed", "1", "-q")
    agreement = []
    for scale in ("1", "0"):
        assert run(*command, "-o", f"{scale}.webp", "--control-scale", scale).code == 0
        agreement.append(edge_agreement(edges(load_clip(f"{scale}.webp").frames), wanted))
    assert agreement[0] > agreement[1] + 0.1


def test_first_frames_are_drawn_chosen_and_kept(run: Run, clip: Path, controlnet: Path) -> None:
    net = ("--controlnet", controlnet)
    drawn = run("edit", clip, "a red cat", "--count", "2", "-o", "first.png", *net, *FAST)
    assert drawn.code == 0, drawn.err
    # Without --steps: as many as the chosen one was drawn in.
    made = run("edit", clip, "a red cat", "--still", "first-2.png", "-o", "new.webp", "--frames",
               "2", *net, "--seed", "1", "-q")  # fmt: skip
    assert made.code == 0, made.err
    chosen = np.asarray(Image.open("first-2.png").convert("RGB"))
    np.testing.assert_array_equal(load_clip("new.webp").frames[0], chosen)


def test_the_control_matters(run: Run, clip: Path, controlnet: Path) -> None:
    for name, scale in (("on", "1"), ("off", "0")):
        done = run("edit", clip, "a red cat", "-o", f"{name}.png", "--control-scale", scale,
                   "--controlnet", controlnet, *FAST)  # fmt: skip
        assert done.code == 0, done.err
    assert Path("on.png").read_bytes() != Path("off.png").read_bytes()


def test_animatediff_to_compare(run: Run, clip: Path, controlnet: Path) -> None:
    done = run("edit", clip, "a red cat", "-o", "new.webp", "--frames", "2", "--animatediff",
               "--controlnet", controlnet, *FAST)  # fmt: skip
    assert done.code == 0, done.err
    assert read_provenance("new.webp").method == "animatediff"


def test_it_is_not_made_again_by_animate(run: Run, clip: Path, controlnet: Path) -> None:
    run("edit", clip, "a red cat", "-o", "new.webp", "--frames", "2", "--controlnet", controlnet,
        *FAST)  # fmt: skip
    assert "stillmotion edit" in run("animate", "--from", "new.webp", "-o", "again.webp").error


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-o", "a.mp4", "--control", "poses"), "--control is 'poses'; it can be edges, depth"),
        (("-o", "a.mp4", "--control", "depth"), "--depth-model"),
        (("-o", "a.mp4", "--count", "2"), "--count is 2"),
        (("-o", "a.png", "--still", "source.webp"), "asks for first frames"),
        (("-o", "a.mp4", "--controlnet", "nowhere"), "there is no ControlNet 'nowhere'"),
        (("-o", "a.mp4", "--start", "99"), "5 frames"),
        (("-o", "a.xyz"), "xyz"),
    ],
)
def test_what_cannot_be(
    options: tuple[str, ...], words: str, run: Run, here: Path, clip: Path
) -> None:
    before = sorted(here.iterdir())
    assert words in run("edit", clip, "a red cat", *options, *FAST).error
    assert sorted(here.iterdir()) == before


def test_no_such_clip(run: Run, here: Path) -> None:
    assert "there is no 'gone.mp4'" in run("edit", "gone.mp4", "a cat", "-o", "a.mp4").error


def test_json_errors(run: Run, clip: Path) -> None:
    done = run("edit", clip, "a", "-o", "a.mp4", "--control", "x", "--json")
    assert done.code == 2
    assert "error" in json.loads(done.err.splitlines()[-1])
