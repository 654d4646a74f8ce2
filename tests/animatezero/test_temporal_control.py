"""Window attention against the paper's equations, read literally, and against golden numbers."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.tiny_models import tiny_unet
from torch import Tensor, nn

from stillmotion.adapters.adapter import adapted
from stillmotion.adapters.diffusers_sites import ProjectedAttention, TemporalSite
from stillmotion.animatezero.attention import global_attention, project
from stillmotion.animatezero.settings import AnimateZeroSettings
from stillmotion.animatezero.temporal_adapter import WindowAttention
from stillmotion.animatezero.temporal_control import (
    Pool,
    corrected_window_attention,
    decomposed_pool,
    src_index,
    window_attention,
)
from stillmotion.animatezero.windows import EndBlend

F, C, HEADS = 6, 8, 2


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Layer:
    """Projections in double precision with the interface of `ProjectedAttention`."""

    def __init__(self, channels: int = C, heads: int = HEADS, *, bias: bool = False) -> None:
        self.to_q, self.to_k, self.to_v = (self._linear(channels, s, bias) for s in (1, 2, 3))
        self.to_out = nn.ModuleList([self._linear(channels, 4, bias=True)])
        self.heads = heads

    @staticmethod
    def _linear(channels: int, seed: int, bias: bool) -> nn.Linear:
        layer = nn.Linear(channels, channels, bias=bias, dtype=torch.float64)
        for index, parameter in enumerate(layer.parameters()):
            parameter.data = random(*parameter.shape, seed=10 * seed + index) / channels**0.5
        return layer.requires_grad_(False)


class Table(nn.Module):
    def __init__(self, p: Tensor) -> None:
        super().__init__()
        self.register_buffer("pe", p[None])


def attend(
    settings: AnimateZeroSettings,
    layer: Layer,
    z: Tensor,
    p: Tensor,
    *,
    two_ends: bool = False,
) -> Tensor:
    """Output (n f c) of the adapter's attention for tokens z (n f c) and a table p (rows c)."""
    num_frames = z.shape[1]
    if settings.window_length is None:  # the paper's: as long as the clip
        settings = replace(settings, window_length=num_frames)
    adapter = WindowAttention(settings, num_frames, EndBlend(num_frames) if two_ends else None)
    compute = adapter.windowed(TemporalSite(nn.Identity(), Table(p)))
    return compute(ProjectedAttention(layer), z.unsqueeze(2)).squeeze(2)


def literal(
    layer: Layer, z: Tensor, p: Tensor, *, query_row: list[int], keys: list[list[tuple[int, int]]]
) -> Tensor:
    """The paper's formulas in a loop, from the pool of Eq. 7.

    Frame i (from 0) has the query q_i^{query_row[i]} and the keys and values k_t^s for the pairs
    (t, s) in keys[i].
    """
    num_frames, d = z.shape[1], z.shape[2] // layer.heads
    out = torch.zeros_like(z)
    for n in range(z.shape[0]):
        for i in range(num_frames):
            q = layer.to_q(z[n, i] + p[query_row[i]]).view(layer.heads, d)
            pool = [z[n, t] + p[s] for t, s in keys[i]]
            k = [layer.to_k(a).view(layer.heads, d) for a in pool]
            v = [layer.to_v(a).view(layer.heads, d) for a in pool]
            heads = []
            for h in range(layer.heads):
                e = [math.exp(float(q[h] @ k_s[h]) / math.sqrt(d)) for k_s in k]
                heads.append(sum(w * v_s[h] for w, v_s in zip(e, v, strict=True)) / sum(e))
            out[n, i] = torch.cat(heads)
    return layer.to_out[0](out)


def corrected_keys(f: int) -> list[list[tuple[int, int]]]:
    """Eq. 6 written out: k_1^1 .. k_1^{f-i+1}, k_2^{f-i+2} .. k_i^f, here from 0."""
    rows = []
    for i in range(1, f + 1):
        repeated = [(1, s) for s in range(1, f - i + 2)]
        rest = [(t, f - i + t) for t in range(2, i + 1)]
        rows.append([(t - 1, s - 1) for t, s in repeated + rest])
    return rows


def sliding_keys(f: int, length: int) -> list[list[tuple[int, int]]]:
    """The clip with frame 1 repeated before it, seen through a window that ends at frame i."""
    padded = [0] * (length - 1) + list(range(f))
    return [[(padded[i + s], s) for s in range(length)] for i in range(f)]


