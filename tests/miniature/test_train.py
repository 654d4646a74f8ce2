"""The door to training: recipes, stages, the command line, and the libraries it does without."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.miniature.microscopic import microscopic_recipe

from stillmotion.errors import InputError
from stillmotion.miniature import stages, train
from stillmotion.miniature.recipe import RECIPES, STAGES, cpu_recipe
from stillmotion.miniature.train import ALL_STAGES, configured, main, selected_stages, train_stages

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_complete(name: str) -> None:
    recipe = RECIPES[name]()
    assert set(recipe.budgets) == {"judge", *STAGES} == set(ALL_STAGES)
    assert recipe.image_size % 8 == 0
    assert recipe.num_frames <= recipe.position_rows
    assert all(width % recipe.heads == 0 for width in recipe.unet_widths)
    for budget in recipe.budgets.values():
        assert budget.batch > 0
        assert budget.loop.budget_seconds is not None


def test_a_budget_replaces_that_of_its_stages_alone() -> None:
    recipe = configured("cpu", ("vae", "clip"), 7.0)
    for stage, budget in recipe.budgets.items():
        usual = cpu_recipe().budgets[stage]
        seconds = 7.0 if stage in ("vae", "clip") else usual.loop.budget_seconds
        assert budget.loop.budget_seconds == seconds
        assert budget.batch == usual.batch
    assert configured("gpu", ALL_STAGES, None) == RECIPES["gpu"]()


def test_mistakes_are_told() -> None:
    with pytest.raises(InputError, match="unknown recipe 'huge'; the recipes are: cpu, gpu"):
        configured("huge", (), None)
    with pytest.raises(InputError, match="must be positive, not -1 seconds"):
        configured("cpu", ("vae",), -1)
    with pytest.raises(InputError, match="unknown stage 'sound'; use all, judge, vae, clip"):
        selected_stages("sound")


def test_stages_are_selected() -> None:
    assert selected_stages("all") == (
        "judge", "vae", "clip", "text-to-image", "domains", "motion", "control",
        "video-text", "video-image", "video", "context", "adapt", "joint", "finish",
        "interpolation",
    )  # fmt: skip
    assert selected_stages("vae") == ("vae",)


def test_main_tells_mistakes_on_the_stream_it_is_given(tmp_path: Path) -> None:
    for arguments, message in (
        (["--stage", "sound"], "unknown stage 'sound'"),
        (["--recipe", "huge"], "unknown recipe 'huge'"),
        (["--stage", "motion", "--folder", str(tmp_path)], "train the stage 'text-to-image' first"),
    ):
        stderr = io.StringIO()
        assert main(arguments, stderr) == 2
        assert message in stderr.getvalue()


def test_main_says_how_to_go_on_when_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "train_stages", interrupted)
    stderr = io.StringIO()
    assert main([], stderr) == 130
    assert stderr.getvalue() == "interrupted; the same command goes on from here\n"


def terminated(*_: object) -> None:
    signal.raise_signal(signal.SIGTERM)


def test_sigterm_interrupts_outside_of_steps_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages.Workshop, "run", terminated)
    former = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        train_stages(("vae",), recipe=microscopic_recipe(), folder=tmp_path, quiet=True)
    assert signal.getsignal(signal.SIGTERM) == former


def test_stages_run_outside_the_main_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    monkeypatch.setattr(stages.Workshop, "run", lambda _, stage: ran.append(stage))
    thread = threading.Thread(
        target=train_stages,
        args=(("vae", "clip"),),
        kwargs={"recipe": microscopic_recipe(), "folder": tmp_path, "quiet": True},
    )
    thread.start()
    thread.join()
    assert ran == ["vae", "clip"]


WITHOUT_LIBRARIES = """
import sys
for name in ("av", "pydantic", "typer", "peft"):
    sys.modules[name] = None

from pathlib import Path
from stillmotion.miniature import package, stages, train
from tests.miniature.microscopic import microscopic_recipe

recipe, folder = microscopic_recipe(), Path(sys.argv[1])
train.train_stages(("clip",), recipe=recipe, folder=folder, device="cpu")
print((folder / "tokenizer" / "tokenizer.json").read_text())
"""


def test_training_needs_no_media_and_no_application_library(tmp_path: Path, trained: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_LIBRARIES, str(tmp_path)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(("src", "."))},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "text_encoder" / "model.safetensors").is_file()
    # Another process learns the same tokenizer, number for number.
    here = (trained / "tokenizer" / "tokenizer.json").read_text()
    assert done.stdout.strip() == here.strip()
