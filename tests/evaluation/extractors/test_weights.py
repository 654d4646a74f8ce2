"""Weights from files: what is refused, and how the refusal helps."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.evaluation.extractors.networks import tiny_clip, tiny_tower
from torch import nn
from transformers import CLIPModel, CLIPVisionModelWithProjection
from typer.testing import CliRunner

from stillmotion.apps.cli import app
from stillmotion.errors import ModelError
from stillmotion.evaluation.extractors.weights import (
    fill,
    identity_of,
    read_state,
    safetensors_beside,
    transformers_network,
)


def test_tensors_are_read_as_float32(tmp_path: Path) -> None:
    tensors = {"a": torch.rand(2, 3).half(), "count": torch.tensor(4)}
    save_file(tensors, tmp_path / "x.safetensors")
    found = read_state(tmp_path / "x.safetensors", "I3D")
    assert found["a"].dtype == torch.float32
    assert torch.equal(found["a"], tensors["a"].float())
    assert found["count"].item() == 4
    assert found["count"].dtype == torch.int64


def test_a_pickle_is_refused_and_the_advice_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.pth.tar"
    torch.save({"a": torch.arange(3.0)}, path)
    with pytest.raises(ModelError, match="is a pickle") as refusal:
        read_state(path, "I3D", "a hint")
    said = str(refusal.value)
    command = f"stillmotion convert --allow-pickle {path} x.safetensors"
    assert f"with: {command}; a hint" in said
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, command.split()[1:]).exit_code == 0
    assert torch.equal(read_state(tmp_path / "x.safetensors", "I3D")["a"], torch.arange(3.0))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_is_refused_and_the_advice_works(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    network = nn.Linear(2, 1)
    torch.jit.save(torch.jit.script(network), path)
    with pytest.raises(ModelError, match=r"holds a program beside its weights .* a hint$"):
        read_state(path, "I3D", "a hint")
    save_file(dict(torch.jit.load(path).state_dict()), tmp_path / "x.safetensors")
    found = read_state(tmp_path / "x.safetensors", "I3D")
    assert torch.equal(found["weight"], network.weight)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.rand(100)}, tmp_path / "x.safetensors")
    whole = (tmp_path / "x.safetensors").read_bytes()
    (tmp_path / "x.safetensors").write_bytes(whole[:-8])
    with pytest.raises(ModelError, match=r"'x.safetensors' cannot be used for I3D, it is damaged"):
        read_state(tmp_path / "x.safetensors", "I3D")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"there is no file '.*x.safetensors'"):
        read_state(tmp_path / "x.safetensors", "I3D")


@pytest.mark.parametrize("name", ["x.pth", "x.pth.tar", "x.pt"])
def test_where_a_pickle_goes(name: str) -> None:
    assert safetensors_beside(Path("a") / name) == Path("a/x.safetensors")


def test_counters_of_batches_may_lack_and_are_not_needed() -> None:
    network = nn.BatchNorm1d(3)
    state = {name: torch.rand(3) for name in ("weight", "bias", "running_mean", "running_var")}
    fill(network, state, "'x'")
    assert torch.equal(network.weight, state["weight"])


def test_other_tensors_may_not_lack() -> None:
    with pytest.raises(ModelError, match="'x' lacks 'bias'"):
        fill(nn.Linear(2, 1), {"weight": torch.rand(1, 2)}, "'x'")


def test_a_network_is_read_as_it_was_saved(tmp_path: Path) -> None:
    saved = tiny_tower(3)
    saved.half().save_pretrained(tmp_path)
    read = transformers_network(CLIPVisionModelWithProjection, tmp_path, {"clip_vision_model"})
    assert not read.training
    for name, tensor in read.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, saved.state_dict()[name].float())


def test_a_network_that_lacks_tensors_is_refused(tmp_path: Path) -> None:
    """transformers alone would fill them with random numbers and go on."""
    tiny_clip().save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = {n: t for n, t in load_file(path).items() if "visual_projection" not in n}
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 tensors are missing .*'visual_projection.weight'"):
        transformers_network(CLIPModel, tmp_path, {"clip"})


def test_another_kind_of_network_is_refused(tmp_path: Path) -> None:
    tiny_tower(3).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="of the type 'clip_vision_model'; 'clip' was expected"):
        transformers_network(CLIPModel, tmp_path, {"clip"})


def test_pickled_weights_beside_a_config_are_refused(tmp_path: Path) -> None:
    tiny_clip().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"has no model.safetensors"):
        transformers_network(CLIPModel, tmp_path, {"clip"})


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no folder"):
        transformers_network(CLIPModel, tmp_path / "absent", {"clip"})
    with pytest.raises(ModelError, match=r"has no config.json"):
        transformers_network(CLIPModel, tmp_path, {"clip"})
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match=r"config.json is damaged"):
        transformers_network(CLIPModel, tmp_path, {"clip"})
    (tmp_path / "config.json").write_text(json.dumps([1]), encoding="utf-8")
    with pytest.raises(ModelError, match="of the type None"):
        transformers_network(CLIPModel, tmp_path, {"clip"})


def test_identity_is_the_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    assert identity_of({"a": tmp_path / "a"}) == sha256(b"one").hexdigest()


def test_identity_of_several_depends_on_each_and_on_its_place(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"two")
    a, b = tmp_path / "a", tmp_path / "b"
    lines = f"{sha256(b'one').hexdigest()}  x\n{sha256(b'two').hexdigest()}  y\n"
    assert identity_of({"y": b, "x": a}) == sha256(lines.encode()).hexdigest()
    assert identity_of({"x": b, "y": a}) != identity_of({"x": a, "y": b})
