"""Sentences that were written for the command line, as the page says them."""

from __future__ import annotations

import pytest

from stillmotion.studio.markup import in_words, note


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("leave out --steps, or add --photograph to it", "leave out “Steps”, or add “By its pixels "
         "alone” to it"),
        ("--eta is not an option of animatezero; leave it out.",
         "“eta” is not an option of animatezero; leave it out."),
        ("--time-travel N (the paper: 5).", "“Time travel” (the paper: 5)."),
        ("a -- b and well--known and 3--4", "a -- b and well--known and 3--4"),
        ("Steps is 0; give a number from 1 up.", "Steps is 0; give a number from 1 up."),
    ],
)  # fmt: skip
def test_options_are_called_what_the_page_calls_them(said: str, shown: str) -> None:
    assert in_words(said) == shown


def test_notes_say_so_too() -> None:
    assert "“Steps”" in note("leave out --steps.")
    assert note("") == ""
