"""`stillmotion models`: the list, one in full, adding and forgetting."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from tests.apps.conftest import Run
from tests.models.tiny_folders import make_checkpoint, make_folder, make_lora

from stillmotion.animatezero.ingredients import Ingredients
from stillmotion.apps import ingredient_options as options
from stillmotion.apps.clip_jobs import files_of
from stillmotion.apps.running import job_of
from stillmotion.errors import InputError
from stillmotion.jobs.model import DrawJob
from stillmotion.jobs.sources import Found
from stillmotion.jobs.wishes import ingredients_of
from stillmotion.models.registry import PACKAGED, catalogue


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STILLMOTION_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("models") / "tiny", 10)


def test_all_models_are_listed(run: Run, folder: Path) -> None:
    run("models", "add", "mine", "--folder", folder, "--title", "My own")
    done = run("models")
    assert done.code == 0
    assert done.err == ""
    lines = done.out.splitlines()
    assert all(len(line) <= 100 or "/" in line for line in lines)
    assert "  mine                      My own" in lines
    for name in catalogue():
        [line] = [line for line in lines if line.startswith(f"  {name} ")]
        assert line.endswith("(not here)")
    facts = {row["name"]: row for row in run("models", "--json").facts["models"]}
    assert set(facts) == {*PACKAGED, "mine", *catalogue()}
    assert facts["miniature"]["here"]
    assert facts["mine"]["origin"] == "user"
    assert facts["mine"]["path"] == str(folder)
    assert not facts["sd15"]["here"]
    assert "add --download" in facts["sd15"]["lacks"]


def test_one_in_full(run: Run) -> None:
    told = " ".join(run("models", "toonyou").out.split())
    assert told.startswith("toonyou: ToonYou with AnimateDiff's motion module v2")
    assert "checkpoint to be fetched by hand from https://civitai.com/models/30240" in told
    assert "sampling 25 steps, guidance 7.5, DDIMScheduler" in told
    assert "lacks the model 'toonyou' needs a checkpoint" in told
    told = " ".join(run("models", "animatediff-lightning").out.split())
    assert "4 steps, guidance 1, EulerDiscreteScheduler; stills 25 steps, guidance 7.5" in told
    assert "animatediff_lightning_4step_diffusers.safetensors" in told
    assert "licence CreativeML OpenRAIL-M" in told
    told = " ".join(run("models", "animatelcm").out.split())
    assert "AnimateLCM_sd15_t2v_lora.safetensors, weight 0.8" in told


@pytest.mark.parametrize("order", [["sd15", "--json"], ["--json", "sd15"]])
def test_one_for_machines(order: list[str], run: Run) -> None:
    [facts] = run("models", *order).facts["models"]
    assert facts["name"] == "sd15"
    assert facts["parts"]["motion"]["hub"] == "guoyww/animatediff-motion-adapter-v1-5-2"
    assert facts["parts"]["base"]["revision"] is None


def test_a_model_is_added_used_and_forgotten(
    run: Run, folder: Path, tmp_path: Path, here: Path
) -> None:
    checkpoint = make_checkpoint(tmp_path / "other.safetensors", 50)
    lora = make_lora(tmp_path / "lora.safetensors")
    assert run("models", "add", "tiny", "--folder", folder).code == 0
    command = ["models", "add", "mine", "--base", "tiny", "--checkpoint", checkpoint]
    done = run(
        *command, "--lora", f"{lora}:0.5", "--prompt-prefix", "oil,", "--steps", "1", "--json"
    )
    [facts] = done.facts["models"]
    assert facts["here"]
    assert facts["checkpoint"] == str(checkpoint)
    assert facts["loras"] == [{"path": str(lora), "weight": 0.5}]
    drawn = run("draw", "a b", "--model", "mine", "-o", "a.png", "-q", "--json")
    assert drawn.facts["model"] == "mine"
    assert drawn.facts["prompt"] == "oil, a b"
    assert Path("a.png").is_file()
    assert "is forgotten" in run("models", "remove", "mine").out
    assert "unknown model 'mine'" in run("models", "mine").error
    assert checkpoint.is_file()


def test_mistakes_are_told(run: Run, folder: Path, tmp_path: Path) -> None:
    lora = make_lora(tmp_path / "lora.safetensors")
    add = ("models", "add")
    assert "there is a model 'sd15' already" in run(*add, "sd15", "--folder", folder).error
    assert "there is nothing to add" in run(*add, "mine").error
    assert "is a kohya LoRA" in run(*add, "mine", "--checkpoint", lora).error
    assert "cannot be named 'a/b'" in run(*add, "a/b", "--folder", folder).error
    assert "the weight in" in run(*add, "mine", "--lora", f"{lora}:nan").error
    assert "you have added no model 'sd15'" in run("models", "remove", "sd15").error
    assert "Missing argument 'NAME'" in run(*add).error
    assert "unknown model 'nothing'" in run("models", "nothing").error


def test_help_tells_of_names_and_commands(run: Run) -> None:
    told = " ".join(run("models", "--help").out.split())
    assert "stillmotion models NAME" in told
    assert all(word in told for word in ("add", "remove", "--json"))
    assert "show" not in told
    for command in ("add", "remove"):
        assert run("models", command, "--help").code == 0


# The options for commands that load a model.


def collect(arguments: list[str]) -> Ingredients:
    app, found = typer.Typer(), []

    @app.command()
    def command(
        checkpoint: options.Checkpoint = None,
        vae: options.Vae = None,
        motion: options.Motion = None,
        lora: options.Lora = None,
        motion_lora: options.MotionLora = None,
        embedding: options.Embedding = None,
        ip_adapter: options.IpAdapter = None,
        ip_image: options.IpImage = None,
        scheduler: options.Scheduler = None,
        clip_skip: options.ClipSkip = None,
    ) -> None:
        said = dict(locals())
        alike = ("motion", "ip_adapter", "ip_image", "scheduler", "clip_skip")
        chosen = {name: said[name] for name in alike}
        job = job_of({"kind": "draw", "prompt": "", **chosen, **files_of(said)})
        assert isinstance(job, DrawJob)
        found.append(ingredients_of(job, lambda source: Found(Path(source.path or ""), "")))

    app(arguments, standalone_mode=False)
    [ingredients] = found
    return ingredients


def test_options_become_ingredients() -> None:
    assert collect([]) == Ingredients()
    line = (
        "--checkpoint a.safetensors --vae b --motion user/name --lora c:0.5 --lora d "
        "--motion-lora e:2 --embedding f --embedding g --ip-adapter h:0.6 --ip-image i.png "
        "--scheduler euler --clip-skip 1"
    )
    assert collect(line.split()) == Ingredients(
        checkpoint=Path("a.safetensors"),
        vae=Path("b"),
        motion="user/name",
        loras=((Path("c"), 0.5), (Path("d"), 1.0)),
        motion_loras=((Path("e"), 2.0),),
        embeddings=(Path("f"), Path("g")),
        ip_adapter=Path("h"),
        ip_adapter_scale=0.6,
        ip_adapter_image=Path("i.png"),
        scheduler="euler",
        clip_skip=1,
    )


def test_options_that_do_not_fit_together() -> None:
    with pytest.raises(InputError, match="give both or neither"):
        collect(["--ip-adapter", "a"])
