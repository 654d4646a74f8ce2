"""Failures that are not the user's prompt: full disks, little memory, damage, interrupts, noise."""

from __future__ import annotations

import errno
import os
import pty
import re
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from tests.apps.conftest import Run

from stillmotion.errors import InputError
from stillmotion.jobs.failures import sentence_for
from tools.source import REPOSITORY

ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.endswith("_VERBOSITY")},
    "PYTHONPATH": str(REPOSITORY / "src"),
}
ENVIRONMENT.pop("PYTHONWARNINGS", None)
SECONDS = 120


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (InputError("the value is 3"), "the value is 3"),
        (OSError(errno.ENOSPC, "No space left on device", "a"), "no space left on the disk"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "no space left"),
        (SafetensorError("invalid header"), "is damaged: invalid header"),
        (PermissionError(errno.EACCES, "Permission denied", "a/b"), "'a/b' cannot be used: perm"),
        (MemoryError(), "not enough memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "not enough memory"),
        (BrokenProcessPool("ended"), "fewer --processes"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_one_sentence(error: Exception, said: str) -> None:
    sentence = sentence_for(error)
    assert sentence is not None
    assert said in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize("error", [TypeError("x"), RuntimeError("shapes"), KeyError("x")])
def test_defects_keep_their_traceback(
    error: Exception, run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sentence_for(error) is None

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("stillmotion.models.registry.known_models", fail)
    with pytest.raises(type(error)):
        run("models")


def test_lack_of_memory_leaves_nothing(
    run: Run, here: Path, still: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("stillmotion.animatezero.runner.animate_latents", fail)
    assert "not enough memory" in run("animate", still, "-o", "a.gif", "-q").error
    assert list(here.iterdir()) == []


def test_an_interrupt_leaves_nothing(
    run: Run, here: Path, still: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("stillmotion.media.animation.Image.fromarray", interrupt)
    done = run("animate", still, "-o", "a.gif", "--frames", "2", "-q")
    assert done.code == 130
    assert done.err == "error: interrupted; nothing half-written was left\n"
    assert list(here.iterdir()) == []


def test_ctrl_c_while_drawing(here: Path) -> None:
    """In a process of its own, whose stderr (a pipe) shows nothing but its own lines."""
    command = [sys.executable, "-m", "stillmotion", "draw", "a cat", "-o", "a.png"]
    with subprocess.Popen(
        [*command, "--steps", "900", "--look", "neon"],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=SECONDS)
    *progress, last = [first.strip(), *err.splitlines()]
    assert process.returncode == 130
    assert out == ""
    assert last == "error: interrupted; nothing half-written was left"
    assert all(re.fullmatch(r"draw \d+/900(, .* left)?", line) for line in progress)
    assert list(here.iterdir()) == []


def test_ctrl_c_while_animating_on_a_terminal(here: Path, still: Path) -> None:
    """Typed into a terminal, where only the bar, a note and the end of it are to be seen."""
    command = [sys.executable, "-m", "stillmotion", "animate", str(still), "--photograph"]
    process, terminal = pty.fork()
    if process == 0:
        os.execve(sys.executable, [*command, "--steps", "900", "-o", "a.mp4"], ENVIRONMENT)
    shown, typed, end = "", False, time.monotonic() + SECONDS
    while time.monotonic() < end:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # the other end was closed
            break
        shown += part.decode(errors="replace")
        if not typed and re.search(r"\b1/900", shown):
            os.write(terminal, b"\x03")
            typed = True
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r", "\n").splitlines()
    told = [line.strip() for line in lines if line.strip() not in ("", "^C")]
    unknown = [
        line
        for line in told
        if not line.startswith(("note: the picture is animated", "animate "))
        and not line.startswith("^Canimate ")
    ]
    assert unknown == ["error: interrupted; nothing half-written was left"]
    assert list(here.iterdir()) == []
