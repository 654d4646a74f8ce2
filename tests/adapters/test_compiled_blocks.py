"""Blocks that are compiled: whole graphs, none anew between steps, the same numbers."""

from __future__ import annotations

import gc
import importlib.util
import shutil
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
import torch._dynamo
from diffusers.models.resnet import ResnetBlock2D
from numpy.typing import NDArray
from tests.dynamicrafter.tiny_pipeline import (
    SIZE,
    TRAINED_FRAMES,
    tiny_dynamicrafter,
    tiny_dynamicrafter_unet,
)
from tests.tiny_models import tiny_pipeline, tiny_unet
from torch import Tensor, nn

from stillmotion.adapters.adapter import Adapter, FrameContext, adapted, shadow
from stillmotion.adapters.compiled_blocks import CompiledBlocks
from stillmotion.adapters.lean_layers import LeanForward
from stillmotion.adapters.lean_savings import Savings
from stillmotion.animatezero.control import control_adapters
from stillmotion.animatezero.settings import AnimateZeroSettings
from stillmotion.diffusion.settings import SamplingSettings
from stillmotion.dynamicrafter.settings import DynamiCrafterSettings
from stillmotion.errors import InputError, ModelError
from stillmotion.runtime.compiling import (
    SMALL_CALL,
    Compiling,
    Mode,
    check_compiler,
    compiling_for,
    compiling_of,
)

NUM_FRAMES = 4
CONTEXT = FrameContext(num_frames=NUM_FRAMES)
WHOLE = replace(Savings(), text=False)
EAGER = Compiling(backend="eager")
ONE_LEVEL = {
    "down_block_types": ("CrossAttnDownBlock3D",),
    "up_block_types": ("CrossAttnUpBlock3D",),
    "block_out_channels": (8,),
}
"""Of DynamiCrafter's network: every kind of block, and few of each."""


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch._dynamo.reset()


def adapters(savings: Savings) -> list[Adapter]:
    control = control_adapters(AnimateZeroSettings(), CONTEXT, every_attention=savings.motion)
    return [*control, *savings.adapters(CONTEXT)]


