"""Pickled weights -> .safetensors, without letting the pickle run anything.

A pickle is a program.  torch's restricted reader (`weights_only=True`) knows tensors and plain
containers alone; it runs in a process of its own, with a limit of time and, on Linux, of memory.
What it refuses stays refused: there is no second, trusting attempt.

`python -m stillmotion.models.pickles IN OUT` is that process; use `convert_pickle`.
"""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from stillmotion.errors import ModelError
from stillmotion.models.files import describe
from stillmotion.models.layouts import FileKind
from stillmotion.runtime.files import atomic_path

_REFUSED = 3
"""Exit code of the reading process when it says why in a sentence."""
_GROWTH = 4
"""Tensors may take this many times the bytes of their file: some are stored once, used twice."""
_MARGIN_BYTES = 2**30
_MAX_DEPTH = 8
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")


def convert_pickle(
    source: Path, output: Path, *, overwrite: bool = False, time_limit: float = 1800.0
) -> None:
    """Write the tensors of a pickle as a .safetensors file.

    A `state_dict` inside is unwrapped, nested dictionaries become dotted names, and everything
    that is no tensor is left out.

    Args:
        source: a file written by torch.save (.ckpt, .pt, .pth, .bin).
        output: the .safetensors file.
        overwrite: whether it may be replaced.
        time_limit: seconds after which the reading process is ended.

    Raises:
        ModelError: no pickle, one that holds more than tensors, or one that asks for more memory
            or time than its size accounts for.
        OutputError: the file exists or cannot be written.
    """
    found = describe(source)
    if found.kind is not FileKind.PICKLE:
        raise ModelError(f"'{source.name}' is {found.words}; a pickle of weights was expected")
    with atomic_path(output, overwrite=overwrite) as temporary:
        _read_apart(source, temporary, time_limit)
        written = describe(temporary)
        if written.kind is FileKind.DAMAGED:
            raise ModelError(f"'{source.name}' could not be converted: {written.problem}")


def _read_apart(source: Path, output: Path, time_limit: float) -> None:
    """Let another process read the pickle and write its tensors to `output`."""
    # Nothing is imported from the working folder (-P), where the pickle may have company.
    command = [sys.executable, "-P", "-m", "stillmotion.models.pickles"]
    package_root = str(Path(__file__).parents[2])
    path = os.pathsep.join(p for p in (package_root, os.environ.get("PYTHONPATH")) if p)
    try:
        done = subprocess.run(
            [*command, str(source.absolute()), str(output.absolute())],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=time_limit,
            env={**os.environ, "PYTHONPATH": path},
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(
            f"'{source.name}' was not read within {time_limit:g} seconds; get the weights as a "
            ".safetensors file"
        ) from error
    if done.returncode == _REFUSED:
        raise ModelError(done.stderr.strip().splitlines()[-1])
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ModelError(
            f"'{source.name}' could not be converted; the process that read it ended with "
            f"{done.returncode}: {last}"
        )


def main(arguments: list[str]) -> None:
    """The reading process: `[IN, OUT]`.  OUT is written in place; ends with 3 and a sentence."""
    source, output = (Path(argument) for argument in arguments)
    try:
        limit_memory(source)
        tensors = read_pickle(source)
        save_file(tensors, output, metadata={"format": "pt"})
    except ModelError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(_REFUSED) from error


def read_pickle(source: Path) -> dict[str, Tensor]:
    """The tensors of a pickle by name, read by torch's restricted reader.

    Only for a process of its own, see `convert_pickle`: the reader is safe by intention, and the
    process is there for the day it is not.

    Raises:
        ModelError: the pickle holds other objects, is damaged, or is larger than its file.
    """
    try:
        # Of archives the tensors stay in the file until they are written.
        loaded = torch.load(
            source, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(source)
        )
    except pickle.UnpicklingError as error:
        culprit = _GLOBAL.search(str(error))
        what = f"'{culprit[1]}'" if culprit else "something else"
        raise ModelError(
            f"'{source.name}' holds more than tensors ({what}), so that reading it could run a "
            "program; it was refused: get the weights as a .safetensors file"
        ) from error
    except MemoryError as error:
        raise _too_large(source) from error
    except (RuntimeError, ValueError, KeyError, EOFError, OSError, AttributeError) as error:
        if "allocate memory" in str(error):
            raise _too_large(source) from error
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"'{source.name}' is damaged: {reason}") from error
    return _own_tensors(dict(_tensors(_unwrapped(loaded))), source)


def limit_memory(source: Path) -> None:
    """Limit what this process may take to what a file of that size accounts for (Linux only)."""
    if sys.platform != "linux":
        return
    import resource

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    wanted = used + _GROWTH * source.stat().st_size + _MARGIN_BYTES
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _unwrapped(loaded: Any) -> Any:
    """What a training script put around the weights, taken off."""
    for _ in range(_MAX_DEPTH):
        if not (isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping)):
            break
        loaded = loaded["state_dict"]
    if isinstance(loaded, Mapping) and isinstance(loaded.get("string_to_param"), Mapping):
        # A textual inversion embedding: {token: vectors}, under the name that its .safetensors has.
        return {"emb_params": next(iter(loaded["string_to_param"].values()), None)}
    return loaded


def _tensors(value: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        if value.layout is torch.strided and not value.is_quantized and not value.is_meta:
            yield name, value.detach()
    elif isinstance(value, Mapping) and depth < _MAX_DEPTH:
        for key, inner in value.items():
            if isinstance(key, str):
                yield from _tensors(inner, f"{name}.{key}" if name else key, depth + 1)


def _own_tensors(tensors: dict[str, Tensor], source: Path) -> dict[str, Tensor]:
    """Contiguous tensors that share no memory, as .safetensors needs them."""
    if not tensors:
        raise ModelError(f"'{source.name}' holds no tensors; a pickle of weights was expected")
    # A few bytes can claim to be a tensor of any size.
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if total > _GROWTH * source.stat().st_size:
        raise _too_large(source)
    seen = set()
    own = {}
    for name, tensor in tensors.items():
        tensor = tensor.contiguous()
        storage = tensor.untyped_storage().data_ptr()
        own[name] = tensor.clone() if storage in seen else tensor
        seen.add(storage)
    return own


def _too_large(source: Path) -> ModelError:
    return ModelError(
        f"'{source.name}' asks for more memory than a file of its size accounts for; it was "
        "refused: get the weights as a .safetensors file"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
