"""The U-Net against the published one, and what it promises beyond that."""

from __future__ import annotations

import copy
import inspect
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet3DConditionModel
from diffusers.utils import logging as diffusers_logging
from tests.dynamicrafter import golden
from tests.tiny_models import randomise
from torch import Tensor

from stillmotion.adapters.adapter import adapted
from stillmotion.adapters.lean_savings import Savings
from stillmotion.adapters.lean_unet3d import unet3d_adapters
from stillmotion.dynamicrafter.dual_stream import SharedContexts, gates, gates_scaled
from stillmotion.dynamicrafter.unet import DynamiCrafterUNet
from stillmotion.errors import InputError, ModelError, StillmotionError

TINY = {
    "block_out_channels": (8, 16),
    "down_block_types": ("CrossAttnDownBlock3D", "DownBlock3D"),
    "up_block_types": ("UpBlock3D", "CrossAttnUpBlock3D"),
    "layers_per_block": 1,
    "cross_attention_dim": 6,
    "attention_head_dim": 4,
    "norm_num_groups": 4,
}
FRAMES = 3


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def tiny(seed: int = 0, **changes: Any) -> DynamiCrafterUNet:
    """Every weight random: nothing is zero that a mistake could hide behind."""
    unet = DynamiCrafterUNet(**{**TINY, "image_gate": True, **changes})
    randomise(unet, seed)
    return unet


def arguments(batch: int = 2, frames: int = FRAMES, **changes: Any) -> dict[str, Any]:
    return {
        "sample": noise(batch, 8, frames, 4, 4),
        "timestep": torch.tensor([481, 20])[:batch],
        "encoder_hidden_states": noise(batch, 5, 6, seed=1),
        "image_tokens": noise(batch, frames, 2, 6, seed=2),
        "motion": torch.tensor([3, 24])[:batch],
        **changes,
    }


@torch.no_grad()
def predict(unet: DynamiCrafterUNet, **changes: Any) -> Tensor:
    return unet(**arguments(**changes)).sample


# The published network.


@golden.needs_golden
@pytest.mark.parametrize("case", ["A", "B", "C", "D", "E"])
@pytest.mark.parametrize("style", ["unet_256style", "unet_512style"])
def test_equals_the_published_network(style: str, case: str) -> None:
    unet, io = golden.unet(style), golden.read(f"{style}.io")
    with torch.no_grad():
        result = unet(**golden.inputs(style, case, io)).sample
    assert (result - io[f"{case}.output"]).abs().max() < 2e-4


@golden.needs_golden
def test_equals_the_published_network_of_full_depth() -> None:
    style = "unet_512style_full"
    unet, io = golden.unet(style), golden.read(f"{style}.io")
    with torch.no_grad():
        result = unet(**golden.inputs(style, "A", io)).sample
    assert (result - io["A.output"]).abs().max() < 3e-4


@golden.needs_golden
@pytest.mark.parametrize("style", golden.CONFIGS)
def test_with_every_saving_it_equals_the_published_network(style: str) -> None:
    """Twice the same clip, as in guidance, so that the trunk is shared."""
    unet, io = golden.unet(style), golden.read(f"{style}.io")
    given = {name: torch.cat([x, x]) for name, x in golden.inputs(style, "A", io).items()}
    num_frames = given["sample"].shape[2]
    lean = [SharedContexts(), *unet3d_adapters(Savings(), num_frames)]
    assert all(adapter.sites(unet) for adapter in lean)
    with torch.no_grad(), adapted(unet, lean):
        result = unet(**given).sample
    assert (result - io["A.output"]).abs().max() < 3e-4


