"""The Triton kernels where there is no GPU: computed by its interpreter, compiled by its compiler.

Whether Triton interprets or compiles is settled at its first import, hence processes of their own.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="needs Triton, which runs on Linux"
)
HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]


def run(folder: Path, *arguments: str, **variables: str) -> str:
    """Run this interpreter; on failure say all that it said."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "TRITON_CACHE_DIR": str(folder), **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("what", ["temporal", "others"])
def test_the_interpreter_agrees(tmp_path: Path, what: str) -> None:
    file = str(HERE / f"interpreted_{what}.py")
    said = run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", file, TRITON_INTERPRET="1")
    assert " passed" in said
    assert " skipped" not in said


@pytest.mark.parametrize(
    "cases",
    [
        ("80,float16", "90,bfloat16"),
        ("80,float16,40,16,16,full", "90,float16,40,16,16,full", "80,bfloat16,160,16,16,full"),
        ("80,bfloat16,80,32,16,full", "90,bfloat16,40,16,16,global", "80,float32,40,16,16,bare"),
        ("86,float16,160,64,32,full", "86,float16,40,64,64,global"),
    ],
    ids=["others", "one tile", "more", "large"],
)
def test_the_compiler_takes_them(tmp_path: Path, cases: tuple[str, ...]) -> None:
    said = run(tmp_path, "-m", "tests.kernels.compiled", *cases, TRITON_INTERPRET="0")
    lines = said.splitlines()
    assert len(lines) == sum(5 if case.count(",") == 1 else 1 for case in cases)
    assert [line for line in lines if not line.endswith(" stack 0")] == [], "registers overflow"
