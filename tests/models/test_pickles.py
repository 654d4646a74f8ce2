"""Pickles are read without letting them run anything, or not at all."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from stillmotion.errors import ModelError, OutputError
from stillmotion.models.pickles import convert_pickle, limit_memory, read_pickle


class Program:
    """Makes a file when it is unpickled without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def saved(value: object, path: Path, *, legacy: bool = False) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=not legacy)
    return path


def test_a_checkpoint_becomes_safetensors(tmp_path: Path) -> None:
    weight = torch.arange(6.0).reshape(2, 3)
    source = saved(
        {"epoch": 3, "state_dict": {"a": weight.t(), "b": weight, "note": "x"}}, tmp_path / "x.ckpt"
    )
    output = tmp_path / "new" / "x.safetensors"
    convert_pickle(source, output)
    written = load_file(output)
    assert set(written) == {"a", "b"}
    assert torch.equal(written["a"], weight.t())
    assert torch.equal(written["b"], weight)
    assert [path.name for path in output.parent.iterdir()] == ["x.safetensors"]
    with pytest.raises(OutputError, match="exists already"):
        convert_pickle(source, output)


@pytest.mark.parametrize("way", ["torch", "legacy", "bare"])
def test_a_program_is_refused_and_has_no_effect(way: str, tmp_path: Path) -> None:
    trace, source = tmp_path / "trace", tmp_path / "evil.pt"
    value = {"a": torch.zeros(2), "b": Program(trace)}
    if way == "bare":
        source.write_bytes(pickle.dumps(Program(trace), 2))
    else:
        saved(value, source, legacy=way == "legacy")
    with pytest.raises(ModelError, match=r"holds more than tensors|is damaged"):
        read_pickle(source)
    assert not trace.exists()
    # The same pickle does its work where care is not taken, so the test can fail.
    if way == "torch":
        torch.load(source, weights_only=False)
        assert trace.is_dir()


def test_a_program_is_refused_by_the_process_that_reads(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    source = saved({"a": Program(trace)}, tmp_path / "evil.pt")
    output = tmp_path / "x.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        # torch would take this as leave to run anything, were the choice left to it.
        patch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
        with pytest.raises(ModelError, match=r"'evil.pt' holds more than tensors \('\w+\.mkdir'\)"):
            convert_pickle(source, output)
    assert {path.name for path in tmp_path.iterdir()} == {"evil.pt"}


@pytest.mark.parametrize("legacy", [True, False])
def test_a_tensor_larger_than_its_file_is_refused(legacy: bool, tmp_path: Path) -> None:
    source = saved({"a": torch.zeros(1).expand(10**12)}, tmp_path / "x.pt", legacy=legacy)
    with pytest.raises(ModelError, match="more memory than a file of its size"):
        read_pickle(source)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux alone")
def test_memory_is_limited(tmp_path: Path) -> None:
    source = saved({"a": torch.zeros(2)}, tmp_path / "x.pt")
    child = os.fork()
    if child == 0:  # leaves by _exit alone: what pytest has open is the parent's
        try:
            limit_memory(source)
            torch.empty(2**32, dtype=torch.uint8)
        except RuntimeError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_time_is_limited(tmp_path: Path) -> None:
    source = saved({"a": torch.zeros(2)}, tmp_path / "x.pt")
    with pytest.raises(ModelError, match=r"not read within 0\.01 seconds"):
        convert_pickle(source, tmp_path / "x.safetensors", time_limit=0.01)
    assert {path.name for path in tmp_path.iterdir()} == {"x.pt"}


def test_shared_and_nested_tensors(tmp_path: Path) -> None:
    weight = torch.zeros(2, 2)
    nested = {"image_proj": {"w": weight}, "ip_adapter": {"1": {"k": weight}}, "n": 3, 4: weight}
    tensors = read_pickle(saved(nested, tmp_path / "ip.bin"))
    assert set(tensors) == {"image_proj.w", "ip_adapter.1.k"}
    assert len({tensor.untyped_storage().data_ptr() for tensor in tensors.values()}) == 2


def test_embeddings_get_the_name_of_their_safetensors(tmp_path: Path) -> None:
    vectors = torch.ones(3, 768)
    tensors = read_pickle(
        saved({"string_to_param": {"*": vectors}, "name": "cat"}, tmp_path / "cat.pt")
    )
    assert list(tensors) == ["emb_params"]
    assert torch.equal(tensors["emb_params"], vectors)


@pytest.mark.parametrize(
    ("content", "said"), [({}, "holds no tensors"), ([torch.zeros(1)], "holds no tensors")]
)
def test_pickles_without_tables_of_tensors(content: object, said: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=said):
        read_pickle(saved(content, tmp_path / "x.pt"))


def test_damaged_and_other_files(tmp_path: Path) -> None:
    source = saved({"a": torch.zeros(2)}, tmp_path / "x.pt", legacy=True)
    source.write_bytes(source.read_bytes()[:60])
    with pytest.raises(ModelError, match=r"'x\.pt'"):
        read_pickle(source)
    other = tmp_path / "x.safetensors"
    other.write_text("no weights at all")
    with pytest.raises(ModelError, match="a pickle of weights was expected"):
        convert_pickle(other, tmp_path / "y.safetensors")
