"""Which GPUs there are, found out without torch in this process.

A server only starts workers; torch would take it some 200 MB that it has no other use for.
"""

from __future__ import annotations

import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

_ASK = "import torch; print(torch.cuda.device_count())"
_SECONDS = 120
"""A cold disk and many GPUs take their time; one that takes longer does not work."""


def count_gpus() -> int:
    """How many GPUs torch can use: 0 for a build for CPUs alone, else as a process of its own says.

    0, too, if that process fails: then no job could be made on a GPU either.
    """
    if not _is_built_for_gpus():
        return 0
    try:
        said = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _ASK],
            capture_output=True, text=True, timeout=_SECONDS, check=True, stdin=subprocess.DEVNULL,
        ).stdout  # fmt: skip
        return int(said)
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0


def _is_built_for_gpus() -> bool:
    """By what the build says of itself; a build that says nothing might be."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    try:
        says = runpy.run_path(str(Path(spec.origin).with_name("version.py")))
    except OSError:
        return True
    return any(says.get(name) is not None for name in ("cuda", "hip", "rocm"))
