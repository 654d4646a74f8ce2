"""The contenders themselves, on tiny networks: all make the same clip, each in its own way."""

from __future__ import annotations

import math
from dataclasses import fields
from functools import partial

import pytest
import torch
from tests.benchmarks.tiny_stages import CPU, NARROW, ONCE, arena, clip_stage, video_stage
from tests.tiny_models import tiny_unet
from torch import Tensor

from stillmotion.adapters.adapter import FrameContext, adapted
from stillmotion.adapters.lean_savings import Savings
from stillmotion.animatezero.control import control_adapters
from stillmotion.animatezero.settings import PAPER
from stillmotion.animatezero.temporal_control import src_index
from stillmotion.benchmarks import arenas as known_arenas
from stillmotion.benchmarks import stages as stages_module
from stillmotion.benchmarks.attention_contenders import attention_contenders, attention_stage
from stillmotion.benchmarks.clip_contenders import (
    LITERAL,
    OURS,
    OURS_8BIT,
    clip_contenders,
    our_clips,
)
from stillmotion.benchmarks.contest import hold
from stillmotion.benchmarks.counting import counted
from stillmotion.benchmarks.ladder import SAVING, UNSAVED
from stillmotion.benchmarks.literal_animatezero import (
    LiteralPool,
    literal_adapters,
    literal_prepared,
    literal_source,
)
from stillmotion.benchmarks.official_dynamicrafter import RepeatedContext, official_clip
from stillmotion.benchmarks.parity import parity
from stillmotion.benchmarks.random_networks import (
    animatediff_pipeline,
    dynamicrafter_pipeline,
    motion_unet_config,
    vae_config,
    video_unet_config,
)
from stillmotion.benchmarks.stages import ClipSpec, ClipStage, VideoStage
from stillmotion.benchmarks.video_contenders import video_contenders
from stillmotion.dynamicrafter.unet import DynamiCrafterUNet
from stillmotion.errors import InputError
from stillmotion.evaluation.memory import full_size_networks
from stillmotion.models.dynamicrafter_variants import Variant
from stillmotion.runtime.compiling import Compiling


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# AnimateDiff and AnimateZero.


def test_all_who_make_clips_from_text_agree() -> None:
    results = hold(arena(clip_stage, clip_contenders(compiles=False, each_saving=False)), ONCE)
    told = {one.contender.name: (one.status, one.why) for one in results.outcomes}
    assert {name: said for name, said in told.items() if said != ("timed", "")} == {}
    exact = [one for one in results.outcomes if one.contender.label == "exact"]
    assert all(one.parity is not None and one.parity.max_error < 1e-4 for one in exact)
    by_name = {one.contender.name: one for one in results.outcomes}
    assert by_name["ours-fast"].likeness is not None
    assert by_name["ours-fast"].likeness.first_frame_error == 0
    eight_bits, whole = by_name[OURS_8BIT].memory, by_name[OURS].memory
    assert eight_bits is not None
    assert whole is not None
    assert eight_bits.weights < whole.weights


@pytest.mark.slow
def test_every_rung_of_the_savings_agrees() -> None:
    found = [clip_contenders(compiles=False), video_contenders("animatezero", compiles=False)]
    for stage, contenders in zip((clip_stage, video_stage), found, strict=True):
        rungs = arena(stage, tuple(one for one in contenders if one.label != "approximate"))
        held = rungs.only(["animatezero"])
        assert held is not None
        results = hold(held, ONCE)
        assert {(one.status, one.why) for one in results.outcomes} == {("timed", "")}


def test_each_saving_has_its_contender() -> None:
    names = [one.name for one in clip_contenders(compiles=False)]
    savings = [one.name for one in fields(Savings)]
    ladder = [name for name in names if name.startswith(SAVING)]
    assert ladder == [f"{SAVING}{name}" for name in savings[:-1]]
    assert names.index(UNSAVED) == names.index(ladder[0]) - 1
    without = {one.name for one in clip_contenders(compiles=False, each_saving=False)}
    assert without == set(names) - {UNSAVED, *ladder}
    videos = [one.name for one in video_contenders("d", compiles=True)]
    assert [name for name in videos if name.startswith(SAVING)] == ladder


def test_compiling_is_left_out_if_not_wanted() -> None:
    with_it, without = (
        {one.name for one in clip_contenders(compiles=compiles)} for compiles in (True, False)
    )
    assert without < with_it
    assert all("compiled" in name for name in with_it - without)


def test_rearranging_leaves_the_stage_as_it_was() -> None:
    stage = clip_stage()
    before = {name: w.clone() for name, w in stage.pipe.unet.state_dict().items()}
    strides = {name: w.stride() for name, w in stage.pipe.unet.named_parameters()}
    for one in clip_contenders(compiles=False, each_saving=False):
        one.prepare(stage).run(1)
    after = stage.pipe.unet.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert strides == {name: w.stride() for name, w in stage.pipe.unet.named_parameters()}


