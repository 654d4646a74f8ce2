"""Randomness is explicit: one generator per sample, never the global one."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from stillmotion.errors import InputError

_SEED_LIMIT = 1 << 63


def generator(seed: int) -> torch.Generator:
    """A generator on the CPU, so that a seed means the same on every device.

    `seed` is in 0 .. 2**63 - 1; otherwise InputError.
    """
    _check(seed)
    return torch.Generator("cpu").manual_seed(seed)


def derive_seed(seed: int, *path: int | str) -> int:
    """A seed in 0 .. 2**63 - 1 for an independent stream, e.g. `derive_seed(7, "frame", 3)`.

    The first 63 bits of sha256 of the seed and path: the same on every machine and version, and
    `3` and `"3"` differ.
    """
    _check(seed)
    digest = hashlib.sha256(json.dumps([seed, *path]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def drawn_random(source: torch.Generator) -> random.Random:
    """A generator of Python's for the choices of one sample, seeded by a draw from `source`."""
    return random.Random(int(torch.randint(2**62, (1,), generator=source)))


@contextmanager
def new_weights(seed: int) -> Iterator[None]:
    """Let networks that are made in the block have weights that follow from `seed` alone.

    Libraries draw them from the global generator; it is seeded for that and put back.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(seed, "weights"))
        yield


def _check(seed: int) -> None:
    if not 0 <= seed < _SEED_LIMIT:
        raise InputError(f"The seed must be a whole number from 0 to 2**63 - 1, not {seed}.")
