"""Contract of an adapter: a change of a network that is undone without a trace.

An adapter touches neither weights nor the module tree, so the state dict of a changed network is
that of the plain one.  `adapted` installs adapters for the length of a `with` block and puts
everything back when it ends, also when it ends by an exception or an adapter fails half-way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from stillmotion.errors import InputError


@dataclass(frozen=True, kw_only=True)
class FrameContext:
    """How the frames of a video lie in the batch axis of the spatial layers.

    Each sample and guidance half contributes `num_rows` neighbouring rows: first the reference
    rows, which take no part in motion, then the frames in order.
    """

    num_frames: int
    num_reference_rows: int = 0

    @property
    def num_rows(self) -> int:
        return self.num_reference_rows + self.num_frames

    def unfold(self, x: Tensor) -> Tensor:
        """((b rows) ...) -> (b rows ...).  Raises InputError if the batch does not divide."""
        if x.shape[0] % self.num_rows:
            raise InputError(
                f"A batch of {x.shape[0]} rows does not divide into videos of {self.num_rows} "
                "rows; call the U-Net with the number of frames that it was adapted for."
            )
        return x.reshape(-1, self.num_rows, *x.shape[1:])


class Adapter(ABC):
    """One change of a network."""

    @abstractmethod
    def sites(self, model: nn.Module) -> tuple[str, ...]:
        """Names of the submodules that `inject` changes."""

    @abstractmethod
    def inject(self, model: nn.Module, undo: ExitStack) -> None:
        """Change `model`, and register on `undo` what puts each change back."""


@contextmanager
def adapted(model: nn.Module, adapters: Sequence[Adapter]) -> Iterator[None]:
    """Apply `adapters` in order for the length of the block; then `model` is as it was before."""
    with ExitStack() as undo:
        for adapter in adapters:
            adapter.inject(model, undo)
        yield


def shadow(target: object, name: str, value: object, undo: ExitStack) -> None:
    """Give `target` its own attribute `name` = `value`, and take it away again on `undo`.

    The attribute is put into the instance dictionary directly: it then hides a method of the class
    or a registered submodule of that name without disturbing either.
    """
    own = vars(target)
    if name in own:
        undo.callback(own.__setitem__, name, own[name])
    else:
        undo.callback(own.pop, name)
    own[name] = value
