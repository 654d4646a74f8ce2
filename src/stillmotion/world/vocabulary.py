"""What exists in the world, and which subject can move how."""

from __future__ import annotations

#: Motions that each subject can do; the first is the one it does in place, if it has one.
SUBJECT_MOTIONS: dict[str, tuple[str, ...]] = {
    "candle": ("flicker",),
    "waves": ("roll",),
    "flag": ("flutter",),
    "windmill": ("turn",),
    "cat": ("look", "sway"),
    "fish": ("swim", "left"),
    "bird": ("flap", "rise", "left"),
    "balloon": ("rise", "fall", "sway", "grow"),
    "ball": ("bounce", "spin", "left", "right", "grow", "shrink"),
    "car": ("left", "right"),
    "boat": ("sway", "left", "right"),
    "star": ("spin", "grow", "shrink", "fall"),
}

SUBJECTS: tuple[str, ...] = tuple(SUBJECT_MOTIONS)

#: Motions that only deform the subject: nothing travels.
IN_PLACE_MOTIONS: tuple[str, ...] = (
    "flicker", "roll", "flutter", "turn", "look", "swim", "flap",
)  # fmt: skip

MOTIONS: tuple[str, ...] = (
    "rise", "fall", "left", "right", "bounce", "spin", "grow", "shrink", "sway",
    *IN_PLACE_MOTIONS,
)  # fmt: skip

#: Colour name -> sRGB in [0, 1].
COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.88, 0.13, 0.13),
    "orange": (0.98, 0.55, 0.08),
    "yellow": (0.98, 0.88, 0.15),
    "green": (0.12, 0.70, 0.22),
    "teal": (0.05, 0.72, 0.72),
    "blue": (0.13, 0.30, 0.90),
    "purple": (0.52, 0.16, 0.78),
    "pink": (0.99, 0.48, 0.72),
    "brown": (0.48, 0.28, 0.12),
    "white": (0.96, 0.96, 0.96),
}

BACKGROUNDS: tuple[str, ...] = (
    "hills", "desert", "night", "snow", "sunset", "city", "forest", "room",
)  # fmt: skip

#: Looks.  "plain" is the only one that the base model and the motion module are trained on.
DOMAINS: tuple[str, ...] = ("plain", "pixel-art", "neon", "sketch", "watercolour")
