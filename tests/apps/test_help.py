"""A stranger's first minutes: help, versions and mistakes on the command line."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import typer
from tests.apps.conftest import Run

from stillmotion import __version__
from stillmotion.apps.cli import app

COMMANDS = [
    (),
    ("draw",),
    ("animate",),
    ("edit",),
    ("story",),
    ("convert",),
    ("models",),
    ("models", "show"),
    ("models", "add"),
    ("models", "remove"),
    ("doctor",),
    ("train",),
    ("train", "miniature"),
    ("train", "check"),
    ("train", "dynamicrafter"),
    ("inspect", "gates"),
    ("evaluate",),
    ("evaluate", "miniature"),
    ("evaluate", "ablation"),
    ("evaluate", "dynamicrafter-ablation"),
    ("evaluate", "dynamicrafter-settings"),
    ("evaluate", "animatezero"),
    ("evaluate", "dynamicrafter"),
    ("evaluate", "clips"),
    ("evaluate", "score"),
    ("evaluate", "methods"),
    ("evaluate", "export"),
    ("evaluate", "report"),
    ("evaluate", "compare"),
    ("study",),
    ("study", "build"),
    ("study", "score"),
    ("bench",),
    ("bench", "counts"),
    ("bench", "server"),
    ("studio",),
    ("serve",),
    ("token",),
    ("submit",),
    ("watch",),
    ("jobs",),
    ("jobs", "list"),
    ("jobs", "change"),
]
# Taking an option away, or giving it another meaning, breaks somebody's script: it needs a new
# major version and a changelog line.
INGREDIENTS = (
    "checkpoint vae motion lora motion-lora embedding ip-adapter ip-image scheduler clip-skip "
)
OPTIONS = {
    "draw": "output count seed look steps guidance negative speed height width model device "
    "compile download force json quiet " + INGREDIENTS,
    "animate": "method frame-stride conditioning-fps image-guidance guidance-rescale eta "
    "start-timestep exact-first-frame gate-scale output from count frames fps scale seed look "
    "preview last-frame loop seamless "
    "even-pace towards prompt-at motion-strength drift-correction time-travel time-travel-window "
    "photograph trajectory first-frame fit steps guidance negative speed ablation insert-latents "
    "share-kv kv-source window window-blocks query-position frame-norm window-length model device "
    "compile memory download force json quiet " + INGREDIENTS,
    "edit": "output count still control controlnet depth-model control-scale frames start stride "
    "fps scale seed look steps guidance negative speed animatediff model device memory download "
    "compile force json quiet",
    "story": "output folder dry-run device memory download force json quiet",
    "convert": "to base tokenizer variant allow-pickle force json",
    "models": "download json",
    "models show": "download json",
    "models add": "folder checkpoint base motion vae lora title licence prompt-prefix negative "
    "steps guidance height width frames clip-skip json",
    "models remove": "json",
    "doctor": "device json",
    "train miniature": "stage recipe folder budget begin-with package device json quiet",
    "train dynamicrafter": "stage start clips output context image-encoder ablation height width "
    "frames min-stride max-stride skip-damaged batch accumulate steps seconds learning-rate ema "
    "seed precision gradient-checkpointing sharded workers device folder checkpoint-every json "
    "quiet",
    "inspect gates": "output download force json",
    "train check": "frames every-frame json quiet",
    "evaluate miniature": "samples model write-card folder processes device json quiet",
    "evaluate ablation": "prompts model output folder processes device force json quiet",
    "evaluate features": "prompts features model output folder processes device force json quiet",
    "evaluate dynamicrafter-ablation": "ablations samples training context-steps adapt-steps "
    "joint-steps output folder processes device force json quiet",
    "evaluate dynamicrafter-settings": "settings samples model output folder processes device "
    "force json quiet",
    "evaluate memory": "json",
    "evaluate speed": "samples model output device force json quiet",
    "evaluate animatezero": "samples prompts model methods weights extractor score-as output "
    "processes device json quiet",
    "evaluate dynamicrafter": "samples clips layout prompts size model animatezero-model methods "
    "weights extractor score-as output processes device json quiet",
    "evaluate clips": "stills ends prompts extractor title output processes device json quiet",
    "evaluate score": "still last-frame prompt output device force json quiet",
    "evaluate methods": "json",
    "evaluate export": "output force json quiet",
    "evaluate report": "reference cases width json",
    "evaluate compare": "output anyway reference cases width force json",
    "study build": "output design methods cases repeats checks side prompts title "
    "instructions words seed force json quiet",
    "study score": "output scores wins incomplete drop-failed force json",
    "bench counts": "model output force json quiet",
    "bench server": "jobs listeners connections seconds output force json quiet",
    "studio": "host port library workers device allow-model token-file host-name study open logs",
    "serve": "host port library workers device compile allow-model token-file host-name max-queue "
    "max-cost max-library drain quiet",
    "token": "token-file admin max-waiting max-cost max-priority requests-per-minute json",
    "submit": "file set priority output server token-from force json quiet",
    "watch": "output server token-from force json quiet",
    "jobs list": "state count server token-from json",
    "jobs change": "priority set server token-from json",
    "jobs move": "before after server token-from json",
}
HEAVY = {"av", "diffusers", "numpy", "peft", "PIL", "torch", "transformers"}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(command: tuple[str, ...], run: Run) -> None:
    shown = run(*command, "--help")
    assert shown.code == 0
    assert shown.err == ""
    assert "Usage: stillmotion" in shown.out


def test_without_a_command_help_is_shown(run: Run) -> None:
    shown = run()
    assert shown.code == 0
    assert all(name in shown.out for name in ("draw", "animate", "models", "doctor"))


@pytest.mark.parametrize("group", ["train", "evaluate"])
def test_a_group_without_a_command_shows_its_help(group: str, run: Run) -> None:
    shown = run(group)
    assert shown.code == 2
    assert "miniature" in shown.out
    assert shown.err == ""


def test_version(run: Run) -> None:
    assert run("--version").out.strip() == __version__


@pytest.mark.parametrize("command", OPTIONS)
def test_options_are_frozen(command: str) -> None:
    found = typer.main.get_command(app)
    for name in command.split():
        found = found.commands[name]  # type: ignore[attr-defined]
    long = {option.removeprefix("--") for parameter in found.params for option in parameter.opts
            if option.startswith("--")}  # fmt: skip
    assert long == set(OPTIONS[command].split())


def test_help_is_light() -> None:
    """Less than a second of a CPU, and none of the large libraries."""
    program = (
        "import sys, time\n"
        "from stillmotion.apps.cli import main\n"
        "try:\n    main(['animate', '--help'])\n"
        "except SystemExit:\n    pass\n"
        "print(time.process_time(), *sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    seconds, *modules = done.stderr.split()
    assert HEAVY & set(modules) == set()
    assert float(seconds) < 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["paint"], "No such command 'paint'"),
        (["draw"], "Missing argument 'PROMPT'; see 'stillmotion draw --help'"),
        (["draw", "x"], "Missing option '--output'"),
        (["draw", "x", "--paint"], "No such option: --paint"),
        (["draw", "x", "-o", "a.png", "--steps", "many"], "Invalid value for '--steps'"),
        (["draw", "x", "-o", "a.png", "--steps", "0"], "Invalid value for '--steps'"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments: list[str], said: str, run: Run) -> None:
    assert said in run(*arguments).error


def test_mistakes_are_told_to_machines(run: Run) -> None:
    failed = run("draw", "--json")
    assert failed.code == 2
    assert "Missing" in json.loads(failed.err)["error"]
