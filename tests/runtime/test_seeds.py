"""Seeds mean the same everywhere and streams do not meet."""

from __future__ import annotations

import hashlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stillmotion.errors import InputError
from stillmotion.runtime.seeds import derive_seed, drawn_random, generator

SEEDS = st.integers(0, 2**63 - 1)
PATHS = st.lists(st.integers(0, 1000) | st.text(max_size=8), max_size=3).map(tuple)


@given(SEEDS)
def test_a_seed_gives_the_same_numbers_and_leaves_the_global_generator(seed: int) -> None:
    before = torch.get_rng_state()
    first, second = (torch.randn(8, generator=generator(seed)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_other_seeds_are_told(seed: int) -> None:
    for use in (generator, derive_seed):
        with pytest.raises(InputError, match=rf"2\*\*63 - 1, not {seed}"):
            use(seed)


def test_derived_seeds_are_those_of_the_definition() -> None:
    digest = hashlib.sha256(b'[7, "frame", 3]').hexdigest()
    assert derive_seed(7, "frame", 3) == int(digest[:16], 16) >> 1


@given(SEEDS, PATHS, SEEDS, PATHS)
def test_derived_seeds_differ(
    seed: int, path: tuple[int | str, ...], other: int, other_path: tuple[int | str, ...]
) -> None:
    same = (seed, path) == (other, other_path)
    assert (derive_seed(seed, *path) == derive_seed(other, *other_path)) == same
    assert 0 <= derive_seed(seed, *path) < 2**63


def test_similar_paths_differ() -> None:
    paths: list[tuple[int | str, ...]] = [(), (1,), ("1",), (1, 2), (12,), ("1", "2"), ("1, 2",)]
    assert len({derive_seed(0, *path) for path in paths}) == len(paths)


def test_choices_follow_from_the_generator_that_seeds_them() -> None:
    first, again = generator(3), generator(3)
    drawn = [drawn_random(first).random() for _ in range(5)]
    assert drawn == [drawn_random(again).random() for _ in range(5)]
    assert len(set(drawn)) == 5
