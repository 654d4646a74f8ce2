"""Control maps: what a ControlNet is shown of every frame of a clip.

    edges   Canny's edges, white on black: keeps outlines
    depth   how near everything is, near white: keeps the space, leaves outlines free
    given   the clip is a map already

All take and give uint8 frames, so that maps can be looked at, saved and mended like any clip.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stillmotion.errors import InputError, ModelError

CONTROLS = ("edges", "depth", "given")
"""The kinds of control, by name."""

LOW, HIGH = 100, 200
"""Thresholds of `edges`, those of the published ControlNets."""

DepthEstimator = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""From a picture, uint8 `(h w 3)`, to how near each pixel is, `(h w)` of any scale, near large."""

_GIVES_METRES = frozenset({"depth_pro", "glpn", "zoedepth"})
_NEAREST = 0.1
"""Metres; what is nearer counts as this near, else one speck would take the whole scale."""


def edges(frames: NDArray[np.uint8], low: int = LOW, high: int = HIGH) -> NDArray[np.uint8]:
    """Canny's edges of pictures, white on black, one pixel wide.

    What counts as an edge depends on the size: give frames of the size that the model works at.

    Args:
        frames: uint8 `(f h w 3)` or `(h w 3)`, RGB.
        low: where the brightness changes by more, an edge that has begun goes on.
        high: where it changes by more, an edge begins.

    Returns:
        uint8 of the same shape, 0 or 255, the three channels equal.

    Raises:
        InputError: frames or thresholds of another kind, or OpenCV is not installed.

    Source: Canny, 1986, as implemented by OpenCV.
    """
    _check_frames(frames)
    if not 0 <= low <= high:
        raise InputError(
            f"The thresholds of edges must be 0 <= low <= high, not low {low} and high {high}."
        )
    require_opencv()
    import cv2

    pictures = frames.reshape(-1, *frames.shape[-3:])
    # OpenCV takes at each pixel the colour channel that changes most, so that red on green of
    # the same brightness is an edge.
    found = np.stack([cv2.Canny(np.ascontiguousarray(p), low, high) for p in pictures])
    return np.repeat(found[..., None].astype(np.uint8), 3, axis=-1).reshape(frames.shape)


def depth(frames: NDArray[np.uint8], estimator: DepthEstimator) -> NDArray[np.uint8]:
    """How near everything is: near white, far black, on one scale for the whole clip.

    One scale, because a scale for each frame would make still things flicker.

    Args:
        frames: uint8 `(f h w 3)` or `(h w 3)`, RGB.
        estimator: what looks at each frame, from `load_depth_estimator` or your own.

    Returns:
        uint8 of the same shape, the three channels equal; black where all is equally near.

    Raises:
        InputError: frames of another kind, or the estimator gives another size or numbers that
            are not finite.
    """
    _check_frames(frames)
    pictures = frames.reshape(-1, *frames.shape[-3:])
    near = np.stack([_estimated(picture, estimator) for picture in pictures])
    low, high = near.min(), near.max()
    scaled = (near - low) / (high - low) if high > low else np.zeros_like(near)
    levels = np.rint(scaled * 255).astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=-1).reshape(frames.shape)


def given(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames that are maps already, uint8 `(f h w 3)` or `(h w 3)`, as they are.

    Raises:
        InputError: frames of another kind.
    """
    _check_frames(frames)
    return frames


def load_depth_estimator(path: str | os.PathLike[str], device: str = "cpu") -> DepthEstimator:
    """A depth model of transformers (Depth Anything, DPT, ...) from a folder on this machine.

    Nothing is fetched from a network.  Of models that give distances in metres (Depth Pro, GLPN,
    ZoeDepth, Depth Anything's metric ones) the inverse is taken; all others are taken to give
    nearness, as MiDaS does, which the published depth ControlNets were trained on.

    Args:
        path: a folder with config.json, preprocessor_config.json and safetensors weights.
        device: where it runs, as torch names it.

    Raises:
        ModelError: the folder is missing or holds no such model.
    """
    from transformers import pipeline

    folder = Path(path)
    if not folder.is_dir():
        raise ModelError(
            f"There is no folder '{folder}'; give one that holds a depth-estimation model, such "
            "as a copy of depth-anything/Depth-Anything-V2-Small-hf."
        )
    try:
        model = pipeline(
            "depth-estimation",
            model=str(folder),
            device=device,
            model_kwargs={"use_safetensors": True},
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(f"'{folder}' holds no usable depth-estimation model: {reason}") from error
    config = model.model.config
    gives_metres = (
        config.model_type in _GIVES_METRES
        or getattr(config, "depth_estimation_type", "relative") == "metric"
    )

    def estimate(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        found = model(Image.fromarray(picture))["predicted_depth"]
        values: NDArray[np.float32] = found.squeeze().float().cpu().numpy()
        return np.reciprocal(values.clip(_NEAREST)) if gives_metres else values

    return estimate


def require_opencv() -> None:
    """Raise InputError if OpenCV, which finds edges, is not installed."""
    if find_spec("cv2") is None:
        raise InputError(
            "Edges are found with OpenCV, which is not installed; "
            "run: pip install 'stillmotion[edit]'"
        )


def _estimated(picture: NDArray[np.uint8], estimator: DepthEstimator) -> NDArray[np.float32]:
    near = np.asarray(estimator(picture), dtype=np.float32)
    if near.shape != picture.shape[:2]:
        raise InputError(
            f"The depth estimator gave the shape {near.shape} for a picture of "
            f"{picture.shape[:2]}; it must give one number for each pixel."
        )
    if not np.isfinite(near).all():
        raise InputError("The depth estimator gave numbers that are not finite; use another.")
    return near


def _check_frames(frames: NDArray[np.uint8]) -> None:
    if frames.dtype != np.uint8 or frames.ndim not in (3, 4) or frames.shape[-1] != 3:
        raise InputError(
            f"Frames must be uint8 of shape (f h w 3) or (h w 3), not {frames.dtype} of shape "
            f"{frames.shape}."
        )
    if frames.size == 0:
        raise InputError(f"Frames of shape {frames.shape} hold no pixel; give at least one frame.")
