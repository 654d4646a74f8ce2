"""`stillmotion inspect gates`: the numbers, their order, the plot, and what has no gates."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.apps.conftest import Run
from tests.dynamicrafter.tiny_pipeline import tiny_dynamicrafter, tiny_dynamicrafter_unet

from stillmotion.apps.inspect import plotted
from stillmotion.dynamicrafter.dual_stream import gates, image_attentions

ALPHAS = (-2.0, 0.0, 0.7, 5.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pipe = tiny_dynamicrafter()
    layers = image_attentions(pipe.unet)
    assert len(layers) >= len(ALPHAS) - 1
    for layer, alpha in zip(layers.values(), ALPHAS, strict=False):
        layer.alpha.data = torch.tensor([alpha])
    folder = tmp_path_factory.mktemp("gates") / "model"
    pipe.save_pretrained(folder)
    return folder


def test_they_are_those_of_the_network_in_its_order(run: Run, model: Path) -> None:
    facts = run("inspect", "gates", model, "--json").facts
    unet = tiny_dynamicrafter().unet.from_pretrained(model / "unet")
    assert list(facts["gates"]) == list(gates(unet))
    assert facts["gates"] == pytest.approx(gates(unet), abs=1e-6)
    first = next(iter(facts["gates"].values()))
    assert first == pytest.approx(math.tanh(-2) + 1)
    assert run("inspect", "gates", model / "unet", "--json").facts["gates"] == facts["gates"]


def test_text_and_plot(run: Run, here: Path, model: Path) -> None:
    done = run("inspect", "gates", model, "-o", "gates.png")
    first, *_, last = done.out.splitlines()
    assert first.split()[1] == "0.036"
    assert last == "gates.png"
    assert Image.open("gates.png").size[0] > 100
    assert "exists already" in run("inspect", "gates", model, "-o", "gates.png").error
    assert ".png" in run("inspect", "gates", model, "-o", "gates.jpg").error


def test_bars_are_as_high_as_their_values() -> None:
    pixels = np.asarray(plotted([0.5, 2.0, 1.0]))
    blue = (pixels == (70, 130, 180)).all(-1)
    heights = [int(blue[:, start : start + 38].any(1).sum()) for start in (40, 78, 116)]
    assert heights[1] == pytest.approx(240, abs=2)
    assert heights[0] == pytest.approx(60, abs=2)
    assert heights[2] == pytest.approx(120, abs=2)


def test_what_has_no_gates(run: Run, here: Path) -> None:
    text = tiny_dynamicrafter_unet(in_channels=4, image_context=False, image_gate=False)
    text.save_pretrained(here / "text")
    assert "reads no pictures" in run("inspect", "gates", here / "text").error
    fixed = tiny_dynamicrafter_unet(image_gate=False)
    fixed.save_pretrained(here / "fixed")
    assert set(run("inspect", "gates", here / "fixed", "--json").facts["gates"].values()) == {1.0}
    assert "UNet2DConditionModel" in run("inspect", "gates", "miniature").error
    assert "unknown model 'nothing'" in run("inspect", "gates", "nothing").error