@torch.inference_mode()
def predict(unet: nn.Module, timestep: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(1, 4, NUM_FRAMES, 8, 8, generator=generator).repeat(2, 1, 1, 1, 1)
    text = torch.randn(2, 5, 8, generator=generator).repeat_interleave(NUM_FRAMES, dim=0)
    result: Tensor = unet(
        latents, torch.tensor(timestep), encoder_hidden_states=text, return_dict=False
    )[0]
    return result


def num_graphs() -> int:
    counters = torch._dynamo.utils.counters
    assert dict(counters["graph_break"]) == {}
    return int(counters["stats"]["unique_graphs"])


@pytest.mark.parametrize("savings", [WHOLE, Savings.none()], ids=["lean", "plain"])
@pytest.mark.parametrize("backend", ["eager", pytest.param("aot_eager", marks=pytest.mark.slow)])
def test_steps_share_whole_graphs(savings: Savings, backend: str) -> None:
    unet = tiny_unet()
    with adapted(unet, adapters(savings)):
        plain = [predict(unet, timestep) for timestep in (900, 500, 100)]
    with adapted(unet, [*adapters(savings), CompiledBlocks(Compiling(backend=backend))]):
        first = predict(unet, 900)
        graphs = num_graphs()
        assert 0 < graphs < len(CompiledBlocks(Compiling()).sites(unet)) + 1
        later = [predict(unet, timestep) for timestep in (500, 100)]
        assert num_graphs() == graphs
    for compiled, expected in zip([first, *later], plain, strict=True):
        torch.testing.assert_close(compiled, expected, rtol=1e-5, atol=1e-5)
    assert all("forward" not in vars(module) for module in unet.modules())


def compiled(settings: AnimateZeroSettings | None = None, form: str = "clip") -> CompiledBlocks:
    control = control_adapters(settings or AnimateZeroSettings(), CONTEXT, every_attention=True)
    return CompiledBlocks(EAGER, [*control, *WHOLE.adapters(CONTEXT)], form)


def predict_compiled(unet: nn.Module) -> Tensor:
    with adapted(unet, [compiled()]):
        return predict(unet, 500)


class TwoBlocks(nn.Module):
    """The smallest network with blocks of two widths."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow = ResnetBlock2D(in_channels=4, temb_channels=4, groups=2)
        self.wide = ResnetBlock2D(in_channels=4, out_channels=8, temb_channels=4, groups=2)

    def forward(self, x: Tensor) -> Tensor:
        time = torch.ones(1, 4)
        result: Tensor = self.wide(self.narrow(x, time), time)
        return result


class DoubledConvolutions(Adapter):
    """Changes a layer within each block, by an object that is another each time."""

    def sites(self, model: nn.Module) -> tuple[str, ...]:
        return tuple(name for name, _ in model.named_modules() if name.endswith("conv1"))

    def inject(self, model: nn.Module, undo: ExitStack) -> None:
        for name in self.sites(model):
            convolution = model.get_submodule(name)
            shadow(convolution, "forward", LeanForward(_twice, convolution.forward), undo)


def _twice(forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return 2 * forward(x)


def doubled(form: str | None = "doubled") -> CompiledBlocks:
    return CompiledBlocks(EAGER, [DoubledConvolutions()], form)


@torch.no_grad()
def run(network: nn.Module, adapters: list[Adapter], x: Tensor) -> Tensor:
    with adapted(network, adapters):
        made: Tensor = network(x)
    return made


def test_the_same_form_is_compiled_once() -> None:
    """Also if another came between, and weights, which are no part of a graph, changed."""
    network, x = TwoBlocks(), torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    before, graphs = run(network, [doubled()], x), num_graphs()
    run(network, [CompiledBlocks(EAGER, [], "plain")], x)
    both = num_graphs()
    assert (graphs, both) == (2, 4)
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(1.1)
    after = run(network, [doubled()], x)
    run(network, [CompiledBlocks(EAGER, [], "plain")], x)
    assert num_graphs() == both
    expected = run(network, [DoubledConvolutions()], x)
    torch.testing.assert_close(after, expected, rtol=1e-5, atol=1e-5)
    assert (after - before).abs().max() > 1e-3
    assert all("forward" not in vars(module) for module in network.modules())


def test_without_a_form_each_time_begins_anew() -> None:
    network, x = TwoBlocks(), torch.ones(1, 4, 4, 4)
    for times in (1, 2):
        run(network, [doubled(form=None)], x)
        assert num_graphs() == 2 * times


def test_what_others_did_to_the_network_is_not_kept() -> None:
    """What was compiled around somebody's change must not come back when that is gone."""
    network, x = TwoBlocks(), torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    plain = network.narrow.forward
    with ExitStack() as undo:
        shadow(network.narrow, "forward", lambda x, time: 2 * plain(x, time), undo)
        changed = run(network, [doubled()], x)
    expected = run(network, [DoubledConvolutions()], x)
    torch.testing.assert_close(run(network, [doubled()], x), expected, rtol=1e-5, atol=1e-5)
    assert (changed - expected).abs().max() > 1e-3


@pytest.mark.slow
def test_another_form_is_another_computation() -> None:
    unet = tiny_unet()
    other = AnimateZeroSettings(window="off", share_keys_values=False)
    with adapted(unet, [compiled()]):
        first, graphs = predict(unet, 500), num_graphs()
    with adapted(unet, [compiled(other, "plain")]):
        second, both = predict(unet, 500), num_graphs()
    with adapted(unet, control_adapters(other, CONTEXT, every_attention=True)):
        expected = predict(unet, 500)
    torch.testing.assert_close(second, expected, rtol=1e-5, atol=1e-5)
    assert (second - first).abs().max() > 1e-3
    assert both > graphs
    with adapted(unet, [compiled()]):
        assert torch.equal(predict(unet, 500), first)
    assert num_graphs() == both


def test_what_is_kept_goes_with_the_network() -> None:
    unet = tiny_unet()
    weight = weakref.ref(next(unet.parameters()))
    with adapted(unet, [compiled()]):
        pass
    del unet
    gc.collect()
    assert weight() is None


def test_layers_with_hooks_of_others_are_refused() -> None:
    unet = tiny_unet()
    unet.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)
    with pytest.raises(ModelError, match="cannot be compiled; leave out --compile"):
        predict_compiled(unet)


def test_what_cannot_be_compiled_is_one_sentence() -> None:
    def broken(graph: object, inputs: object) -> None:
        raise RuntimeError("no such instruction")

    blocks = CompiledBlocks(Compiling(backend=broken))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"could not be compiled .*; leave out --compile"):
        run(TwoBlocks(), [blocks], torch.ones(1, 4, 4, 4))


