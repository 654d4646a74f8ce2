"""Edges, depth and given maps of frames."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.media.samples import moving_disc, noise

from stillmotion.errors import InputError, ModelError
from stillmotion.media import control_maps
from stillmotion.media.control_maps import CONTROLS, depth, edges, given, load_depth_estimator


def square(colour: tuple[int, int, int], ground: tuple[int, int, int]) -> NDArray[np.uint8]:
    """A square of 20 pixels in a picture of 40: uint8 (h w 3)."""
    picture = np.empty((40, 40, 3), np.uint8)
    picture[:] = ground
    picture[10:30, 10:30] = colour
    return picture


def test_every_kind_of_control_is_a_function() -> None:
    assert all(callable(getattr(control_maps, name)) for name in CONTROLS)


@pytest.mark.parametrize(
    ("colour", "ground"),
    [
        ((255, 255, 255), (0, 0, 0)),
        ((0, 0, 0), (255, 255, 255)),
        ((200, 0, 0), (0, 102, 0)),  # one brightness (Rec. 601)
    ],
)
def test_edges_are_outlines_white_on_black(
    colour: tuple[int, int, int], ground: tuple[int, int, int]
) -> None:
    found = edges(square(colour, ground))
    assert found.shape == (40, 40, 3)
    assert found.dtype == np.uint8
    assert set(np.unique(found)) == {0, 255}
    assert (found == found[..., :1]).all()
    rows, columns = np.nonzero(found[..., 0])
    # On the outline, within one pixel of it, and all around.
    inside = (rows > 10) & (rows < 28) & (columns > 10) & (columns < 28)
    assert not inside.any()
    assert (rows.min(), columns.min()) >= (9, 9)
    assert (rows.max(), columns.max()) <= (30, 30)
    assert 70 <= len(rows) <= 84


def test_a_clip_is_the_edges_of_its_frames() -> None:
    clip = moving_disc(3)
    found = edges(clip)
    assert found.shape == clip.shape
    for frame, expected in zip(clip, found, strict=True):
        assert np.array_equal(edges(frame), expected)
    assert not np.array_equal(found[0], found[2])


def test_thresholds_decide_what_an_edge_is() -> None:
    faint = square((120, 120, 120), (100, 100, 100))
    assert not edges(faint).any()
    assert edges(faint, low=20, high=40).any()
    with pytest.raises(InputError, match="0 <= low <= high, not low 200 and high 100"):
        edges(faint, low=200, high=100)


def test_frames_of_another_layout_in_memory_have_the_same_edges() -> None:
    clip = moving_disc(2)
    turned = np.ascontiguousarray(clip.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    assert np.array_equal(edges(turned), edges(clip))


def nearness(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """As near as it is red, in units of its own."""
    return picture[..., 0].astype(np.float32) * -3 + 7


def test_depth_has_one_scale_for_the_whole_clip() -> None:
    clip = np.zeros((3, 4, 5, 3), np.uint8)
    clip[0, ..., 0], clip[1, ..., 0], clip[2, ..., 0] = 200, 100, 0
    clip[0, 0, 0, 0] = 150
    levels = depth(clip, nearness)
    assert levels.shape == clip.shape
    assert levels.dtype == np.uint8
    assert levels[:, 1, 1, 2].tolist() == [0, 128, 255]
    assert levels[0, 0, 0].tolist() == [64, 64, 64]


def test_flat_depth_is_black_and_one_picture_is_served() -> None:
    assert not depth(np.full((2, 4, 4, 3), 9, np.uint8), nearness).any()
    assert depth(noise(4, 6, 3), nearness).shape == (4, 6, 3)


def test_what_an_estimator_does_wrong_is_told() -> None:
    with pytest.raises(InputError, match=r"gave the shape \(2, 2\) for a picture of \(4, 6\)"):
        depth(noise(4, 6, 3), lambda _: np.zeros((2, 2), np.float32))
    with pytest.raises(InputError, match="not finite"):
        depth(noise(4, 6, 3), lambda picture: np.full(picture.shape[:2], np.nan, np.float32))


def test_given_maps_pass_as_they_are() -> None:
    clip = noise(2, 4, 6, 3)
    assert np.array_equal(given(clip), clip)


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        (noise(4, 6), r"\(f h w 3\) or \(h w 3\), not uint8 of shape \(4, 6\)"),
        (noise(4, 6, 4), r"shape \(4, 6, 4\)"),
        (noise(4, 6, 3).astype(np.float32), "float32"),
        (noise(0, 4, 6, 3), "hold no pixel"),
    ],
)
def test_frames_of_another_kind_are_told(frames: NDArray[np.uint8], said: str) -> None:
    for make in (edges, given, lambda given_frames: depth(given_frames, nearness)):
        with pytest.raises(InputError, match=said):
            make(frames)


def test_missing_opencv_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(InputError, match=r"pip install 'stillmotion\[edit\]'"):
        edges(noise(4, 6, 3))


def save_depth_model(folder: Path, kind: str) -> None:
    """A tiny random DPT (nearness) or GLPN (metres)."""
    from transformers import (
        DPTConfig,
        DPTForDepthEstimation,
        GLPNConfig,
        GLPNForDepthEstimation,
    )
    from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil
    from transformers.models.glpn.image_processing_pil_glpn import GLPNImageProcessorPil

    if kind == "dpt":
        config = DPTConfig(
            hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=16,
            image_size=32, patch_size=8, backbone_out_indices=[0, 1, 2, 3],
            neck_hidden_sizes=[4, 4, 8, 8], fusion_hidden_size=8, is_hybrid=False,
        )  # fmt: skip
        DPTForDepthEstimation(config).save_pretrained(folder)
        DPTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    else:
        small = GLPNConfig(
            depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 8, 8], decoder_hidden_size=8,
            num_attention_heads=[1, 1, 1, 1],
        )  # fmt: skip
        GLPNForDepthEstimation(small).save_pretrained(folder)
        GLPNImageProcessorPil().save_pretrained(folder)


@pytest.mark.parametrize("kind", ["dpt", "glpn"])
def test_depth_models_are_read_from_a_folder(kind: str, tmp_path: Path) -> None:
    save_depth_model(tmp_path, kind)
    estimator = load_depth_estimator(tmp_path)
    picture = noise(40, 72, 3)
    near = estimator(picture)
    assert near.shape == (40, 72)
    levels = depth(np.stack([picture, picture // 2]), estimator)
    assert levels.shape == (2, 40, 72, 3)
    assert (levels.min(), levels.max()) == (0, 255)


def test_folders_without_a_depth_model_are_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="There is no folder"):
        load_depth_estimator(tmp_path / "none")
    with pytest.raises(ModelError, match="no usable depth-estimation model") as caught:
        load_depth_estimator(tmp_path)
    assert "\n" not in str(caught.value)
