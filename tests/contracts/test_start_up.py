"""What a process imports before it has something to do."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from stillmotion.apps.cli import COMMANDS, app
from stillmotion.apps.lazy import Commands

# Modules of torch, of two frameworks for pages, and whatever else takes long to import.
HEAVY = {
    "av", "diffusers", "fastapi", "gradio", "httpx", "numpy", "peft", "PIL", "torch",
    "transformers", "uvicorn", "yaml",
}  # fmt: skip
#: CPU seconds: twice the target of 0.4, since other work on a machine inflates them.
HELP_SECONDS = 0.8
_HELP = """
import json, sys, time
from stillmotion.apps.cli import main
try:
    main({arguments})
except SystemExit:
    pass
print(json.dumps([time.process_time(), list(sys.modules)]), file=sys.stderr)
"""


def told(program: str) -> list[object]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True
    )
    found: list[object] = json.loads(done.stderr.splitlines()[-1])
    return found


@pytest.mark.parametrize("command", [[], ["animate"], ["evaluate"], ["serve"]], ids=" ".join)
def test_help_is_light(command: list[str]) -> None:
    seconds, modules = told(_HELP.format(arguments=[*command, "--help"]))
    assert HEAVY & set(modules) == set()  # type: ignore[call-overload]
    assert float(str(seconds)) < HELP_SECONDS


def test_only_the_command_that_is_called_is_imported() -> None:
    _, modules = told(_HELP.format(arguments=["draw", "--help"]))
    own = {str(name) for name in modules if str(name).startswith("stillmotion.apps.")}  # type: ignore[attr-defined]
    assert "stillmotion.apps.draw" in own
    assert not {f"stillmotion.apps.{name}" for name in ("animate", "study", "evaluate")} & own


def test_every_command_is_where_it_is_said_to_be() -> None:
    commands = Commands(COMMANDS)
    assert len(commands) == len(COMMANDS)
    for name, command in commands.items():
        assert command.name == name
        assert command.help


def test_commands_can_be_put_in_and_taken_out() -> None:
    commands = Commands({"draw": "draw"})
    commands["other"] = command = object()
    assert (commands["other"], list(commands)) == (command, ["draw", "other"])
    del commands["other"]
    assert list(commands) == ["draw"]
    with pytest.raises(KeyError):
        commands["other"]
    assert app.registered_groups == []
