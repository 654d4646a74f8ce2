"""Tokens: hashed in a file, found in constant time, taken out without a restart."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from stillmotion.errors import InputError
from stillmotion.server import tokens
from stillmotion.server.limits import TokenLimits
from stillmotion.server.rates import Places, RateLimiter
from stillmotion.server.tokens import TokenBook, add_token, bearer_token, read_tokens

LIMITS = TokenLimits(max_waiting=3)


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    """A file with one token, looked at again at once."""
    monkeypatch.setattr(tokens, "_LOOK_AGAIN_SECONDS", 0.0)
    path = tmp_path / "tokens.json"
    return path, add_token(path, "ada", admin=False, limits=LIMITS)


def test_a_token_finds_its_owner_and_is_not_in_the_file(book: tuple[Path, str]) -> None:
    path, token = book
    found = TokenBook(path).find(token)
    assert found is not None
    assert (found.name, found.admin, found.limits.max_waiting) == ("ada", False, 3)
    assert token not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("given", ["", "x", "ada", "\udcff", "é" * 99])
def test_other_tokens_find_nobody(book: tuple[Path, str], given: str) -> None:
    path, token = book
    read = TokenBook(path)
    assert read.find(given) is None
    assert read.find(token + "x") is None
    # Knowing the file is not enough.
    assert read.find(read_tokens(path).tokens[0].sha256) is None


def test_a_token_taken_out_is_forgotten(book: tuple[Path, str]) -> None:
    path, token = book
    second = add_token(path, "bob", admin=True, limits=LIMITS)
    read = TokenBook(path)
    kept = [entry for entry in json.loads(path.read_text())["tokens"] if entry["name"] == "bob"]
    path.write_text(json.dumps({"tokens": kept}))
    assert read.find(token) is None
    assert read.find(second) is not None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"tokens": [{"name": "a"}]}', '{"more": 1}'])
def test_a_broken_file_lets_nobody_in(book: tuple[Path, str], text: str) -> None:
    path, token = book
    read = TokenBook(path)
    path.write_text(text)
    with pytest.raises(InputError, match="is wrong at"):
        read_tokens(path)
    assert read.find(token) is None
    path.unlink()
    assert read.find(token) is None


def test_names_are_taken_once_and_plain(book: tuple[Path, str]) -> None:
    path, _ = book
    before = path.read_bytes()
    for name in ("ada", "", "../x", "a b", "x" * 65):
        with pytest.raises(InputError, match="cannot be the name of a new token"):
            add_token(path, name, admin=False, limits=LIMITS)
    assert path.read_bytes() == before


def test_a_file_that_others_can_change_is_refused(book: tuple[Path, str]) -> None:
    path, _ = book
    os.chmod(path, 0o622)
    with pytest.raises(InputError, match="can be changed by others"):
        TokenBook(path)


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("Basic abc", None),
        ("Bearer", None),
        ("", None),
        (None, None),
    ],
)
def test_bearer_headers(header: str | None, token: str | None) -> None:
    assert bearer_token(header) == token


def test_requests_in_a_minute_are_counted_by_name() -> None:
    now = 0.0
    rates = RateLimiter(clock=lambda: now)
    assert [rates.seconds_to_wait("ada", 2) for _ in range(2)] == [0, 0]
    assert rates.seconds_to_wait("ada", 2) == pytest.approx(30)
    assert rates.seconds_to_wait("bob", 2) == 0
    now = 31.0
    assert rates.seconds_to_wait("ada", 2) == 0
    assert rates.seconds_to_wait("ada", 2) > 0


def test_places_are_given_back() -> None:
    places = Places(2, "event streams")
    with places.place("ada", 1):
        with pytest.raises(Exception, match="at most 1 and 2"):
            places.take("ada", 1)
        with places.place("bob", 5), pytest.raises(Exception, match="2 in all"):
            places.take("eve", 5)
    assert places.taken == 0
    places.take("ada", 1)


def test_who_was_found_is_known_while_nothing_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "_LOOK_AGAIN_SECONDS", 0.0)
    path = tmp_path / "tokens.json"
    token = add_token(path, "ada", admin=True, limits=TokenLimits())
    book = TokenBook(path)
    ada = book.find(token)
    assert ada is not None
    assert book.knows(ada)
    plain = path.read_text()
    for changed in (
        plain.replace('"admin": true', '"admin": false'),
        plain.replace(ada.sha256, "0" * 64),
        '{"tokens": []}',
    ):
        path.write_text(changed)
        assert not book.knows(ada)
    path.write_text(plain)
    assert book.knows(ada)
