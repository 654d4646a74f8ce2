"""Blocks that are compiled: whole graphs, none anew between steps, the same numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
import torch._dynamo
from tests.tiny_models import tiny_pipeline, tiny_unet
from torch import Tensor, nn

from stillmotion.adapters.adapter import Adapter, FrameContext, adapted
from stillmotion.adapters.compiled_blocks import CompiledBlocks
from stillmotion.adapters.lean_savings import Savings
from stillmotion.animatezero.control import control_adapters
from stillmotion.animatezero.settings import AnimateZeroSettings
from stillmotion.diffusion.settings import SamplingSettings
from stillmotion.runtime.compiling import SMALL_CALL, Compiling, compiling_for

NUM_FRAMES = 4
CONTEXT = FrameContext(num_frames=NUM_FRAMES)
WHOLE = replace(Savings(), text=False)


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