@pytest.mark.slow
def test_the_next_clip_of_a_pipeline_compiles_nothing() -> None:
    pipe = tiny_pipeline()
    pipe.compiling = EAGER
    sampling = SamplingSettings(num_inference_steps=2, guidance_scale=3.0)
    still = pipe.draw("a red ball", seeds=[1], sampling=sampling)[0]
    pipe.animate(still, seed=2, num_frames=NUM_FRAMES)
    graphs = num_graphs()
    again = pipe.draw("a blue ball", seeds=[3], sampling=sampling)[0]
    frames = pipe.animate(again, seed=4, num_frames=NUM_FRAMES).frames
    assert num_graphs() == graphs > 0
    expected = pipe.animate(again, seed=4, num_frames=NUM_FRAMES, compiling="off").frames
    assert abs(frames.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("speed", ["exact", pytest.param("turbo", marks=pytest.mark.slow)])
def test_dynamicrafter_shares_whole_graphs(speed: str) -> None:
    own = {} if speed == "turbo" else {"unet": tiny_dynamicrafter_unet(**ONE_LEVEL)}
    pipe = tiny_dynamicrafter(**own)
    settings = DynamiCrafterSettings(num_inference_steps=4)
    picture = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)

    def clip(seed: int, how: Compiling | None) -> NDArray[np.uint8]:
        made = pipe.animate(
            picture, "a ball", seed=seed, num_frames=TRAINED_FRAMES, settings=settings,
            compiling=how, speed=speed,
        )  # fmt: skip
        frames: NDArray[np.uint8] = made.frames
        return frames

    first = clip(1, EAGER)
    graphs = num_graphs()
    assert graphs > 0
    assert abs(first.astype(int) - clip(1, None)).max() <= 1
    assert abs(clip(2, EAGER).astype(int) - clip(2, None)).max() <= 1
    assert num_graphs() == graphs


@pytest.mark.slow
def test_a_clip_by_compiled_blocks_is_the_same() -> None:
    pipe = tiny_pipeline()
    sampling = SamplingSettings(num_inference_steps=2, guidance_scale=3.0)
    compiling = Compiling(backend="eager")
    stills = [
        pipe.draw("a red ball", seeds=[1], sampling=sampling, compiling=how)[0]
        for how in (None, compiling)
    ]
    assert num_graphs() > 0
    assert abs(stills[0].image.astype(int) - stills[1].image).max() <= 1
    clips = [
        pipe.animate(stills[0], seed=2, num_frames=NUM_FRAMES, compiling=how).frames
        for how in (None, compiling)
    ]
    assert abs(clips[0].astype(int) - clips[1]).max() <= 1


@pytest.mark.slow
def test_inductor_gives_the_same() -> None:
    unet = tiny_unet()
    with adapted(unet, adapters(WHOLE)):
        plain = predict(unet, 500)
    with adapted(unet, [*adapters(WHOLE), CompiledBlocks(Compiling())]):
        torch.testing.assert_close(predict(unet, 500), plain, rtol=1e-4, atol=1e-4)


def test_how_is_chosen() -> None:
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert compiling_of("off", cuda, 1) is None
    assert compiling_of("auto", cuda, 1) == Compiling(mode="reduce-overhead")
    assert compiling_of("max-autotune", cpu, SMALL_CALL) == Compiling(mode="max-autotune")
    assert compiling_of(EAGER, cpu, 1) is EAGER
    with pytest.raises(InputError, match="--compile is 'fast'; it can be off, auto, default"):
        compiling_of("fast", cpu, 1)
    assert [Compiling(mode=mode).uses_graphs for mode in get_args(Mode)] == [False, True, True]


def test_a_compiler_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    check_compiler("off", cpu)
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(InputError, match=r"compiler for C\+\+ on a CPU \(no-such-compiler\)"):
        check_compiler("auto", cpu)
    with pytest.raises(InputError, match="for the devices cpu and cuda, not for 'mps'"):
        check_compiler("default", torch.device("mps"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="needs Triton on a GPU"):
        check_compiler("auto", torch.device("cuda"))


def test_small_calls_are_recorded_on_cuda_only() -> None:
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert compiling_for(cuda, SMALL_CALL - 1).mode == "reduce-overhead"
    assert compiling_for(cuda, SMALL_CALL).mode == "default"
    assert compiling_for(cpu, 1) == Compiling()
    assert "mode" not in Compiling().options()
    assert compiling_for(cuda, 1).options()["mode"] == "reduce-overhead"


@pytest.mark.gpu
def test_cuda_graphs_give_the_same() -> None:
    device = torch.device("cuda")
    unet = tiny_unet().to(device)

    def call(timestep: int) -> Tensor:
        with torch.device(device):
            latents = torch.ones(2, 4, NUM_FRAMES, 8, 8)
            text = torch.ones(2 * NUM_FRAMES, 5, 8)
            with torch.inference_mode():
                made: Tensor = unet(latents, torch.tensor(timestep), text, return_dict=False)[0]
        return made.clone()

    with adapted(unet, adapters(WHOLE)):
        plain = [call(timestep) for timestep in (900, 500, 100)]
    with adapted(unet, [*adapters(WHOLE), CompiledBlocks(compiling_for(device, 1))]):
        for timestep, expected in zip((900, 500, 100), plain, strict=True):
            torch.testing.assert_close(call(timestep), expected, rtol=1e-3, atol=1e-3)
