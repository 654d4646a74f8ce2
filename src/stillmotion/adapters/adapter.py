"""Contract of an adapter: a change of a network that is undone without a trace.

An adapter touches neither weights nor the module tree, so the state dict of a changed network is
that of the plain one.  `adapted` installs adapters for the length of a `with` block and puts
everything back when it ends, also when it ends by an exception or an adapter fails half-way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor, nn

from stillmotion.errors import InputError

Value = TypeVar("Value")


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


class Shadows:
    """What adapters gave to a network, kept to be given again: the very same objects.

    What is compiled holds for the objects that it was compiled with.  The same adapters, put on
    the same network in the same order, make the like of them again, which are thrown away then.
    """

    def __init__(self) -> None:
        self._given: list[tuple[object, str, object]] = []
        self._next = 0

    @contextmanager
    def given_again(self) -> Iterator[None]:
        """For the length of the block, `shadow` gives what it gave in the last such block."""
        self._next = 0
        token = _shadows.set(self)
        try:
            yield
        finally:
            _shadows.reset(token)

    def instead_of(self, target: object, name: str, value: Value) -> Value:
        """The known value at this place, or `value` if there is none or something else went on."""
        if self._next < len(self._given):
            known_target, known_name, known = self._given[self._next]
            if known_target is target and known_name == name and type(known) is type(value):
                self._next += 1
                return known
            del self._given[self._next :]
        self._given.append((target, name, value))
        self._next += 1
        return value


_shadows: ContextVar[Shadows | None] = ContextVar("shadows to be given again", default=None)


def shadow(target: object, name: str, value: Value, undo: ExitStack) -> Value:
    """Give `target` its own attribute `name` = `value`, and take it away again on `undo`.

    The attribute is put into the instance dictionary directly: it then hides a method of the class
    or a registered submodule of that name without disturbing either.  Returns what was given,
    which within `Shadows.given_again` is an earlier value.
    """
    kept, own = _shadows.get(), vars(target)
    if kept is not None:
        value = kept.instead_of(target, name, value)
    if name in own:
        undo.callback(own.__setitem__, name, own[name])
    else:
        undo.callback(own.pop, name)
    own[name] = value
    return value
