"""The part of a prompt that the text encoder does not see."""

from __future__ import annotations

import pytest
from tests.tiny_models import tiny_tokenizer

from stillmotion.animatezero.prompt import truncated_prompt_part


@pytest.mark.parametrize(
    ("prompt", "cut"),
    [("", ""), ("abc", ""), ("abcdefg hijklmn", ""), ("abcdefg hijklmn op", "op")],
)
def test_truncated_prompt_part(prompt: str, cut: str) -> None:
    """Sixteen tokens, the marks of beginning and end included, leave room for fourteen."""
    assert truncated_prompt_part(tiny_tokenizer(), prompt) == cut


def test_what_is_cut_is_what_the_encoder_misses() -> None:
    tokenizer = tiny_tokenizer()

    def seen(prompt: str) -> list[int]:
        return tokenizer(prompt, max_length=16, truncation=True).input_ids

    assert seen("abcdefg hijklmn op") == seen("abcdefg hijklmn")
    assert seen("abcdefg hijklmn") != seen("abcdefg hijklm")