def sliding_keys_from_end(f: int, length: int) -> list[list[tuple[int, int]]]:
    """The clip with the last frame repeated after it, seen through a window from frame i on."""
    padded = list(range(f)) + [f - 1] * (length - 1)
    return [[(padded[i + s], s) for s in range(length)] for i in range(f)]


def uncorrected_keys(f: int) -> list[list[tuple[int, int]]]:
    """Eq. 5 written out: k_1^1 f-i+1 times, then k_2^2 .. k_i^i, here from 0."""
    return [[(0, 0)] * (f - i + 1) + [(t, t) for t in range(1, i)] for i in range(1, f + 1)]


def test_src_index_of_six_frames() -> None:
    """Row 3 is the one that Fig. 3(b) of the paper draws."""
    assert (src_index(6) + 1).tolist() == [
        [1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 2],
        [1, 1, 1, 1, 2, 3],
        [1, 1, 1, 2, 3, 4],
        [1, 1, 2, 3, 4, 5],
        [1, 2, 3, 4, 5, 6],
    ]


@pytest.mark.parametrize("f", [1, 2, 5, 16])
def test_src_index_is_equation_6(f: int) -> None:
    expected = [[token for token, _ in row] for row in corrected_keys(f)]
    assert src_index(f).tolist() == expected
    assert all([slot for _, slot in row] == list(range(f)) for row in corrected_keys(f))


@pytest.mark.parametrize("bias", [False, True])
def test_decomposed_pool_is_the_pool_of_all_pairs(bias: bool) -> None:
    z, p, layer = random(2, F, C), random(F, C, seed=1), Layer(bias=bias)
    pool = decomposed_pool(z, p, layer.to_k)
    for i in range(F):
        for j in range(F):
            pair = layer.to_k(z[:, i] + p[j])
            assert torch.allclose(pool.token[:, i] + pool.position[j], pair, atol=1e-14)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("f", [1, 2, F])
def test_corrected_window_attention_is_equation_8(f: int, bias: bool) -> None:
    z, p, layer = random(3, f, C), random(f + 2, C, seed=1), Layer(bias=bias)
    ours = attend(AnimateZeroSettings(), layer, z, p)
    theirs = literal(layer, z, p, query_row=[f - 1] * f, keys=corrected_keys(f))
    assert (ours - theirs).abs().max() < 1e-13


@pytest.mark.parametrize(("f", "length"), [(F, 4), (9, 4), (7, 1), (F, F)])
def test_a_long_clip_is_seen_through_a_window_that_slides(f: int, length: int) -> None:
    z, p, layer = random(3, f, C), random(length, C, seed=1), Layer()
    ours = attend(AnimateZeroSettings(window_length=length), layer, z, p)
    theirs = literal(layer, z, p, query_row=[length - 1] * f, keys=sliding_keys(f, length))
    assert (ours - theirs).abs().max() < 1e-13
    if length == f:
        assert sliding_keys(f, f) == corrected_keys(f)


@pytest.mark.parametrize(("f", "length"), [(2, 2), (F, F), (9, 4)])
def test_two_ends_are_blended(f: int, length: int) -> None:
    z, p, layer = random(3, f, C), random(length, C, seed=1), Layer()
    settings = AnimateZeroSettings(window_length=length)
    ours = attend(settings, layer, z, p, two_ends=True)
    from_start = literal(layer, z, p, query_row=[length - 1] * f, keys=sliding_keys(f, length))
    from_end = literal(layer, z, p, query_row=[0] * f, keys=sliding_keys_from_end(f, length))
    for i in range(f):
        share = i / (f - 1)
        expected = (1 - share) * from_start[:, i] + share * from_end[:, i]
        assert (ours[:, i] - expected).abs().max() < 1e-13


@pytest.mark.parametrize(("f", "length"), [(F, F), (9, 4)])
def test_two_ends_backwards_are_the_clip_backwards(f: int, length: int) -> None:
    z, p, layer = random(3, f, C), random(length, C, seed=1), Layer()
    settings = AnimateZeroSettings(window_length=length)
    forwards = attend(settings, layer, z, p, two_ends=True)
    backwards = attend(settings, layer, z.flip(1), p.flip(0), two_ends=True)
    assert (backwards.flip(1) - forwards).abs().max() < 1e-13


@pytest.mark.parametrize("window", ["corrected", "uncorrected"])
def test_lively_frames_are_farther_apart(window: str) -> None:
    """At strength 2 every third row of the table is used."""
    z, p, layer = random(3, F, C), random(3 * F, C, seed=1), Layer()
    settings = AnimateZeroSettings(window=window, motion_strength=2.0, window_length=3 * F)
    assert settings.speed == 3
    ours = attend(settings, layer, z, p)
    own = replace(settings, motion_strength=1.0)
    assert (ours - attend(own, layer, z, p[::3])).abs().max() < 1e-6
    assert (ours - attend(own, layer, z, p)).abs().max() > 0.01


