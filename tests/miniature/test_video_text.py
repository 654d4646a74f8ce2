"""The text encoder of the video models: what it begins with, and that it learns how things move."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
import torch
from tests.miniature.test_video import generator, shop
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from stillmotion.errors import ModelError
from stillmotion.miniature.clip import tokenize
from stillmotion.miniature.text_to_image import TextConditioner
from stillmotion.miniature.video import video_scene
from stillmotion.miniature.video_stages import VIDEO_TEXT_ENCODER, VideoWorkshop
from stillmotion.miniature.video_text import NUM_HARD, VideoTextStage, VideoTower, shallower
from stillmotion.models.registry import MINIATURE, part_path, resolve_model
from stillmotion.training.loop import LoopSettings, train
from stillmotion.world.captions import caption
from stillmotion.world.scene import Scene
from stillmotion.world.vocabulary import SUBJECT_MOTIONS

IDS = torch.tensor([[5, 6, 7, 8]])


def small_encoder(trained: Path, layers: int) -> CLIPTextModel:
    config = CLIPTextModel.from_pretrained(trained / "text_encoder").config
    config.num_hidden_layers = layers
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CLIPTextModel(config).eval()


@torch.no_grad()
def test_it_begins_with_the_first_layers_of_clips(trained: Path) -> None:
    whole = small_encoder(trained, 3)
    states = whole(IDS, output_hidden_states=True).hidden_states
    two = shallower(whole, 2).eval()
    assert two.config.num_hidden_layers == 2
    assert whole.config.num_hidden_layers == 3
    assert torch.equal(two(IDS, output_hidden_states=True).hidden_states[-1], states[2])
    assert torch.equal(
        shallower(whole, 3).eval()(IDS).last_hidden_state, whole(IDS).last_hidden_state
    )
    with pytest.raises(ModelError, match="has 3 layers, and 4 are asked for"):
        shallower(whole, 4)


def test_a_clip_is_told_from_captions_that_differ_in_what_happens_alone(trained: Path) -> None:
    stage = moving_stage(trained)
    for index in range(40):
        scene = video_scene(5, index).scene
        others = stage._others(scene, generator(index))
        assert len(others) == NUM_HARD
        for other in others:
            told = (scene.subject, scene.colour, scene.background, scene.domain)
            assert (other.subject, other.colour, other.background, other.domain) == told
            assert other.motion in SUBJECT_MOTIONS[scene.subject]
            said = (scene.pacing == "still", scene.motion)
            assert (other.pacing == "still", other.motion) != said


def moving_stage(trained: Path) -> VideoTextStage:
    """Clips of one red ball, and latents in which each of its motions drifts its own way."""
    motions = SUBJECT_MOTIONS["ball"]
    scenes = [
        Scene(subject="ball", colour="red", background="room", motion=motion)
        for motion in motions for _ in range(4)
    ]  # fmt: skip
    times = torch.linspace(0, 1, 8).view(1, 8, 1, 1, 1)
    ways = torch.randn(len(motions), 1, 4, 8, 8, generator=generator(1)).repeat_interleave(4, 0)
    noise = 0.1 * torch.randn(len(scenes), 8, 4, 8, 8, generator=generator(2))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tower = VideoTower(4, small_encoder(trained, 1).config.hidden_size)
    return VideoTextStage(
        12, (times * ways + noise).half(), scenes, small_encoder(trained, 1),
        CLIPTokenizer.from_pretrained(trained / "tokenizer"), tower,
    )  # fmt: skip


@torch.no_grad()
def told_apart(stage: VideoTextStage) -> float:
    """The part of many clips that their own captions fit best."""
    return sum(float(stage.loss(generator(90 + k), 1.0)["retrieval"]) for k in range(8)) / 8


def test_it_learns_how_things_move(trained: Path, tmp_path: Path) -> None:
    stage = moving_stage(trained)
    before = told_apart(stage)
    settings = LoopSettings(
        max_steps=60, warmup_steps=5, learning_rate=2e-3, ema_decay=0.9, bfloat16=False
    )
    train(stage, settings, tmp_path)
    # Far from all can be: a batch holds clips of the same motion, whose captions fit each other.
    assert told_apart(stage) > before + 0.2


def test_the_video_stages_read_what_it_has_learned(trained: Path) -> None:
    video = VideoWorkshop(shop(trained))
    conditioner = video._conditioner()
    mine = CLIPTextModel.from_pretrained(trained / VIDEO_TEXT_ENCODER)
    words = ["a red ball moving left"]
    with torch.no_grad():
        expected = mine(tokenize(conditioner.tokenizer, words)).last_hidden_state
    assert torch.equal(conditioner.embed(words), expected)
    assert not torch.equal(shop(trained).conditioner().embed(words), expected)
    source = video._source(None)
    assert torch.equal(source.no_text, conditioner.embed([""]))


def test_the_shipped_one_tells_motions_apart_as_clips_does_not() -> None:
    """Squared distance, at the end, of captions that differ in their motion alone."""
    miniature = resolve_model(MINIATURE).path
    tokenizer = CLIPTokenizer.from_pretrained(part_path(miniature, "tokenizer"))
    distances = [
        _motion_distance(TextConditioner(tokenizer, CLIPTextModel.from_pretrained(path)))
        for path in (part_path(miniature, "text_encoder"), miniature / VIDEO_TEXT_ENCODER)
    ]
    assert distances[1] > 5 * distances[0]


def _motion_distance(conditioner: TextConditioner) -> float:
    scenes = [
        Scene(subject="car", colour="red", background="city", motion=motion)
        for motion in ("left", "right")
    ]
    said = [
        conditioner.embed([caption(s, Random(seed), motion=True) for seed in range(20)])[:, -1]
        for s in scenes
    ]
    between: Tensor = (said[0].mean(0) - said[1].mean(0)).square().sum()
    return float(between)
