"""What a browser keeps, and what of it is believed."""

from __future__ import annotations

from typing import Any

import pytest

from stillmotion.studio.memory import Memory

A, B, C = "a" * 32, "b" * 32, "c" * 32


def test_it_comes_back_as_it_was() -> None:
    memory = Memory(drawn=(A, B), still=A, made=(C,), clip=C)
    assert Memory.read(memory.said()) == memory


@pytest.mark.parametrize(
    "said",
    [None, 3, "x", [], {"drawn": 3}, {"drawn": ["../x", 5, None, "A" * 32]}, {"still": ["a"]},
     {"still": "<script>"}, {"unknown": A}, {"made": [[A]]}],
)  # fmt: skip
def test_only_ids_are_believed(said: Any) -> None:
    assert Memory.read(said) == Memory()


def test_it_stays_small() -> None:
    ids = tuple(f"{index:032x}" for index in range(500))
    assert len(Memory.read({"drawn": ids}).drawn) == 64
    assert Memory().with_made(ids).made == ids[:64]
    assert Memory(drawn=ids[:64]).with_drawn((ids[99],)).drawn[-1] == ids[99]


def test_new_clips_come_first_and_none_twice() -> None:
    memory = Memory(made=(A, B)).with_made((C, B))
    assert memory.made == (C, B, A)


def test_what_is_gone_is_forgotten() -> None:
    memory = Memory(drawn=(A, B), made=(A,), still=A, end=B, clip=A).without(A)
    assert memory == Memory(drawn=(B,), end=B)
