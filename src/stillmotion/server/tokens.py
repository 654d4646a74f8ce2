"""Who may ask: bearer tokens, kept as hashes in a file, each with a name and limits.

A token is 32 random bytes, so its SHA-256 cannot be searched for, and no slow hash is needed.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import stat
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from stillmotion.errors import InputError
from stillmotion.runtime.files import atomic_path
from stillmotion.server.limits import TokenLimits

log = logging.getLogger("stillmotion.server")
_TOKEN_BYTES = 32
_LOOK_AGAIN_SECONDS = 1.0
_OWNER_ONLY = 0o600


@dataclass(frozen=True, kw_only=True)
class Principal:
    """Who a request comes from."""

    name: str
    admin: bool
    """May see and change the jobs of all, and the queue itself."""
    limits: TokenLimits
    sha256: str = ""
    """Of the token."""


_NO_LIMITS = TokenLimits(
    max_waiting=10**9, max_cost=1e300, max_streams=10**9, max_requests=10**9,
    max_uploads=10**9, requests_per_minute=10**9,
)  # fmt: skip
LOCAL = Principal(name="local", admin=True, limits=_NO_LIMITS)
"""Everybody on this machine, where no tokens are asked for: the server's own limits hold."""


class TokenEntry(BaseModel):
    """One token as it stands in the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    admin: bool = False
    limits: TokenLimits = TokenLimits()

    def principal(self) -> Principal:
        return Principal(name=self.name, admin=self.admin, limits=self.limits, sha256=self.sha256)


class TokenFile(BaseModel):
    """The file of tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    tokens: tuple[TokenEntry, ...] = ()

    @field_validator("tokens")
    @classmethod
    def _names_differ(cls, tokens: tuple[TokenEntry, ...]) -> tuple[TokenEntry, ...]:
        names = [entry.name for entry in tokens]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"the name '{name}' stands there twice; give each token its own")
        return tokens


def hash_token(token: str) -> str:
    """How a token is kept."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def read_tokens(path: Path) -> TokenFile:
    """Read a file of tokens.

    Raises InputError if it is missing, damaged, or may be changed by others than its owner.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"The token file '{path}' cannot be read; check the name, or make it with "
            "`stillmotion token NAME --token-file FILE`."
        ) from error
    if stat.S_IMODE(mode) & 0o022:
        raise InputError(
            f"The token file '{path}' can be changed by others; make it yours alone with "
            f"`chmod 600 {path}`."
        )
    try:
        return TokenFile.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise InputError(
            f"The token file '{path}' is wrong at {where}: {first['msg']}; mend it."
        ) from error


def add_token(path: Path, name: str, *, admin: bool, limits: TokenLimits) -> str:
    """Make a token, add its hash to the file (made if it is missing), and return the token.

    Raises InputError if the name is taken or not allowed, or the file is wrong.
    """
    known = read_tokens(path).tokens if path.exists() else ()
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    try:
        entry = TokenEntry(name=name, sha256=hash_token(token), admin=admin, limits=limits)
        grown = TokenFile(tokens=(*known, entry))
    except ValidationError as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InputError(
            f"'{name}' cannot be the name of a new token: {said}; use letters, digits, '.', '_' "
            "and '-', and a name that is free."
        ) from error
    with atomic_path(path, overwrite=True) as temporary:
        temporary.write_text(grown.model_dump_json(indent=2) + "\n", encoding="utf-8")
    path.chmod(_OWNER_ONLY)
    return token


@dataclass
class TokenBook:
    """The tokens of a file, read again when it changes, so that taking one out needs no restart.

    A file that has become unreadable lets nobody in.
    """

    path: Path
    _entries: tuple[TokenEntry, ...] = ()
    _seen: tuple[int, int] = (-1, -1)
    _looked: float = float("-inf")
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._entries = read_tokens(self.path).tokens
        self._seen = self._state()

    def find(self, token: str) -> Principal | None:
        """Whose token it is.  All entries are compared, each in constant time."""
        self._look_again()
        given, found = hash_token(token), None
        for entry in self._entries:
            if hmac.compare_digest(given, entry.sha256):
                found = entry
        return found.principal() if found is not None else None

    def knows(self, principal: Principal) -> bool:
        """Whether who was found before would still be found, with the same rights."""
        self._look_again()
        same = (entry for entry in self._entries if entry.sha256 == principal.sha256)
        return any(entry.principal() == principal for entry in same)

    def _state(self) -> tuple[int, int]:
        try:
            status = self.path.stat()
        except OSError:
            return (0, 0)
        return (status.st_mtime_ns, status.st_size)

    def _look_again(self) -> None:
        with self._lock:
            now = time.monotonic()
            if now - self._looked < _LOOK_AGAIN_SECONDS:
                return
            self._looked = now
            state = self._state()
            if state == self._seen:
                return
            self._seen = state
            try:
                self._entries = read_tokens(self.path).tokens
            except InputError as error:
                self._entries = ()
                log.error("tokens", extra={"facts": {"error": str(error)}})


def bearer_token(header: str | None) -> str | None:
    """The token in an Authorization header; None if there is none of that kind."""
    scheme, _, token = (header or "").partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and token else None
