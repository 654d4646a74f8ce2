"""Reuse of a U-Net's deep features (DeepCache, arXiv:2312.00858), for networks of diffusers.

A U-Net is cut across one of its skip connections.  In a full call, what the deep part hands to the
shallow part of the decoder is kept; in a reusing call, the shallow layers run alone on the kept
tensor.  Pinned by tests/adapters/test_feature_reuse.py; the facts, the same for UNetMotionModel
and UNet3DConditionModel:

* `forward` reads `down_blocks`, `mid_block` and `up_blocks` when it runs, and a block its
  `resnets`, `attentions`, `motion_modules`, `temp_convs`, `temp_attentions`, `downsamplers`; all
  these may be shadowed by shorter lists, and `mid_block` and `downsamplers` by None.
* The skip connections are conv_in's output and then, of each encoder block, one of every layer and
  one of its downsampler; the decoder's layers take them from the last to the first, as many per
  block as it has `resnets`.  They are zipped with a ControlNet's residuals, so that fewer skip
  connections take the first of these.
* An up block is called with `hidden_states` by name.  The last thing that a layer of it does is
  its motion module, temporal attention or, without attentions, temporal convolution, whose result
  is the tensor or a tuple that begins with it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stillmotion.adapters.adapter import Adapter, shadow
from stillmotion.errors import InputError

_LAYERS = ("resnets", "temp_convs", "attentions", "temp_attentions", "motion_modules")
_LAST = ("motion_modules", "temp_attentions", "temp_convs")
_DOWN_RESIDUALS = "down_block_additional_residuals"
_MID_RESIDUAL = "mid_block_additional_residual"


@dataclass(frozen=True)
class Cut:
    """Where a U-Net is cut so that its first `kept_skips` skip connections are shallow."""

    down_blocks: int
    """Encoder blocks that are shallow, the last perhaps in part."""
    down_layers: int
    """Layers of the last of them that are."""
    downsampler: bool
    """Whether its downsampler is."""
    up_block: int
    """The first decoder block that is shallow, perhaps in part."""
    up_layer: int
    """The first layer of it that is."""

    @classmethod
    def of(cls, unet: Any, kept_skips: int) -> Cut:
        """Raises InputError unless at least one layer of the network is deep."""
        total = sum(len(block.resnets) for block in unet.up_blocks)
        if not 1 <= kept_skips < total:
            raise InputError(
                f"kept_skips is {kept_skips}; this network has {total} skip connections, so give 1 "
                f"to {total - 1}."
            )
        down_blocks, down_layers, downsampler = 0, 0, False
        left = kept_skips - 1
        while left > 0:
            block = unet.down_blocks[down_blocks]
            down_layers = min(left, len(block.resnets))
            left -= down_layers
            downsampler = left > 0 and block.downsamplers is not None
            left -= downsampler
            down_blocks += 1
        up_block, layers = len(unet.up_blocks), 0
        while layers < kept_skips:
            up_block -= 1
            layers += len(unet.up_blocks[up_block].resnets)
        return cls(down_blocks, down_layers, downsampler, up_block, layers - kept_skips)

    def last_deep_layer(self, unet: Any) -> tuple[str, Any] | None:
        """Name and module of what computes the kept tensor; None if a whole block does."""
        if not self.up_layer:
            return None
        block = unet.up_blocks[self.up_block]
        name = next(name for name in _LAST if hasattr(block, name))
        number = self.up_layer - 1
        return f"up_blocks.{self.up_block}.{name}.{number}", getattr(block, name)[number]

    def shorten(self, unet: Any, deep: Tensor, undo: ExitStack) -> None:
        """Leave the shallow layers of `unet`, and hand them `deep` in place of the deep ones'."""
        down, up = list(unet.down_blocks)[: self.down_blocks], list(unet.up_blocks)[self.up_block :]
        if down:
            _keep(down[-1], slice(self.down_layers), undo)
            if not self.downsampler:
                shadow(down[-1], "downsamplers", None, undo)
        _keep(up[0], slice(self.up_layer, None), undo)
        plain = up[0].forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            return plain(*args, **(kwargs | {"hidden_states": deep}))

        shadow(up[0], "forward", forward, undo)
        shadow(unet, "down_blocks", down, undo)
        shadow(unet, "mid_block", None, undo)
        shadow(unet, "up_blocks", up, undo)


