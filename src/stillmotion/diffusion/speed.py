"""Approximate presets: the network is used less, or only in part, at a price in quality.

Two shortcuts, both without training:

* A guidance interval (Kynkäänniemi et al., arXiv:2404.07724): outside it the prediction is the
  conditional one, so that the network runs under one condition instead of two or three.
* Reuse of deep features (DeepCache, Ma et al., arXiv:2312.00858): what the deep layers of the
  U-Net say changes slowly from step to step, so they run in every n-th call only, and in between
  the shallow layers run alone on top of what was said last (`adapters/feature_reuse.py`).

What a preset costs in quality is measured in docs/performance/speed.md.  Here is only the plan of
a run; it knows no network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, Literal, Self

from stillmotion.diffusion.settings import require_whole
from stillmotion.errors import InputError

SpeedName = Literal["exact", "fast", "turbo"]


@dataclass(frozen=True, kw_only=True)
class SpeedSettings:
    """Which shortcuts are taken; the defaults take none.  Raises InputError for nonsense."""

    guidance_interval: tuple[float, float] = (0.0, 1.0)
    """Shares of the steps, from the noisy end: guidance acts from the first, before the second."""
    reuse_every: int = 1
    """Deep features are computed in every so many-th use of the network; 1 is always."""
    kept_skips: int = 1
    """Where the network is cut: so many of its skip connections, counted from the input's own,
    are computed in every use, and the layers of the decoder that they lead to."""

    def __post_init__(self) -> None:
        start, stop = self.guidance_interval
        if not (math.isfinite(start) and math.isfinite(stop) and 0 <= start <= stop <= 1):
            raise InputError(
                f"guidance_interval is {self.guidance_interval}; give two shares of the steps with "
                "0 <= start <= stop <= 1."
            )
        require_whole("reuse_every", self.reuse_every)
        require_whole("kept_skips", self.kept_skips)

    @property
    def is_exact(self) -> bool:
        """Whether no shortcut is taken."""
        return self.guidance_interval == (0.0, 1.0) and not self.reuses

    @property
    def reuses(self) -> bool:
        """Whether deep features are used again."""
        return self.reuse_every > 1

    @property
    def name(self) -> str:
        """That of the preset with these values, else "own"."""
        return next((name for name, preset in SPEEDS.items() if preset == self), "own")

    def record(self) -> dict[str, Any] | None:
        """What a record says: the name for people, and the values, which count; None if exact."""
        if self.is_exact:
            return None
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {"name": self.name, **values, "guidance_interval": list(self.guidance_interval)}

    @classmethod
    def from_record(cls, said: Mapping[str, Any] | None) -> Self:
        """From what `record` gave.  Raises InputError for anything else."""
        if said is None:
            return cls()
        try:
            start, stop = said["guidance_interval"]
            own = {one.name: said[one.name] for one in fields(cls)}
            return cls(**own | {"guidance_interval": (float(start), float(stop))})
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"The recorded speed {said!r} is damaged ({error!r}).") from error


EXACT = SpeedSettings()
SPEEDS: Mapping[SpeedName, SpeedSettings] = MappingProxyType(
    {
        "exact": EXACT,
        "fast": SpeedSettings(guidance_interval=(0.0, 0.9), reuse_every=2, kept_skips=2),
        "turbo": SpeedSettings(guidance_interval=(0.0, 0.8), reuse_every=4, kept_skips=2),
    }
)
"""By name; the numbers were chosen by what they cost, see docs/decisions/0008."""


def speed_of(value: SpeedSettings | str) -> SpeedSettings:
    """Settings as they are, or those of a name.  Raises InputError for an unknown name."""
    if isinstance(value, SpeedSettings):
        return value
    for name, settings in SPEEDS.items():
        if name == value:
            return settings
    raise InputError(f"speed is {value!r}; it can be {', '.join(map(repr, SPEEDS))}.")


@dataclass(frozen=True)
class Call:
    """One use of the network in a run."""

    guided: bool = True
    """Whether it runs under all conditions of guidance, or under the full one alone."""
    reuses: bool = False
    """Whether it takes its deep features from an earlier call."""


EXACT_CALL = Call()


def guides(interval: tuple[float, float], index: int, num_steps: int) -> bool:
    """Whether guidance acts in step `index`, from 0, of `num_steps`: start <= i / s < stop.

    The paper bounds the noise level instead: w(σ) = w for σ_lo < σ <= σ_hi, else 1 (Eq. 5).  With
    shares of the steps one interval fits schedules of any length and kind.
    """
    return interval[0] <= index / num_steps < interval[1]


def call_plan(
    speed: SpeedSettings, denoisings: Sequence[int], *, guided: bool = True
) -> list[Call]:
    """What each use of the network in a run does, in order.

    `denoisings` says how often each step is denoised (more than once in time travel), `guided`
    whether there is guidance at all.  The first call is computed in full, and so is each whose
    conditions were not all there when features were last computed: those of one condition never
    stand in for those of another.
    """
    calls: list[Call] = []
    age, known_guided = speed.reuse_every, False
    for index, times in enumerate(denoisings):
        needs = guided and guides(speed.guidance_interval, index, len(denoisings))
        for _ in range(times):
            reuses = age < speed.reuse_every and (known_guided or not needs)
            if not reuses:
                age, known_guided = 0, needs
            age += 1
            calls.append(Call(needs, reuses))
    return calls
