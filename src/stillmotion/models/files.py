"""Files of weights: what each is, found without trusting it, and its tensors.

A .safetensors file opens with a header that names every tensor, its shape and where its bytes
are.  Everything is decided and checked from that header, whose size is held against the file's,
before memory is taken for a single tensor.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from safetensors import safe_open
from torch import Tensor

from stillmotion.errors import ModelError
from stillmotion.models.layouts import (
    SD2,
    SD15,
    SDXL,
    FileKind,
    Layout,
    Shape,
    expected_words,
    layout_of,
)

MAX_HEADER_BYTES = 100_000_000
"""The limit of safetensors itself; headers of published files have less than a megabyte."""
DIFFUSERS_STEM = "diffusion_pytorch_model"
"""Name under which diffusers saves the weights of a network."""
_LENGTH_BYTES = 8
_ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1,
    "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4,
    "U64": 8, "I64": 8, "F64": 8, "C64": 8,
}  # fmt: skip
_FOREIGN_FAMILIES = (SD2, SDXL)


@dataclass(frozen=True)
class WeightsFile:
    """A file of weights as its header describes it."""

    path: Path
    layout: Layout
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    """What is wrong with a damaged file."""

    @property
    def kind(self) -> FileKind:
        return self.layout.kind

    @property
    def words(self) -> str:
        """What the file is: 'a kohya LoRA for Stable Diffusion 1.5'."""
        return f"damaged: {self.problem}" if self.problem else self.layout.words


class _Damaged(Exception):
    """What is wrong with a file."""


def identify(path: Path) -> FileKind:
    """The kind of a file, from its first bytes or its header; its tensors are not read.

    Raises ModelError if there is no such file.
    """
    return describe(path).kind


def describe(path: Path) -> WeightsFile:
    """What a file is and which tensors it names; the tensors themselves are not read.

    A damaged file is described as such, not refused.  Raises ModelError if `path` is no file.
    """
    if path.is_dir():
        raise ModelError(f"'{path}' is a folder; a file of weights was expected")
    if not path.is_file():
        raise ModelError(f"there is no file '{path}'")
    other = _other_format(path)
    if other is not None:
        return WeightsFile(path, Layout(other))
    try:
        header = _header(path)
        metadata = _metadata(header.pop("__metadata__", {}))
        shapes = _checked_shapes(header, path)
    except _Damaged as damage:
        return WeightsFile(path, Layout(FileKind.DAMAGED), problem=str(damage))
    return WeightsFile(path, layout_of(shapes), shapes, metadata)


def expect(path: Path, expected: FileKind | Iterable[FileKind]) -> WeightsFile:
    """The description of a file that is of an expected kind and not of Stable Diffusion 2 or XL.

    Raises ModelError otherwise, with one sentence: what it is, what was expected, what helps.
    """
    kinds = {expected} if isinstance(expected, FileKind) else set(expected)
    found = describe(path)
    if found.kind is FileKind.PICKLE:
        raise ModelError(
            f"'{path.name}' is a pickle, which could run a program when it is read; turn it into "
            f"a .safetensors file with: stillmotion convert --allow-pickle {path} "
            f"{path.stem}.safetensors"
        )
    if found.kind is FileKind.TORCHSCRIPT:
        raise ModelError(
            f"'{path.name}' is a TorchScript archive, which holds a program beside its weights "
            "and is never read; get the weights as a .safetensors file"
        )
    if found.kind not in kinds:
        raise ModelError(f"'{path.name}' is {found.words}; {expected_words(kinds)} was expected")
    if found.layout.family in _FOREIGN_FAMILIES:
        raise ModelError(f"'{path.name}' is {found.words}; one for {SD15} was expected")
    return found


def read_tensors(
    path: Path,
    expected: FileKind | Iterable[FileKind],
    *,
    keep: Callable[[str], bool] = lambda name: True,
) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, on the CPU, in the precision of the file.

    Args:
        path: the file.
        expected: the kinds that can be used; see `expect`.
        keep: chooses by name; the others are not read.

    Raises:
        ModelError: no such file, of another kind, for another family of models, or damaged.
    """
    found = expect(path, expected)
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in found.shapes if keep(name)}


