"""Who sees what in which order: the page's own random numbers, here as well.

`page/stream.js` is the same in JavaScript, and a test compares them: numbers are Marsaglia's
xorshift128 (J. Stat. Softw. 8(14), 2003) from four FNV-1a hashes of a text (Fowler, Noll, Vo).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_WORD = 1 << 32
_FNV_BASIS, _FNV_PRIME = 0x811C9DC5, 0x01000193
_WARM_UP = 64
"""Numbers thrown away: FNV hashes of texts that end alike are alike."""


def fnv1a(text: str) -> int:
    """The 32-bit FNV-1a hash of the UTF-8 bytes of `text`."""
    value = _FNV_BASIS
    for byte in text.encode():
        value = (value ^ byte) * _FNV_PRIME % _WORD
    return value


class Stream:
    """Random numbers that follow from a text."""

    def __init__(self, text: str) -> None:
        self._words = [fnv1a(f"{index}:{text}") for index in range(4)]
        for _ in range(_WARM_UP):
            self.next()

    def next(self) -> int:
        """A number in 0 .. 2**32 - 1."""
        x, y, z, w = self._words
        t = (x ^ (x << 11)) % _WORD
        self._words = [y, z, w, w ^ (w >> 19) ^ t ^ (t >> 8)]
        return self._words[3]

    def below(self, bound: int) -> int:
        """A number in 0 .. bound - 1, each as likely as the others."""
        limit = _WORD - _WORD % bound
        while (number := self.next()) >= limit:
            pass
        return number % bound

    def shuffled(self, items: Sequence[str]) -> list[str]:
        """The items in an order of which each is as likely (Fisher and Yates, from the end)."""
        found = list(items)
        for last in range(len(found) - 1, 0, -1):
            other = self.below(last + 1)
            found[last], found[other] = found[other], found[last]
        return found


@dataclass(frozen=True)
class Step:
    """One screen of a rater's study."""

    trial: str
    showing: int
    """1, or 2 when it comes again."""
    order: tuple[str, ...]
    """Ids of the clips, from A on."""


@dataclass(frozen=True)
class Shuffling:
    """What the orders of all raters follow from."""

    shuffle: str
    trials: Mapping[str, Sequence[str]]
    """Ids of the clips by the trial's id, in the page's order."""
    repeatable: Sequence[str]
    repeats: int

    def steps(self, rater: str) -> list[Step]:
        """What a rater sees, from first to last.

        Trials that come again are first seen in the first half and again in the second, and never
        twice in a row; each showing has an order of clips of its own.
        """
        stream = Stream(f"{self.shuffle}|{rater}")
        twice = stream.shuffled(self.repeatable)[: self.repeats]
        once = stream.shuffled([trial for trial in self.trials if trial not in twice])
        early = max(0, (len(self.trials) + 1) // 2 - len(twice))
        head = stream.shuffled([*twice, *once[:early]])
        tail = stream.shuffled([*twice, *once[early:]])
        if head and tail and head[-1] == tail[0]:
            tail[0], tail[1] = tail[1], tail[0]
        shown = [(trial, 1) for trial in head]
        shown += [(trial, 2 if trial in twice else 1) for trial in tail]
        return [
            Step(trial, showing, self._order(rater, trial, showing)) for trial, showing in shown
        ]

    def _order(self, rater: str, trial: str, showing: int) -> tuple[str, ...]:
        stream = Stream(f"{self.shuffle}|{rater}|{trial}|{showing}")
        return tuple(stream.shuffled(self.trials[trial]))
