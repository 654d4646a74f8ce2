"""Lets a network learn from text whose directions all count alike.

The miniature's CLIP has learned from stills, which show no motion: words for one change its
embeddings about eight times less than words for a colour.  A network that reads them learns motion
slowly.  Whitened, every direction has the same size, and what was learned is folded
into the network's own projections of text: it reads plain embeddings as before, and no other part
knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from stillmotion.adapters.diffusers_unet3d import spatial_cross_attentions

# Directions of less than this part of the mean square hold nothing and are not blown up.
_FLOOR = 1e-3


class WhitenedText:
    """A change of the coordinates of text, and of a network that learns in them."""

    def __init__(self, embeds: Tensor) -> None:
        """From embeddings (n l d) of captions like those that will be read."""
        tokens = embeds.double().flatten(0, 1)
        squares, directions = torch.linalg.eigh(tokens.T @ tokens / len(tokens))
        squares = squares.clamp(min=0)
        gains = (squares.mean() / (squares + _FLOOR * squares.mean())).sqrt()
        self._to = directions @ torch.diag(gains) @ directions.T
        self._back = directions @ torch.diag(1 / gains) @ directions.T

    def __call__(self, text: Tensor) -> Tensor:
        """Embeddings (... d) in the new coordinates."""
        whitened: Tensor = text @ self._to.to(text)
        return whitened

    @contextmanager
    def learned_by(self, unet: nn.Module) -> Iterator[None]:
        """For the length of the block `unet` reads whitened text, and else says the same."""
        _turn(unet, self._back)
        try:
            yield
        finally:
            _turn(unet, self._to)


@torch.no_grad()
def _turn(unet: nn.Module, matrix: Tensor) -> None:
    """Put `matrix` (d d) before every projection of text."""
    for attention in spatial_cross_attentions(unet).values():
        for projection in (attention.to_k, attention.to_v):
            weight: Tensor = projection.weight
            weight.copy_((weight.double().cpu() @ matrix).to(weight))