def test_query_position_own() -> None:
    z, p, layer = random(3, F, C), random(F, C, seed=1), Layer()
    ours = attend(AnimateZeroSettings(query_position="own"), layer, z, p)
    theirs = literal(layer, z, p, query_row=list(range(F)), keys=corrected_keys(F))
    assert (ours - theirs).abs().max() < 1e-13
    assert (ours - attend(AnimateZeroSettings(), layer, z, p)).abs().max() > 0.01


@pytest.mark.parametrize("f", [1, 2, F])
def test_window_attention_is_equations_4_and_5(f: int) -> None:
    z, p, layer = random(3, f, C), random(f, C, seed=1), Layer()
    ours = attend(AnimateZeroSettings(window="uncorrected"), layer, z, p)
    theirs = literal(layer, z, p, query_row=list(range(f)), keys=uncorrected_keys(f))
    assert (ours - theirs).abs().max() < 1e-13


def test_equation_9_as_printed_is_something_else() -> None:
    """It gives frames 2..i all the position p_f; see docs/decisions/0002."""
    z, p, layer = random(3, F, C), random(F, C, seed=1), Layer()
    printed = [
        [(0, s) for s in range(F - i + 1)] + [(t, F - 1) for t in range(1, i)]
        for i in range(1, F + 1)
    ]
    theirs = literal(layer, z, p, query_row=[F - 1] * F, keys=printed)
    assert (attend(AnimateZeroSettings(), layer, z, p) - theirs).abs().max() > 0.1


@pytest.mark.parametrize("function", ["corrected", "uncorrected"])
def test_last_row_is_global_attention(function: str) -> None:
    z, p, layer = random(3, F, C), random(F, C, seed=1), Layer()
    projected = ProjectedAttention(layer)
    q, k, v = (projected.split(project(z, p, w)) for w in (layer.to_q, layer.to_k, layer.to_v))
    everything = projected.output(global_attention(q, k, v))
    ours = attend(AnimateZeroSettings(window=function), layer, z, p)
    assert (ours[:, -1] - everything[:, -1]).abs().max() < 1e-13
    assert (ours[:, :-1] - everything[:, :-1]).abs().max() > 0.01


@pytest.mark.parametrize("window", ["corrected", "uncorrected"])
def test_frames_depend_on_earlier_frames_only(window: str) -> None:
    p, layer, settings = random(F, C, seed=1), Layer(), AnimateZeroSettings(window=window)
    z = random(3, F, C)
    before = attend(settings, layer, z, p)
    for i in range(1, F):
        changed = z.clone()
        changed[:, i] = random(3, C, seed=9)
        after = attend(settings, layer, changed, p)
        assert torch.equal(after[:, :i], before[:, :i])
        assert not torch.allclose(after[:, i], before[:, i])


def test_frame_1_attends_to_itself_alone() -> None:
    """All slots hold frame 1, so only positions can move its output."""
    z, layer = random(3, F, C), Layer()
    out = attend(AnimateZeroSettings(), layer, z, torch.zeros(F, C, dtype=torch.float64))
    assert torch.allclose(out[:, 0], layer.to_out[0](layer.to_v(z[:, 0])), atol=1e-13)


def test_any_token_map_will_do() -> None:
    """The formulas take the map as data: another layout of slots needs no other code."""
    src = torch.tensor([[2, 0, 2], [1, 1, 1], [0, 1, 2]])
    q, k, v = random(2, 3, 4), random(2, 3, 4, seed=1), random(2, 3, 4, seed=2)
    kp, vp = random(3, 4, seed=3), random(3, 4, seed=4)
    ours = corrected_window_attention(q, Pool(k, kp), Pool(v, vp), src)
    plain = window_attention(q, k, v, src)
    for i in range(3):
        keys, values = k[:, src[i]], v[:, src[i]]
        row = global_attention(q[:, i : i + 1], keys, values)
        assert torch.allclose(plain[:, i : i + 1], row, atol=1e-13)
        row = global_attention(q[:, i : i + 1], keys + kp, values + vp)
        assert torch.allclose(ours[:, i : i + 1], row, atol=1e-13)