def _keep(block: Any, layers: slice, undo: ExitStack) -> None:
    for name in _LAYERS:
        if hasattr(block, name):
            shadow(block, name, list(getattr(block, name))[layers], undo)


class FeatureReuse(Adapter):
    """Keeps the deep features of calls and lets later calls use them again.

    Each call is announced with `call`.  Features are kept under keys, one for each part of the
    batch, such as a branch of guidance: only those of the same key are ever used again.  What is
    kept goes when the adapter does.  Put it behind adapters that change layers of the U-Net.
    """

    def __init__(self, kept_skips: int = 1, *, copies: bool = False) -> None:
        """`copies`: keep copies, where the next call overwrites what layers gave."""
        self._kept_skips, self._copies = kept_skips, copies
        self._features: dict[Hashable, Tensor] = {}
        self._residuals: dict[Hashable, list[Tensor]] = {}
        self._keys: tuple[Hashable, ...] = ()
        self._reuses = False

    def sites(self, model: nn.Module) -> tuple[str, ...]:
        cut = Cut.of(model, self._kept_skips)
        layer = cut.last_deep_layer(model)
        return ("", f"up_blocks.{cut.up_block}" if layer is None else layer[0])

    def inject(self, model: nn.Module, undo: ExitStack) -> None:
        unet: Any = model
        cut = Cut.of(unet, self._kept_skips)
        layer = cut.last_deep_layer(unet)
        if layer is None:
            block = unet.up_blocks[cut.up_block]
            shadow(block, "forward", self._keeping_input(block.forward), undo)
        else:
            shadow(layer[1], "forward", self._keeping_output(layer[1].forward), undo)
        shadow(unet, "forward", self._shortened(unet, cut, unet.forward), undo)
        undo.callback(self._features.clear)
        undo.callback(self._residuals.clear)

    @contextmanager
    def call(self, keys: Sequence[Hashable], *, reuses: bool) -> Iterator[None]:
        """The call in the block has a part of the batch for each of `keys`, all of one size.

        With `reuses` its deep features are those that were kept under these keys, else they are
        computed and kept.  Raises KeyError if something was never kept.
        """
        self._keys, self._reuses = tuple(keys), reuses
        try:
            yield
        finally:
            self._keys, self._reuses = (), False

    def residuals(self, make: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """What a ControlNet adds to the announced call: of `make` if it is a full one.

        A reusing call gets what the last full one got, as far as shallow layers have a use for it;
        the rest is in the deep features already.
        """
        if not self._reuses:
            made = dict(make())
            kept = [part.chunk(len(self._keys)) for part in made.get(_DOWN_RESIDUALS, ())]
            for number, key in enumerate(self._keys):
                self._residuals[key] = [part[number] for part in kept[: self._kept_skips]]
            return made
        known = zip(*(self._residuals[key] for key in self._keys), strict=True)
        down = tuple(torch.cat(parts) for parts in known)
        return {_DOWN_RESIDUALS: down} if down else {}

    def _keep(self, features: Tensor) -> None:
        if self._keys and not self._reuses:
            kept = features.clone() if self._copies else features
            parts = kept.chunk(len(self._keys))
            self._features |= dict(zip(self._keys, parts, strict=True))

    def _keeping_input(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        def block(*args: Any, **kwargs: Any) -> Any:
            self._keep(kwargs["hidden_states"])
            return forward(*args, **kwargs)

        return block

    def _keeping_output(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        def layer(*args: Any, **kwargs: Any) -> Any:
            result = forward(*args, **kwargs)
            self._keep(result[0] if isinstance(result, tuple) else result)
            return result

        return layer

    def _shortened(self, unet: Any, cut: Cut, plain: Callable[..., Any]) -> Callable[..., Any]:
        def forward(*args: Any, **kwargs: Any) -> Any:
            if not self._reuses:
                return plain(*args, **kwargs)
            parts = [self._features[key] for key in self._keys]
            with ExitStack() as undo:
                cut.shorten(unet, parts[0] if len(parts) == 1 else torch.cat(parts), undo)
                kwargs.pop(_MID_RESIDUAL, None)
                return plain(*args, **kwargs)

        return forward
