"""What a stage learns from: conditions, dropout, target, and where its gradients go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.dynamicrafter.tiny_networks import image_unet, noise, video_unet
from tests.tiny_models import randomise
from torch import Tensor, nn

from stillmotion.dynamicrafter.image_context import ImageContext, resampled
from stillmotion.dynamicrafter.image_model import ContextImageUNet
from stillmotion.dynamicrafter.inflation import network_for, with_detail_guidance
from stillmotion.dynamicrafter.scheduler import DynamiCrafterScheduler
from stillmotion.dynamicrafter.stages import (
    ABLATIONS,
    STAGES,
    Variation,
    parameter_groups,
    plan,
    training_everything,
)
from stillmotion.dynamicrafter.stages import TrainingStage as Stage
from stillmotion.dynamicrafter.training import (
    Clips,
    StageTraining,
    dropped_conditions,
)
from stillmotion.errors import ModelError
from stillmotion.training.loop import LoopSettings, train

FRAMES, NUM_TOKENS, WIDTH = 3, 4, 5


class Source:
    """Random clips, the same ones at every call; remembers which frames CLIP was shown."""

    no_text = noise(1, 5, 6, seed=10)
    no_image = noise(1, NUM_TOKENS, WIDTH, seed=11)

    def __init__(self, num_frames: int = FRAMES) -> None:
        self.num_frames = num_frames
        self.seen: list[Tensor] = []

    def batch(self, size: int, generator: torch.Generator) -> Clips:
        self.latents = noise(size, 3, self.num_frames, 4, 4, seed=12)
        self.text = noise(size, 5, 6, seed=13)
        self.tokens = noise(size, self.num_frames, NUM_TOKENS, WIDTH, seed=14)
        self.pace = torch.arange(size) + 1
        return Clips(latents=self.latents, text=self.text, clip_tokens=self._tokens, pace=self.pace)

    def _tokens(self, frames: Tensor) -> Tensor:
        self.seen.append(frames)
        return self.tokens[torch.arange(len(frames)), frames]


class Recorder(DynamiCrafterScheduler):
    """Remembers the noise and the timesteps it was given."""

    def noised(self, z_0: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        self.given = (z_0, noise, timesteps)
        return super().noised(z_0, noise, timesteps)


def image_context() -> ImageContext:
    context = ImageContext(
        embed_dims=WIDTH, output_dims=6, hidden_dims=8, depth=1, dim_head=4, heads=2,
        num_queries=2, num_frames=FRAMES,
    )  # fmt: skip
    return randomise(context, 5)


def network(stage: Stage) -> Any:
    """The one of a stage, nothing in it zero."""
    if stage.data == "frames":
        return randomise(ContextImageUNet(image_unet(), gate=stage.gate), 2)
    return randomise(network_for(stage, video_unet()), 2)


class Run:
    """A stage on tiny networks, and what its network was called with."""

    def __init__(self, stage: Stage | str, batch: int = 4, num_frames: int = FRAMES) -> None:
        self.stage = STAGES[stage] if isinstance(stage, str) else stage
        self.source = Source(num_frames)
        self.unet, self.noising = (
            network(self.stage),
            Recorder(prediction_type="v_prediction", zero_terminal_snr=True, rescale_base=0.7),
        )
        self.context = image_context() if self.stage.context else None
        self.calls: list[dict[str, Any]] = []
        self.unet.register_forward_pre_hook(self._keep, with_kwargs=True)
        self.training = StageTraining(
            self.stage, batch, self.source, self.unet, self.noising, self.context
        )

    def _keep(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.calls.append({"sample": args[0], "timestep": args[1], **kwargs})

    def loss(self, seed: int = 0) -> Tensor:
        return self.training.loss(torch.Generator().manual_seed(seed), 0.0)["loss"]

    @property
    def call(self) -> dict[str, Any]:
        return self.calls[-1]


ALL = [
    *(pytest.param(stage, id=name) for name, stage in STAGES.items()),
    pytest.param(training_everything(STAGES["base"]), id="base-everything"),
    *(
        pytest.param(stage, id=f"{name}-{stage.name}")
        for name, variation in ABLATIONS.items()
        if name != "full"
        for stage in plan(variation)
        if stage not in STAGES.values()
    ),
]


@pytest.mark.parametrize("stage", ALL)
def test_gradients_reach_exactly_what_the_stage_trains(stage: Stage) -> None:
    run = Run(stage)
    run.loss().backward()
    unet = run.unet.unet if stage.data == "frames" else run.unet
    for group, parameters in parameter_groups(unet, run.context).items():
        for parameter in parameters:
            if group in stage.trains:
                assert parameter.grad is not None
                assert parameter.grad.any()
            else:
                assert parameter.grad is None


@pytest.mark.parametrize("stage", ["base", "context", "adapt", "joint"])
def test_the_loop_changes_exactly_what_the_stage_trains(stage: str, tmp_path: Path) -> None:
    run = Run(stage, batch=2)
    networks = [run.unet] if run.context is None else [run.unet, run.context]
    before = [p.detach().clone() for net in networks for p in net.parameters()]
    train(run.training, LoopSettings(max_steps=2, warmup_steps=0, bfloat16=False), tmp_path)
    after = [p for net in networks for p in net.parameters()]
    trained = {id(p) for p in run.training.parameters()}
    for old, new in zip(before, after, strict=True):
        assert torch.equal(old, new) != (id(new) in trained)


def test_the_loss_falls(tmp_path: Path) -> None:
    run = Run("joint", batch=2)
    before = [run.loss(seed).item() for seed in range(4)]
    train(run.training, LoopSettings(max_steps=30, warmup_steps=0, ema_decay=0.5), tmp_path)
    after = [run.loss(seed).item() for seed in range(4)]
    assert sum(after) < 0.7 * sum(before)


# Randomness.


@pytest.mark.parametrize("stage", ["base", "context", "joint"])
def test_the_same_generator_gives_the_same_loss(stage: str) -> None:
    run = Run(stage)
    torch.manual_seed(1)
    first = run.loss(seed=7)
    torch.manual_seed(2)
    assert torch.equal(run.loss(seed=7), first)
    assert not torch.equal(run.loss(seed=8), first)


def test_networks_in_training_mode_draw_no_dropout() -> None:
    unet = network(STAGES["base"]).train()
    StageTraining(STAGES["base"], 2, Source(), unet, DynamiCrafterScheduler())
    assert not any(module.training for module in unet.modules())


def test_conditions_are_dropped_as_often_as_published() -> None:
    count = 100_000
    text, image = dropped_conditions(count, 0.05, torch.Generator().manual_seed(0))
    frequencies = [
        (text & ~image).float().mean().item(),
        (text & image).float().mean().item(),
        (~text & image).float().mean().item(),
    ]
    # The standard deviation of each is 0.0007.
    assert frequencies == pytest.approx([0.05] * 3, abs=0.003)


def test_ablations_see_the_same_clips_and_the_same_noise() -> None:
    stages = [plan(variation)[-1] for variation in ABLATIONS.values()]
    given = []
    for stage in stages:
        run = Run(stage)
        run.loss(seed=3)
        given.append(run.noising.given)
    for other in given[1:]:
        for mine, first in zip(other, given[0], strict=True):
            assert torch.equal(mine, first)


# What the network is shown.


@pytest.mark.parametrize("stage", [STAGES["adapt"], STAGES["joint"], STAGES["interpolation"]])
@torch.no_grad()
def test_dropped_conditions_are_those_of_nothing(stage: Stage) -> None:
    run = Run(replace(stage, condition_dropout=1 / 3), batch=30)
    run.loss()
    frame = int(run.source.seen[-1][0])
    assert run.context is not None
    image, no_image = run.context(run.source.tokens[:, frame]), run.context(run.source.no_image)
    kinds = set()
    for i in range(30):
        text, tokens = run.call["encoder_hidden_states"][i], run.call["image_tokens"][i]
        no_text_here = torch.equal(text, run.source.no_text[0])
        no_image_here = torch.allclose(tokens, no_image[0], atol=1e-5)
        assert no_text_here or torch.equal(text, run.source.text[i])
        assert no_image_here or torch.allclose(tokens, image[i], atol=1e-5)
        kinds.add((no_text_here, no_image_here))
    # A third each; nobody keeps both.
    assert kinds == {(True, False), (True, True), (False, True)}


@torch.no_grad()
def test_without_dropout_everybody_keeps_everything() -> None:
    run = Run(replace(STAGES["joint"], condition_dropout=0.0), batch=8)
    run.loss()
    assert torch.equal(run.call["encoder_hidden_states"], run.source.text)
    assert torch.equal(run.call["motion"], run.source.pace)
    frame = int(run.source.seen[-1][0])
    assert run.context is not None
    expected = run.context(run.source.tokens[:, frame])
    assert torch.allclose(run.call["image_tokens"], expected, atol=1e-6)


@torch.no_grad()
def test_the_same_random_frame_is_encoded_and_concatenated_and_never_dropped() -> None:
    run = Run(replace(STAGES["joint"], condition_dropout=1 / 3), batch=6)
    frames = set()
    for seed in range(20):
        run.loss(seed)
        shown = run.source.seen[-1].unique().tolist()
        assert len(shown) == 1  # one for the batch
        picture = run.source.latents[:, :, shown[0], None].expand(-1, -1, FRAMES, -1, -1)
        assert torch.equal(run.call["sample"][:, 3:], picture)
        frames.add(shown[0])
    assert frames == set(range(FRAMES))


@torch.no_grad()
def test_the_first_frame_as_an_ablation() -> None:
    for stage in plan(Variation(first_frame=True))[1:]:
        run = Run(stage)
        for seed in range(6):
            run.loss(seed)
            if stage.detail_guidance == "picture":
                assert torch.equal(run.call["sample"][:, 3:, 2], run.source.latents[:, :, 0])
        assert torch.stack(run.source.seen).unique().tolist() == [0]


@torch.no_grad()
def test_interpolation_fills_only_the_ends() -> None:
    run = Run(replace(STAGES["interpolation"], condition_dropout=1 / 3), num_frames=4)
    for seed in range(6):
        run.loss(seed)
        guidance = run.call["sample"][:, 3:]
        assert torch.equal(guidance[:, :, 0], run.source.latents[:, :, 0])
        assert torch.equal(guidance[:, :, 3], run.source.latents[:, :, 3])
        assert not guidance[:, :, 1:3].any()
    assert torch.stack(run.source.seen).unique().tolist() == [0]


@torch.no_grad()
def test_the_base_sees_text_and_pace_alone() -> None:
    run = Run(replace(STAGES["base"], condition_dropout=1 / 3), batch=12)
    run.loss()
    assert run.call.keys() == {"sample", "timestep", "encoder_hidden_states", "motion"}
    assert run.call["sample"].shape == (12, 3, FRAMES, 4, 4)
    assert run.source.seen == []
    text = run.call["encoder_hidden_states"]
    kept = (text == run.source.text).flatten(1).all(1)
    assert 0 < kept.sum() < 12
    assert torch.equal(text[~kept], run.source.no_text.expand(12, -1, -1)[~kept])


@torch.no_grad()
def test_the_global_token_is_the_first_one() -> None:
    for variation, expected in ((Variation(), NUM_TOKENS), (Variation(global_token_only=True), 1)):
        run = Run(replace(plan(variation)[-1], condition_dropout=0.0))
        assert run.context is not None
        seen: list[Tensor] = []
        run.context.register_forward_pre_hook(lambda module, args, seen=seen: seen.append(args[0]))
        run.loss()
        frame = int(run.source.seen[-1][0])
        assert torch.equal(seen[0], run.source.tokens[:, frame, :expected])


@torch.no_grad()
def test_clips_of_another_length_keep_tokens_for_each_frame() -> None:
    run = Run(replace(STAGES["adapt"], condition_dropout=0.0), num_frames=5)
    run.loss()
    assert run.context is not None
    tokens = run.context(run.source.tokens[:, int(run.source.seen[-1][0])])
    assert torch.allclose(run.call["image_tokens"], resampled(tokens, 5), atol=1e-6)


@torch.no_grad()
def test_single_frames_are_pictures_of_themselves_at_a_random_place() -> None:
    run = Run(replace(STAGES["context"], condition_dropout=0.0), batch=12)
    run.loss()
    assert run.call.keys() == {"sample", "timestep", "encoder_hidden_states", "image_tokens"}
    frame = int(run.source.seen[-1][0])
    assert torch.equal(run.noising.given[0], run.source.latents[:, :, frame, None])
    assert run.call["image_tokens"].shape == (12, 1, 2, 6)
    assert run.context is not None
    by_place = run.context(run.source.tokens[:, frame])
    places = [
        [torch.allclose(t[0], by_place[i, f], atol=1e-6) for f in range(FRAMES)].index(True)
        for i, t in enumerate(run.call["image_tokens"])
    ]
    assert set(places) == set(range(FRAMES))


@pytest.mark.parametrize("stage", ["context", "joint"])
@torch.no_grad()
def test_the_loss_is_the_mean_squared_error_of_the_target(stage: str) -> None:
    run = Run(stage)
    loss = run.loss(seed=5)
    z_0, epsilon, timesteps = run.noising.given
    assert torch.equal(run.call["timestep"], timesteps)
    assert torch.equal(run.call["sample"][:, :3], run.noising.noised(z_0, epsilon, timesteps))
    call = {**run.call}
    predicted = run.unet(call.pop("sample"), call.pop("timestep"), **call).sample
    error = predicted - run.noising.target(z_0, epsilon, timesteps)
    assert loss.item() == pytest.approx(error.square().mean().item(), rel=1e-5)
    assert epsilon.std() == pytest.approx(1, abs=0.2)


@torch.no_grad()
def test_a_network_that_is_not_told_the_pace() -> None:
    unet = video_unet(motion_embedding=False)
    training = StageTraining(STAGES["base"], 2, Source(), unet, DynamiCrafterScheduler())
    assert training.loss(torch.Generator().manual_seed(0), 0.0)["loss"].isfinite()


def test_networks_of_another_stage_are_refused() -> None:
    video = video_unet()
    guided = with_detail_guidance(video, 3)
    image = ContextImageUNet(image_unet(), gate=True)
    context = image_context()
    cases = [
        ("context", video, context, "image model"),
        ("adapt", image, context, "video network"),
        ("adapt", network(STAGES["adapt"]), None, "image context network"),
        ("adapt", video, context, "network_for"),
        ("joint", network(STAGES["adapt"]), context, "network_for"),
        ("base", guided, None, "network_for"),
    ]
    for name, unet, given, said in cases:
        with pytest.raises(ModelError, match=said):
            StageTraining(STAGES[name], 2, Source(), unet, DynamiCrafterScheduler(), given)


# What the loop may ask for.


@pytest.mark.parametrize("stage", ["base", "context", "joint"])
def test_recomputed_activations_give_the_same_gradients(stage: str) -> None:
    run = Run(stage, batch=2)
    run.loss().backward()
    kept = [p.grad for p in run.training.parameters()]
    run.unet.zero_grad()
    if run.context is not None:
        run.context.zero_grad()
    calls = len(run.calls)
    resnets = [m for name, m in run.unet.named_modules() if name.endswith("resnets.0")]
    computed: list[nn.Module] = []
    for resnet in resnets:
        resnet.norm1.register_forward_hook(lambda module, *_: computed.append(module))
    run.training.enable_gradient_checkpointing()
    run.loss().backward()
    assert len(run.calls) == calls + 1
    assert len(computed) > len(resnets)
    for old, new in zip(kept, (p.grad for p in run.training.parameters()), strict=True):
        assert torch.allclose(old, new, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("stage", ["base", "context", "joint"])
def test_shared_out_modules_hold_what_is_trained(stage: str) -> None:
    run = Run(stage)
    modules = run.training.sharded_modules()
    held = {id(p) for module in modules for p in module.parameters()}
    assert {id(p) for p in run.training.parameters()} <= held
    for number, module in enumerate(modules):
        within = {id(inner) for inner in module.modules()}
        assert not within & {id(later) for later in modules[number + 1 :]}
