"""What a checkpoint does not hold, taken from folders: CLIP's tokenizer, and at times its towers.

DynamiCrafter reads OpenCLIP ViT-H/14, as Stable Diffusion 2.1 does; its community files leave the
two towers out, and no file holds a tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError
from transformers import CLIPTextModel, CLIPTokenizer, CLIPVisionModel

from stillmotion.errors import ModelError
from stillmotion.models.dynamicrafter_files import Part

_Tower = TypeVar("_Tower", CLIPTextModel, CLIPVisionModel)
_TOKENIZER = "tokenizer"
_TOKENIZER_FILES = ("tokenizer.json", "vocab.json")
# What the library raises for folders that are incomplete or damaged.
_LOADING_ERRORS = (
    OSError, ValueError, TypeError, RuntimeError, KeyError, AttributeError, SafetensorError,
)  # fmt: skip
_VIT_H_WIDTH, _VIT_H_LAYERS = 1024, 23
_ADVICE = (
    "OpenCLIP ViT-H/14 without the last text layer, which the folders of Stable Diffusion 2.1 "
    "unCLIP and of DynamiCrafter models made here have"
)


def find_folders(
    lacking: Collection[Part], base: Path | None, tokenizer: Path | None, what: str
) -> dict[str, Path]:
    """Where the parts that a checkpoint lacks, and the tokenizer, are.

    Args:
        lacking: networks that the checkpoint does not hold.
        base: a model folder with parts of these names, or None.
        tokenizer: a folder of a CLIP tokenizer, or a model folder with one; None is the base's.
        what: how an error names the checkpoint.

    Returns:
        Folders by the names of the parts.

    Raises:
        ModelError: something is in none of them, with all that is needed.
    """
    found = {}
    for name in (*lacking, _TOKENIZER):
        folder = None if base is None else base / name
        if name == _TOKENIZER and tokenizer is not None:
            inner = tokenizer / _TOKENIZER
            folder = inner if inner.is_dir() else tokenizer
        if folder is not None and folder.is_dir():
            found[str(name)] = folder
    missing = [name for name in (*lacking, _TOKENIZER) if name not in found]
    if not missing:
        return found
    options = f"--base a model folder with {_listed(missing)}"
    if missing == [_TOKENIZER]:
        options = f"--tokenizer a folder with CLIP's tokenizer, or {options}"
    raise ModelError(
        f"{what} does not hold {_listed(missing)}; give {options}"
        + (f" ({_ADVICE})" if lacking else "")
    )


def load_tower(kind: type[_Tower], folder: Path, width: int) -> _Tower:
    """A CLIP tower from a folder, in its own precision; `width` is what the checkpoint reads.

    Raises ModelError if it cannot be loaded or is of another CLIP.
    """
    try:
        tower = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype="auto"
        )
    except _LOADING_ERRORS as error:
        raise ModelError(f"{folder} cannot be loaded as a {kind.__name__}: {error}") from error
    size, layers = tower.config.hidden_size, tower.config.num_hidden_layers
    if size != width:
        raise ModelError(
            f"{folder} has a CLIP of width {size} and the checkpoint reads one of {width}; it is "
            f"{_ADVICE}"
        )
    if kind is CLIPTextModel and size == _VIT_H_WIDTH and layers != _VIT_H_LAYERS:
        raise ModelError(
            f"{folder} has {layers} text layers and DynamiCrafter reads {_VIT_H_LAYERS}; it is "
            f"{_ADVICE}"
        )
    return tower


def load_tokenizer(folder: Path, num_words: int, max_length: int) -> CLIPTokenizer:
    """CLIP's tokenizer from a folder, with nothing but CLIP's own special words.

    Stable Diffusion 2.1's pads with "!", which transformers then cuts out of prompts as well: a
    prompt that has one is read otherwise than by OpenCLIP.  So padding is left to the caller:
    with the text encoder's `config.pad_token_id`, 0.

    Raises ModelError if it cannot be loaded, or has not `num_words` words.
    """
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        raise ModelError(
            f"{folder} has no CLIP tokenizer: neither {' nor '.join(_TOKENIZER_FILES)}"
        )
    try:
        theirs = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        model = json.loads(theirs.backend_tokenizer.to_str())["model"]
        merges = [tuple(pair) for pair in model["merges"]]
        tokenizer = CLIPTokenizer(vocab=model["vocab"], merges=merges, model_max_length=max_length)
    except _LOADING_ERRORS as error:
        raise ModelError(f"{folder} has no CLIP tokenizer that can be loaded: {error}") from error
    if len(tokenizer) != num_words:
        raise ModelError(
            f"the tokenizer in {folder} has {len(tokenizer)} words and the text encoder "
            f"{num_words}; give CLIP's own"
        )
    return tokenizer


def _listed(names: Collection[str]) -> str:
    return " and ".join(f"{name}/" for name in names)
