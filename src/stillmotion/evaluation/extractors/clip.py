"""CLIP: pictures and words in one space (Text-Sim, Domain-Sim, CLIP-SIM), and style (Style-Dist).

Frames are brought to the network's size by PIL's bicubic, which antialiases, and CLIP's own
normalisation, both sides of every comparison alike.  A frame that is not square is squeezed, not
cropped, so that the whole of it counts; for square ones this is what CLIP's own preparation does.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPModel, CLIPTokenizer

from stillmotion.errors import ModelError
from stillmotion.evaluation.extractors.pixels import (
    CLIP_MEAN,
    CLIP_STD,
    check_frames,
    in_batches,
    normalised,
    resized,
)
from stillmotion.evaluation.extractors.weights import (
    identity_of,
    transformers_network,
    transformers_weights,
)
from stillmotion.models.loading import explained, silent_libraries
from stillmotion.models.registry import miniature_folder, part_path

MINIATURE_NAME = "CLIP-miniature"
STYLE_BLOCK = 3
"""The block of the image encoder whose tokens tell style, from 1.  FreeDoM, by the first author's
group, takes the third of ViT-B/16's twelve.  The miniature's encoder has four blocks; its third is
the last but one.  Where there are fewer than three, the last stands in."""
_FRAMES, _TEXTS = 32, 64
"""How many are read at once."""
_SIZES = {192: "Ti", 384: "S", 768: "B", 1024: "L", 1280: "H", 1408: "g", 1664: "bigG"}
"""What the published vision transformers are called, by their width."""
_USUAL_SIZE = 224


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation per channel, in 0..1."""

    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD


USUAL = Normalisation()


class ClipFeatures:
    """`ImageTextFeatures` of a CLIP that `transformers` saved.

    Args:
        clip: with its weights.
        tokenizer: its own.
        name: what reports call it.
        identity: sha256 of its weights.
        normalisation: of pixels.
        device: where it runs.
    """

    def __init__(
        self,
        clip: CLIPModel,
        tokenizer: CLIPTokenizer,
        name: str,
        identity: str,
        *,
        normalisation: Normalisation = USUAL,
        device: str | torch.device = "cpu",
    ) -> None:
        self._clip, self._tokenizer = clip.to(device), tokenizer
        self._device, self._normalisation = torch.device(device), normalisation
        self.name, self.identity = name, identity

    @classmethod
    def load(
        cls,
        folder: Path,
        device: str | torch.device = "cpu",
        *,
        name: str | None = None,
        tokenizer: Path | None = None,
    ) -> ClipFeatures:
        """Read a folder with config.json, model.safetensors and the tokenizer's files.

        Args:
            folder: its preprocessor_config.json, if there is one, says how to normalise.
            device: where it runs.
            name: what reports call it; from the configuration if None: "CLIP ViT-B/16".
            tokenizer: its folder; None: the same, else `tokenizer` beside it, as in model folders.

        Raises:
            ModelError: something is missing, damaged or of another kind.
        """
        clip = transformers_network(CLIPModel, folder, {"clip"})
        return cls(
            clip,
            _tokenizer(folder, tokenizer),
            clip_name(clip.config.vision_config) if name is None else name,
            identity_of({path.name: path for path in transformers_weights(folder)}),
            normalisation=_normalisation(folder / "preprocessor_config.json"),
            device=device,
        )

    def frames(self, frames: Tensor) -> Tensor:
        """Unit vectors (n d) of frames (n 3 h w), uint8."""
        check_frames(frames)

        def compute(part: Tensor) -> Tensor:
            found = self._clip.get_image_features(pixel_values=self._pixels(part))
            return F.normalize(found.pooler_output, dim=-1)

        return in_batches(compute, frames, _FRAMES)

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors (n d) of texts; what is beyond the network's limit is cut off."""
        if not texts:
            return torch.empty(0, self._clip.config.projection_dim)

        def compute(ids: Tensor) -> Tensor:
            found = self._clip.get_text_features(input_ids=ids.to(self._device))
            return F.normalize(found.pooler_output, dim=-1)

        return in_batches(compute, self._ids(texts), _TEXTS)

    def style_tokens(self, frames: Tensor) -> Tensor:
        """Patch tokens (n t d) after block `STYLE_BLOCK`, of frames (n 3 h w), uint8.

        What leaves the block, without a norm; the class token is left out.
        """
        check_frames(frames)
        vision = self._clip.vision_model
        # hidden_states[k] leaves block k; [0] enters the first.
        block = min(STYLE_BLOCK, vision.config.num_hidden_layers)

        def compute(part: Tensor) -> Tensor:
            states = vision(self._pixels(part), output_hidden_states=True).hidden_states
            tokens: Tensor = states[block][:, 1:]
            return tokens

        return in_batches(compute, frames, _FRAMES)

    def _pixels(self, frames: Tensor) -> Tensor:
        size: int = self._clip.config.vision_config.image_size
        how = self._normalisation
        return normalised(resized(frames, size).to(self._device), how.mean, how.std)

    def _ids(self, texts: Sequence[str]) -> Tensor:
        """Token ids (n length), all at the network's length, the last word's end kept."""
        limit: int = self._clip.config.text_config.max_position_embeddings
        ids = self._tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=limit,
            return_tensors="pt",
        ).input_ids  # fmt: skip
        assert isinstance(ids, Tensor)
        return ids


def miniature_clip(device: str | torch.device = "cpu") -> ClipFeatures:
    """The CLIP of the miniature that ships with the package."""
    model = miniature_folder()
    return ClipFeatures.load(
        part_path(model, "clip"),
        device,
        name=MINIATURE_NAME,
        tokenizer=part_path(model, "tokenizer"),
    )


def clip_name(vision: Any) -> str:
    """What reports call a CLIP, from the configuration of its image encoder: "CLIP ViT-B/16".

    The size is told by the width, or the width itself where no published network has it; another
    resolution than 224 is named behind an @, as OpenAI does.
    """
    size = _SIZES.get(vision.hidden_size, str(vision.hidden_size))
    name = f"CLIP ViT-{size}/{vision.patch_size}"
    return name if vision.image_size == _USUAL_SIZE else f"{name}@{vision.image_size}"


def _tokenizer(folder: Path, other: Path | None) -> CLIPTokenizer:
    places = [other] if other is not None else [folder, folder.parent / "tokenizer"]
    for place in places:
        if any((place / file).is_file() for file in ("tokenizer.json", "vocab.json")):
            with silent_libraries(), explained(str(place)):
                return CLIPTokenizer.from_pretrained(place, local_files_only=True)
    raise ModelError(
        f"there is no tokenizer.json, nor vocab.json and merges.txt, in "
        f"{' or '.join(map(str, places))}; copy CLIP's tokenizer there"
    )


def _normalisation(path: Path) -> Normalisation:
    """What a preprocessor_config.json says, or CLIP's own where there is none."""
    if not path.is_file():
        return USUAL
    try:
        says = json.loads(path.read_text(encoding="utf-8"))
        mean, std = (
            tuple(float(value) for value in says.get(key, usual))
            for key, usual in (("image_mean", CLIP_MEAN), ("image_std", CLIP_STD))
        )
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} is damaged: {error}") from error
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise ModelError(
            f"{path} has the image_mean {mean} and the image_std {std}; three numbers each were "
            "expected, the latter above 0"
        )
    return Normalisation(mean, std)
