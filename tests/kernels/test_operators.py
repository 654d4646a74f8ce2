"""What torch is told of the operators, and which tensors are given to them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from tests.kernels.examples import clip_views, draw, random_map
from torch import Tensor

from stillmotion.kernels import choice
from stillmotion.kernels.choice import are_fused, fused_on_meta, is_fused
from stillmotion.kernels.norms import (
    add_layer_norm,
    add_layer_norm_operator,
    group_norm_silu,
    group_norm_silu_operator,
)
from stillmotion.kernels.pointwise import geglu, geglu_operator
from stillmotion.kernels.temporal import temporal_attention, temporal_attention_operator

F32 = torch.float32
CLIP = clip_views(2, 6, 5, 2, 8, F32, skip=1)
TABLE = draw(2, 4, 8, dtype=F32)
ROWS = draw(3, 2, 6, 8, dtype=F32)
MAP = random_map(6, 6, 4, views=3).int()
C = draw(6, dtype=F32)
PICTURES = draw(2, 6, 10, dtype=F32)
LAST = draw(2, 10, 6, dtype=F32).transpose(1, 2)
SOME_ROWS = draw(2, 7, 6, dtype=F32)[:, 2:]

CALLS: dict[str, tuple[object, tuple[object, ...]]] = {
    "map": (temporal_attention_operator, (*CLIP, MAP, TABLE, TABLE, ROWS, draw(3, 6, dtype=F32))),
    "bare map": (temporal_attention_operator, (*CLIP, MAP[:1], None, None, None, None)),
    "no map": (temporal_attention_operator, (*CLIP, None, None, None, None, None)),
    "geglu": (geglu_operator, (draw(5, 8, dtype=F32),)),
    "strided geglu": (geglu_operator, (draw(8, 5, dtype=F32).t(),)),
    "norm": (group_norm_silu_operator, (PICTURES, 3, C, C, 1e-5, C[None], True)),
    "norm, last": (group_norm_silu_operator, (LAST, 3, C, C, 1e-5, LAST[..., 0], False)),
    "norm, some": (group_norm_silu_operator, (PICTURES[..., ::2], 3, C, C, 1e-5, None, True)),
    "sum": (add_layer_norm_operator, (SOME_ROWS, SOME_ROWS.clone(), C, C, 1e-5)),
    "strided sum": (add_layer_norm_operator, (SOME_ROWS, LAST[..., :5].mT, C, C, 1e-5)),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_an_operator_keeps_what_it_promises_to_torch(name: str) -> None:
    operator, arguments = CALLS[name]
    # Not the rules of gradients, which the operators do not have.
    tests = ("test_schema", "test_faketensor")
    torch.library.opcheck(operator, arguments, test_utils=tests)


@pytest.mark.parametrize("name", CALLS)
def test_without_contents_the_result_has_the_same_strides(name: str) -> None:
    operator, arguments = CALLS[name]

    def there(x: object) -> object:
        if not isinstance(x, Tensor):
            return x
        return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="meta")

    real, fake = operator(*arguments), operator(*map(there, arguments))
    pairs = zip(real, fake, strict=True) if isinstance(real, tuple) else [(real, fake)]
    for one, other in pairs:
        assert (one.shape, one.stride(), one.dtype) == (other.shape, other.stride(), other.dtype)


FUNCTIONS: dict[str, Callable[[Tensor], object]] = {
    "temporal_attention": lambda x: temporal_attention(x, x, x),
    "geglu": geglu,
    "group_norm_silu": lambda x: group_norm_silu(x, 2, x[0, :, 0, 0], x[0, :, 0, 0]),
    "add_layer_norm": lambda x: add_layer_norm(x, x, x[0, 0, 0], x[0, 0, 0]),
}


class Seen(torch.utils._python_dispatch.TorchDispatchMode):
    """The operators of this package that were called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if func.namespace == "stillmotion":
            self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_chooses(name: str) -> None:
    compute = FUNCTIONS[name]

    def called(device: str, dtype: torch.dtype = F32, *, needs_grad: bool = False) -> list[str]:
        with Seen() as seen:
            compute(torch.ones(2, 4, 4, 4, device=device, dtype=dtype, requires_grad=needs_grad))
        return seen.names

    assert called("cpu") == called("meta") == []
    with fused_on_meta():
        assert called("meta") == called("meta", torch.bfloat16) == [name]
        assert called("cpu") == called("meta", torch.float64) == []
        assert called("meta", needs_grad=True) == []
        with torch.no_grad():
            assert called("meta", needs_grad=True) == [name]
    assert called("meta") == []


