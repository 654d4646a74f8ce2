"""One scene: its labels and every continuous parameter, all from one seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from stillmotion.errors import InputError
from stillmotion.world.vocabulary import BACKGROUNDS, COLOURS, DOMAINS, SUBJECT_MOTIONS, SUBJECTS

Pacing = Literal["steady", "rest", "ease", "accelerate", "still"]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Everything that determines a clip, independent of resolution and length.

    Positions and sizes are in units of half the frame: x grows to the right and y downwards,
    both from -1 to 1; `size` is the half extent of the subject.
    """

    subject: str
    colour: str
    background: str
    motion: str
    domain: str = "plain"
    x: float = 0.0
    y: float = 0.0
    size: float = 0.55
    #: Where a cyclic motion begins, in cycles.
    phase: float = 0.0
    #: +1 or -1: to which side a cat looks, which way a star spins, how a boat first leans.
    side: int = 1
    pacing: Pacing = "steady"
    #: Part of the clip, 0 to 1, that a subject rests before it moves (pacing "rest").
    rest: float = 0.0
    #: Horizontal shift of the background's shapes.
    background_shift: float = 0.0

    def __post_init__(self) -> None:
        if self.motion not in SUBJECT_MOTIONS[self.subject]:
            allowed = ", ".join(SUBJECT_MOTIONS[self.subject])
            raise InputError(f"a {self.subject} cannot {self.motion}; it can: {allowed}")


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """Attributes that sampling must keep; `None` leaves one to chance."""

    subject: str | None = None
    colour: str | None = None
    background: str | None = None
    motion: str | None = None
    domain: str | None = None
    pacing: Pacing | None = None


_PACINGS: tuple[tuple[Pacing, float], ...] = (
    ("steady", 0.55), ("rest", 0.22), ("ease", 0.08), ("accelerate", 0.07), ("still", 0.08),
)  # fmt: skip

#: The corridor that a travelling subject needs: (dx, dy) of the whole motion.
TRAVEL: dict[str, tuple[float, float]] = {
    "rise": (0.0, -0.75),
    "fall": (0.0, 0.75),
    "left": (-0.8, 0.0),
    "right": (0.8, 0.0),
}


def sample_scene(rng: random.Random, fixed: Fixed | None = None) -> Scene:
    """Draw a scene; subjects are uniform, then each subject's motions are uniform."""
    fixed = fixed or Fixed()
    candidates = [s for s in SUBJECTS if fixed.motion in (None, *SUBJECT_MOTIONS[s])]
    subject = fixed.subject or rng.choice(candidates)
    motion = fixed.motion or rng.choice(SUBJECT_MOTIONS[subject])
    pacing = rng.choices([p for p, _ in _PACINGS], [w for _, w in _PACINGS])[0]
    size = rng.uniform(0.50, 0.66)
    x, y = _start(rng, subject, motion)
    return Scene(
        subject=subject,
        motion=motion,
        colour=fixed.colour or rng.choice(list(COLOURS)),
        background=fixed.background or rng.choice(BACKGROUNDS),
        domain=fixed.domain or rng.choice(DOMAINS),
        x=x,
        y=y,
        size=0.75 * size if motion == "grow" else size,
        phase=rng.random(),
        side=rng.choice((-1, 1)),
        pacing=fixed.pacing or pacing,
        rest=rng.uniform(0.15, 0.55),
        background_shift=rng.uniform(-0.4, 0.4),
    )


def _start(rng: random.Random, subject: str, motion: str) -> tuple[float, float]:
    """A first position from which the whole motion stays in view."""
    dx, dy = TRAVEL.get(motion, (0.0, 0.0))
    x = -0.5 * dx + rng.uniform(-0.15, 0.15)
    y = -0.5 * dy + rng.uniform(-0.1, 0.1)
    if motion == "bounce":
        y += 0.3
    if subject == "waves":
        x, y = 0.0, 0.3 + rng.uniform(-0.1, 0.1)
    elif subject in ("candle", "windmill", "flag"):
        y += 0.12
    return x, y
