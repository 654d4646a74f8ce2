"""The layers that see the same in both halves of guidance, computed once."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from stillmotion.adapters.adapter import Adapter, shadow
from stillmotion.adapters.lean_layers import (
    Forward,
    LeanForward,
    has_no_listeners,
    is_bare_or_lean,
)
from stillmotion.adapters.lean_transformer import (
    is_ordinary_block,
    is_ordinary_transformer,
    lean_transformer,
)

_CONV, _RESNET, _TRANSFORMER = "conv_in", "down_blocks.0.resnets.0", "down_blocks.0.attentions.0"


class SharedTrunk(Adapter):
    """Computes what lies before the first cross-attention once for all halves of guidance.

    Until a text is read, the halves are copies of the same rows at the same time: the convolution
    at the input, the first ResNet block and the first spatial transformer as far as its attention
    to text.  Whoever calls the network must give it batches of whole copies of `num_rows` rows
    (one copy, with guidance off or one half after the other, is left alone).  Put it on last; a
    network that begins otherwise stays as it is.
    """

    def __init__(self, num_rows: int) -> None:
        self._num_rows = num_rows

    def sites(self, model: nn.Module) -> tuple[str, ...]:
        parts: dict[str, Any] = dict(model.named_modules())
        sites = (_CONV, _RESNET, _TRANSFORMER)
        if any(name not in parts for name in sites):
            return ()
        transformer = parts[_TRANSFORMER]
        is_known = is_ordinary_transformer(transformer) and is_ordinary_block(
            transformer.transformer_blocks[0]
        )
        others = [parts[_CONV], parts[_RESNET]]
        is_free = all(is_bare_or_lean(part) and has_no_listeners(part) for part in others)
        return sites if is_known and is_free else ()

    def inject(self, model: nn.Module, undo: ExitStack) -> None:
        leans = self.forwards()
        for name in self.sites(model):
            module: Any = model.get_submodule(name)
            shadow(module, "forward", LeanForward(leans[name], module, module.forward), undo)

    def forwards(self) -> dict[str, Forward]:
        """What each site computes, told the module and its own forward before the arguments."""
        return {_CONV: self._conv, _RESNET: self._resnet, _TRANSFORMER: self._transformer}

    def _copies(self, rows: int) -> int:
        return 1 if torch.is_grad_enabled() else max(1, rows // self._num_rows)

    def _conv(self, _: Any, forward: Forward, x: Tensor) -> Tensor:
        copies = self._copies(len(x))
        made: Tensor = forward(x[: self._num_rows] if copies > 1 else x)
        # Its result is a skip connection too, which all halves need.
        return torch.cat([made] * copies) if copies > 1 else made

    def _resnet(self, _: Any, forward: Forward, input_tensor: Tensor, temb: Tensor) -> Tensor:
        if self._copies(len(input_tensor)) > 1:
            input_tensor, temb = input_tensor[: self._num_rows], temb[: self._num_rows]
        made: Tensor = forward(input_tensor, temb)
        return made

    def _transformer(
        self, module: Any, forward: Forward, hidden_states: Tensor, **options: Any
    ) -> Any:
        context = options.get("encoder_hidden_states")
        rows = context[0] if isinstance(context, tuple) else context
        copies = 1 if rows is None else len(rows) // len(hidden_states)
        if copies == 1:
            return forward(hidden_states, **options)
        passed = options.get("cross_attention_kwargs") or {}
        made = lean_transformer(module, hidden_states, context, passed, copies=copies)
        assert not options.get("return_dict", True)
        return (made,)
