"""DreamSim's ensemble: what people see as alike, from local files.

Source: Fu et al., "DreamSim: Learning New Dimensions of Human Visual Similarity using Synthetic
Data", NeurIPS 2023 (arXiv:2306.09344), and the published code, release 0.2.1.

The folder holds three networks that `transformers` saved, tuned by DreamSim's LoRA::

    dino/           ViTModel ("vit"): DINO ViT-B/16
    clip/           CLIPVisionModelWithProjection ("clip_vision_model"): OpenAI's ViT-B/16
    open_clip/      CLIPVisionModelWithProjection: OpenCLIP's ViT-B/16 (LAION-400M)
    dreamsim.json   {"lora_merged": true}, written by `dreamsim_files.convert_dreamsim`

Without `dreamsim.json` the networks are taken for what they were before DreamSim tuned them, and
reports say so by another name: the tuning is what makes the distance DreamSim's.

A frame is squeezed to 224 x 224 by PIL's bicubic and normalised as each network was trained.  The
embedding is DINO's class token as it leaves the last block, before the final norm (768), then
CLIP's projection (512), then OpenCLIP's (512), one behind the other as they come; the whole of it,
not each part, is centred on its mean and brought to length 1.  (Release 0.1 divided by the length
first and then took off the mean: the cosine is the same.)

Checked: against the published code with random weights.  Not checked, for want of the files:
whether the published archives have exactly the names that the converter looks for, and the
distances of the published weights.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPVisionModelWithProjection, ViTModel

from stillmotion.errors import ModelError
from stillmotion.evaluation.extractors.pixels import (
    CLIP_MEAN,
    CLIP_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    centred_unit,
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

NAME = "DreamSim"
UNTUNED_NAME = "DreamSim-untuned"
DINO, CLIP, OPEN_CLIP = PARTS = ("dino", "clip", "open_clip")
FACTS = "dreamsim.json"
_CLIP_TYPES = ("clip_vision_model", "clip")
_FRAMES = 16
"""How many are read at once."""


class DreamSimFeatures:
    """`PerceptualFeatures`: the distance of two frames is 1 minus the cosine of their vectors.

    Args:
        dino: a ViTModel; its final norm and pooler are not used.
        clip: a CLIPVisionModelWithProjection.
        open_clip: another.
        name: what reports call it.
        identity: of their weights.
        device: where they run.

    Raises:
        ModelError: the networks take pictures of different sizes.
    """

    def __init__(
        self,
        dino: Any,
        clip: Any,
        open_clip: Any,
        *,
        name: str,
        identity: str,
        device: str | torch.device = "cpu",
    ) -> None:
        # Then what leaves the last block is what the network gives.
        dino.layernorm, dino.pooler = nn.Identity(), None
        self._dino, self._clips = dino.to(device), [clip.to(device), open_clip.to(device)]
        self._device = torch.device(device)
        self.name, self.identity = name, identity
        sizes = [network.config.image_size for network in (dino, clip, open_clip)]
        if len(set(sizes)) > 1:
            raise ModelError(
                f"the networks of DreamSim take pictures of {', '.join(map(str, sizes))} pixels; "
                "give three of one size, 224 in the published ones"
            )
        self._size: int = sizes[0]

    @classmethod
    def load(cls, folder: Path, device: str | torch.device = "cpu") -> DreamSimFeatures:
        """Read a folder as described above.

        Raises:
            ModelError: something is missing, damaged or of another kind.
        """
        missing = [part for part in PARTS if not (folder / part).is_dir()]
        if missing:
            raise ModelError(
                f"the folder {folder} lacks {', '.join(missing)}; DreamSim needs the folders "
                f"{', '.join(PARTS)}, each as transformers saves a network"
            )
        towers = [
            transformers_network(CLIPVisionModelWithProjection, folder / part, _CLIP_TYPES)
            for part in (CLIP, OPEN_CLIP)
        ]
        files = {
            f"{part}/{p.name}": p for part in PARTS for p in transformers_weights(folder / part)
        }
        return cls(
            # DINO's files have no pooler.
            transformers_network(ViTModel, folder / DINO, {"vit"}, add_pooling_layer=False),
            *towers,
            name=NAME if _is_tuned(folder / FACTS) else UNTUNED_NAME,
            identity=identity_of(files),
            device=device,
        )

    def frames(self, frames: Tensor) -> Tensor:
        """Unit vectors (n d) of frames (n 3 h w), uint8; d is 1792 in the published networks."""
        check_frames(frames)
        return in_batches(self._embedded, frames, _FRAMES)

    def _embedded(self, frames: Tensor) -> Tensor:
        small = resized(frames, self._size).to(self._device)
        for_clip = normalised(small, CLIP_MEAN, CLIP_STD)
        tokens = self._dino(normalised(small, IMAGENET_MEAN, IMAGENET_STD)).last_hidden_state
        found = [tokens[:, 0], *(tower(for_clip).image_embeds for tower in self._clips)]
        return centred_unit(torch.cat(found, 1))


def _is_tuned(path: Path) -> bool:
    """Whether the LoRA is part of the weights, as `dreamsim.json` says."""
    if not path.is_file():
        return False
    try:
        says = json.loads(path.read_text(encoding="utf-8"))
        merged = says["lora_merged"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f'{path} is damaged; it should say {{"lora_merged": true}} or false'
        ) from error
    return merged is True
