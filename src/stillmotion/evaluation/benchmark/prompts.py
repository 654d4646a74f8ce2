"""Lists of prompts for AnimateZero's benchmark: the one that comes with the package, and others.

    {"schema_version": 1, "title": "...", "prompts": [
        {"name": "cat", "prompt": "a cat on a sofa", "model": "toonyou", "style": "cartoon",
         "category": "animal", "seed": 7}
    ]}

Of a prompt only the words are needed.  A text file with a prompt on each line is a list as well.
"""

from __future__ import annotations

import json
from collections import Counter
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from stillmotion.errors import InputError
from stillmotion.evaluation.benchmark.folder import Case
from stillmotion.runtime.seeds import derive_seed

SHIPPED = "animatezero-prompts.json"
MAX_BYTES = 10_000_000
_SEED_LIMIT = 1 << 63


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BenchmarkPrompt(_Record):
    """One prompt, and what is made with it."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Of the case and its files."""
    prompt: str
    seed: int = Field(ge=0, lt=_SEED_LIMIT)
    model: str | None = None
    """Which model draws and animates it; None: the benchmark's."""
    style: str = ""
    category: str = ""

    @field_validator("prompt")
    @classmethod
    def _says_something(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("there are no words")
        return value.strip()


class PromptList(_Record):
    """Prompts of a benchmark, with names that differ."""

    schema_version: Literal[1] = 1
    title: str = ""
    source: str = ""
    """Where the prompts come from."""
    prompts: tuple[BenchmarkPrompt, ...] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _named_and_seeded(cls, value: Any) -> Any:
        """Names and seeds that are not given follow from the place in the list."""
        prompts = value.get("prompts") if isinstance(value, dict) else None
        if not isinstance(prompts, list):
            return value
        return {
            **value,
            "prompts": [
                {"name": f"{index:04d}", "seed": _seed(index), **one}
                if isinstance(one, dict)
                else one
                for index, one in enumerate(prompts)
            ],
        }

    @model_validator(mode="after")
    def _different_names(self) -> PromptList:
        [(name, times)] = Counter(one.name for one in self.prompts).most_common(1)
        if times > 1:
            raise ValueError(f"{times} prompts have the name '{name}'; give each one of its own")
        return self


def shipped_prompts() -> PromptList:
    """The list that comes with the package: 20 prompts for the seven models of the paper."""
    file = resources.files("stillmotion.evaluation.benchmark") / SHIPPED
    return PromptList.model_validate_json(file.read_bytes())


def load_prompts(path: Path) -> PromptList:
    """A user's own list: .json as above, or text with a prompt on each line.

    In text, blank lines and lines that begin with "#" are passed over.

    Raises:
        InputError: no such file, not UTF-8, too large, without prompts, or not as described.
    """
    text = _read(path)
    if path.suffix.lower() == ".json":
        return _parsed(path, text)
    lines = [line.strip() for line in text.splitlines()]
    words = [line for line in lines if line and not line.startswith("#")]
    if not words:
        raise InputError(f"{path} holds no prompts; write one on each line")
    return PromptList.model_validate(
        {"title": path.name, "prompts": [{"prompt": w} for w in words]}
    )


def prompt_cases(prompts: PromptList) -> list[Case]:
    """The cases of a list, in its order; tables are by the model, or by the category without one.

    Facts: `model` where there is one, `style` and `category`.
    """
    return [
        Case(
            name=one.name, prompt=one.prompt, seed=one.seed, still=f"stills/{one.name}.png",
            group=one.model or one.category,
            facts={
                key: value
                for key in ("model", "style", "category")
                if (value := getattr(one, key))
            },
        )
        for one in prompts.prompts
    ]  # fmt: skip


def _seed(index: int) -> int:
    """Below 2**31, which every tool takes."""
    return derive_seed(0, "prompts", index) % 2**31


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path} is larger than {MAX_BYTES} bytes; is it a list of prompts?")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(
            f"the prompts {path} cannot be read ({error.strerror}); check the name"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8; save it as UTF-8") from error


def _parsed(path: Path, text: str) -> PromptList:
    try:
        return PromptList.model_validate(json.loads(text))
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(
            f"{path} is no JSON ({error}); see the form of a list of prompts"
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise InputError(f"{path} is no valid list of prompts ({where}: {first['msg']})") from error
