"""Names -> pipelines that are ready, and what is said about folders that are damaged."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from stillmotion.animatezero.loading import load_model, load_pipeline
from stillmotion.errors import InputError, ModelError
from stillmotion.models.loading import shareable, split_reference
from stillmotion.models.registry import miniature_folder


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A folder with links to the miniature's files: damage them by `replace` only."""
    folder = tmp_path / "linked"
    shutil.copytree(miniature_folder(), folder, copy_function=os.symlink)
    return folder


def replace(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def cut(path: Path) -> None:
    replace(path, path.read_bytes()[:1000])


def test_the_miniature_in_its_own_defaults() -> None:
    model = load_model()
    says = model.folder.description
    assert (model.reference, model.name, model.look) == ("miniature", "miniature", None)
    assert model.sampling.num_inference_steps == says.num_inference_steps
    assert (model.sampling.height, model.sampling.width) == (says.height, says.width)
    assert model.styled("a cat") == "a cat"


def test_a_look_is_merged_into_the_weights() -> None:
    plain, neon = load_pipeline("miniature"), load_model("miniature@neon", device="cpu")
    assert neon.reference == "miniature@neon"
    assert neon.pipeline.model_fingerprint != plain.model_fingerprint
    assert (
        neon.pipeline.model_fingerprint
        == load_model("miniature", look="neon").pipeline.model_fingerprint
    )
    assert load_model("miniature@plain").reference == "miniature"
    assert load_model("miniature@plain").pipeline.model_fingerprint == plain.model_fingerprint


def test_the_words_of_a_look_are_put_once() -> None:
    neon = load_model("miniature@neon")
    assert neon.styled("a cat") == "neon, a cat"
    assert neon.styled("neon, a cat") == "neon, a cat"


def test_records_do_not_tell_where_a_folder_lies(linked: Path) -> None:
    model = load_model(f"{linked}@neon")
    assert model.reference == f"{linked}@neon"
    assert model.name == "linked@neon"
    [still] = model.pipeline.draw("a cat", seeds=[1], sampling=load_sampling(model))
    assert still.model["name"] == "linked@neon"


def load_sampling(model: object) -> object:
    from dataclasses import replace as changed

    return changed(model.sampling, num_inference_steps=1)  # type: ignore[attr-defined]


def test_references(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a@b").mkdir()
    assert split_reference("miniature") == ("miniature", None)
    assert split_reference("user/model@neon") == ("user/model", "neon")
    assert split_reference("a@b") == ("a@b", None)
    assert split_reference("a@b@neon") == ("a@b", "neon")
    assert shareable("user/model@neon") == "user/model@neon"
    assert shareable(f"{tmp_path}/a@b/") == "a@b"
    assert shareable(".") == tmp_path.name


def test_what_cannot_be_asked_for() -> None:
    with pytest.raises(ModelError, match="has no look 'gothic'; it has: plain, "):
        load_model("miniature@gothic")
    with pytest.raises(ModelError, match="two looks are named, 'neon' in"):
        load_model("miniature@neon", look="plain")
    with pytest.raises(InputError, match="The device 'gpu' is unknown"):
        load_model(device="gpu")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: cut(f / "unet" / "diffusion_pytorch_model.safetensors"), "unet"),
        (lambda f: cut(f / "text_encoder" / "model.safetensors"), "header"),
        (lambda f: cut(f / "motion_adapter" / "diffusion_pytorch_model.safetensors"), "motion"),
        (lambda f: cut(f / "loras" / "neon.safetensors"), "neon"),
        (lambda f: (f / "loras" / "neon.safetensors").unlink(), "neon"),
        (lambda f: replace(f / "vae" / "config.json", b"{"), "JSON"),
        (lambda f: replace(f / "vae" / "config.json", b"{}"), "shape"),
        (lambda f: shutil.rmtree(f / "vae"), "lacks vae"),
        (lambda f: shutil.rmtree(f / "tokenizer"), "lacks tokenizer"),
        (lambda f: without(f, "motion_adapter"), "no motion adapter"),
        (lambda f: without(f, "scheduler"), "scheduler"),
    ],
)
def test_damage_is_told_in_a_sentence(
    damage: Callable[[Path], None], said: str, linked: Path
) -> None:
    damage(linked)
    with pytest.raises(ModelError) as error:
        load_model(str(linked), look="neon")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def without(folder: Path, part: str) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    del index[part]
    replace(folder / "model_index.json", json.dumps(index).encode())


def test_libraries_keep_their_voice() -> None:
    """Loading is silent, but how much the libraries say afterwards is the caller's business."""
    former = diffusers_logging.get_verbosity(), transformers_logging.get_verbosity()
    diffusers_logging.set_verbosity_info()
    transformers_logging.set_verbosity_debug()
    transformers_logging.enable_progress_bar()
    try:
        load_model("miniature@neon")
        assert diffusers_logging.get_verbosity() == diffusers_logging.INFO
        assert transformers_logging.get_verbosity() == transformers_logging.DEBUG
        assert diffusers_logging.is_progress_bar_enabled()
        assert transformers_logging.is_progress_bar_enabled()
    finally:
        diffusers_logging.set_verbosity(former[0])
        transformers_logging.set_verbosity(former[1])
