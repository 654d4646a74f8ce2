"""What a method is that a benchmark compares; `registry.py` lists those that there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from stillmotion.evaluation.benchmark.folder import Case
from stillmotion.media.still import Still

Frames = NDArray[np.uint8]
Protocols = Literal["animatezero", "dynamicrafter"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One clip to be made."""

    case: Case
    still: Still
    """The picture (h w 3); one that was drawn for the benchmark has its latents."""
    num_frames: int


class Maker(Protocol):
    """A loaded method."""

    def make(self, job: Job) -> Frames:
        """A clip, uint8 (f h w 3), RGB, of any size and of `num_frames` or the method's own."""
        ...


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a method is built with."""

    models: Mapping[str, str]
    """References for `resolve_model` by protocol: "animatezero" and "dynamicrafter"."""
    weights: str | None
    """What the user named for it, `--weights NAME=PATH`: a folder of a local pipeline, say."""
    device: str
    """For `choose_device`."""


@dataclass(frozen=True, kw_only=True)
class MethodSpec:
    """How a method is called, and what builds it."""

    name: str
    """Letters, digits, ".", "_" and "-"."""
    title: str
    build: Callable[[Context], Maker]
    """Called in a worker process before the first clip; must be a function of a module."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What a reader should know of how it is called; JSON values."""
    protocols: tuple[Protocols, ...] = ("animatezero", "dynamicrafter")
    """In which benchmarks it can take part."""
    default: tuple[Protocols, ...] = ()
    """In which it takes part without being asked for."""
    model: Protocols | None = None
    """Whose model it uses; None: none of ours."""
    is_bound: bool = False
    """Whether it only shows what a metric can reach."""
    needs_weights: str = ""
    """What has to be given as `--weights NAME=PATH`; empty: nothing."""