@pytest.mark.parametrize("num_frames", [1, 2, 5, 16])
def test_the_literal_source_is_that_of_eq_6(num_frames: int) -> None:
    frames, slots = literal_source(num_frames)
    assert torch.equal(torch.tensor(frames), src_index(num_frames))
    assert slots == [list(range(num_frames))] * num_frames


def test_the_literal_network_is_ours_in_double_precision() -> None:
    unet = tiny_unet().double()
    z, text = random(2, 4, 6, 4, 4), random(12, 5, 8, seed=1)

    def predicted(adapters: list[object]) -> Tensor:
        with torch.no_grad(), adapted(unet, adapters):  # type: ignore[arg-type]
            result: Tensor = unet(z, torch.tensor(500), encoder_hidden_states=text).sample
            return result

    literal = predicted([*literal_adapters(6)])
    ours = predicted([*control_adapters(PAPER, FrameContext(num_frames=6))])
    assert (literal - ours).abs().max() < 1e-11
    assert (literal - predicted([])).abs().max() > 1e-3


def test_the_pool_is_projected_for_every_pair() -> None:
    n, f, c = 3, 6, 32
    stage = attention_stage(torch.float32, device=CPU, num_pixels=n, num_frames=f, channels=c)
    [pool, ours, _] = [one.prepare(stage) for one in attention_contenders()]
    operators = counted(lambda: pool.run(1), CPU)[1].operators
    products = sum(t.flops for name, t in operators.items() if name in ("mm", "addmm"))
    # Queries, keys and values of f x f pairs, and the output of f frames.
    assert products == 2 * n * (3 * f * f + f) * c * c
    theirs = counted(lambda: ours.run(1), CPU)[1].total.flops
    assert theirs < products / 3


def test_attentions_agree() -> None:
    build = partial(attention_stage, device=CPU, num_pixels=4, channels=32)
    results = hold(arena(build, attention_contenders()), ONCE)
    ours = results.outcomes[1]
    assert ours.parity is not None
    assert ours.parity.max_error < 1e-4
    assert LiteralPool(16).sites(build(torch.float32).unet)


def test_several_clips_of_a_still_are_several() -> None:
    stage = clip_stage()
    assert our_clips(stage, count=3).run(1).latents.shape == (3, *stage.latent_shape[1:])


# DynamiCrafter.


def test_the_published_way_gives_our_clip() -> None:
    found = video_contenders("dynamicrafter", compiles=False, each_saving=False)
    results = hold(arena(video_stage, found), ONCE)
    told = {one.contender.name: (one.status, one.why) for one in results.outcomes}
    assert set(told.values()) == {("timed", "")}
    ours = results.of("ours")
    assert ours is not None
    assert ours.parity is not None
    assert ours.parity.max_error < 1e-4


def test_the_published_way_calls_branch_by_branch_and_projects_every_time() -> None:
    stage = video_stage()
    batches: list[int] = []
    projected: list[tuple[int, ...]] = []
    stage.pipe.unet.register_forward_pre_hook(lambda m, args: batches.append(len(args[0])))
    site = stage.pipe.unet.get_submodule(RepeatedContext().sites(stage.pipe.unet)[0])
    site.to_k.register_forward_pre_hook(lambda m, args: projected.append(tuple(args[0].shape)))
    official_clip(stage).run(3)
    assert batches == [1] * 6
    assert [shape[0] for shape in projected] == [stage.clip.num_frames] * 6


def test_lower_precision_is_cast_from_float32_weights() -> None:
    stage = video_stage(torch.bfloat16)
    prepared = official_clip(stage)
    assert {w.dtype for network in prepared.networks for w in network.parameters()} == {
        torch.float32
    }
    assert stage.pipe.unet.dtype == torch.bfloat16
    made, exact = prepared.run(2), official_clip(video_stage()).run(2)
    assert made.latents.dtype == torch.float32
    assert 0 < parity(made, exact, "exact").mean_error < 0.1


# Networks with random weights.


def test_random_networks_make_clips_and_are_the_same_in_every_precision() -> None:
    whole, half = (
        animatediff_pipeline(dtype, CPU, NARROW) for dtype in (torch.float32, torch.bfloat16)
    )
    for name, weight in whole.unet.named_parameters():
        assert weight.abs().max() > 0, name
        assert torch.equal(weight.bfloat16(), half.unet.get_parameter(name)), name
    clip = ClipSpec(num_frames=3, height=32, width=32)
    stage = ClipStage(pipe=whole, clip=clip)
    made = literal_prepared(stage).run(2)
    assert made.latents.shape == (1, 4, 3, 4, 4)
    assert torch.isfinite(made.latents).all()
    assert made.latents.std() > 0.1
    pair = tuple(one for one in clip_contenders(compiles=False) if one.name in (LITERAL, OURS))
    results = hold(arena(lambda dtype: stage, pair), ONCE)
    assert [one.why for one in results.outcomes] == ["", ""]