@pytest.mark.parametrize(
    ("config", "parameters", "tensors", "layers"),
    [
        ({}, 1_438_854_980, 1516, 16),
        ({"image_gate": True}, 1_438_854_996, 1532, 16),
        ({"image_context": False, "motion_embedding": False}, 1_411_245_380, 1480, 0),
    ],
    ids=["512 and 1024", "256", "without additions"],
)
def test_size_of_the_released_networks(
    config: dict[str, bool], parameters: int, tensors: int, layers: int
) -> None:
    with torch.device("meta"):
        unet = DynamiCrafterUNet(**config)
    assert sum(p.numel() for p in unet.parameters()) == parameters
    assert len(unet.state_dict()) == tensors
    assert sum(name.endswith("to_k_ip.weight") for name in unet.state_dict()) == layers


# The text-to-video network that it is built on.


def plain(**changes: Any) -> UNet3DConditionModel:
    return UNet3DConditionModel(**{**TINY, "in_channels": 8, "out_channels": 4, **changes})


def test_without_additions_it_is_diffusers_network_to_the_bit() -> None:
    unet = tiny(image_context=False, motion_embedding=False, image_gate=False)
    base = plain().eval()
    base.load_state_dict(unet.state_dict())
    given = arguments(image_tokens=None, motion=None)
    with torch.no_grad():
        expected = base(given["sample"], given["timestep"], given["encoder_hidden_states"]).sample
    assert torch.equal(predict(unet, image_tokens=None, motion=None), expected)


def test_new_weights_are_the_additions_and_begin_without_effect() -> None:
    torch.manual_seed(0)
    unet, base = DynamiCrafterUNet(**TINY, image_gate=True).eval(), plain().eval()
    new = set(unet.state_dict()) - set(base.state_dict())
    assert not set(base.state_dict()) - set(unet.state_dict())
    assert {".".join(n.split(".")[-3:]) if "attn2" in n else n.split(".")[0] for n in new} == {
        "processor.to_k_ip.weight",
        "processor.to_v_ip.weight",
        "attn2.processor.alpha",
        "fps_embedding",
    }
    unet.load_state_dict(base.state_dict(), strict=False)
    assert set(gates(unet).values()) == {1.0}
    assert torch.equal(predict(unet), predict(unet, motion=torch.tensor([1, 2])))
    given = arguments()
    with torch.no_grad():
        expected = base(given["sample"], given["timestep"], given["encoder_hidden_states"]).sample
    assert (predict(unet, image_tokens=None) - expected).abs().max() < 1e-5


# What the inputs do.


def test_each_input_counts() -> None:
    unet = tiny()
    before = predict(unet)
    for name, value in arguments().items():
        changed = predict(unet, **{name: value + 1})
        per_clip = (changed - before).abs().amax(dim=(1, 2, 3, 4))
        assert per_clip.min() > 1e-4, name


def test_closed_gates_leave_the_text_alone() -> None:
    unet = tiny()
    text_alone = predict(unet, image_tokens=None)
    assert not torch.allclose(predict(unet), text_alone, atol=1e-3)
    with gates_scaled(unet, dict.fromkeys(gates(unet), 0.0)):
        assert torch.equal(predict(unet), text_alone)


def test_a_clip_does_not_depend_on_its_batch() -> None:
    unet, given = tiny(), arguments()
    both = predict(unet)
    for i in range(2):
        alone = predict(unet, **{name: value[i : i + 1] for name, value in given.items()})
        assert (alone - both[i : i + 1]).abs().max() < 1e-5


