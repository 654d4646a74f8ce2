"""Modules of large libraries that are executed only when something is asked of them.

Some libraries import, in the name of completeness, much that a program never uses.  `defer` makes
such a module wait: it is imported, so that `import` statements pass, but its code has not run.  The
first attribute that it does not have runs it, in place; what it is then is what it always was.  So
a wrong guess about what is used costs the time that was to be saved, and nothing else.

Nothing here knows any library; `adapters/unused_imports.py` says what waits and why.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_STATE = "_stillmotion_waits"
# One thread executes a module that waited; others that ask for it meanwhile wait.
_LOCK = threading.RLock()


def _nothing(module: ModuleType, stand_ins: Mapping[str, Any]) -> None:
    """The default of `Deferred.after`."""


@dataclass(frozen=True, kw_only=True)
class Deferred:
    """A module that waits."""

    name: str
    stand_ins: Callable[[], dict[str, Any]] = dict
    """What it has while it waits; taken away again before it is executed."""
    after: Callable[[ModuleType, Mapping[str, Any]], None] = _nothing
    """Called with the module and its former stand-ins once it has been executed."""
    submodules_wait_for_it: bool = True
    """Whether importing a module inside it executes it first, as it does without a deferral."""


@dataclass(frozen=True, kw_only=True)
class Touched:
    """A module that is executed as always, after which something is done with it."""

    name: str
    after: Callable[[ModuleType], None]


Entry = Deferred | Touched


def defer(entries: Sequence[Entry]) -> None:
    """Make modules wait from now on, for the life of the process.

    What has been imported already stays as it is, so this belongs at the start of a process.
    """
    new = {entry.name: entry for entry in entries if entry.name not in sys.modules}
    finder = next((one for one in sys.meta_path if isinstance(one, _Finder)), None)
    if finder is None:
        finder = _Finder()
        sys.meta_path.insert(0, finder)
    finder.entries.update(new)


def is_waiting(name: str) -> bool:
    """Whether the module called `name` has been imported but not been executed."""
    return _STATE in vars(sys.modules.get(name, ModuleType("")))


def execute(name: str) -> None:
    """Execute the module called `name` if it waits; nothing otherwise."""
    if is_waiting(name):
        with _LOCK:
            if is_waiting(name):
                vars(sys.modules[name])[_STATE](sys.modules[name])


class _Waiting(ModuleType):
    """Executes itself when an attribute is asked for that it does not have."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):  # asked of every module, by anybody
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        with _LOCK:
            execute(self.__name__)
            return ModuleType.__getattribute__(self, name)


@dataclass
class _WaitingLoader(Loader):
    """Makes a module that waits, and later executes it by the loader that it would have had."""

    entry: Deferred
    spec: ModuleSpec
    real: Loader

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Waiting(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        stand_ins = self.entry.stand_ins()

        def run(module: ModuleType) -> None:
            own = vars(module)
            del own[_STATE]
            for name in stand_ins:
                own.pop(name, None)
            self.spec.loader = module.__loader__ = self.real
            self.real.exec_module(module)
            module.__class__ = ModuleType
            self.entry.after(module, stand_ins)

        vars(module).update(stand_ins, **{_STATE: run})


@dataclass
class _TouchingLoader(Loader):
    """Executes a module by its own loader, and then does something with it."""

    entry: Touched
    spec: ModuleSpec
    real: Loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.spec.loader = module.__loader__ = self.real
        self.real.exec_module(module)
        self.entry.after(module)


class _Present(Loader):
    """Hands out a module that came into being while a module above it was executed."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__
        module.__spec__ = None  # else the import system takes that one, and executes it again

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


@dataclass
class _Finder(MetaPathFinder):
    entries: dict[str, Entry] = field(default_factory=dict)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        entry = self.entries.get(fullname)
        if entry is None:
            return self._after_those_above(fullname)
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return None
        if isinstance(entry, Deferred):
            spec.loader = _WaitingLoader(entry, spec, spec.loader)
        else:
            spec.loader = _TouchingLoader(entry, spec, spec.loader)
        return spec

    def _after_those_above(self, fullname: str) -> ModuleSpec | None:
        """Execute what waits above a module; that may have imported the module itself."""
        parts = fullname.split(".")
        for depth in range(1, len(parts)):
            above = self.entries.get(".".join(parts[:depth]))
            if isinstance(above, Deferred) and above.submodules_wait_for_it:
                execute(above.name)
        found = sys.modules.get(fullname)
        return None if found is None else ModuleSpec(fullname, _Present(found))
