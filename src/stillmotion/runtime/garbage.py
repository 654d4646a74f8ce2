"""When Python looks for garbage: not among what stays anyway.

Python counts new objects, and looks through those that it has whenever there are many more.
Importing torch, diffusers and transformers makes about a million, all of which stay, and a process
that ends looks through all of them twice more.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_process_ends: ContextVar[bool] = ContextVar("the process ends with a block", default=False)


@contextmanager
def until_exit() -> Iterator[None]:
    """A block with which the process ends: what is alive then is not looked through on exit.

    Only for whoever owns the process: elsewhere what is garbage by then would never be freed.
    """
    token = _process_ends.set(True)
    try:
        yield
    finally:
        _process_ends.reset(token)
        gc.freeze()


@contextmanager
def without_collections() -> Iterator[None]:
    """For the length of the block nothing is looked through, for work that makes what stays.

    Within `until_exit` what is alive at its end is not looked through later either.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if _process_ends.get():
            gc.freeze()
        if was_enabled:
            gc.enable()
