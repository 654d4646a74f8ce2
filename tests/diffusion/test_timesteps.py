"""Tables of sampling timesteps: every count, against the published rules and golden numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from safetensors.torch import load_file

from stillmotion.diffusion.timesteps import (
    given_timesteps,
    leading_timesteps,
    spaced_timesteps,
    trailing_timesteps,
)
from stillmotion.errors import InputError, ModelError

COUNTS = range(1, 1001)


def published_leading(num_steps: int) -> list[int]:
    """DynamiCrafter's "uniform", as its repository computes it; ascending."""
    return [t + 1 for t in range(0, 1000, 1000 // num_steps)]


def published_trailing(num_steps: int) -> list[int]:
    """DynamiCrafter's "uniform_trailing", as its repository computes it; descending."""
    return (np.round(np.arange(1000, 0, -(1000 / num_steps))).astype(np.int64) - 1).tolist()


@pytest.mark.parametrize("table", [leading_timesteps, trailing_timesteps])
@pytest.mark.parametrize("span", [1000, 941, 50])
def test_every_count_is_met_exactly(table, span: int) -> None:
    for num_steps in range(1, span + 1):
        steps = table(num_steps, span)
        assert steps.dtype == torch.int64
        assert len(steps) == num_steps
        assert 0 <= int(steps[-1]) <= int(steps[0]) < span, num_steps
        assert (steps.diff() < 0).all(), num_steps


@pytest.mark.parametrize("span", [1000, 941, 50])
def test_trailing_starts_at_the_end_of_the_span(span: int) -> None:
    assert all(int(trailing_timesteps(n, span)[0]) == span - 1 for n in range(1, span + 1))


def test_leading_is_the_published_rule_where_that_has_n_entries() -> None:
    usable = [n for n in COUNTS if len(p := published_leading(n)) == n and p[-1] < 1000]
    assert {1, 10, 25, 50, 100, 500} <= set(usable)
    for num_steps in usable:
        assert leading_timesteps(num_steps).flip(0).tolist() == published_leading(num_steps)


def test_trailing_is_the_published_rule_where_that_has_n_entries() -> None:
    usable = [n for n in COUNTS if len(published_trailing(n)) == n]
    assert len(usable) > 900
    assert not {61, 103, 121, 122} & set(usable)
    for num_steps in usable:
        assert trailing_timesteps(num_steps).tolist() == published_trailing(num_steps)


def test_tables_are_golden(golden: Path) -> None:
    numbers = load_file(golden / "dynamicrafter" / "schedules.safetensors")
    for num_steps in (10, 50):
        theirs = numbers[f"uniform.S{num_steps}.timesteps"]
        assert torch.equal(leading_timesteps(num_steps).flip(0), theirs)
    for num_steps in (10, 16, 30, 50):
        theirs = numbers[f"uniform_trailing.S{num_steps}.timesteps"]
        assert torch.equal(trailing_timesteps(num_steps).flip(0), theirs)


@pytest.mark.parametrize("span", [1000, 941])
def test_no_entry_is_further_from_its_place_than_rounding(span: int) -> None:
    """In integers: all times n, so that the exact places j T / n are whole."""
    for n in range(1, span + 1):
        places = torch.arange(n, 0, -1) * span
        nearest = (trailing_timesteps(n, span) + 1) * n
        assert ((nearest - places).abs() * 2 <= n).all(), n
        below = (leading_timesteps(n, span) - int(n < span)) * n
        assert ((places - span - below >= 0) & (places - span - below < n)).all(), n


def test_tables_are_those_of_diffusers_where_they_are_right() -> None:
    leading = DDIMScheduler(timestep_spacing="leading", steps_offset=1)
    trailing = DDIMScheduler(timestep_spacing="trailing")
    for num_steps in (1, 2, 4, 5, 8, 10, 20, 25, 40, 50, 100, 125, 200, 250, 500):
        leading.set_timesteps(num_steps)
        assert torch.equal(leading_timesteps(num_steps), leading.timesteps)
    for num_steps in (*range(1, 61), 1000):
        trailing.set_timesteps(num_steps)
        assert torch.equal(trailing_timesteps(num_steps), trailing.timesteps)


def test_spacings_by_name() -> None:
    assert torch.equal(spaced_timesteps("leading", 7, 90), leading_timesteps(7, 90))
    assert torch.equal(spaced_timesteps("trailing", 7, 90), trailing_timesteps(7, 90))
    with pytest.raises(ModelError, match="'uniform'; it can be leading, trailing"):
        spaced_timesteps("uniform", 7)


@pytest.mark.parametrize("num_steps", [0, -3, 1001, 12.0, "50", None])
def test_impossible_counts_are_told(num_steps) -> None:
    for table in (leading_timesteps, trailing_timesteps):
        with pytest.raises(InputError, match="from 1 to 1000"):
            table(num_steps)


@pytest.mark.parametrize(
    "timesteps", [[999, 500, 0], (3,), range(993, 0, -62), torch.tensor([7, 2])]
)
def test_a_table_of_one_s_own_is_taken_as_it_is(timesteps) -> None:
    table = given_timesteps(timesteps)
    assert table.dtype == torch.int64
    assert table.tolist() == [int(t) for t in timesteps]


@pytest.mark.parametrize(
    "timesteps",
    [[], [1000, 3], [5, -1], [5, 5, 1], [1, 2], [4.0, 1.0], [[3, 1]], [[3], [2, 1]], "950", 7,
     range(1000), torch.tensor([2.5])],
)  # fmt: skip
def test_other_tables_are_told(timesteps) -> None:
    with pytest.raises(InputError, match="descend strictly, from 999 at most to 0 at least"):
        given_timesteps(timesteps)
