"""What a process imports before it has something to do, and that nothing is lost by it."""

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
WAITING = (
    "torch._dynamo",
    "torch.fx.experimental.symbolic_shapes",
    "diffusers.models.transformers",
    "diffusers.models.autoencoders",
    "diffusers.models.unets",
)
_HELP = """
import json, sys, time
from stillmotion.apps.cli import main
try:
    main({arguments})
except SystemExit:
    pass
print(json.dumps([time.process_time(), list(sys.modules)]), file=sys.stderr)
"""
_START = """
import json, sys
from stillmotion.adapters.unused_imports import defer_unused_imports
if {deferred}:
    defer_unused_imports()
from stillmotion.runtime.deferral import is_waiting
from stillmotion.animatezero.loading import load_model
model = load_model("miniature", device="cpu")
waiting = [name for name in {names} if is_waiting(name)]
from dataclasses import replace
[still] = model.drawing_pipeline.draw("a red balloon", seeds=[1],
    sampling=replace(model.drawing, num_inference_steps=2))
later = [name for name in {names} if is_waiting(name)]
others = ["sympy" in sys.modules, "torch.distributed.tensor" in sys.modules]
import hashlib
digest = hashlib.sha256(still.image.tobytes()).hexdigest()
import torch
calls = []
@torch.compiler.disable
def apart(x):
    calls.append(torch.compiler.is_compiling())
    return x + 1
compiled = torch.compile(lambda x: 2 * apart(x), backend="eager")
value = float(compiled(torch.ones(())))
from diffusers.models.attention import BasicTransformerBlock
from torch._dynamo.trace_rules import is_callable_allowed
allowed = bool(is_callable_allowed(BasicTransformerBlock))
from diffusers.models.transformers import FluxTransformer2DModel
print(json.dumps([waiting, later, others, digest, value, calls, allowed]), file=sys.stderr)
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


def test_what_is_not_used_waits_and_nothing_changes() -> None:
    deferred = told(_START.format(deferred=True, names=WAITING))
    plain = told(_START.format(deferred=False, names=WAITING))
    waiting, later, others, *rest = deferred
    assert waiting == later == list(WAITING), "some library asks for more of it now"
    assert others == [False, False]
    assert plain[0] == []
    # The pictures, what is compiled and what is not, and what the compiler was told.
    assert rest == plain[3:]
    assert rest[1:3] == [4.0, [False]]
