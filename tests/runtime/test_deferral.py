"""Modules that wait until something is asked of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from stillmotion.runtime.deferral import Deferred, Touched, defer, execute, is_waiting

Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write modules of a package `waits_*`, which no later test sees."""
    monkeypatch.syspath_prepend(tmp_path)
    finders, modules = list(sys.meta_path), set(sys.modules)

    def write(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    yield write
    sys.meta_path[:] = finders
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def test_a_module_waits_until_something_is_asked(write: Write) -> None:
    write("waits_a.py", "import waits_seen\nx = 1\n\ndef f():\n    return 'real'\n")
    write("waits_seen.py", "")
    after: list[Any] = []
    entry = Deferred(
        name="waits_a",
        stand_ins=lambda: {"f": lambda: "stand-in"},
        after=lambda module, former: after.append((module.f(), former["f"]())),
    )
    defer([entry])
    module = import_module("waits_a")
    assert is_waiting("waits_a")
    assert module.f() == "stand-in"
    assert not hasattr(module, "__all__")
    assert module.__file__ is not None
    assert "waits_seen" not in sys.modules
    assert module.x == 1
    assert not is_waiting("waits_a")
    assert (module.f(), type(module)) == ("real", ModuleType)
    assert after == [("real", "stand-in")]
    with pytest.raises(AttributeError, match="no attribute 'y'"):
        _ = module.y
    execute("waits_a")  # has been executed, and is not again
    assert after == [("real", "stand-in")]


def test_a_stand_in_goes_if_the_module_has_none(write: Write) -> None:
    write("waits_b.py", "x = 1\n")
    defer([Deferred(name="waits_b", stand_ins=lambda: {"gone": 1})])
    module = import_module("waits_b")
    assert module.gone == 1
    assert module.x == 1
    assert not hasattr(module, "gone")


def test_modules_inside_come_after_it(write: Write) -> None:
    write("waits_c/__init__.py", "from waits_c import inner\norder = inner.order + ['package']\n")
    write("waits_c/inner.py", "order = ['inner']\n")
    write("waits_c/other.py", "import waits_c\norder = waits_c.order + ['other']\n")
    defer([Deferred(name="waits_c")])
    import_module("waits_c")
    assert import_module("waits_c.other").order == ["inner", "package", "other"]
    assert sys.modules["waits_c.inner"] is import_module("waits_c").inner


def test_a_module_that_the_package_imports_is_executed_once(write: Write) -> None:
    write("waits_d/__init__.py", "from waits_d import inner\n")
    write("waits_d/inner.py", "import waits_times\nwaits_times.n += 1\n")
    write("waits_times.py", "n = 0\n")
    defer([Deferred(name="waits_d")])
    import_module("waits_d")
    inner = import_module("waits_d.inner")
    assert import_module("waits_times").n == 1
    assert inner is import_module("waits_d").inner
    assert inner.__spec__ is not None
    assert inner.__spec__.origin == inner.__file__


def test_modules_inside_may_leave_it_waiting(write: Write) -> None:
    write("waits_e/__init__.py", "from waits_e.inner import x\n")
    write("waits_e/inner.py", "x = 1\n")
    defer([Deferred(name="waits_e", submodules_wait_for_it=False)])
    assert import_module("waits_e.inner").x == 1
    assert is_waiting("waits_e")
    assert import_module("waits_e").x == 1
    assert not is_waiting("waits_e")


def test_a_module_is_touched_once_it_is_executed(write: Write) -> None:
    write("waits_f.py", "x = 1\n")
    defer([Touched(name="waits_f", after=lambda module: setattr(module, "x", 2))])
    assert import_module("waits_f").x == 2


def test_what_is_imported_already_stays(write: Write) -> None:
    write("waits_g.py", "x = 1\n")
    module = import_module("waits_g")
    defer([Deferred(name="waits_g")])
    assert import_module("waits_g") is module
    assert not is_waiting("waits_g")
    with pytest.raises(ModuleNotFoundError):
        import_module("waits_nothing")
