"""What approximations save at full size, to the digits that the documents say."""

from __future__ import annotations

from pathlib import Path

import pytest

from stillmotion.benchmarks.speed_counts import reuse_flops, showing_flops, work
from stillmotion.diffusion.speed import SPEEDS

DOCUMENT = Path(__file__).parents[2] / "docs" / "performance" / "speed.md"
STEPS = {"animatezero": 25, "dynamicrafter-512": 50}


@pytest.fixture(scope="module")
def document() -> str:
    return DOCUMENT.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("kept", "animatezero", "dynamicrafter"),
    [(1, 0.0738, 0.1036), (2, 0.2128, 0.2298), (3, 0.3593, 0.3626)],
)
def test_shares_of_reusing_calls(
    kept: int, animatezero: float, dynamicrafter: float, document: str
) -> None:
    shares = []
    for network, expected in (("animatezero", animatezero), ("dynamicrafter-512", dynamicrafter)):
        full, reusing = reuse_flops(network, kept)
        assert reusing / full == pytest.approx(expected, abs=1e-4)
        shares.append(f"{100 * reusing / full:.1f} %")
    assert f"| {kept} | {' | '.join(shares)} |" in document


@pytest.mark.parametrize("name", list(SPEEDS))
def test_work_of_the_presets(name: str, document: str) -> None:
    """A preset that is changed without its document fails here."""
    shares = [work(SPEEDS[name], steps, network) for network, steps in STEPS.items()]
    assert f"| `{name}` | {' | '.join(f'{share:.2f}' for share in shares)} |" in document
    if name == "exact":
        assert shares == [1, 1]


def test_the_linear_map_is_by_far_the_cheapest(document: str) -> None:
    flops = showing_flops()
    assert flops["vae"] / flops["taesd"] == pytest.approx(17.8, abs=0.05)
    assert flops["linear"] == 2 * 64 * 64 * 4 * 3
    for way, unit in (("vae", 1e12), ("taesd", 1e12)):
        assert f"{flops[way] / unit:.3f} TFLOP" in document
    assert f"{flops['linear'] / 1e6:.3f} MFLOP" in document
