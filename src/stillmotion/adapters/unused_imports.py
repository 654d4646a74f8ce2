"""What diffusers and transformers import and drawing and animating never use.

Importing both takes as long as drawing a still of the miniature, and most of it is for other
purposes: the compiler of torch, for three decorators; every transformer and every autoencoder that
diffusers knows, for one each; training on several machines.  `defer_unused_imports` lets these wait
until they are asked for, see `runtime/deferral.py`.  Nothing that is computed changes, and a
version of a library that uses more of them is merely slower to start.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

from stillmotion.runtime.deferral import Deferred, Entry, Touched, defer, execute

_COMPILER = "torch._dynamo"
_SYMBOLS = "torch.fx.experimental.symbolic_shapes"
_INDEXING = "torch._dynamo._trace_wrapped_higher_order_op"

_QUESTIONS = (
    "expect_true", "guard_or_false", "guard_or_true", "guard_size_oblivious",
    "statically_known_true",
)  # fmt: skip
_INITIALISERS = ("normal_", "trunc_normal_", "uniform_", "kaiming_uniform_", "xavier_uniform_")


def defer_unused_imports() -> None:
    """Call this once, at the start of a process that draws and animates, before torch is imported.

    For the whole process, so for programs to decide and not for a library: the command line calls
    it, and so may yours.  With torch imported already it does nothing, since most would be too
    late.
    """
    if "torch" not in sys.modules:
        defer(_entries())


def _entries() -> list[Entry]:
    return [
        Deferred(name=_COMPILER, stand_ins=_compiler_stand_ins, after=_catch_up),
        Deferred(name=_INDEXING, stand_ins=_indexing_stand_ins),
        Deferred(name=_SYMBOLS, stand_ins=_symbols_stand_ins),
        # Their __init__ imports all of their modules; diffusers finds each by its own name.
        Deferred(name="diffusers.models.transformers", submodules_wait_for_it=False),
        Deferred(name="diffusers.models.autoencoders", submodules_wait_for_it=False),
        Deferred(name="diffusers.models.controlnets", submodules_wait_for_it=False),
        Deferred(name="diffusers.models.unets", submodules_wait_for_it=False),
        Touched(name="torch.nn.init", after=_nothing_to_initialise),
        Touched(name="transformers.utils.import_utils", after=_no_distribution),
    ]


def _nothing_to_initialise(init: ModuleType) -> None:
    """Let the initialisers pass over weights on the meta device, which have no values.

    Networks are built there before their weights are read.  Otherwise torch would describe each
    draw symbolically, and import a computer algebra system for it.
    """
    for name in _INITIALISERS:
        setattr(init, name, _unless_meta(getattr(init, name)))


def _unless_meta(initialise: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(initialise)
    def unless_meta(tensor: Any, *args: Any, **options: Any) -> Any:
        return tensor if tensor.is_meta else initialise(tensor, *args, **options)

    return unless_meta


@dataclass
class _Marks:
    """What was asked of the compiler before it was there."""

    in_graph: list[Any] = field(default_factory=list)
    disabled: list[Callable[[ModuleType], None]] = field(default_factory=list)

    def allow_in_graph(self, fn: Any) -> Any:
        self.in_graph.append(fn)
        return fn

    def disable(self, fn: Any = None, *args: Any, **options: Any) -> Any:
        """A function that nothing compiles; while there is no compiler that is the function."""
        if fn is None:
            return lambda fn: self.disable(fn, *args, **options)
        if not isinstance(fn, FunctionType):  # modules and classes: only the compiler knows how
            execute(_COMPILER)
            return sys.modules[_COMPILER].disable(fn, *args, **options)
        now: Callable[..., Any] = fn

        @functools.wraps(fn)
        def disabled(*values: Any, **named: Any) -> Any:
            return now(*values, **named)

        def by(compiler: ModuleType) -> None:
            nonlocal now
            now = compiler.disable(fn, *args, **options)

        self.disabled.append(by)
        return disabled


def _assume_constant_result(fn: Any) -> Any:
    fn._dynamo_marked_constant = True
    return fn


class _NeverMade:
    """Stands for the class of compiled modules: there is none before there is a compiler."""


def _compiler_stand_ins() -> dict[str, Any]:
    marks = _Marks()
    return {
        "allow_in_graph": marks.allow_in_graph,
        "assume_constant_result": _assume_constant_result,
        "disable": marks.disable,
        "eval_frame": SimpleNamespace(OptimizedModule=_NeverMade),
    }


def _catch_up(compiler: ModuleType, stand_ins: Mapping[str, Any]) -> None:
    """Tell the compiler what it would have been told had it been there."""
    marks: _Marks = stand_ins["disable"].__self__
    for fn in marks.in_graph:
        compiler.allow_in_graph(fn)
    for by in marks.disabled:
        by(compiler)


def _indexing_stand_ins() -> dict[str, Any]:
    def TransformGetItemToIndex() -> Any:
        execute(_INDEXING)
        return sys.modules[_INDEXING].TransformGetItemToIndex()

    return {"TransformGetItemToIndex": TransformGetItemToIndex}


def _symbols_stand_ins() -> dict[str, Any]:
    """Asked on the meta device whether something is so, which mostly needs no algebra."""

    def sym_eq(x: Any, y: Any) -> Any:
        if _are_numbers(x) and _are_numbers(y):
            return list(x) == list(y)
        execute(_SYMBOLS)
        return sys.modules[_SYMBOLS].sym_eq(x, y)

    def is_nested_int(size: Any) -> Any:
        if type(size) is int:
            return False
        execute(_SYMBOLS)
        return sys.modules[_SYMBOLS].is_nested_int(size)

    own = {"sym_eq": sym_eq, "is_nested_int": is_nested_int}
    return own | {name: _known_or_asked(name) for name in _QUESTIONS}


def _are_numbers(shape: Any) -> bool:
    return isinstance(shape, list | tuple) and all(type(size) is int for size in shape)


def _known_or_asked(name: str) -> Callable[..., Any]:
    def ask(condition: Any, *args: Any, **options: Any) -> Any:
        if isinstance(condition, bool):
            return condition
        execute(_SYMBOLS)
        return getattr(sys.modules[_SYMBOLS], name)(condition, *args, **options)

    return ask


def _no_distribution(import_utils: ModuleType) -> None:
    """Let transformers find that torch cannot work on several machines, which it asks once.

    It then leaves out what it would import for that, as it does on systems where this is so.
    """
    import torch

    distributed = torch.distributed
    is_available = distributed.is_available
    distributed.is_available = lambda: False
    try:
        import_utils.is_torch_distributed_available()
    finally:
        distributed.is_available = is_available
