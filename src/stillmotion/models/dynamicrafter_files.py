"""Checkpoints of DynamiCrafter, and of VideoCrafter whose network it is built on, in one file.

A file is opened without reading its tensors; each network's are read when they are asked for, so
that a file of 10 GB never stands in memory twice.  Networks are described by plain dictionaries,
in the words of the classes that they are for: nothing here knows those classes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from stillmotion.errors import ModelError
from stillmotion.models.dynamicrafter_configs import context_config, unet_config, vae_config
from stillmotion.models.dynamicrafter_names import CONTEXT_PREFIX
from stillmotion.models.files import expect
from stillmotion.models.layouts import VIDEO_CHECKPOINTS, Shape, plain_name
from stillmotion.models.ldm import UNET_PREFIX, VAE_PREFIX
from stillmotion.models.open_clip import (
    text_config,
    unused_text_names,
    unused_vision_names,
    vision_config,
)
from stillmotion.runtime.files import atomic_path

SCHEDULE = frozenset(
    {
        "betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod",
        "sqrt_one_minus_alphas_cumprod", "log_one_minus_alphas_cumprod",
        "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod", "posterior_variance",
        "posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2",
        "scale_arr", "scale_factor", "logvar", "lvlb_weights",
    }
)  # fmt: skip
"""Tables that the official code keeps beside its networks; all follow from the variant."""
_CLIP_PREFIX = "embedder.model."
_METADATA_KEY = "stillmotion"
_VAE_TRAINING = f"{VAE_PREFIX}loss."
# Running averages of a trainer: as large as the network, and used by none of the released models.
_AVERAGES = ("model_ema.", f"{VAE_PREFIX}model_ema.")
_WRAPPED = ("module.", "_forward_module.")
PICKLE_SUFFIXES = frozenset({".ckpt", ".pt", ".pth"})


class Part(StrEnum):
    """The networks of a checkpoint, by the names of their folders."""

    UNET = "unet"
    IMAGE_CONTEXT = "image_context"
    VAE = "vae"
    TEXT_ENCODER = "text_encoder"
    IMAGE_ENCODER = "image_encoder"

    @property
    def prefix(self) -> str:
        """What its official names begin with."""
        return _PREFIXES[self]


_PREFIXES = {
    Part.UNET: UNET_PREFIX,
    Part.IMAGE_CONTEXT: CONTEXT_PREFIX,
    Part.VAE: VAE_PREFIX,
    Part.TEXT_ENCODER: "cond_stage_model.model.",
    Part.IMAGE_ENCODER: f"{_CLIP_PREFIX}visual.",
}


_CONFIGS = {
    Part.UNET: unet_config,
    Part.IMAGE_CONTEXT: context_config,
    Part.VAE: vae_config,
    Part.TEXT_ENCODER: text_config,
    Part.IMAGE_ENCODER: vision_config,
}


@dataclass(frozen=True)
class OpenCheckpoint:
    """A checkpoint whose tensors are read when they are asked for."""

    path: Path
    shapes: Mapping[str, Shape]
    """By official name, wrappers of trainers taken off; averages are left out."""
    told: Mapping[str, Any]
    """What a file written here says of itself: by part the arguments that shapes do not show."""
    _file: Any
    _stored: Mapping[str, str]
    _places: Mapping[str, Part | None]
    """Where each tensor belongs; None: no network here has a place for it."""

    def holds(self, part: Part) -> bool:
        """Whether the file has that network."""
        return part in self._places.values()

    def part_shapes(self, part: Part) -> dict[str, Shape]:
        """Shapes of all tensors below the part's prefix, by their official names without it."""
        start = part.prefix
        return {n.removeprefix(start): s for n, s in self.shapes.items() if n.startswith(start)}

    def tensors(self, part: Part) -> dict[str, Tensor]:
        """A network's tensors by their official names without prefix, in the file's precision."""
        names = [name for name, place in self._places.items() if place is part]
        return {name.removeprefix(part.prefix): self.tensor(name) for name in names}

    def tensor(self, name: str) -> Tensor:
        """A single tensor by its official name."""
        tensor: Tensor = self._file.get_tensor(self._stored[name])
        return tensor

    def schedule(self) -> dict[str, Tensor]:
        """The tables of the noise schedule that the file has."""
        return {name: self.tensor(name) for name in self.shapes if name in SCHEDULE}

    def rest(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """What no network here has a place for, so that the same file can be written again.

        The tensors by their official names; and of those that are equal to one of the text
        encoder's, in whose place they were once loaded, only whose: {name: name of the equal}.
        """
        tensors, repeats = {}, {}
        text = Part.TEXT_ENCODER.prefix
        for name in (name for name, place in self._places.items() if place is None):
            tensor = self.tensor(name)
            twin = text + name.removeprefix(_CLIP_PREFIX)
            is_like = name != twin and self.shapes.get(twin) == self.shapes[name]
            if is_like and torch.equal(tensor, self.tensor(twin)):
                repeats[name] = twin
            else:
                tensors[name] = tensor
        return tensors, repeats

    def config(self, part: Part) -> dict[str, Any]:
        """The arguments of the network's class, from the shapes and what the file tells.

        Raises ModelError if the tensors that would tell are missing or of another form.
        """
        try:
            config = _CONFIGS[part](self.part_shapes(part))
        except (KeyError, IndexError, ValueError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else "they do not fit"
            raise ModelError(
                f"'{self.path.name}' does not have the tensors of a whole {part}: {reason}; copy "
                "or download it again"
            ) from error
        return config | _fitting(self.told.get(part), config)


@contextmanager
def opened(path: Path) -> Iterator[OpenCheckpoint]:
    """Open a .safetensors checkpoint, official or of the community, with or without CLIP.

    Tensors can be read within the block.

    Raises:
        ModelError: no such file, damaged, of another kind, or with tensors that no such
            checkpoint has.
    """
    found = expect(path, VIDEO_CHECKPOINTS)
    # What a trainer saved has its own state beside the wrapped network.
    wrapped = [name for name in found.shapes if name.startswith(_WRAPPED)]
    stored = {plain_name(name): name for name in wrapped or found.shapes}
    stored = {name: kept for name, kept in stored.items() if not name.startswith(_AVERAGES)}
    shapes = {name: found.shapes[kept] for name, kept in stored.items()}
    places = _places(shapes, path.name)
    with safe_open(path, framework="pt") as file:
        yield OpenCheckpoint(path, shapes, _told(found.metadata), file, stored, places)


def write_checkpoint(
    tensors: Mapping[str, Tensor],
    told: Mapping[str, Any],
    output: Path,
    *,
    overwrite: bool = False,
) -> None:
    """Write tensors under their official names.

    Args:
        tensors: by official names, prefixes included.
        told: see `OpenCheckpoint.told`; in the header of a .safetensors file only.
        output: a .safetensors file, or a .ckpt, .pt or .pth with a `state_dict`, which is what
            the official code reads.
        overwrite: whether it may be replaced.

    Raises OutputError if the file exists or cannot be written.
    """
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    with atomic_path(output, overwrite=overwrite) as temporary:
        if output.suffix in PICKLE_SUFFIXES:
            torch.save({"state_dict": whole}, temporary)
        else:
            save_file(whole, temporary, metadata={"format": "pt", _METADATA_KEY: json.dumps(told)})


def _fitting(says: object, config: Mapping[str, Any]) -> dict[str, Any]:
    """Of what a file says of a network, the known arguments of the same type."""
    if not isinstance(says, Mapping):
        return {}
    return {
        name: says[name]
        for name, value in config.items()
        if name in says and (value is None or type(says[name]) is type(value))
    }


def _told(metadata: Mapping[str, str]) -> dict[str, Any]:
    try:
        told = json.loads(metadata.get(_METADATA_KEY, "{}"))
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _places(shapes: Mapping[str, Shape], what: str) -> dict[str, Part | None]:
    """Where each tensor belongs; raises ModelError if some belong nowhere."""
    unused: set[str] = set()
    for tower, names in (
        (Part.TEXT_ENCODER, unused_text_names),
        (Part.IMAGE_ENCODER, unused_vision_names),
    ):
        mine = [n.removeprefix(tower.prefix) for n in shapes if n.startswith(tower.prefix)]
        unused |= {tower.prefix + name for name in names(mine)}
    places: dict[str, Part | None] = {}
    strange: list[str] = []
    for name in shapes:
        part = next((part for part in Part if name.startswith(part.prefix)), None)
        if name in unused or name in SCHEDULE or name.startswith(_VAE_TRAINING):
            places[name] = None
        elif part is not None or name.startswith(_CLIP_PREFIX):
            places[name] = part
        else:
            strange.append(name)
    if strange:
        raise ModelError(
            f"'{what}' holds {len(strange)} tensors that no checkpoint of DynamiCrafter or "
            f"VideoCrafter has, such as '{strange[0]}'; get the original file"
        )
    return places
