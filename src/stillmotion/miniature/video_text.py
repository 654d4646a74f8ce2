"""Stage "video-text": the text encoder of the video models, which has seen how things move.

CLIP learns from stills, which show no motion: its words for motions are all but equal, and a video
model that reads them learns none.  Here its text tower goes on learning against clips; then it
rests, as in the paper.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from stillmotion.errors import ModelError
from stillmotion.miniature.clip import tokenize
from stillmotion.miniature.data import random_caption, sample_indices
from stillmotion.miniature.video import NAMED_LOOK
from stillmotion.runtime.seeds import drawn_random
from stillmotion.world.scene import Scene
from stillmotion.world.vocabulary import SUBJECT_MOTIONS

NUM_HARD = 3
"""Captions with another motion that each clip is told from, besides those of the other clips."""
_TOWER_WIDTHS = (64, 96, 128)
_FIRST_SCALE = 2.6
"""Of the logits, as a logarithm; CLIP's own begins there."""


def shallower(text_encoder: CLIPTextModel, layers: int) -> CLIPTextModel:
    """A text encoder that has learned the first `layers` layers of another one.

    Raises ModelError for more layers than that one has.
    """
    has = int(text_encoder.config.num_hidden_layers)
    if layers > has:
        raise ModelError(f"the text encoder has {has} layers, and {layers} are asked for")
    config = copy.deepcopy(text_encoder.config)
    config.num_hidden_layers = layers
    made = CLIPTextModel(config)
    state = text_encoder.state_dict()
    made.load_state_dict({name: state[name] for name in made.state_dict()})
    return made


class VideoTower(nn.Module):
    """Reads a clip's latents; text is learned against it, and then it has served its purpose."""

    def __init__(self, channels: int, width: int) -> None:
        """For latents of `channels`; features have `width` numbers."""
        super().__init__()
        first, second, third = _TOWER_WIDTHS
        self.layers = nn.Sequential(
            nn.Conv3d(channels, first, 3, padding=1), nn.SiLU(),
            nn.Conv3d(first, second, 3, stride=2, padding=1), nn.SiLU(),
            nn.Conv3d(second, third, 3, stride=2, padding=1),
            nn.GroupNorm(8, third), nn.SiLU(),
            nn.AdaptiveAvgPool3d((4, 2, 2)), nn.Flatten(), nn.Linear(16 * third, width),
        )  # fmt: skip

    def forward(self, latents: Tensor) -> Tensor:
        """Unit-length features (b d) of latents (b c f h w)."""
        return F.normalize(self.layers(latents), dim=-1)


class VideoTextStage:
    """Trains a text encoder by contrast: a clip's caption against others.

    The others are those of the other clips and, of each clip, `NUM_HARD` that differ in what
    the subject does alone: to tell these apart the text must say how things move.
    """

    name = "video-text"

    def __init__(
        self,
        batch: int,
        latents: Tensor,
        scenes: list[Scene],
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        tower: VideoTower,
    ) -> None:
        """`latents` (n f c h w) are of clips of the `scenes`."""
        self.batch, self.latents, self.scenes = batch, latents, scenes
        self.text_encoder, self.tokenizer, self.tower = text_encoder, tokenizer, tower
        width, device = int(text_encoder.config.hidden_size), text_encoder.device
        # The identity: text begins as what it says.
        self.projection = nn.Parameter(torch.eye(width, device=device))
        self.scale = nn.Parameter(torch.tensor(_FIRST_SCALE, device=device))

    def parameters(self) -> list[nn.Parameter]:
        networks = [*self.text_encoder.parameters(), *self.tower.parameters()]
        return [*networks, self.projection, self.scale]

    def loss(self, generator: torch.Generator, progress: float) -> dict[str, Tensor]:
        """Cross-entropy between clips and captions, both ways, as "loss".

        "retrieval" is the part of the clips that are told from all captions shown with them.
        """
        index = sample_indices(len(self.scenes), self.batch, generator)
        scenes = [self.scenes[i] for i in index.tolist()]
        wrong = [other for scene in scenes for other in self._others(scene, generator)]
        captions = [
            random_caption(scene, generator, domain=NAMED_LOOK, motion=1.0)
            for scene in (*scenes, *wrong)
        ]
        clips = self.tower(self.latents[index].transpose(1, 2).to(self.scale))
        right, hard = self._texts(captions).split([len(scenes), len(wrong)])
        scale = self.scale.exp().clamp(max=100)
        among_all = scale * clips @ right.T
        among_own = scale * torch.einsum("bd,bkd->bk", clips, hard.unflatten(0, (len(scenes), -1)))
        logits = torch.cat([among_all, among_own], 1)
        target = torch.arange(len(scenes), device=logits.device)
        loss = 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(among_all.T, target))
        return {"loss": loss, "retrieval": (logits.argmax(1) == target).float().mean()}

    def _texts(self, captions: list[str]) -> Tensor:
        """Unit-length features (n d)."""
        ids = tokenize(self.tokenizer, captions).to(self.text_encoder.device)
        return F.normalize(self.text_encoder(ids).pooler_output @ self.projection, dim=-1)

    def _others(self, scene: Scene, generator: torch.Generator) -> list[Scene]:
        """The same scene, doing something else or, if it moves, nothing; drawn with replacement."""
        rng = drawn_random(generator)
        moves = scene.pacing != "still"
        others = [
            replace(scene, motion=motion, pacing="steady")
            for motion in SUBJECT_MOTIONS[scene.subject]
            if motion != scene.motion
        ]
        others.append(replace(scene, pacing="still" if moves else "steady"))
        return rng.choices(others, k=NUM_HARD)
