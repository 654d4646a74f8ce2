"""Plans, what is free, and the count of live bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from stillmotion.errors import InputError
from stillmotion.runtime import memory
from stillmotion.runtime.memory import (
    PRESETS,
    MemoryPlan,
    free_bytes,
    is_out_of_memory,
    peak_bytes,
    plan_for,
    release_cached,
)
from stillmotion.runtime.system import host_memory

CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda"), torch.device("mps")
ON_CUDA = {name: plan.on(CUDA) for name, plan in PRESETS.items()}
NEED = dict(zip(ON_CUDA.values(), (1000, 500, 300, 100), strict=True))


def test_the_default_plan_changes_nothing() -> None:
    assert PRESETS["full"] == MemoryPlan()
    assert list(PRESETS) == ["full", "lean", "small", "tiny"]
    assert [name for name, plan in PRESETS.items() if not plan.is_exact] == ["tiny"]


@pytest.mark.parametrize("name", ["decode_chunk", "feed_forward_chunks"])
def test_numbers_below_one_are_told(name: str) -> None:
    with pytest.raises(InputError, match=f"{name} is 0; give a whole number from 1 up"):
        replace(MemoryPlan(), **{name: 0})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("free", "expected"),
    [(None, "full"), (1200, "full"), (1199, "lean"), (600, "lean"), (359, "tiny"), (1, "tiny")],
)
def test_auto_takes_the_first_that_fits_with_room(free: int | None, expected: str) -> None:
    plan = plan_for("auto", device=CUDA, free_bytes=free, estimate=NEED.__getitem__)
    assert plan == ON_CUDA[expected]


def test_a_named_preset_is_taken_without_a_count() -> None:
    def never(plan: MemoryPlan) -> int:
        raise AssertionError("counted")

    for name, plan in ON_CUDA.items():
        assert plan_for(name, device=CUDA, free_bytes=0, estimate=never) == plan
    with pytest.raises(InputError, match="memory is 'huge'; it can be auto, full, lean, small"):
        plan_for("huge", device=CUDA, free_bytes=0, estimate=never)


def test_a_device_without_memory_of_its_own_is_not_offloaded() -> None:
    for device in (CPU, MPS):
        assert {plan.on(device).offload for plan in PRESETS.values()} == {"none"}
    assert PRESETS["tiny"].on(CPU).weights == "float8"
    assert PRESETS["tiny"].on(MPS).is_exact
    assert PRESETS["tiny"].on(CUDA) == PRESETS["tiny"]
    named = plan_for("small", device=CPU, free_bytes=0, estimate=lambda plan: 0)
    assert named == replace(PRESETS["small"], offload="none")


def test_few_frames_are_decoded_at_once_on_cuda() -> None:
    assert ON_CUDA["full"] == replace(PRESETS["full"], decode_chunk=4)
    assert {name: plan for name, plan in ON_CUDA.items() if name != "full"} == {
        name: plan for name, plan in PRESETS.items() if name != "full"
    }
    assert PRESETS["full"].on(CPU).decode_chunk == 8


def test_what_is_free_on_a_cpu() -> None:
    total, _ = host_memory()
    free = free_bytes(CPU)
    if total is None:
        assert free is None
    else:
        assert free is not None
        assert 0 < free <= total


def test_what_is_free_on_a_gpu_counts_what_torch_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 4000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 300)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 200)
    assert free_bytes(CUDA) == 1100


def test_what_is_free_is_not_known_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "host_memory", lambda: (None, None))
    assert free_bytes(CPU) is None
    assert free_bytes(torch.device("meta")) is None


def test_a_cpu_has_no_cache_to_release() -> None:
    release_cached(CPU)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("sizes do not match"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_lack_of_memory_is_known(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_the_allocator_of_this_machine_is_understood() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60)
    assert is_out_of_memory(caught.value)


def ones(*size: int, device: str) -> Tensor:
    return torch.ones(*size, device=device)


@pytest.mark.parametrize("device", ["cpu", "meta"])
class TestPeakBytes:
    def test_of_a_network_computed_by_hand(self, device: str) -> None:
        network = nn.Sequential(
            nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 2, bias=False)
        ).to(device)
        # Most is alive in the ReLU: the input (3 4), and (3 8) twice.
        assert peak_bytes(lambda: network(ones(3, 4, device=device))) == 4 * 3 * (4 + 8 + 8)

    def test_counts_views_once_and_what_is_gone_no_more(self, device: str) -> None:
        def compute() -> Tensor:
            x = ones(10, device=device)
            del x
            y = ones(6, device=device)
            views = [y[i:] for i in range(6)]
            views[0].add_(1)
            return y.view(2, 3).t() + 1

        assert peak_bytes(compute) == 4 * (6 + 6)

    def test_keeps_what_views_still_hold(self, device: str) -> None:
        def compute() -> list[Tensor]:
            last = ones(100, device=device)[-1:]
            return [last, ones(7, device=device)]

        assert peak_bytes(compute) == 4 * 107

    def test_leaves_out_what_was_there_before(self, device: str) -> None:
        before = ones(1000, device=device)
        assert peak_bytes(lambda: before[:3].t() * 2) == 4 * 3

    def test_takes_attention_as_one_kernel(self, device: str) -> None:
        q = ones(1, 2, 512, 8, device=device)
        count = peak_bytes(lambda: functional.scaled_dot_product_attention(q, q, q))
        assert q.numel() * 4 <= count < 512 * 512 * 4


def allocated(compute: Callable[[], object]) -> int:
    """The peak that torch's own profiler saw the allocator reach."""
    with (
        torch.no_grad(),
        torch.profiler.profile(profile_memory=True, activities=_CPU_ONLY) as profile,
    ):
        compute()
    assert profile.profiler is not None
    assert profile.profiler.kineto_results is not None
    events = profile.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    live = peak = 0
    for _, change in changes:
        live += change
        peak = max(peak, live)
    return peak


_CPU_ONLY = [torch.profiler.ProfilerActivity.CPU]


def test_the_count_is_what_the_allocator_does() -> None:
    layers = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.SiLU(), nn.Conv2d(16, 3, 1)
    )

    def compute() -> Tensor:
        x = torch.zeros(2, 3, 64, 64)
        return layers(x) + x

    compute()
    assert peak_bytes(compute) == pytest.approx(allocated(compute), rel=0.02)
