"""Cross-attention to text whose keys and values are projected once for a clip."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import Tensor, nn

from stillmotion.adapters.adapter import Adapter, shadow
from stillmotion.adapters.diffusers_sites import (
    ProjectedAttention,
    is_motion_parameter,
    is_plain_attention,
)
from stillmotion.kernels.attention import attention

MAX_KEPT_ROWS = 48
"""Texts of more rows at once, of long clips along which the text changes, are not kept: they would
take more memory than is saved in time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TextRows:
    """The text that each row of a U-Net's batch reads."""

    embeds: Tensor
    """((g r) n d): r rows in each of g halves of guidance."""
    num_rows: int
    """r"""
    one_text: bool
    """Whether all rows of a half read the same."""

    def holds(self, rows: Tensor) -> bool:
        """Whether `rows` are one or several halves of `embeds`, as seen by where they lie."""
        same = rows.untyped_storage()._cdata == self.embeds.untyped_storage()._cdata
        return same and rows.stride() == self.embeds.stride() and rows.shape[0] % self.num_rows == 0

    def distinct(self, rows: Tensor) -> Tensor:
        """The texts of `rows`, of which each is for as many neighbouring rows: (m n d)."""
        return rows[:: self.num_rows] if self.one_text and self.holds(rows) else rows


class TextProjections(Adapter):
    """Projects text once for each text and clip, and lets frames with one text share it.

    Rows of a batch that read the same text lie side by side in one attention.  Sites are the plain
    cross-attentions to text that nobody changed: those with an IP-Adapter stay as they are.
    Projections are kept from the first call to the end of the `adapted` block, for texts that are
    known to be `text`'s; any others are projected at every call, and so are all through LoRAs that
    are not merged, whose weight may change.
    """

    def __init__(self, text: TextRows) -> None:
        self._text = text

    def sites(self, model: nn.Module) -> tuple[str, ...]:
        return tuple(name for name, module in model.named_modules() if _is_plain_text(name, module))

    def inject(self, model: nn.Module, undo: ExitStack) -> None:
        for name in self.sites(model):
            processor = TextProcessor(self._text)
            undo.callback(processor.forget)
            shadow(model.get_submodule(name), "processor", processor, undo)


class TextProcessor:
    """The processor of one cross-attention."""

    def __init__(self, text: TextRows) -> None:
        self._text = text
        self._kept: dict[tuple[int, int, torch.dtype], tuple[Tensor, Tensor]] = {}

    def forget(self) -> None:
        """Keep nothing any longer."""
        self._kept.clear()

    def __call__(
        self,
        attn: nn.Module,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Tokens ((c r) l d), texts ((g r) n e) -> ((g r) l d).

        With fewer rows than texts (c < g), the g halves are the same until here.
        """
        assert encoder_hidden_states is not None
        assert attention_mask is None
        layer, texts = ProjectedAttention(attn), encoder_hidden_states
        k, v = self._keys_values(layer, texts)  # m heads n d
        q = layer.to_q(hidden_states)
        num_tokens = q.shape[1]
        per_text = len(texts) // len(k)
        q = layer.split(q.reshape(-1, per_text * num_tokens, q.shape[2]))
        if len(q) < len(k):
            q = (
                q.expand(len(k), *q.shape[1:])
                if len(q) == 1
                else q.repeat(len(k) // len(q), 1, 1, 1)
            )
        out = layer.output(attention(q, k, v))
        return out.reshape(len(texts), num_tokens, -1)

    def _keys_values(self, layer: ProjectedAttention, texts: Tensor) -> tuple[Tensor, Tensor]:
        def project(to: Callable[[Tensor], Tensor]) -> Tensor:
            return layer.split(to(self._text.distinct(texts)))

        is_kept = layer.is_fixed and self._text.holds(texts) and not torch.is_grad_enabled()
        if not is_kept:
            return project(layer.to_k), project(layer.to_v)
        key = (int(texts.storage_offset()), len(texts), texts.dtype)
        if key not in self._kept:
            made = project(layer.to_k), project(layer.to_v)
            if len(made[0]) > MAX_KEPT_ROWS:
                return made
            self._kept[key] = made
        return self._kept[key]


def _is_plain_text(name: str, module: Any) -> bool:
    return (
        name.endswith(".attn2")
        and not is_motion_parameter(name)
        and module.is_cross_attention
        and type(module.processor) is AttnProcessor2_0
        and is_plain_attention(module)
    )
