"""The key that the researcher keeps, and the answers that raters send."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

SCHEMA_VERSION: Final = 1
MAX_NAME = 60
"""Characters of a rater's name."""
_Token = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{4,64}$")]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KeyMethod(_Record):
    """A method that was shown."""

    name: str
    title: str


class KeyTrial(_Record):
    """A set of clips that raters compare."""

    id: _Token
    kind: Literal["case", "check"]
    """"check": one clip is spoiled, to tell who looks from who does not."""
    case: str
    group: str = ""
    clips: dict[_Token, str]
    """The method's name by the clip's id."""
    spoiled: _Token | None = None
    """The id of the spoiled clip of a check."""


class StudyKey(_Record):
    """What the page does not tell: which clip is whose."""

    schema_version: Literal[1] = SCHEMA_VERSION
    study: _Token
    """sha256 of the page's data, which ties page, key and answers together."""
    title: str
    design: str
    seed: int
    """With the same runs and options it gives the same study again."""
    shuffle: _Token
    """What the page seeds its orders with, beside the rater's name."""
    methods: tuple[KeyMethod, ...]
    trials: tuple[KeyTrial, ...]
    """In the page's order."""
    repeatable: tuple[_Token, ...]
    """Trials of which each rater sees `repeats` twice."""
    repeats: int = Field(ge=0)
    sources: tuple[str, ...]
    """Titles of the runs that the clips come from."""
    versions: dict[str, str]

    @property
    def num_showings(self) -> int:
        """How many sets of clips each rater sees, repetitions included."""
        return len(self.trials) + self.repeats


class Answer(_Record):
    """What a rater said of one set of clips."""

    trial: _Token
    showing: Literal[1, 2]
    """2: when it came again."""
    order: tuple[_Token, ...]
    """The clips from A on, as they were shown."""
    choices: dict[str, tuple[_Token, ...]]
    """By the aspect's key: all clips from best to worst; the best one; or those that fit."""
    seconds: float = Field(ge=0, allow_inf_nan=False)
    """How long it was looked at."""
    loops: int = Field(ge=0)
    """How often the clips played to their end."""


class Answers(_Record):
    """The file of one rater."""

    schema_version: Literal[1]
    study: _Token
    rater: str = Field(min_length=1, max_length=MAX_NAME, pattern=r"^[^\p{Cc}]+$")
    """As typed, without control characters: it is printed to terminals."""
    session: _Token
    """By chance, when the rater began: tells two people of one name apart."""
    saved_at: datetime
    answers: tuple[Answer, ...]
