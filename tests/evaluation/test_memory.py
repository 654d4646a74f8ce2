"""The presets counted for Stable Diffusion 1.5 with AnimateDiff, and the table in the manual."""

from __future__ import annotations

from pathlib import Path

import pytest

from stillmotion.animatezero.memory import ample_bytes
from stillmotion.evaluation.memory import (
    FULL_SIZE,
    Networks,
    as_facts,
    full_size_networks,
    peaks,
    table,
)
from stillmotion.runtime.memory import Peak

MIB = 2**20
# MiB of activations of the U-Net and of the decoder, and of weights beside the former.
EXPECTED = {
    "full": (2085, 3072, 2899),
    "lean": (602, 768, 2899),
    "small": (602, 384, 2665),
    "tiny": (602, 384, 113),
}


@pytest.fixture(scope="module")
def networks() -> Networks:
    return full_size_networks()


@pytest.fixture(scope="module")
def found(networks: Networks) -> dict[str, Peak]:
    return peaks(networks, FULL_SIZE)


def test_networks_are_of_the_published_size(networks: Networks) -> None:
    def millions(network: object) -> float:
        return sum(p.numel() for p in network.parameters()) / 1e6  # type: ignore[attr-defined]

    assert millions(networks.unet) == pytest.approx(859.5 + 453.2, abs=0.1)
    assert millions(networks.vae) == pytest.approx(83.65, abs=0.01)
    assert millions(networks.text_encoder) == pytest.approx(123.06, abs=0.01)
    assert all(parameter.is_meta for parameter in networks.unet.parameters())


@pytest.mark.parametrize("name", EXPECTED)
def test_presets_need_what_is_written(found: dict[str, Peak], name: str) -> None:
    peak = found[name]
    counted = (peak.denoise.activations, peak.decode.activations, peak.denoise.weights)
    assert [size / MIB for size in counted] == pytest.approx(EXPECTED[name], rel=0.05)


def test_each_preset_needs_no_more_than_the_one_before(found: dict[str, Peak]) -> None:
    assert list(found) == list(EXPECTED)
    totals = [peak.total for peak in found.values()]
    assert totals == sorted(totals, reverse=True)
    activations = [peak.activations for peak in found.values()]
    assert activations == sorted(activations, reverse=True)


def test_plenty_is_more_than_twice_what_is_needed(
    networks: Networks, found: dict[str, Peak]
) -> None:
    full = found["full"]
    assert ample_bytes(networks, FULL_SIZE) - full.denoise.weights > 2 * full.activations


def test_the_manual_has_the_table(found: dict[str, Peak]) -> None:
    manual = Path(__file__).parents[2] / "docs" / "memory.md"
    assert table(found) in manual.read_text(encoding="utf-8")


def test_facts_are_in_bytes(found: dict[str, Peak]) -> None:
    facts = as_facts(found)[0]
    assert facts["preset"] == "full"
    assert facts["total_bytes"] == found["full"].total
