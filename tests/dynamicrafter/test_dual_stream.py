"""Equation 2 by the plainest loop, the gate, and what a cross-attention does with a context."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from stillmotion.dynamicrafter.dual_stream import (
    Context,
    ContextCache,
    DualStreamProcessor,
    dual_stream_attention,
    gates,
    gates_scaled,
)
from stillmotion.dynamicrafter.unet import DynamiCrafterUNet
from stillmotion.errors import InputError, ModelError


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def attended(q: list[float], keys: Tensor, values: Tensor) -> list[float]:
    """softmax(q Kᵀ / √d) V for one query, number by number."""
    weights = [
        math.exp(sum(q[c] * float(k[c]) for c in range(len(q))) / math.sqrt(len(q))) for k in keys
    ]
    return [
        sum(w * float(v[c]) for w, v in zip(weights, values, strict=True)) / sum(weights)
        for c in range(values.shape[1])
    ]


class Sums(TorchDispatchMode):
    """Of which dtypes each sum is, and which other operations there are."""

    def __init__(self) -> None:
        super().__init__()
        self.dtypes: list[set[torch.dtype]] = []
        self.others: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten.add.Tensor, torch.ops.aten.addcmul.default):
            self.dtypes.append({x.dtype for x in args if isinstance(x, Tensor)})
        else:
            self.others.append(str(func))
        return func(*args, **(kwargs or {}))


def test_equation_2_by_the_plainest_loop() -> None:
    q, text_k, text_v = noise(2, 5, 4), noise(2, 3, 4, seed=1), noise(2, 3, 4, seed=2)
    image_k, image_v = noise(2, 6, 4, seed=3), noise(2, 6, 4, seed=4)
    result = dual_stream_attention(
        *(x.double() for x in (q, text_k, text_v, image_k, image_v)), gate=0.7
    )
    for head in range(2):
        for i in range(5):
            row = [float(x) for x in q[head, i]]
            text = attended(row, text_k[head], text_v[head])
            image = attended(row, image_k[head], image_v[head])
            expected = [t + 0.7 * p for t, p in zip(text, image, strict=True)]
            assert (result[head, i] - torch.tensor(expected).double()).abs().max() < 1e-6


def test_the_gate_may_be_a_tensor_and_0_leaves_the_text() -> None:
    tensors = [noise(2, 5, 4, seed=seed) for seed in range(5)]
    by_number = dual_stream_attention(*tensors, gate=0.5)
    assert torch.equal(dual_stream_attention(*tensors, gate=torch.tensor(0.5)), by_number)
    text = torch.nn.functional.scaled_dot_product_attention(*tensors[:3])
    assert torch.equal(dual_stream_attention(*tensors, gate=0.0), text)
    assert not torch.allclose(by_number, text, atol=1e-2)


@pytest.mark.parametrize(("alpha", "gate"), [(0.0, 1.0), (-9.0, 0.0), (9.0, 2.0), (0.5, 1.4621)])
def test_the_gate_lies_between_0_and_2(alpha: float, gate: float) -> None:
    processor = DualStreamProcessor(6, 8, learnable_gate=True)
    assert processor.gate() == 1.0
    processor.alpha.data.fill_(alpha)
    assert processor.gate().item() == pytest.approx(gate, abs=1e-4)


def test_a_gate_does_not_widen_what_it_multiplies() -> None:
    """Under autocast alpha stays in float32; the attention must not follow it."""
    gate = DualStreamProcessor(6, 8, learnable_gate=True).gate()
    tensors = [noise(2, 5, 4, seed=seed).bfloat16() for seed in range(5)]
    with Sums() as sums:
        assert dual_stream_attention(*tensors, gate=gate).dtype == torch.bfloat16
    # CUDA's autocast, which no test on a CPU sees, computes a sum in the widest dtype in it.
    assert sums.dtypes == [{torch.bfloat16}]


@pytest.mark.parametrize("gate", [0.7, torch.tensor(0.7)], ids=["number", "tensor"])
def test_the_sum_is_one_operation(gate: Tensor | float) -> None:
    with Sums() as sums:
        dual_stream_attention(*(noise(2, 5, 4, seed=seed) for seed in range(5)), gate=gate)
    assert len(sums.dtypes) == 1
    assert "aten.mul.Tensor" not in sums.others


class Layer:
    """A cross-attention with its processor, for 2 clips of 3 frames with 5 locations."""

    def __init__(self, learnable_gate: bool = False) -> None:
        torch.manual_seed(0)
        self.attention = Attention(8, cross_attention_dim=6, heads=2, dim_head=4).eval()
        self.plain = self.attention.processor
        self.processor = DualStreamProcessor(6, 8, learnable_gate=learnable_gate)
        self.attention.set_processor(self.processor)
        self.x, self.text = noise(6, 5, 8), noise(2, 4, 6, seed=1)
        self.image = noise(2, 3, 7, 6, seed=2)

    @torch.no_grad()
    def __call__(self, image: Tensor | None, rows: slice = slice(None)) -> Tensor:
        clips = slice(None) if rows == slice(None) else slice(rows.start // 3, rows.start // 3 + 1)
        context = Context(self.text[clips], image)
        return self.attention(self.x[rows], self.text[clips], ip_hidden_states=context)


def test_without_image_tokens_it_is_the_plain_attention() -> None:
    layer = Layer()
    result = layer(None)
    layer.attention.set_processor(layer.plain)
    with torch.no_grad():
        expected = layer.attention(layer.x, layer.text.repeat_interleave(3, 0))
    assert (result - expected).abs().max() < 1e-6


def test_frames_see_their_own_image_tokens_and_no_others() -> None:
    layer = Layer()
    changed = layer.image.clone()
    changed[1, 2] += 1
    difference = (layer(changed) - layer(layer.image)).abs().amax(dim=(1, 2))
    assert difference[:5].max() == 0
    assert difference[5] > 1e-3
    for row in range(6):  # each frame by itself, with its own tokens
        alone = layer(layer.image[row // 3, row % 3][None], slice(row, row + 1))
        assert (alone - layer(layer.image)[row]).abs().max() < 1e-6


def test_tokens_without_an_axis_of_frames_reach_every_frame() -> None:
    layer = Layer()
    common = layer.image[:, 0]
    repeated = common[:, None].expand(2, 3, 7, 6)
    assert (layer(common) - layer(repeated)).abs().max() < 1e-6


def test_clips_see_their_own_text() -> None:
    layer = Layer()
    before = layer(layer.image)
    layer.text[1] += 1
    difference = (layer(layer.image) - before).abs().amax(dim=(1, 2))
    assert difference[:3].max() == 0
    assert difference[3:].min() > 1e-3


def test_a_closed_gate_leaves_the_text() -> None:
    layer = Layer(learnable_gate=True)
    layer.processor.alpha.data.fill_(-20.0)
    assert torch.equal(layer(layer.image), layer(None))


def test_the_text_is_projected_once_for_all_frames() -> None:
    layer = Layer()
    shapes = []
    for part in (layer.attention.to_k, layer.processor.to_k_ip):
        part.register_forward_hook(lambda module, args, output: shapes.append(args[0].shape))
    layer(layer.image)
    layer(layer.image[:, 0])
    assert shapes == [(2, 4, 6), (6, 7, 6), (2, 4, 6), (2, 7, 6)]


def test_a_call_without_context_says_so() -> None:
    layer = Layer()
    with pytest.raises(ModelError, match="as a DynamiCrafterUNet"):
        layer.attention(layer.x, layer.text.repeat_interleave(3, 0))


# The gates of a whole network (Fig. 2a).


def network(**config: object) -> DynamiCrafterUNet:
    """Two levels with attention in both: seven image cross-attentions, gates 1.1, 1.2, ..."""
    unet = DynamiCrafterUNet(
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock3D",) * 2,
        up_block_types=("CrossAttnUpBlock3D",) * 2,
        layers_per_block=1,
        cross_attention_dim=6,
        attention_head_dim=4,
        norm_num_groups=4,
        image_gate=True,
    )
    for number, name in enumerate(gates(unet), 1):
        processor = unet.get_submodule(name).processor
        processor.alpha.data.fill_(math.atanh(number / 10))
    return unet


def test_gates_come_in_the_order_in_which_the_layers_run() -> None:
    unet = network()
    blocks = [".".join(name.split(".")[:4]) for name in gates(unet)]
    assert blocks == [
        "down_blocks.0.attentions.0",
        "down_blocks.1.attentions.0",
        "mid_block.attentions.0.transformer_blocks",
        "up_blocks.0.attentions.0",
        "up_blocks.0.attentions.1",
        "up_blocks.1.attentions.0",
        "up_blocks.1.attentions.1",
    ]
    assert list(gates(unet).values()) == pytest.approx([1 + i / 10 for i in range(1, 8)])
    ran = []
    for name in gates(unet):
        unet.get_submodule(name).register_forward_hook(lambda *_, name=name: ran.append(name))
    with torch.no_grad():
        unet(noise(1, 8, 2, 4, 4), 5, noise(1, 3, 6), noise(1, 2, 2, 6), torch.tensor([3]))
    assert ran == list(gates(unet))


def test_gates_are_scaled_by_name_and_by_position_and_put_back() -> None:
    unet = network()
    before, last = gates(unet), list(gates(unet))[-1]
    with gates_scaled(unet, {2: 0.5, last: 2}):
        within = list(gates(unet).values())
        with gates_scaled(unet, {2: 0}):
            assert list(gates(unet).values())[2] == 0
        assert list(gates(unet).values()) == within
    assert within == pytest.approx([1.1, 1.2, 0.65, 1.4, 1.5, 1.6, 3.4])
    assert gates(unet) == before
    with pytest.raises(KeyError), gates_scaled(unet, {0: 3.0}):
        raise KeyError
    assert gates(unet) == before


@pytest.mark.parametrize("where", [7, -1, "down_blocks.9", ""])
def test_a_layer_that_is_not_there_is_refused_and_nothing_stays_scaled(where: object) -> None:
    unet = network()
    before = gates(unet)
    with (
        pytest.raises(InputError, match="position from 0 to 6"),
        gates_scaled(unet, {0: 2.0, where: 2.0}),
    ):
        pass
    assert gates(unet) == before


@pytest.mark.parametrize("factor", [math.nan, math.inf])
def test_a_factor_that_is_no_number_is_refused(factor: float) -> None:
    with pytest.raises(InputError, match="finite"), gates_scaled(network(), {0: factor}):
        pass


# Contexts that are kept.


@pytest.fixture
def cache() -> ContextCache:
    return ContextCache(2)


@torch.no_grad()
def test_the_same_memory_is_the_same_context(cache: ContextCache) -> None:
    text, image = noise(2, 4, 6), noise(2, 8, 3, 6)
    known = cache.context(text, image)
    assert known.layers is not None
    assert cache.context(text, image) is known
    assert cache.context(text[:], image.view_as(image)) is known
    assert cache.context(text, image[:, :4]) is not known
    assert cache.context(text, None) is not known
    assert cache.context(text.clone(), image) is not known


@torch.no_grad()
def test_writing_to_a_tensor_makes_another_context(cache: ContextCache) -> None:
    text, image = noise(2, 4, 6), noise(2, 8, 3, 6)
    known = cache.context(text, image)
    image[0, 0] += 1
    changed = cache.context(text, image)
    assert changed is not known
    text.zero_()
    assert cache.context(text, image) is not changed


@torch.no_grad()
def test_the_longest_unused_context_makes_room(cache: ContextCache) -> None:
    texts = [noise(1, 4, 6, seed=seed) for seed in range(3)]
    first, second = (cache.context(text, None) for text in texts[:2])
    assert cache.context(texts[0], None) is first
    cache.context(texts[2], None)  # makes room by forgetting the second
    assert cache.context(texts[0], None) is first
    assert cache.context(texts[1], None) is not second


def test_nothing_is_kept_with_gradients_or_of_inference_tensors(cache: ContextCache) -> None:
    assert cache.context(noise(1, 4, 6), None).layers is None
    with torch.inference_mode():
        assert cache.context(noise(1, 4, 6), None).layers is None
    with torch.no_grad():
        assert cache.context(noise(1, 4, 6), None).layers == {}
