"""Tensors that were read or renamed, held against the network that is to take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from stillmotion.errors import ModelError


def fitted(
    tensors: Mapping[str, Tensor], like: Mapping[str, Tensor], what: str
) -> dict[str, Tensor]:
    """`tensors` in the order of `like`, if names and shapes are the same.

    1x1 convolutions (o i 1 1) where `like` has a matrix (o i) become that matrix: the original
    VAE computes its attention so.

    Args:
        tensors: what was read, by the names of the network.
        like: the state dict of the network; its tensors may be on the meta device.
        what: how an error names the file, "'x.safetensors'".

    Raises:
        ModelError: something is missing, left over or of another shape.
    """
    missing = [name for name in like if name not in tensors]
    if missing:
        raise ModelError(f"{what} lacks {_listed(missing)}, so it is not of this kind or not whole")
    left = [name for name in tensors if name not in like]
    if left:
        raise ModelError(f"{what} holds {_listed(left)}, for which the network has no place")
    return {name: _shaped(name, tensors[name], like[name], what) for name in like}


def _shaped(name: str, tensor: Tensor, like: Tensor, what: str) -> Tensor:
    if like.ndim == 2 and tensor.shape[2:].numel() == 1:
        tensor = tensor.flatten(1)
    if tensor.shape != like.shape:
        raise ModelError(
            f"{what} does not fit: '{name}' has the shape {tuple(tensor.shape)}, and the network "
            f"needs {tuple(like.shape)}; use it with a model of its own kind"
        )
    return tensor


def _listed(names: Sequence[str]) -> str:
    first = f"'{names[0]}'"
    return first if len(names) == 1 else f"{len(names)} tensors, such as {first}"