def weights_in(folder: Path, stem: str) -> Path:
    """The weights of a part in a folder: `<stem>.safetensors`, else a variant, `<stem>.fp16`.

    Raises ModelError if there is neither.
    """
    files = [folder / f"{stem}.safetensors", *sorted(folder.glob(f"{stem}.*.safetensors"))]
    for path in files:
        if path.is_file():
            return path
    raise ModelError(f"the folder {folder} has no {stem}.safetensors; save that part in one file")


def _other_format(path: Path) -> FileKind | None:
    """Pickles and archives by their first bytes, whatever the file's name says."""
    with path.open("rb") as file:
        start = file.read(_LENGTH_BYTES + 1)
    if start[:4] == b"PK\x03\x04":
        return _archive_kind(path)
    # Protocol 2 and later.  In a .safetensors file these two bytes are the low end of a length, and
    # a brace opens the header behind it.
    is_pickle = start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
    if is_pickle and start[_LENGTH_BYTES:] != b"{":
        return FileKind.PICKLE
    return None


def _archive_kind(path: Path) -> FileKind:
    """torch writes zip archives: weights as data.pkl, programs with code and constants.pkl."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return FileKind.DAMAGED
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
        return FileKind.TORCHSCRIPT
    return FileKind.PICKLE if any(name.endswith(".pkl") for name in names) else FileKind.UNKNOWN


def _header(path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(_LENGTH_BYTES)
        if start == b"version ":
            raise _Damaged("it is a pointer of Git LFS, not the file itself; fetch it by git lfs")
        length = int.from_bytes(start, "little")
        if len(start) < _LENGTH_BYTES or length < 2:
            raise _Damaged("it is too short to be a .safetensors file")
        if length > MAX_HEADER_BYTES:
            raise _Damaged("it does not begin as a .safetensors file does")
        if length > size - _LENGTH_BYTES:
            raise _Damaged("it ends within its header; copy or download it again")
        text = file.read(length)
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise _Damaged("its header is no JSON") from error
    if not isinstance(header, dict):
        raise _Damaged("its header is no table of tensors")
    return header


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise _Damaged("its header names a tensor twice")
    return table


def _metadata(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or any(not isinstance(v, str) for v in value.values()):
        raise _Damaged("its metadata are not text")
    return value


def _checked_shapes(header: dict[str, Any], path: Path) -> dict[str, Shape]:
    """Shapes by name, once the tensors are known to fill the file without gaps or overlaps."""
    spans = []
    shapes = {}
    for name, entry in header.items():
        shape, begin, end = _checked_entry(name, entry)
        shapes[name] = shape
        spans.append((begin, end))
    position = 0
    for begin, end in sorted(spans):
        if begin != position:
            raise _Damaged("its tensors overlap or leave gaps")
        position = end
    with path.open("rb") as file:
        header_length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    held = path.stat().st_size - _LENGTH_BYTES - header_length
    if position > held:
        raise _Damaged(
            f"{position - held} of {position} bytes are missing; copy or download it again"
        )
    if position < held:
        raise _Damaged("it goes on after its last tensor")
    return shapes


def _checked_entry(name: str, entry: object) -> tuple[Shape, int, int]:
    if not isinstance(entry, dict):
        raise _Damaged(f"its header does not describe '{name}'")
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if dtype not in _ITEM_BYTES:
        raise _Damaged(f"'{name}' has numbers of an unknown type, {dtype!r}")
    if not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2:
        raise _Damaged(f"its header does not describe '{name}'")
    begin, end = offsets
    if end - begin != math.prod(shape) * _ITEM_BYTES[dtype]:
        raise _Damaged(f"the bytes of '{name}' do not fit its shape {shape}")
    return tuple(shape), begin, end


def _are_counts(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(v) is int and v >= 0 for v in values)
