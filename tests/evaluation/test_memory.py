"""The presets counted for Stable Diffusion 1.5 with AnimateDiff, and the table in the manual."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler
from torch import nn

from stillmotion.adapters.adapter import adapted
from stillmotion.animatezero.anchors import Anchor
from stillmotion.animatezero.denoiser import Denoiser
from stillmotion.animatezero.memory import ChunkedFeedForward, store_float8
from stillmotion.animatezero.memory_needs import ample_bytes
from stillmotion.animatezero.sampling import Hooks, Start, animate_latents
from stillmotion.animatezero.settings import AnimateZeroSettings
from stillmotion.evaluation.memory import (
    CONTEXT_BYTES,
    FULL_SIZE,
    TARGETS,
    Networks,
    Target,
    as_facts,
    full_size_networks,
    needs,
    peaks,
    table,
    target_table,
)
from stillmotion.models.decoding import decode
from stillmotion.runtime.memory import MemoryPlan, Peak

MIB = 2**20
# MiB of activations of the U-Net and of the decoder, and of weights beside the former.
EXPECTED = {
    "full": (2088, 1536, 2899),
    "lean": (648, 768, 2899),
    "small": (648, 384, 2665),
    "tiny": (648, 384, 113),
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


def test_the_manual_has_the_tables(networks: Networks, found: dict[str, Peak]) -> None:
    manual = (Path(__file__).parents[2] / "docs" / "memory.md").read_text(encoding="utf-8")
    assert table(found) in manual
    assert target_table(networks) in manual


@pytest.mark.parametrize(("target", "gib"), list(zip(TARGETS, (5.5, 4.5, 3.3), strict=True)))
def test_targets_hold(networks: Networks, target: Target, gib: float) -> None:
    assert target.limit_bytes == int(gib * 2**30)
    assert needs(networks, target) <= target.limit_bytes


def test_a_target_that_is_missed_is_said(
    networks: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    missed = replace(TARGETS[0], limit_bytes=4 * 2**30)
    monkeypatch.setattr("stillmotion.evaluation.memory.TARGETS", (missed,))
    assert target_table(networks).endswith("| 4.0 GiB | **falls short** |")


def random_networks(device: torch.device, *, float8: bool) -> Networks:
    """Networks of full size with weights drawn on the host, so that only those in use count."""
    networks = full_size_networks()
    generator = torch.Generator().manual_seed(0)
    for network in (networks.unet, networks.vae, networks.text_encoder):
        network.to_empty(device="cpu").eval()
        for weight in nn.Module.state_dict(network).values():
            if weight.is_floating_point():
                weight.copy_(0.02 * torch.randn(weight.shape, generator=generator))
    if float8:
        store_float8(networks.unet)
    for network in (networks.unet, networks.vae, networks.text_encoder):
        network.to(device)
    return networks


@torch.inference_mode()
def make_clip(networks: Networks, plan: MemoryPlan) -> None:
    """Two guided steps of AnimateZero and decoding, of `FULL_SIZE`, as `plan` says."""
    device, frames = networks.vae.device, FULL_SIZE.num_frames
    scheduler = DDIMScheduler()
    scheduler.set_timesteps(2, device=device)
    noise = torch.zeros(1, 4, frames, 64, 64, dtype=torch.float16, device=device)
    denoiser = Denoiser(
        unet=networks.unet,
        scheduler=scheduler,
        prompt_embeds=torch.zeros(2 * frames, 77, 768, dtype=torch.float16, device=device),
        guidance_scale=7.5,
        uses_guidance=True,
        step_options={},
        sequential_guidance=plan.sequential_guidance,
        one_text=True,
    )
    still = Anchor(frame=0, trajectory=torch.zeros(3, 4, 64, 64).to(noise))
    chunks = [ChunkedFeedForward(plan.feed_forward_chunks)] if plan.feed_forward_chunks > 1 else []
    with adapted(networks.unet, chunks):
        start = Start(noise=noise, more_noise=lambda: noise, anchors=[still])
        z = animate_latents(denoiser, start, AnimateZeroSettings(), Hooks(lambda: None))
    decode(networks.vae, z, plan.on(device).decode_chunk)


@pytest.mark.gpu
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_clip_fits_under_a_cap(target: Target) -> None:
    """The full-size networks with random weights, in no more memory than the target."""
    device = torch.device("cuda")
    cap = (target.limit_bytes - CONTEXT_BYTES) / torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(cap)
    try:
        networks = random_networks(device, float8=target.plan.weights == "float8")
        make_clip(networks, target.plan)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_facts_are_in_bytes(found: dict[str, Peak]) -> None:
    facts = as_facts(found)[0]
    assert facts["preset"] == "full"
    assert facts["total_bytes"] == found["full"].total
