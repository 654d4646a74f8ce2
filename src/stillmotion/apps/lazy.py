"""Commands that are imported when they are called, or when help lists them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup


class Commands(MutableMapping[str, Any]):
    """Commands by name, in the order of the help; each is built from its module on first use.

    Args:
        places: by name the module below `stillmotion.apps`, and behind a colon the name of the
            `Typer` in it where that is not `app`.  It holds a command of that name; one that does
            not is itself the group of that name.
    """

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = dict(places)
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            self._built[name] = _build(name, self._places[name])
        return self._built[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._places.setdefault(name, "")
        self._built[name] = command

    def __delitem__(self, name: str) -> None:
        del self._places[name]
        self._built.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def group_of(places: Mapping[str, str]) -> type[TyperGroup]:
    """The class of a group whose commands are `Commands(places)`."""

    class Group(TyperGroup):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.commands = Commands(places)

        def list_commands(self, ctx: Any) -> list[str]:
            return list(self.commands)  # their names, without importing any

    return Group


def _build(name: str, place: str) -> Any:
    module, _, attribute = place.partition(":")
    own: typer.Typer = getattr(import_module(f"stillmotion.apps.{module}"), attribute or "app")
    return _commands_of(own, name=None if name in _names(own) else name)[name]


def _names(own: typer.Typer) -> Iterator[str]:
    """The names of the commands that `own` holds."""
    for info in own.registered_commands:
        if info.callback is not None:
            yield info.name or typer.main.get_command_name(info.callback.__name__)
    for group in own.registered_groups:
        if isinstance(group.name, str):
            yield group.name
        elif group.typer_instance is not None:
            yield from _names(group.typer_instance)


def _commands_of(own: typer.Typer, *, name: str | None) -> Mapping[str, Any]:
    """The commands of a group that `own` is put into, as a group of its own if it has a name."""
    # What typer passes down from the group above: all texts are read alike.
    above = typer.Typer(rich_markup_mode="markdown", add_completion=False)
    above.callback()(lambda: None)
    above.add_typer(own, name=name)
    group = typer.main.get_command(above)
    assert isinstance(group, TyperGroup)
    return group.commands