def test_half_precision_stays_half_and_close() -> None:
    z, p, layer = random(3, F, C), random(F, C, seed=1), Layer()
    exact = attend(AnimateZeroSettings(), layer, z, p)
    for linear in (layer.to_q, layer.to_k, layer.to_v, *layer.to_out):
        linear.to(torch.bfloat16)
    ours = attend(AnimateZeroSettings(), layer, z.bfloat16(), p.bfloat16())
    assert ours.dtype == torch.bfloat16
    assert (ours - exact).abs().max() < 0.03 * exact.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("heads", [1, 4, 8])
@pytest.mark.parametrize("f", [6, 16, 24])
def test_golden(f: int, heads: int, dtype: torch.dtype, golden: Path) -> None:
    numbers = load_file(golden / "animatezero" / "window_attention.safetensors")
    case, weights = f"f{f}_h{heads}", f"h{heads}"
    layer = Layer(32, heads)
    for name, linear in (("q", layer.to_q), ("k", layer.to_k), ("v", layer.to_v)):
        linear.weight.data = numbers[f"{weights}.W_{name}"].to(dtype)
    layer.to_out[0].weight.data = numbers[f"{weights}.W_out"].to(dtype)
    layer.to_out[0].bias.data = numbers[f"{weights}.b_out"].to(dtype)
    z, p = numbers[f"{case}.z"].to(dtype), numbers[f"{case}.p"].to(dtype)
    assert torch.equal(src_index(f) + 1, numbers[f"src_index_f{f}"])
    tolerance = 5e-6 if dtype == torch.float32 else 1e-6
    for window in ("corrected", "uncorrected"):
        ours = attend(AnimateZeroSettings(window=window), layer, z, p)
        assert (ours - numbers[f"{case}.out_{window}"]).abs().max() < tolerance
    projected = ProjectedAttention(layer)
    q, k, v = (projected.split(project(z, p, w)) for w in (layer.to_q, layer.to_k, layer.to_v))
    ours = projected.output(global_attention(q, k, v))
    assert (ours - numbers[f"{case}.out_global"]).abs().max() < tolerance


def test_sites_are_both_attentions_of_the_chosen_blocks() -> None:
    unet = tiny_unet()
    down = WindowAttention(AnimateZeroSettings(), 4).sites(unet)
    assert len(down) == 4
    assert all(name.startswith("down_blocks.") for name in down)
    assert {name.rpartition(".")[2] for name in down} == {"attn1", "attn2"}
    everywhere = AnimateZeroSettings(window_blocks=("down", "mid", "up"))
    assert len(WindowAttention(everywhere, 4).sites(unet)) == 4 + 2 + 8
    off = AnimateZeroSettings(window="off")
    assert WindowAttention(off, 4).sites(unet) == ()


def test_sites_are_all_attentions_of_a_clip_longer_than_a_window() -> None:
    """Or of one whose positions are not the usual ones, each of them once."""
    unet = tiny_unet()
    for settings in (
        AnimateZeroSettings(window_length=3),
        AnimateZeroSettings(window_length=3, window="off"),
        AnimateZeroSettings(window_blocks=("down", "mid", "up"), window_length=3),
        AnimateZeroSettings(motion_strength=1.5),
    ):
        sites = WindowAttention(settings, 4).sites(unet)
        assert len(sites) == len(set(sites)) == 4 + 2 + 8
    assert len(WindowAttention(AnimateZeroSettings(motion_strength=0.5), 4).sites(unet)) == 4


def test_lora_on_the_projections_is_followed() -> None:
    """Through PEFT's wrappers, unmerged, the attention equals that of the merged weights."""
    from peft import LoraConfig, inject_adapter_in_model

    x = random(5, 4, 8)
    unet = tiny_unet().double()
    inject_adapter_in_model(LoraConfig(r=2, target_modules=["to_q", "to_k", "to_v"]), unet)
    for index, (name, parameter) in enumerate(unet.named_parameters()):
        if "lora" in name:
            parameter.data = random(*parameter.shape, seed=index)
    name, *_ = WindowAttention(AnimateZeroSettings(), 4).sites(unet)
    with torch.no_grad(), adapted(unet, [WindowAttention(AnimateZeroSettings(), 4)]):
        attention = unet.get_submodule(name)
        unmerged = attention(x)
        for module in attention.modules():
            if hasattr(module, "merge"):
                module.merge()
        assert (attention(x) - unmerged).abs().max() < 1e-11
        for module in attention.modules():
            if hasattr(module, "unmerge"):
                module.unmerge()
                module.scaling["default"] = 0.0
        assert (attention(x) - unmerged).abs().max() > 0.1
