"""Nothing is looked through while what stays is made, and only a process that ends freezes it."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from stillmotion.runtime.garbage import until_exit, without_collections


def test_collections_rest_for_the_length_of_the_block() -> None:
    frozen = gc.get_freeze_count()
    with without_collections():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(KeyError), without_collections():
        raise KeyError
    assert gc.isenabled()
    assert gc.get_freeze_count() == frozen  # the process of these tests goes on


def test_they_stay_off_where_they_were() -> None:
    gc.disable()
    try:
        with without_collections():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_process_that_ends_freezes_what_it_made() -> None:
    try:
        with until_exit():
            with without_collections():
                made = [[] for _ in range(1000)]
            assert gc.get_freeze_count() > len(made)
            gc.unfreeze()
        assert gc.get_freeze_count() > len(made)
    finally:
        gc.unfreeze()
    with without_collections():
        pass
    assert gc.get_freeze_count() == 0


@pytest.mark.parametrize("arguments", ["", "['--version']"], ids=["the process's own", "a call"])
def test_the_command_line_owns_its_process(arguments: str) -> None:
    """Its own arguments are those of the process; a call with arguments is somebody's."""
    program = (
        "import gc, sys\nsys.argv = ['stillmotion', '--version']\n"
        "from stillmotion.apps.cli import main\n"
        f"try: main({arguments})\nexcept SystemExit: pass\n"
        "print(gc.get_freeze_count() > 0, gc.isenabled())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == f"{not arguments} True"