def test_random_video_networks_make_clips() -> None:
    pipe = dynamicrafter_pipeline(Variant.V256, torch.float32, CPU, NARROW)
    clip = ClipSpec(num_frames=16, height=32, width=32)
    stage = VideoStage(pipe=pipe, clip=clip, guidance_rescale=0.7)
    results = hold(arena(lambda dtype: stage, video_contenders("d", compiles=False)[:2]), ONCE)
    assert [one.why for one in results.outcomes] == ["", ""]


def test_full_size_is_that_of_the_published_models() -> None:
    known = full_size_networks()
    for config, network in ((motion_unet_config(), known.unet), (vae_config(), known.vae)):
        with torch.device("meta"):
            ours = type(network)(**config)
        said, expected = (
            {name: value for name, value in one.config.items() if name[0] != "_"}
            for one in (ours, network)
        )
        assert said == expected
    with torch.device("meta"):
        unet = DynamiCrafterUNet(**video_unet_config(Variant.V1024))
    assert sum(w.numel() for w in unet.parameters()) / 1e6 == pytest.approx(1438.9, abs=0.1)


# Which arenas there are.


def test_groups_can_be_chosen() -> None:
    found = known_arenas.arenas("miniature", CPU, only=["attention"])
    assert [one.name for one in found] == ["attention"]
    found = known_arenas.arenas("full-size", CPU, only=["dynamicrafter-512", "animatediff"])
    assert [(one.name, one.num_steps) for one in found] == [
        ("clips", 25), ("dynamicrafter-512", 50),
    ]  # fmt: skip
    with pytest.raises(InputError, match="no model 'sdxl' to time; miniature, full-size"):
        known_arenas.arenas("sdxl", CPU)
    with pytest.raises(InputError, match="no group 'dynamicrafter' of full-size; there are anim"):
        known_arenas.arenas("full-size", CPU, only=["dynamicrafter"])


@pytest.mark.slow
def test_ours_is_compiled_by_the_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def without_inductor(device: torch.device, num_positions: int) -> Compiling:
        asked.append(num_positions)
        return Compiling(backend="eager")

    monkeypatch.setattr(stages_module, "compiling_for", without_inductor)
    chosen = (LITERAL, OURS, "ours-compiled")
    found = tuple(one for one in clip_contenders(compiles=True) if one.name in chosen)
    compiled = hold(arena(clip_stage, found), ONCE).outcomes[2]
    assert (compiled.status, compiled.why) == ("timed", "")
    assert asked == [2 * 4 * 4 * 4]  # halves, frames, height and width of latents


@pytest.mark.slow
def test_dynamicrafter_is_compiled_by_the_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def without_inductor(device: torch.device, num_positions: int) -> Compiling:
        asked.append(num_positions)
        return Compiling(backend="eager")

    monkeypatch.setattr(stages_module, "compiling_for", without_inductor)
    found = video_contenders("d", compiles=True, each_saving=False)
    chosen = tuple(one for one in found if one.name in ("official", "ours", "ours-compiled"))
    stage = video_stage()
    compiled = hold(arena(lambda dtype: stage, chosen), ONCE).outcomes[2]
    assert (compiled.status, compiled.why) == ("timed", "")
    assert asked == [2 * math.prod(stage.latent_shape[2:])]


@pytest.mark.slow
def test_a_compiled_network_makes_the_same_clip() -> None:
    chosen = ("diffusers", "diffusers-compiled")
    found = tuple(one for one in clip_contenders(compiles=True) if one.name in chosen)
    compiled = hold(arena(clip_stage, found), ONCE).outcomes[1]
    assert (compiled.status, compiled.why) == ("timed", "")
    assert compiled.counts is None
    assert compiled.first_seconds is not None
    assert compiled.timing is not None
    assert compiled.first_seconds > 3 * compiled.timing.median


@pytest.mark.gpu
@pytest.mark.slow
def test_networks_of_full_size_agree_on_a_gpu() -> None:
    device = torch.device("cuda")
    rules = ONCE.__class__(device=device, dtype=torch.bfloat16, rounds=1, warmups=0)
    for one in known_arenas.arenas("full-size", device, num_steps=2, compiles=False):
        results = hold(one, rules)
        told = {o.contender.name: (o.status, o.why) for o in results.outcomes}
        assert set(told.values()) == {("timed", "")}, told
