"""Low-rank adapters: silent at first, removable, and read by diffusers as LoRAs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import AnimateDiffPipeline, UNet2DConditionModel
from safetensors.torch import load_file
from tests.tiny_models import (
    UNET_2D,
    image_unet_of,
    tiny_components,
    tiny_unet,
)
from torch import Tensor, nn

from stillmotion.training.low_rank import LowRank, add_low_rank, remove_low_rank, save_lora

# The second is more than the four output channels of the last layer.
RANKS = [3, 6]


def unet() -> UNet2DConditionModel:
    return image_unet_of(tiny_unet())


@torch.no_grad()
def predict(model: UNet2DConditionModel) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    noisy = torch.randn(2, 4, 4, 4, generator=generator)
    text = torch.randn(2, 3, UNET_2D["cross_attention_dim"], generator=generator)
    predicted: Tensor = model(noisy, torch.tensor([10, 700]), text).sample
    return predicted


def add(model: nn.Module, rank: int) -> dict[str, LowRank]:
    return add_low_rank(model, rank, torch.Generator().manual_seed(0))


def disturb(adapters: dict[str, LowRank]) -> None:
    """What training does to the half that starts at zero."""
    generator = torch.Generator().manual_seed(1)
    for adapter in adapters.values():
        noise = torch.randn(adapter.up.shape, generator=generator)
        adapter.up.data = 0.2 * noise / adapter.up.shape[1] ** 0.5


def test_at_first_nothing_changes() -> None:
    model = unet()
    before, state = predict(model), torch.get_rng_state()
    adapters = add(model, 3)
    assert torch.equal(predict(model), before)
    assert torch.equal(torch.get_rng_state(), state)
    layers = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    assert len(adapters) == len(layers)


def test_only_the_adapters_learn_and_a_step_changes_the_output() -> None:
    model = unet()
    before = predict(model)
    adapters = add(model, 3)
    trained = [p for adapter in adapters.values() for p in adapter.parameters()]
    assert {id(p) for p in model.parameters() if p.requires_grad} == {id(p) for p in trained}
    text = torch.ones(1, 3, UNET_2D["cross_attention_dim"])
    model(torch.ones(1, 4, 4, 4), torch.tensor([10]), text).sample.square().mean().backward()
    torch.optim.SGD(trained, lr=0.1).step()
    assert (predict(model) - before).abs().max() > 1e-4


@pytest.mark.parametrize("rank", RANKS)
def test_removal_restores_every_bit(rank: int) -> None:
    model = unet()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    output = predict(model)
    adapters = add(model, rank)
    disturb(adapters)
    assert not torch.equal(predict(model), output)
    remove_low_rank(model, adapters)
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    assert torch.equal(predict(model), output)


@pytest.mark.parametrize("rank", RANKS)
def test_diffusers_loads_what_is_saved(tmp_path: Path, rank: int) -> None:
    model, plain = unet(), unet()
    adapters = add(model, rank)
    disturb(adapters)
    path = tmp_path / "look.safetensors"
    save_lora(model, adapters, path, prefix="unet")
    assert (predict(model) - predict(plain)).abs().max() > 0.05

    plain.load_lora_adapter(load_file(path), prefix="unet")
    assert (predict(plain) - predict(model)).abs().max() < 1e-3


def test_a_video_pipeline_loads_what_is_saved(tmp_path: Path) -> None:
    model = unet()
    adapters = add(model, 3)
    disturb(adapters)
    save_lora(model, adapters, tmp_path / "look.safetensors", prefix="unet")
    names = ("vae", "text_encoder", "tokenizer", "scheduler")
    parts = tiny_components()
    pipe = AnimateDiffPipeline(
        **{name: parts[name] for name in names}, unet=tiny_unet(), motion_adapter=None
    )
    pipe.load_lora_weights(tmp_path / "look.safetensors", adapter_name="look")
    for name, adapter in adapters.items():
        layer = pipe.unet.get_submodule(name)
        assert layer.scaling == {"look": 1.0}
        assert (layer.lora_B["look"].weight.flatten(1) - adapter.up).abs().max() < 1e-3
