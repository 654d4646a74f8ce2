"""Names of models -> folders, and what is wrong with a folder that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stillmotion.errors import ModelError
from stillmotion.models.description import FILE_NAME, ModelDescription, read_description
from stillmotion.models.registry import PARTS, known_models, miniature_folder, resolve_model

CLASSES = dict.fromkeys(PARTS, "Class") | {"unet": "UNet2DConditionModel"}


def make_model(folder: Path, **changes: str | None) -> Path:
    """A folder that looks like a model, with a file in each part; None leaves a part out."""
    classes = {name: kind for name, kind in (CLASSES | changes).items() if kind is not None}
    for name in classes:
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text("{}")
    index: dict[str, Any] = {name: ["library", kind] for name, kind in classes.items()}
    index |= {"_class_name": "AnimateDiffPipeline", "feature_extractor": [None, None]}
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def test_the_miniature_is_known() -> None:
    known = known_models()[0]
    assert (known.name, known.origin, known.lacks) == ("miniature", "package", None)
    miniature = resolve_model("miniature")
    assert known.folder == miniature
    assert miniature.path == miniature_folder()
    for look in miniature.description.looks.values():
        assert (miniature.path / look.lora).is_file()


def test_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_model(tmp_path / "mine")
    assert resolve_model(str(folder)).path == folder
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve_model("~/mine").path == folder


def test_a_video_unet_needs_no_motion_adapter(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "mine", unet="UNetMotionModel", motion_adapter=None)
    assert resolve_model(str(folder)).path == folder


def test_what_is_wrong_with_a_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no model_index\.json"):
        resolve_model(str(tmp_path))
    pictures = make_model(tmp_path / "pictures", motion_adapter=None)
    with pytest.raises(ModelError, match="has no motion adapter"):
        resolve_model(str(pictures))
    hollow = make_model(tmp_path / "hollow")
    (hollow / "vae" / "config.json").unlink()
    (hollow / "tokenizer" / "config.json").unlink()
    with pytest.raises(ModelError, match="lacks vae, tokenizer, named in"):
        resolve_model(str(hollow))
    for text in ("{", "[1]", "3"):
        (hollow / "model_index.json").write_text(text)
        with pytest.raises(ModelError, match=r"model_index\.json is damaged"):
            resolve_model(str(hollow))


@pytest.mark.parametrize("name", ["nothing", "", "./nothing/here", "a/b/c"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(ModelError, match="unknown model"):
        resolve_model(name)


def test_hub_ids_are_not_fetched_unasked() -> None:
    with pytest.raises(ModelError, match="'nobody/nothing' is not on this machine; add --download"):
        resolve_model("nobody/nothing")
    with pytest.raises(ModelError, match="no hub id either"):
        resolve_model("no--body/nothing..")


def test_descriptions_default_to_stable_diffusion(tmp_path: Path) -> None:
    assert read_description(tmp_path) == ModelDescription()
    assert (ModelDescription().height, ModelDescription().num_frames) == (512, 16)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not a valid model description"),
        ("\xff", "is not a valid model description"),
        ('{"height": -3}', "height: Input should be greater than 0"),
        ('{"colour": "red"}', "colour: Extra inputs are not permitted"),
        ('{"looks": {"neon": {}}}', "looks.neon.lora: Field required"),
        ('{"schema_version": 2}', "schema_version"),
        ("[]", "the whole: "),
    ],
)
def test_descriptions_are_checked(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelError) as error:
        read_description(tmp_path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
