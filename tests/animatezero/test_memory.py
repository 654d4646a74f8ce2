"""What a plan does to a pipeline, that all of it can be put back, and what a clip needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from tests.runtime.test_memory import allocated
from tests.tiny_models import tiny_pipeline, tiny_unet
from torch import Tensor, nn

from stillmotion.adapters.adapter import FrameContext, adapted
from stillmotion.adapters.feature_reuse import FeatureReuse
from stillmotion.animatezero import memory_needs
from stillmotion.animatezero.control import control_adapters
from stillmotion.animatezero.loading import load_pipeline
from stillmotion.animatezero.memory import (
    ChunkedFeedForward,
    apply_plan,
    float8_leaves,
    store_float8,
)
from stillmotion.animatezero.memory_needs import (
    ClipSize,
    ample_bytes,
    choose_plan,
    estimate_peak,
    run_adapters,
)
from stillmotion.animatezero.pipeline import AnimateZeroPipeline
from stillmotion.animatezero.settings import AnimateZeroSettings
from stillmotion.diffusion.guidance import classifier_free_guidance
from stillmotion.diffusion.settings import SamplingSettings
from stillmotion.diffusion.speed import SPEEDS
from stillmotion.errors import InputError, ModelError
from stillmotion.runtime.memory import PRESETS, MemoryPlan

CPU = torch.device("cpu")
NUM_FRAMES = 4
CLIP = ClipSize(num_frames=8, height=32, width=32)
SAMPLING = SamplingSettings(num_inference_steps=2, guidance_scale=3.0)
PLANS = {
    "chunks": MemoryPlan(feed_forward_chunks=3),
    "idle": MemoryPlan(offload="idle"),
    "layers": MemoryPlan(offload="layers"),
    "all": MemoryPlan(feed_forward_chunks=3, offload="layers"),
}


@pytest.fixture(scope="module")
def own() -> AnimateZeroPipeline:
    """A pipeline that tests change and put back."""
    return tiny_pipeline()


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    """In float64, in which rounding is far below what a mistake would make."""
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(2, 4, NUM_FRAMES, 8, 8, generator=generator).double()
    text = torch.randn(2, 1, 5, 8, generator=generator).double().expand(-1, NUM_FRAMES, -1, -1)
    return latents, torch.tensor(500), text.flatten(0, 1)


@torch.no_grad()
def predict(unet: nn.Module, latents: Tensor, timestep: Tensor, text: Tensor) -> Tensor:
    context = FrameContext(num_frames=NUM_FRAMES)
    with adapted(unet, control_adapters(AnimateZeroSettings(), context)):
        result: Tensor = unet(latents, timestep, encoder_hidden_states=text, return_dict=False)[0]
    return result


def own_attributes(pipe: Any) -> Iterator[dict[str, Any]]:
    for network in (pipe, pipe.unet, pipe.vae, pipe.text_encoder):
        modules = network.modules() if isinstance(network, nn.Module) else [network]
        for module in modules:
            yield {name: value for name, value in vars(module).items() if name != "_parameters"}


def test_feed_forward_layers_are_all_found() -> None:
    unet = tiny_unet()
    sites = ChunkedFeedForward(2).sites(unet)
    blocks = [name for name, _ in unet.named_modules() if name.endswith(".attn1")]
    assert sites == tuple(name.replace(".attn1", ".ff") for name in blocks)
    assert any(".motion_modules." in name for name in sites)


@pytest.mark.parametrize("num_chunks", [2, 3, 1000])
def test_a_chunked_feed_forward_is_the_same(num_chunks: int) -> None:
    unet = tiny_unet().double()
    plain = predict(unet, *inputs())
    calls: list[int] = []
    first = unet.down_blocks[0].attentions[0].transformer_blocks[0].ff.net[0]
    handle = first.register_forward_hook(lambda layer, args, out: calls.append(len(args[0])))
    with adapted(unet, [ChunkedFeedForward(num_chunks)]):
        torch.testing.assert_close(predict(unet, *inputs()), plain, rtol=1e-10, atol=1e-10)
    handle.remove()
    assert sum(calls) == 2 * NUM_FRAMES
    assert len(calls) == {2: 2, 3: 3, 1000: 8}[num_chunks]
    assert torch.equal(predict(unet, *inputs()), plain)


def test_guidance_one_half_after_the_other_is_the_same() -> None:
    unet = tiny_unet().double()
    latents, timestep, text = inputs()
    latents = latents[:1].expand(2, -1, -1, -1, -1)
    together = predict(unet, latents, timestep, text).chunk(2)
    apart = [predict(unet, latents[:1], timestep, half) for half in text.chunk(2)]
    torch.testing.assert_close(
        classifier_free_guidance(*apart, scale=7.5),
        classifier_free_guidance(*together, scale=7.5),
        rtol=1e-10,
        atol=1e-10,
    )


@pytest.mark.parametrize("name", PLANS)
def test_an_exact_plan_gives_the_plain_result_and_is_put_back(
    own: AnimateZeroPipeline, name: str
) -> None:
    def clip() -> np.ndarray[Any, Any]:
        still = own.draw("a red ball", seeds=[1], sampling=SAMPLING)
        frames: np.ndarray[Any, Any] = own.animate(still, seed=2, num_frames=NUM_FRAMES).frames
        return frames

    plain, fingerprint = clip(), own.model_fingerprint
    before = list(own_attributes(own))
    with apply_plan(own, PLANS[name], device=CPU):
        assert list(own_attributes(own)) != before
        assert np.abs(clip().astype(int) - plain).max() <= 1
        assert own.model_fingerprint == fingerprint
    assert list(own_attributes(own)) == before
    assert np.array_equal(clip(), plain)


def test_a_plan_stays_until_it_is_closed(own: AnimateZeroPipeline) -> None:
    layer = own.unet.get_submodule(ChunkedFeedForward(2).sites(own.unet)[0])
    undo = apply_plan(own, PLANS["all"], device=CPU)
    assert isinstance(undo, ExitStack)
    assert "forward" in vars(layer)
    undo.close()
    assert "forward" not in vars(layer)


def test_a_plan_that_fails_half_way_is_put_back(
    own: AnimateZeroPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: ChunkedFeedForward, *args: Any) -> None:
        raise RuntimeError("broken")

    before = list(own_attributes(own))
    monkeypatch.setattr(ChunkedFeedForward, "inject", broken)
    with pytest.raises(RuntimeError, match="broken"):
        apply_plan(own, PLANS["all"], device=CPU)
    assert list(own_attributes(own)) == before


def test_float8_must_be_stored_first(own: AnimateZeroPipeline) -> None:
    with pytest.raises(ModelError, match="call store_float8"):
        apply_plan(own, MemoryPlan(weights="float8"), device=CPU)


def test_float8_keeps_names_and_what_is_precious() -> None:
    unet = tiny_unet()
    names = list(unet.state_dict())
    narrow = {id(leaf) for leaf in float8_leaves(unet)}
    store_float8(unet)
    store_float8(unet)  # a second time changes nothing
    assert list(unet.state_dict()) == names
    for name, module in unet.named_modules():
        own = [weight.dtype for weight in module.parameters(recurse=False)]
        expected = torch.float8_e4m3fn if id(module) in narrow else torch.float32
        assert set(own) <= {expected}, name
    kept = [name for name, weight in unet.named_parameters() if weight.dtype == torch.float32]
    assert {"conv_in.weight", "time_embedding.linear_1.weight"} < set(kept)
    assert not any(".attn1.to_q." in name or ".conv1." in name for name in kept)
    assert unet.dtype == torch.float32


def test_float8_is_close_and_another_model() -> None:
    pipe = load_pipeline("miniature", device="cpu")
    sampling = SamplingSettings(num_inference_steps=8, guidance_scale=3.0)

    def still() -> np.ndarray[Any, Any]:
        return pipe.draw("a red ball bounces", seeds=[1], sampling=sampling)[0].image.astype(float)

    plain, fingerprint = still(), pipe.model_fingerprint
    store_float8(pipe.unet)
    with apply_plan(pipe, MemoryPlan(weights="float8", offload="layers"), device=CPU):
        psnr = 10 * np.log10(255**2 / np.mean((still() - plain) ** 2))
    assert 25 < psnr < 60  # 8 bits are seen, but hardly
    assert pipe.model_fingerprint != fingerprint


@pytest.mark.parametrize(
    ("control", "chunks"), [(AnimateZeroSettings(), 1), (AnimateZeroSettings(kv_source="still"), 4)]
)
def test_the_estimate_is_what_the_allocator_does(
    own: AnimateZeroPipeline, control: AnimateZeroSettings, chunks: int
) -> None:
    num_rows = CLIP.num_frames + int(control.needs_reference_row)
    context = FrameContext(
        num_frames=CLIP.num_frames, num_reference_rows=num_rows - CLIP.num_frames
    )
    adapters = run_adapters(control, context, chunks)

    def call() -> Any:
        text = torch.zeros(2 * num_rows, 77, 8)
        latents = torch.zeros(2, 4, num_rows, 16, 16)
        return own.unet(latents, torch.tensor(1), encoder_hidden_states=text, return_dict=False)

    with torch.no_grad(), adapted(own.unet, adapters):
        call()
        real = allocated(call)
    plan = MemoryPlan(feed_forward_chunks=chunks)
    counted = estimate_peak(own, CLIP, plan, control=control).denoise.activations
    assert counted == pytest.approx(real, rel=0.02)


def test_the_estimate_of_decoding_is_what_the_allocator_does(own: AnimateZeroPipeline) -> None:
    counted = estimate_peak(own, CLIP, MemoryPlan(decode_chunk=4)).decode.activations
    latents = torch.zeros(4, 4, 16, 16)
    with torch.no_grad():
        own.vae.decode(latents)
        real = allocated(lambda: own.vae.decode(latents.clone()))
    assert counted == pytest.approx(real, rel=0.02)


def test_each_preset_needs_no_more_than_the_one_before(own: AnimateZeroPipeline) -> None:
    found = [estimate_peak(own, CLIP, plan) for plan in PRESETS.values()]
    for more, less in pairwise(found):
        assert less.activations <= more.activations
        assert less.denoise.weights <= more.denoise.weights
        assert less.total < more.total


def test_sequential_guidance_halves_the_activations(own: AnimateZeroPipeline) -> None:
    together = estimate_peak(own, CLIP, MemoryPlan()).denoise
    apart = estimate_peak(own, CLIP, MemoryPlan(sequential_guidance=True)).denoise
    assert apart.activations / together.activations == pytest.approx(0.5, abs=0.01)
    without = estimate_peak(own, replace(CLIP, uses_guidance=False), MemoryPlan()).denoise
    assert without == apart


@pytest.mark.parametrize("in_sequence", [False, True])
def test_deep_features_that_are_kept_count(own: AnimateZeroPipeline, in_sequence: bool) -> None:
    """Those of both halves of guidance, from one prediction to the next."""
    plan, fast = MemoryPlan(sequential_guidance=in_sequence), SPEEDS["fast"]
    context, reuse = FrameContext(num_frames=CLIP.num_frames), FeatureReuse(fast.kept_skips)

    def call(*halves: int) -> None:
        rows = len(halves) * CLIP.num_frames
        latents = torch.zeros(len(halves), 4, CLIP.num_frames, 16, 16)
        with reuse.call(halves, reuses=False):
            own.unet(latents, torch.tensor(1), encoder_hidden_states=torch.zeros(rows, 77, 8))

    def two_predictions() -> None:
        for _ in range(2):
            for halves in [(0,), (1,)] if in_sequence else [(0, 1)]:
                call(*halves)

    adapters = [*run_adapters(AnimateZeroSettings(), context, 1), reuse]
    with torch.no_grad():
        with adapted(own.unet, adapters):
            two_predictions()
        with adapted(own.unet, adapters):
            real = allocated(two_predictions)
    counted = estimate_peak(own, CLIP, plan, speed=fast).denoise.activations
    assert counted == pytest.approx(real, rel=0.02)
    # Together, these are alive at the peak of the first call as well.
    more = 1.05 if in_sequence else 1.0
    assert counted >= more * estimate_peak(own, CLIP, plan).denoise.activations


def test_weights_are_those_of_the_networks(own: AnimateZeroPipeline) -> None:
    def size(*networks: nn.Module) -> int:
        return sum(
            tensor.numel() * tensor.element_size()
            for network in networks
            for tensor in (*network.parameters(), *network.buffers())
        )

    full = estimate_peak(own, CLIP, MemoryPlan())
    assert full.denoise.weights == size(own.unet, own.vae, own.text_encoder)
    idle = estimate_peak(own, CLIP, MemoryPlan(offload="idle"))
    assert idle.denoise.weights == size(own.unet, own.vae)
    half = estimate_peak(own, CLIP, MemoryPlan(offload="idle"), dtype=torch.float16)
    assert half.denoise.weights * 2 == idle.denoise.weights
    assert idle.decode.weights == size(own.vae)
    unet = tiny_unet()
    narrow = estimate_peak(own, CLIP, MemoryPlan(weights="float8")).denoise.weights
    largest = max(map(size, float8_leaves(unet)))
    store_float8(unet)
    assert narrow == size(unet, own.vae, own.text_encoder) + largest


def test_auto_changes_nothing_where_there_is_plenty(
    own: AnimateZeroPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("counted")

    monkeypatch.setattr(memory_needs, "estimate_peak", never)
    assert choose_plan(own, "auto", CLIP, device=CPU) == PRESETS["full"]
    monkeypatch.setattr(memory_needs, "free_bytes", lambda device: None)
    assert choose_plan(own, "auto", CLIP, device=CPU) == PRESETS["full"]
    assert choose_plan(own, "lean", CLIP, device=CPU) == PRESETS["lean"]
    with pytest.raises(InputError, match="memory is 'big'"):
        choose_plan(own, "big", CLIP, device=CPU)


@pytest.mark.parametrize("name", PRESETS)
def test_auto_takes_the_first_that_fits(
    own: AnimateZeroPipeline, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a CPU nothing is offloaded, so two presets can need the same.
    plans = [plan.on(CPU) for plan in PRESETS.values()]
    needs = [estimate_peak(own, CLIP, plan).total for plan in plans]
    need = needs[list(PRESETS).index(name)]
    resident = estimate_peak(own, CLIP, MemoryPlan()).denoise.weights
    monkeypatch.setattr(memory_needs, "free_bytes", lambda device: int(1.2 * need) + 1 - resident)
    assert choose_plan(own, "auto", CLIP, device=CPU) == plans[needs.index(need)]


def test_plenty_is_more_than_twice_what_is_needed(own: AnimateZeroPipeline) -> None:
    for pipe in (own, load_pipeline("miniature", device="cpu")):
        need = estimate_peak(pipe, CLIP, MemoryPlan())
        spare = ample_bytes(pipe, CLIP) - need.denoise.weights
        assert spare > 2 * need.activations
