"""Captions: varied wording for a scene, with or without its motion."""

from __future__ import annotations

import random

from stillmotion.world.scene import Scene
from stillmotion.world.vocabulary import COLOURS

_SUBJECTS: dict[str, tuple[str, ...]] = {
    "candle": ("candle", "burning candle", "candle with a flame"),
    "waves": ("waves", "ocean waves", "sea waves"),
    "flag": ("flag", "flag on a pole", "striped flag"),
    "windmill": ("windmill", "old windmill", "tall windmill"),
    "cat": ("cat", "cat head", "cute cat"),
    "fish": ("fish", "big fish", "striped fish"),
    "bird": ("bird", "small bird", "little bird"),
    "balloon": ("balloon", "party balloon", "round balloon"),
    "ball": ("ball", "rubber ball", "toy ball"),
    "car": ("car", "toy car", "little car"),
    "boat": ("boat", "sailing boat", "sailboat"),
    "star": ("star", "five pointed star", "big star"),
}

_BACKGROUNDS: dict[str, tuple[str, ...]] = {
    "hills": ("over green hills", "in front of green hills", "with rolling hills"),
    "desert": ("in the desert", "over desert dunes", "in a sandy desert"),
    "night": ("at night", "under a starry night sky", "in the starry night"),
    "snow": ("in the snow", "in front of snowy mountains", "on a snowy field"),
    "sunset": ("at sunset", "under a sunset sky", "in the evening sunset"),
    "city": ("in the city", "in front of a city skyline", "over a grey city"),
    "forest": ("in a forest", "in front of a forest", "among forest trees"),
    "room": ("in a room", "inside a pink room", "in a room with a window"),
}

_MOTIONS: dict[str, tuple[str, ...]] = {
    "rise": ("rising", "floating up", "going up"),
    "fall": ("falling", "sinking down", "going down"),
    "left": ("moving left", "going to the left", "gliding left"),
    "right": ("moving right", "going to the right", "gliding right"),
    "bounce": ("bouncing", "bouncing up and down", "jumping"),
    "spin": ("spinning", "rotating", "spinning around"),
    "grow": ("growing", "getting bigger", "coming closer"),
    "shrink": ("shrinking", "getting smaller", "going far away"),
    "sway": ("swaying", "swaying from side to side", "rocking"),
    "flicker": ("flickering", "with a flickering flame", "burning and flickering"),
    "roll": ("rolling", "hitting the beach", "rolling in"),
    "flutter": ("fluttering", "waving in the wind", "fluttering in the wind"),
    "turn": ("turning", "with turning sails", "turning in the wind"),
    "look": ("looking to one side", "turning its head", "looking away"),
    "swim": ("swimming", "wagging its tail", "swimming in place"),
    "flap": ("flapping", "flapping its wings", "beating its wings"),
}

_STILL = ("standing still", "not moving", "at rest")

_DOMAINS: dict[str, tuple[str, ...]] = {
    "plain": ("a picture of", "an image of", "a drawing of"),
    "pixel-art": ("pixel art,", "pixel art of", "8 bit game art,"),
    "neon": ("neon,", "neon lights,", "glowing neon sign of"),
    "sketch": ("sketch,", "pencil sketch of", "coloured pencil drawing,"),
    "watercolour": ("watercolour,", "watercolour painting of", "soft watercolour,"),
}


def caption(
    scene: Scene, rng: random.Random, *, motion: bool, domain: float = 0.0, canonical: bool = False
) -> str:
    """Describe a scene.

    Args:
        scene: what to describe.
        rng: chooses the wording.
        motion: whether the motion is named; a scene that rests is then said to rest.
        domain: probability that the look is named.
        canonical: use the first wording of everything, as the documentation does.
    """

    def pick(words: tuple[str, ...]) -> str:
        return words[0] if canonical else rng.choice(words)

    noun = f"{scene.colour} {pick(_SUBJECTS[scene.subject])}"
    article = "" if scene.subject == "waves" else rng.choice(("a ", "a ", "the ", "one "))
    if canonical and article:
        article = "a "
    words = [f"{article}{noun}", pick(_BACKGROUNDS[scene.background])]
    if motion:
        doing = pick(_STILL if scene.pacing == "still" else _MOTIONS[scene.motion])
        words.insert(1 if canonical or rng.random() < 0.6 else 2, doing)
    text = " ".join(words)
    if rng.random() < domain:
        text = f"{pick(_DOMAINS[scene.domain])} {text}"
    return text


def vocabulary() -> list[str]:
    """Every word that a caption can contain, sorted."""
    tables = (_SUBJECTS, _BACKGROUNDS, _MOTIONS, _DOMAINS)
    phrases = [phrase for table in tables for words in table.values() for phrase in words]
    phrases += [*_STILL, *COLOURS, "a", "the", "one"]
    return sorted({word.strip(",") for phrase in phrases for word in phrase.split()})
