"""The repeated blocks of a U-Net compiled, each kind once: regional compilation.

A whole U-Net takes minutes to compile; its blocks repeat, so that a handful of graphs serves all
of them.  What other adapters have made of a block is compiled with it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any
from weakref import WeakKeyDictionary

import torch
from diffusers.models.resnet import ResnetBlock2D, TemporalConvLayer
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from torch import nn

from stillmotion.adapters.adapter import Adapter, Shadows, shadow
from stillmotion.adapters.lean_layers import is_bare
from stillmotion.errors import ModelError
from stillmotion.runtime.compiling import Compiling

_BLOCKS = (
    ResnetBlock2D,
    Transformer2DModel,
    AnimateDiffTransformer3D,
    TemporalConvLayer,
    TransformerTemporalModel,
)
# Blocks of one kind share their code, and torch counts graphs by code: all widths and sizes of a
# U-Net, more than the eight that it expects.
_MOST_GRAPHS = 256
_HOOKS = ("_hf_hook", "_diffusers_hook")
"""Attributes by which accelerate and diffusers hold what they do before and after a layer."""
_MOST_FORMS = 4
"""Forms of one network that stay compiled: stills and clips of a size or two."""
_kept: WeakKeyDictionary[nn.Module, dict[Hashable, Shadows]] = WeakKeyDictionary()


class CompiledBlocks(Adapter):
    """Compiles ResNet blocks, transformers and motion modules as `adapters` have made them.

    The first call of the network compiles, which takes long; the others only run what it made.
    What was compiled stays for the next time that the same network is adapted in the same `form`:
    a value that tells everything that `adapters` and their settings do.  Without a form, or on a
    network that somebody else changed, the next time begins anew.

    Args:
        compiling: how.
        adapters: what changes the network before; they are put on with this one.
        form: equal values for adapters that do the same.
    """

    def __init__(
        self, compiling: Compiling, adapters: Sequence[Adapter] = (), form: Hashable | None = None
    ) -> None:
        self._compiling, self._adapters = compiling, adapters
        self._form = None if form is None else (compiling, form)

    def sites(self, model: nn.Module) -> tuple[str, ...]:
        return tuple(name for name, part in model.named_modules() if isinstance(part, _BLOCKS))

    def inject(self, model: nn.Module, undo: ExitStack) -> None:
        import torch._dynamo.config as limits  # heavy: only where something is compiled

        self._check(model)
        undo.enter_context(_explained())
        undo.enter_context(
            limits.patch(recompile_limit=_MOST_GRAPHS, accumulated_recompile_limit=8 * _MOST_GRAPHS)
        )
        with self._as_before(model):
            for adapter in self._adapters:
                adapter.inject(model, undo)
            options = self._compiling.options()
            for name in self.sites(model):
                block = model.get_submodule(name)
                shadow(block, "forward", torch.compile(block.forward, **options), undo)
        if self._compiling.uses_graphs and next(model.parameters()).is_cuda:
            shadow(model, "forward", _each_call_anew(model.forward), undo)

    def _check(self, model: nn.Module) -> None:
        parts = [part for name in self.sites(model) for part in model.get_submodule(name).modules()]
        if any(hook in vars(part) for part in parts for hook in _HOOKS):
            raise ModelError(
                "a network whose layers are offloaded one by one, or stored in 8 bits, cannot be "
                "compiled; leave out --compile, or use --memory full or lean"
            )

    def _as_before(self, model: nn.Module) -> AbstractContextManager[None]:
        """Where the adapters give the network the same objects as the last time."""
        if self._form is None or not all(is_bare(part) for part in model.modules()):
            return nullcontext()
        forms = _kept.setdefault(model, {})
        shadows = forms.pop(self._form, None) or Shadows()
        while len(forms) >= _MOST_FORMS:
            del forms[next(iter(forms))]
        forms[self._form] = shadows
        return shadows.given_again()


def _each_call_anew(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A network whose blocks are CUDA graphs: their results hold until its next call.

    Without this mark they would hold until the next block, and skip connections be overwritten.
    """

    def marked(*args: Any, **kwargs: Any) -> Any:
        torch.compiler.cudagraph_mark_step_begin()
        return forward(*args, **kwargs)

    return marked


@contextmanager
def _explained() -> Iterator[None]:
    """Raises ModelError in place of what the compiler raises."""
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

    try:
        yield
    except (TorchDynamoException, FailOnRecompileLimitHit) as error:
        first, *_ = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(
            f"the network could not be compiled ({first}); leave out --compile (in Python: "
            "compiling), or choose another way of compiling"
        ) from error