def test_what_is_too_large_for_the_kernel_is_computed_plainly() -> None:
    def called(frames: int, d: int) -> list[str]:
        x = torch.empty(1, 2, frames, d, device="meta")
        with fused_on_meta(), Seen() as seen:
            temporal_attention(x, x, x)
        return seen.names

    assert called(16, 256) == called(128, 64) == ["temporal_attention"]
    assert called(129, 8) == called(8, 257) == called(128, 256) == []


def test_tensors_that_do_not_belong_together_are_not_fused() -> None:
    x = torch.empty(2, device="meta")
    trained = torch.empty(2, device="meta", requires_grad=True)
    with fused_on_meta():
        assert is_fused(x)
        assert are_fused(x, x, tables=(None, x.half()))
        assert not are_fused(x, x.half())
        assert not are_fused(x, tables=(torch.empty(2),))
        assert not are_fused(x, tables=(trained,))


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., bool]]:
    """Whether a device is supported on a machine that has all but for what is `changed`."""

    def look(**changed: object) -> bool:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (9, 0))
        monkeypatch.setattr(choice.importlib.util, "find_spec", lambda name: object())
        monkeypatch.setattr(choice.metadata, "version", lambda name: "3.6.0+git9c28ee")
        monkeypatch.setattr(choice, "_can_build", lambda: True)
        for name, value in changed.items():
            where = {"version": choice.metadata, "find_spec": choice.importlib.util}
            where["get_device_capability"] = torch.cuda
            monkeypatch.setattr(where.get(name, choice), name, value)
        choice._looked_up.cache_clear()
        return choice._looked_up(0)

    yield look
    monkeypatch.undo()
    choice._looked_up.cache_clear()


def test_devices_that_triton_does_not_support_get_the_plain_form(
    looked_up: Callable[..., bool],
) -> None:
    for capability, supported in (((7, 5), False), ((8, 0), True), ((9, 0), True)):
        assert looked_up(get_device_capability=lambda index, c=capability: c) is supported


def test_without_what_triton_needs_the_plain_form_is_used(looked_up: Callable[..., bool]) -> None:
    assert looked_up()
    assert not looked_up(find_spec=lambda name: None)
    assert not looked_up(_can_build=lambda: False)
    # That of torch 2.6 has no tl.gather; releases count by numbers, not by letters.
    for version, supported in (("3.2.0", False), ("3.5.1", False), ("3.10.0", True), ("4", True)):
        assert looked_up(version=lambda name, said=version: said) is supported


def test_triton_is_known_by_any_of_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name != "pytorch-triton-rocm":
            raise choice.metadata.PackageNotFoundError(name)
        return "3.7.1"

    assert choice._triton_version() >= choice._OLDEST_TRITON, "the one that tests run with"
    monkeypatch.setattr(choice.metadata, "version", version)
    assert choice._triton_version() == (3, 7)
    monkeypatch.setattr(choice, "_TRITONS", ("triton",))
    assert choice._triton_version() == ()


def test_building_needs_a_compiler_and_the_headers_of_python(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(choice.shutil, "which", lambda name: "/usr/bin/clang" * (name == "clang"))
    monkeypatch.setattr(choice.sysconfig, "get_path", lambda name, scheme: str(tmp_path))
    assert not choice._can_build()
    (tmp_path / "Python.h").touch()
    assert choice._can_build()
    monkeypatch.setattr(choice.shutil, "which", lambda name: None)
    assert not choice._can_build()
    monkeypatch.setenv("CC", "cc")
    assert choice._can_build()


def test_compiled_code_holds_the_choice_and_the_operators(looked_up: Callable[..., bool]) -> None:
    assert looked_up()
    seen: list[str] = []

    def backend(graph: torch.fx.GraphModule, example: list[Tensor]) -> Callable[..., object]:
        seen.extend(str(node.target) for node in graph.graph.nodes if node.op == "call_function")
        return graph.forward

    @torch.compile(fullgraph=True, backend=backend)
    def compute(x: Tensor) -> Tensor:
        plain = geglu(x)  # on the host
        return plain + geglu_operator(x) if choice._is_supported(0) else plain

    with torch.no_grad():
        x = draw(3, 8, dtype=F32)
        torch.testing.assert_close(compute(x), 2 * geglu(x))
    assert any("stillmotion.geglu" in name for name in seen)


def test_nothing_imports_triton_before_a_kernel_is_used() -> None:
    program = """
import sys
from stillmotion.kernels import choice, maps, norms, pointwise, temporal
import torch
x = torch.ones(1, 2, 4, 4)
temporal.temporal_attention(x, x, x)
norms.group_norm_silu(x, 1, x[0, :, 0, 0], x[0, :, 0, 0])
norms.add_layer_norm(x, x, x[0, 0, 0], x[0, 0, 0])
pointwise.geglu(x)
print([name for name in ("triton", "torch._dynamo") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
