"""Weights of extractors from local files: never a pickle, never a program, never by halves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from stillmotion.errors import ModelError
from stillmotion.models.files import describe
from stillmotion.models.fitting import fitted
from stillmotion.models.layouts import FileKind
from stillmotion.models.loading import explained, silent_libraries
from stillmotion.models.sources import sha256

_COUNTER = "num_batches_tracked"


def read_state(path: Path, what: str, hint: str = "") -> dict[str, Tensor]:
    """The tensors of a .safetensors file, float32 where they are floats.

    Args:
        path: the file.
        what: the network that it is for, as errors call it: "I3D".
        hint: what to do about a file of another format, in addition.

    Raises:
        ModelError: there is no such file, or it is a pickle, a TorchScript archive, or damaged.
    """
    found = describe(path)
    more = f"; {hint}" if hint else ""
    if found.kind is FileKind.PICKLE:
        raise ModelError(
            f"'{path.name}' is a pickle, which could run a program when it is read; turn it into a "
            f".safetensors file with: stillmotion convert --allow-pickle {path} "
            f"{safetensors_beside(path).name}{more}"
        )
    if found.kind is FileKind.TORCHSCRIPT:
        raise ModelError(
            f"'{path.name}' is a TorchScript archive, which holds a program beside its weights and "
            "is never run here; where you trust it, write torch.jit.load(FILE).state_dict() with "
            f"safetensors.torch.save_file and give that file{more}"
        )
    if found.kind is FileKind.DAMAGED:
        raise ModelError(f"'{path.name}' cannot be used for {what}, it is {found.words}")
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in found.shapes}
    return {n: t.float() if t.is_floating_point() else t for n, t in tensors.items()}


def safetensors_beside(path: Path) -> Path:
    """Where a pickle's contents go: `x.pth` and `x.pth.tar` to `x.safetensors`."""
    return path.with_name(f"{Path(path.name.removesuffix('.tar')).stem}.safetensors")


def fill(network: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    """Give a network its weights; counters of batches, which no result depends on, may lack.

    Raises:
        ModelError: something is missing, left over or of another shape.
    """
    state = network.state_dict()
    counters = {n: t for n, t in state.items() if n.rpartition(".")[2] == _COUNTER}
    given = {n: t for n, t in tensors.items() if n.rpartition(".")[2] != _COUNTER}
    network.load_state_dict(fitted({**counters, **given}, state, what))


def transformers_weights(folder: Path) -> list[Path]:
    """The weights of a network that `transformers` saved: one file, or its parts.

    Raises:
        ModelError: there are none.
    """
    single = folder / "model.safetensors"
    files = [single] if single.is_file() else sorted(folder.glob("model-*-of-*.safetensors"))
    if not files:
        raise ModelError(
            f"the folder {folder} has no model.safetensors; give one that save_pretrained of "
            "transformers wrote (pickled weights, such as pytorch_model.bin, are not read)"
        )
    return files


def transformers_network(
    kind: Any, folder: Path, model_types: Collection[str], **options: Any
) -> Any:
    """A network that `transformers` saved, in float32, for evaluation.

    Args:
        kind: its class.
        folder: with config.json and model.safetensors.
        model_types: what config.json may call it.
        options: more that its constructor takes.

    Raises:
        ModelError: no such folder, another kind of network, or one that lacks tensors; the
            library by itself would fill those with random numbers.
    """
    check_model_type(folder, model_types)
    transformers_weights(folder)
    with silent_libraries(), explained(str(folder)):
        network, report = kind.from_pretrained(
            folder,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            **options,
        )
    lacks = sorted(report["missing_keys"]) or sorted(str(key) for key in report["mismatched_keys"])
    if lacks:
        raise ModelError(
            f"the weights in {folder} do not fit its config.json: {len(lacks)} tensors are missing "
            f"or of another shape, such as '{lacks[0]}'; give the whole model"
        )
    return network.eval().requires_grad_(False)


def check_model_type(folder: Path, model_types: Collection[str]) -> None:
    """Raise ModelError unless a folder's config.json describes one of these kinds of network."""
    if not folder.is_dir():
        raise ModelError(f"there is no folder '{folder}'; give one that transformers saved")
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"the folder {folder} has no config.json; give one that transformers saved"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} is damaged: {error}") from error
    found = config.get("model_type") if isinstance(config, dict) else None
    if found not in model_types:
        raise ModelError(
            f"the network in {folder} is of the type {found!r}; "
            f"{' or '.join(repr(name) for name in sorted(model_types))} was expected"
        )


def identity_of(files: Mapping[str, Path]) -> str:
    """sha256 (hex) of a file; of several, of their hashes and names, one on each line."""
    if len(files) == 1:
        return sha256(next(iter(files.values())))
    lines = "".join(f"{sha256(path)}  {name}\n" for name, path in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
