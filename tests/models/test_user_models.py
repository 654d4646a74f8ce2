"""Models of the user's own: added from files, called by name, forgotten again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.models.tiny_folders import (
    make_checkpoint,
    make_folder,
    make_lora,
    make_motion,
)

from stillmotion.animatezero.ingredients import Ingredients
from stillmotion.animatezero.loading import load_model
from stillmotion.errors import ModelError
from stillmotion.models.adding import NewModel, add_model
from stillmotion.models.description import ModelDescription, Parts, Source
from stillmotion.models.registry import (
    PACKAGED,
    catalogue,
    known_model,
    known_models,
    resolve_model,
)
from stillmotion.models.user_models import (
    data_home,
    remove_user_model,
    save_user_model,
    user_model_names,
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STILLMOTION_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("models") / "tiny", 10)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("files") / "other.safetensors", 50)


def test_where_they_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert data_home() == tmp_path / "home"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert data_home() == tmp_path / "home"
    monkeypatch.delenv("STILLMOTION_HOME")
    assert data_home() == tmp_path / "xdg" / "stillmotion"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_home() == tmp_path / ".local" / "share" / "stillmotion"


def test_a_folder_is_given_a_name(folder: Path, home: Path) -> None:
    assert user_model_names() == []
    made = add_model("mine", NewModel(folder=folder, changes={"prompt_prefix": "oil,"}))
    assert (made.name, made.origin, made.lacks) == ("mine", "user", None)
    assert made.folder is not None
    assert made.folder.path == folder
    assert made.description.num_frames == 3  # as the folder itself says
    assert user_model_names() == ["mine"]
    assert [m.name for m in known_models() if m.origin != "catalogue"] == [*PACKAGED, "mine"]
    model = load_model("mine", device="cpu")
    assert model.styled("a cat") == "oil, a cat"
    assert model.styled("oil, a cat") == "oil, a cat"
    assert model.name == "mine"
    assert remove_user_model("mine") == home / "models" / "mine.json"
    assert user_model_names() == []
    with pytest.raises(ModelError, match="unknown model 'mine'"):
        resolve_model("mine")


def test_files_replace_parts_of_a_base(folder: Path, checkpoint: Path, tmp_path: Path) -> None:
    make_motion(tmp_path / "motion", 60)
    lora = make_lora(tmp_path / "lora.safetensors")
    add_model("base", NewModel(folder=folder))
    new = NewModel(
        base="base",
        checkpoint=checkpoint,
        motion=tmp_path / "motion",
        loras=((lora, 0.5),),
        changes={"num_inference_steps": 7, "guidance_scale": None, "clip_skip": 0},
    )
    made = add_model("other", new)
    assert made.description.title == "other.safetensors, motion, lora.safetensors on base"
    assert (made.description.num_inference_steps, made.description.guidance_scale) == (7, 7.5)
    wanted = load_model(
        str(folder),
        device="cpu",
        ingredients=Ingredients(
            checkpoint=checkpoint, motion=tmp_path / "motion", loras=((lora, 0.5),)
        ),
    ).pipeline
    got = load_model("other", device="cpu").pipeline
    assert got.model_fingerprint == wanted.model_fingerprint
    name = next(name for name in wanted.unet.state_dict() if "motion_modules" in name)
    assert (got.unet.state_dict()[name] == wanted.unet.state_dict()[name]).all()


def test_a_model_of_the_catalogue_is_told_its_file(checkpoint: Path) -> None:
    made = add_model("toonyou", NewModel(checkpoint=checkpoint))
    assert made.origin == "user"
    assert made.description.title == catalogue()["toonyou"].title
    assert made.description.notes == catalogue()["toonyou"].notes
    assert made.description.parts is not None
    assert made.description.parts.base == Source(model="sd15")
    assert "fetch yourself" not in str(made.lacks)  # what it lacks now is sd15
    assert [m.name for m in known_models()].count("toonyou") == 1
    remove_user_model("toonyou")
    assert known_model("toonyou").origin == "catalogue"


def test_the_catalogue_may_know_the_files_sha256(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says = catalogue()["toonyou"]
    assert says.parts is not None
    source = Source(page="https://a", files={checkpoint.name: "0" * 64})
    parts = says.parts.model_copy(update={"checkpoint": source})
    changed = {**catalogue(), "toonyou": says.model_copy(update={"parts": parts})}
    monkeypatch.setattr("stillmotion.models.adding.catalogue", lambda: changed)
    with pytest.raises(ModelError, match="is not the file that the catalogue means"):
        add_model("toonyou", NewModel(checkpoint=checkpoint))


@pytest.mark.parametrize("name", ["miniature", "sd15", "animatelcm", "Mine", "mine"])
def test_names_that_are_taken(name: str, folder: Path, checkpoint: Path) -> None:
    add_model("mine", NewModel(folder=folder))
    with pytest.raises(ModelError, match=f"there is a model '{name}' already"):
        add_model(name, NewModel(folder=folder))
    with pytest.raises(ModelError, match="there is a model 'toonyou' already"):
        add_model("toonyou", NewModel(checkpoint=checkpoint, base="mine"))


@pytest.mark.parametrize("name", ["", "a/b", "..", "a@b", "-a", "add", "plain", "a b", "x" * 65])
def test_names_that_none_can_have(name: str, folder: Path, home: Path) -> None:
    with pytest.raises(ModelError, match="a model cannot be named"):
        add_model(name, NewModel(folder=folder))
    assert not home.exists()


def test_what_cannot_be_added(folder: Path, checkpoint: Path, tmp_path: Path, home: Path) -> None:
    lora = make_lora(tmp_path / "lora.safetensors")
    (tmp_path / "empty").mkdir()
    pickle = tmp_path / "model.ckpt"
    pickle.write_bytes(b"\x80\x02}q\x00." + bytes(100))
    wrong: list[tuple[dict[str, Any], str]] = [
        ({}, "there is nothing to add"),
        ({"folder": folder, "base": "sd15"}, "a folder and a base are given"),
        ({"folder": checkpoint}, "is no folder; to add a file, use --checkpoint"),
        ({"folder": tmp_path / "empty"}, r"has no model_index\.json"),
        ({"checkpoint": lora}, "is a kohya LoRA; a Stable Diffusion 1.x checkpoint was expected"),
        ({"checkpoint": pickle}, "is a pickle"),
        ({"vae": checkpoint}, "a VAE was expected"),
        ({"motion": checkpoint}, "a motion module was expected"),
        ({"motion": tmp_path / "empty"}, "holds no motion module"),
        ({"loras": ((checkpoint, 1.0),)}, "is a Stable Diffusion 1.x checkpoint"),
        ({"checkpoint": checkpoint, "base": "nothing"}, "unknown model 'nothing'"),
        ({"folder": folder, "changes": {"height": 0}}, "the height cannot be 0"),
    ]
    for given, said in wrong:
        with pytest.raises(ModelError, match=said):
            add_model("mine", NewModel(**given))
    assert not home.exists()


def test_a_file_that_is_gone_is_told(folder: Path, tmp_path: Path) -> None:
    path = make_checkpoint(tmp_path / "gone.safetensors", 50)
    add_model("base", NewModel(folder=folder))
    add_model("mine", NewModel(base="base", checkpoint=path))
    path.unlink()
    told = {model.name: model.lacks for model in known_models()}
    assert "is not there any more; put it back" in str(told["mine"])
    assert told["base"] is None


def test_a_damaged_description_hides_no_other(folder: Path, home: Path) -> None:
    add_model("mine", NewModel(folder=folder))
    (home / "models" / "broken.json").write_text("{")
    told = {model.name: model.lacks for model in known_models()}
    assert "is not a valid model description" in str(told["broken"])
    assert told["mine"] is None
    with pytest.raises(ModelError, match="is not a valid model description"):
        resolve_model("broken")
    remove_user_model("broken")


def test_a_model_built_on_itself(folder: Path) -> None:
    for name, base in (("a", "b"), ("b", "a")):
        save_user_model(name, ModelDescription(parts=Parts(base=Source(model=base))))
    with pytest.raises(ModelError, match="the model 'a' is built on itself"):
        resolve_model("a")


def test_what_was_not_added_is_not_forgotten() -> None:
    with pytest.raises(ModelError, match="added no model 'sd15'; yours are: none yet"):
        remove_user_model("sd15")


def test_descriptions_hold_only_what_was_said(folder: Path, home: Path) -> None:
    add_model("mine", NewModel(folder=folder, changes={"licence": "MIT"}))
    said = json.loads((home / "models" / "mine.json").read_text())
    assert said["licence"] == "MIT"
    assert said["parts"]["base"] == {"path": str(folder)}
    assert "looks" not in said