def test_common_tokens_are_the_same_tokens_for_every_frame() -> None:
    unet = tiny()
    common = noise(2, 7, 6, seed=4)
    repeated = common[:, None].expand(2, FRAMES, 7, 6)
    expected = predict(unet, image_tokens=repeated)
    assert (predict(unet, image_tokens=common) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("frames", [1, 5])
def test_any_number_of_frames_and_of_tokens(frames: int) -> None:
    changes = {"encoder_hidden_states": noise(2, 9, 6), "image_tokens": noise(2, frames, 4, 6)}
    assert predict(tiny(), frames=frames, **changes).shape == (2, 4, frames, 4, 4)


def test_numbers_for_all_clips_are_numbers_for_each() -> None:
    unet = tiny()
    each = predict(unet, timestep=torch.tensor([7, 7]), motion=torch.tensor([3, 3]))
    assert torch.equal(predict(unet, timestep=7, motion=torch.tensor(3)), each)
    assert torch.equal(predict(unet, timestep=torch.tensor(7), motion=torch.tensor([3.0])), each)


def test_the_result_has_a_name_or_none() -> None:
    unet, given = tiny(), arguments()
    with torch.no_grad():
        (result,) = unet(**given, return_dict=False)
    assert torch.equal(result, predict(unet))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sample": noise(2, 4, 3, 4, 4)}, "latents and detail guidance together"),
        ({"sample": noise(2, 8, 4, 4)}, r"\(batch, 8, frames, height, width\)"),
        ({"image_tokens": noise(2, 16, 2, 6)}, r"\(2, 3, tokens, 6\).*resampled"),
        ({"image_tokens": noise(1, 3, 2, 6)}, r"\(2, 3, tokens, 6\)"),
        ({"image_tokens": noise(6, 2, 6)}, r"\(2, tokens, 6\) for all frames"),
        ({"image_tokens": noise(2, 3, 2, 8)}, r"\(2, 3, tokens, 6\)"),
        ({"image_tokens": noise(2, 6)}, r"\(2, 3, tokens, 6\)"),
        ({"encoder_hidden_states": noise(1, 5, 6)}, r"\(2, tokens, 6\)"),
        ({"encoder_hidden_states": noise(2, 5, 8)}, r"\(2, tokens, 6\)"),
        ({"motion": None}, "`motion` is missing.*fps of each of the 2 clips"),
        ({"motion": torch.tensor([1, 2, 3])}, r"`motion` is of shape \(3,\)"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        predict(tiny(), **changes)


def test_what_has_no_use_is_refused() -> None:
    unet = tiny(image_context=False, motion_embedding=False)
    with pytest.raises(ModelError, match="image_context=False"):
        predict(unet, motion=None)
    with pytest.raises(ModelError, match="motion_embedding=False"):
        predict(unet, image_tokens=None)
    assert issubclass(ModelError, StillmotionError)


# Files.


@contextmanager
def diffusers_warnings(caplog: pytest.LogCaptureFixture) -> Iterator[list[logging.LogRecord]]:
    """What diffusers complains about; its logger does not tell the root logger by itself."""
    diffusers_logging.enable_propagation()
    try:
        with caplog.at_level(logging.WARNING):
            yield caplog.records
    finally:
        diffusers_logging.disable_propagation()


@pytest.mark.parametrize("low_cpu_mem_usage", [True, False])
@pytest.mark.parametrize("config", [{}, {"image_gate": False}, {"image_context": False}])
def test_saves_and_loads_to_the_bit(
    config: dict[str, bool],
    low_cpu_mem_usage: bool,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    unet = tiny(**config)
    with diffusers_warnings(caplog) as complaints:
        unet.save_pretrained(tmp_path)
        again = DynamiCrafterUNet.from_pretrained(tmp_path, low_cpu_mem_usage=low_cpu_mem_usage)
    assert [record.getMessage() for record in complaints] == []
    parameters = set(inspect.signature(DynamiCrafterUNet).parameters)
    assert {name for name in unet.config if not name.startswith("_")} == parameters
    state = again.state_dict()
    assert list(state) == list(unet.state_dict())
    assert all(torch.equal(weight, state[name]) for name, weight in unet.state_dict().items())
    tokens = {} if config.get("image_context", True) else {"image_tokens": None}
    assert torch.equal(predict(again, **tokens), predict(unet, **tokens))


def test_loads_in_another_precision(tmp_path: Path) -> None:
    tiny().save_pretrained(tmp_path)
    unet = DynamiCrafterUNet.from_pretrained(tmp_path, torch_dtype=torch.bfloat16)
    assert {p.dtype for p in unet.parameters()} == {torch.bfloat16}


# Constant contexts computed once.


@contextmanager
def counted_projections(unet: DynamiCrafterUNet) -> Iterator[Counter[str]]:
    """How often keys of the text and of the image are computed."""
    count: Counter[str] = Counter()
    parts = [
        (part, module)
        for part in ("to_k", "to_v", "to_k_ip", "to_v_ip")
        for name, module in unet.named_modules()
        if name.endswith((f".attentions.0.transformer_blocks.0.attn2.{part}", f"processor.{part}"))
    ]
    handles = [
        module.register_forward_hook(lambda *_, part=part: count.update([part]))
        for part, module in parts
    ]
    yield count
    for handle in handles:
        handle.remove()


def test_a_cached_context_is_projected_once_and_gives_the_same_bits() -> None:
    unet, given = tiny(), arguments()
    sites = len(gates(unet))
    del given["timestep"]
    with torch.no_grad(), counted_projections(unet) as count:
        expected = [unet(timestep=t, **given).sample for t in (900, 500, 20)]
        assert count["to_k_ip"] == count["to_v_ip"] == 3 * sites
        once = Counter({part: number // 3 for part, number in count.items()})
        count.clear()
        with unet.cached_context():
            for t, sample in zip((900, 500, 20), expected, strict=True):
                assert torch.equal(unet(timestep=t, **given).sample, sample)
        assert count == once


def test_branches_in_turn_are_each_projected_once() -> None:
    unet = tiny()
    branches = [arguments(image_tokens=noise(2, FRAMES, 2, 6, seed=s)) for s in (2, 3)]
    branches.append({**branches[0], "encoder_hidden_states": noise(2, 5, 6, seed=9)})
    with torch.no_grad(), counted_projections(unet) as count:
        expected = [unet(**branch).sample for branch in branches]
        once = Counter(count)
        count.clear()
        with unet.cached_context():
            for _ in range(2):
                for branch, sample in zip(branches, expected, strict=True):
                    assert torch.equal(unet(**branch).sample, sample)
        assert count == once


def test_changed_contexts_are_noticed() -> None:
    unet, given = tiny(), arguments()
    changed = {**given, "image_tokens": given["image_tokens"] + 1}
    with torch.no_grad():
        expected = unet(**changed).sample
        with unet.cached_context():
            assert not torch.equal(unet(**given).sample, expected)
            given["image_tokens"] += 1
            assert torch.equal(unet(**given).sample, expected)
            text_alone = unet(**{**given, "image_tokens": None}).sample
    assert torch.equal(text_alone, predict(unet, image_tokens=None))


def interrupted(unet: DynamiCrafterUNet, given: dict[str, Any]) -> None:
    with unet.cached_context():
        unet(**given)
        raise KeyError


def test_nothing_stays_cached_after_the_block_or_an_exception() -> None:
    unet, given = tiny(), arguments()
    sites = len(gates(unet))
    with torch.no_grad(), counted_projections(unet) as count:
        with unet.cached_context():
            unet(**given)
        unet(**given)
        assert count["to_k_ip"] == 2 * sites
        with pytest.raises(KeyError):
            interrupted(unet, given)
        unet(**given)
        assert count["to_k_ip"] == 4 * sites
        with unet.cached_context():
            unet(**given)
            with unet.cached_context():
                unet(**given)
            unet(**given)  # the outer block keeps its own
        assert count["to_k_ip"] == 6 * sites
    assert set(unet.state_dict()) == set(tiny().state_dict())


def test_gradients_pass_through_a_cached_block() -> None:
    unet, given = tiny(), arguments()
    with unet.cached_context():
        for _ in range(2):
            unet(**given).sample.sum().backward()
    assert all(p.grad is not None for n, p in unet.named_parameters() if "_ip" in n)


# Training.


def gradients(unet: DynamiCrafterUNet, **changes: Any) -> dict[str, Tensor]:
    unet.zero_grad()
    torch.manual_seed(7)  # the dropout of the temporal convolutions
    (unet(**arguments(**changes)).sample * noise(2, 4, FRAMES, 4, 4, seed=8)).sum().backward()
    return {name: p.grad.clone() for name, p in unet.named_parameters() if p.grad is not None}


def test_gradients_reach_the_additions_from_the_start() -> None:
    """With the initial weights, save the first layer of the embedding, behind one that is zero."""
    torch.manual_seed(0)
    unet = DynamiCrafterUNet(**TINY, image_gate=True)
    found = gradients(unet)
    new = [n for n, _ in unet.named_parameters() if "processor" in n or "fps_embedding" in n]
    assert len(new) == 3 * len(gates(unet)) + 4
    assert {n for n in new if not found[n].any()} == {
        "fps_embedding.linear_1.weight",
        "fps_embedding.linear_1.bias",
    }
    found = gradients(tiny())
    assert [n for n in new if not found[n].any()] == []


@pytest.mark.parametrize("training", [False, True])
def test_gradient_checkpointing_gives_the_same_gradients(training: bool) -> None:
    unet = tiny().train(training)
    before = predict(unet) if not training else None
    expected = gradients(unet)
    unet.enable_gradient_checkpointing()
    assert unet.is_gradient_checkpointing
    found = gradients(unet)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], g) for name, g in expected.items())
    if before is not None:
        assert torch.equal(predict(unet), before)


def saved_floats(unet: DynamiCrafterUNet) -> int:
    """Numbers that a forward pass keeps for the backward pass."""
    sizes = {}

    def pack(tensor: Tensor) -> Tensor:
        sizes[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        unet(**arguments())
    return sum(sizes.values())


def test_gradient_checkpointing_saves_memory_and_can_be_undone() -> None:
    unet = tiny()
    whole = saved_floats(unet)
    own = {name: set(vars(module)) for name, module in unet.named_modules()}
    for _ in range(2):
        unet.enable_gradient_checkpointing()
        assert saved_floats(unet) < 0.5 * whole
    unet.disable_gradient_checkpointing()
    assert not unet.is_gradient_checkpointing
    assert saved_floats(unet) == whole
    attributes = {"gradient_checkpointing", "_gradient_checkpointing_func"}
    assert {n: set(vars(m)) - attributes for n, m in unet.named_modules()} == {
        name: names - attributes for name, names in own.items()
    }


def test_a_copy_checkpoints_its_own_layers() -> None:
    """An average of the weights is kept in a deep copy."""
    unet = tiny()
    unet.enable_gradient_checkpointing()
    average = randomise(copy.deepcopy(unet), 3)
    expected = gradients(tiny(seed=3))
    found = gradients(average)
    assert all(torch.equal(found[name], g) for name, g in expected.items())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype: torch.dtype) -> None:
    unet, given = tiny(), arguments()
    expected = predict(unet)
    names = ("sample", "encoder_hidden_states", "image_tokens")
    unet.to(dtype)
    result = predict(unet, **{name: given[name].to(dtype) for name in names})
    assert result.dtype == dtype
    assert (result.float() - expected).std() < 0.05 * expected.std()


def test_autocast_keeps_weights_whole() -> None:
    unet = tiny()
    expected = predict(unet)
    with torch.autocast("cpu", torch.bfloat16):
        result = predict(unet)
    assert (result.float() - expected).std() < 0.05 * expected.std()


def test_weights_may_be_stored_in_less() -> None:
    """diffusers' layerwise casting, for small GPUs."""
    unet = tiny()
    expected = predict(unet)
    unet.enable_layerwise_casting(storage_dtype=torch.bfloat16, compute_dtype=torch.float32)
    assert unet.get_parameter("fps_embedding.linear_1.weight").dtype == torch.float32
    assert {p.dtype for n, p in unet.named_parameters() if "_ip" in n} == {torch.bfloat16}
    assert (predict(unet) - expected).std() < 0.05 * expected.std()
