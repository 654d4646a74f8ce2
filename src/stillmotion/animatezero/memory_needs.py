"""How much memory a clip needs under a `MemoryPlan`, and the plan for what is free."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from diffusers import AutoencoderKL, UNetMotionModel
from torch import Tensor, nn

from stillmotion.adapters.adapter import Adapter, FrameContext, adapted
from stillmotion.adapters.feature_reuse import FeatureReuse
from stillmotion.adapters.lean_savings import Savings
from stillmotion.animatezero.control import control_adapters
from stillmotion.animatezero.memory import (
    FLOAT8,
    ChunkedFeedForward,
    float8_leaves,
    leaves_of,
    networks_of,
)
from stillmotion.animatezero.settings import AnimateZeroSettings
from stillmotion.diffusion.speed import EXACT, SpeedSettings
from stillmotion.runtime.memory import (
    AUTO,
    PRESETS,
    MemoryPlan,
    Need,
    Peak,
    fits,
    free_bytes,
    peak_bytes,
    plan_for,
)

_TEXT_TOKENS = 77
# A guided call needs at most 26 times its largest feature map, the decoder 6 times; tests count.
_AMPLE_UNET, _AMPLE_DECODER = 100, 16


@dataclass(frozen=True, kw_only=True)
class ClipSize:
    """What decides how much is alive at once; height and width in pixels."""

    num_frames: int
    height: int
    width: int
    uses_guidance: bool = True


def estimate_peak(
    networks: Any,
    clip: ClipSize,
    plan: MemoryPlan,
    *,
    control: AnimateZeroSettings | None = None,
    dtype: torch.dtype | None = None,
    speed: SpeedSettings = EXACT,
) -> Peak:
    """Count what a guided prediction of the U-Net, and decoding, need under `plan`.

    With the deep features that `speed` keeps from one prediction to the next.  `networks` has
    `unet`, `vae` and `text_encoder`, as a pipeline has; only their configurations and the sizes of
    their weights are read, so they may lie on the meta device.  `dtype` is that of the weights, if
    it will be another than now.  Seconds for a network of full size, nothing the second time; see
    `peak_bytes` for what is not counted.
    """
    dtype = dtype or networks.vae.dtype
    rows = clip.num_frames + int(_control(control).needs_reference_row)
    height, width = _latent_size(networks.vae, clip)
    form = _CallForm(
        control=_control(control),
        feed_forward_chunks=plan.feed_forward_chunks,
        in_sequence=plan.sequential_guidance,
        kept_skips=speed.kept_skips if speed.reuses else None,
    )
    size = (1 + int(clip.uses_guidance), rows, height, width)
    unet = _unet_activations(_config(networks.unet), dtype, size, form)
    chunk = min(plan.decode_chunk, clip.num_frames)
    decoder = _decoder_activations(_config(networks.vae), dtype, (chunk, height, width))
    denoise, decode = _weights(networks, plan, dtype)
    return Peak(
        denoise=Need(weights=denoise, activations=unet),
        decode=Need(weights=decode, activations=decoder),
    )


def ample_bytes(networks: Any, clip: ClipSize, dtype: torch.dtype | None = None) -> int:
    """With so much, `full` fits without counting: weights, and activations twice over or more."""
    dtype = dtype or networks.vae.dtype
    height, width = _latent_size(networks.vae, clip)
    halves = 2 if clip.uses_guidance else 1
    unet = halves * (clip.num_frames + 1) * height * width * _first_channels(networks.unet)
    chunk = min(PRESETS["full"].decode_chunk, clip.num_frames)
    decoder = chunk * clip.height * clip.width * _first_channels(networks.vae)
    activations = max(_AMPLE_UNET * unet, _AMPLE_DECODER * decoder) * dtype.itemsize
    return activations + max(_weights(networks, PRESETS["full"], dtype))


def choose_plan(
    pipe: Any,
    name: str,
    clip: ClipSize,
    *,
    device: torch.device,
    control: AnimateZeroSettings | None = None,
    dtype: torch.dtype | None = None,
    speed: SpeedSettings = EXACT,
) -> MemoryPlan:
    """`plan_for` with what is free on `device` now and what `clip` needs of `pipe` there.

    What already lies on `device` need not fit a second time.  Raises InputError for a `name` that
    is neither "auto" nor one of `PRESETS`.
    """
    free = free_bytes(device) if name == AUTO else None
    if free is not None:
        free += sum(
            _num_bytes(network)
            for network in networks_of(pipe).values()
            if next(network.parameters()).device.type == device.type
        )
        if fits(ample_bytes(pipe, clip, dtype), free):
            name = "full"

    def estimate(plan: MemoryPlan) -> int:
        return estimate_peak(pipe, clip, plan, control=control, dtype=dtype, speed=speed).total

    return plan_for(name, device=device, free_bytes=free, estimate=estimate)


def _control(control: AnimateZeroSettings | None) -> AnimateZeroSettings:
    return AnimateZeroSettings() if control is None else control


def _num_bytes(network: nn.Module, dtype: torch.dtype | None = None) -> int:
    """Of parameters and buffers, as they are or with floating-point numbers in `dtype`."""
    tensors = (*network.parameters(), *network.buffers())
    return sum(
        tensor.numel()
        * (dtype.itemsize if dtype and tensor.is_floating_point() else tensor.element_size())
        for tensor in tensors
    )


def _weights(networks: Any, plan: MemoryPlan, dtype: torch.dtype) -> tuple[int, int]:
    """Bytes of weights on the device while denoising and while decoding."""
    unet, vae, text = (
        _num_bytes(part, dtype) for part in (networks.unet, networks.vae, networks.text_encoder)
    )
    widened = 0
    if plan.weights == "float8":
        leaves = [_num_bytes(leaf, dtype) for leaf in float8_leaves(networks.unet)]
        unet -= sum(leaves) - sum(leaves) * FLOAT8.itemsize // dtype.itemsize
        widened = max(leaves)
    if plan.offload == "none":
        return unet + widened + vae + text, unet + vae + text
    if plan.offload == "idle":  # the VAE stays after the still was decoded, until the clip is done
        return unet + widened + vae, vae
    largest_unet, largest_vae = (
        max(_num_bytes(leaf, dtype) for leaf in leaves_of(part).values())
        for part in (networks.unet, networks.vae)
    )
    return largest_unet + widened, largest_vae


def _latent_size(vae: Any, clip: ClipSize) -> tuple[int, int]:
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    return clip.height // factor, clip.width // factor


def _first_channels(network: Any) -> int:
    return int(network.config.block_out_channels[0])


def _config(network: Any) -> str:
    """The configuration as a text, by which counts are remembered."""
    public = {key: value for key, value in network.config.items() if not key.startswith("_")}
    return json.dumps(public, sort_keys=True)


@dataclass(frozen=True, kw_only=True)
class _CallForm:
    """How the U-Net is called for a prediction."""

    control: AnimateZeroSettings
    feed_forward_chunks: int
    in_sequence: bool
    """Whether the halves of guidance have calls of their own."""
    kept_skips: int | None
    """Where it is cut, if deep features are kept for the next prediction."""


@cache
def _unet_activations(
    config: str, dtype: torch.dtype, size: tuple[int, int, int, int], form: _CallForm
) -> int:
    """Of a prediction for `size` = (guidance halves, rows of each, height, width) of the latents.

    With kept features, of one that finds those of the prediction before.
    """
    halves, rows, height, width = size
    num_reference_rows = int(form.control.needs_reference_row)
    context = FrameContext(
        num_frames=rows - num_reference_rows, num_reference_rows=num_reference_rows
    )
    unet = _without_weights(UNetMotionModel, config, dtype)
    reuse = None if form.kept_skips is None else FeatureReuse(form.kept_skips)

    def empty(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=dtype, device="meta")

    def call(keys: Sequence[int]) -> None:
        latents = empty(len(keys), unet.config.in_channels, rows, height, width)
        text = empty(len(keys) * rows, _TEXT_TOKENS, unet.config.cross_attention_dim)
        timestep = torch.empty((), dtype=torch.int64, device="meta")
        with nullcontext() if reuse is None else reuse.call(keys, reuses=False):
            unet(latents, timestep, encoder_hidden_states=text, return_dict=False)

    together = range(halves)
    calls = [[half] for half in together] if form.in_sequence else [together]
    # The first call of the next prediction finds all that was kept before.
    made = calls[:1] if reuse is None else [*calls, calls[0]]

    def predict() -> None:
        for keys in made:
            call(keys)

    adapters = run_adapters(form.control, context, form.feed_forward_chunks)
    with adapted(unet, [*adapters, *([] if reuse is None else [reuse])]):
        return peak_bytes(predict)


def run_adapters(
    control: AnimateZeroSettings, context: FrameContext, feed_forward_chunks: int
) -> list[Adapter]:
    """What is on the U-Net in a run, in the order of a run: the plan, control, exact savings.

    But for what keeps projections of the text from call to call, which takes a few MiB.
    """
    savings = Savings()
    chunks = [ChunkedFeedForward(feed_forward_chunks)] if feed_forward_chunks > 1 else []
    control_of_run = control_adapters(control, context, every_attention=savings.motion)
    return [*chunks, *control_of_run, *savings.adapters(context)]


@cache
def _decoder_activations(config: str, dtype: torch.dtype, size: tuple[int, int, int]) -> int:
    """Of decoding `size` = (frames, height, width) of the latents at once."""
    vae = _without_weights(AutoencoderKL, config, dtype)
    num_frames, *sides = size

    def call() -> Any:
        channels = vae.config.latent_channels
        return vae.decode(torch.empty(num_frames, channels, *sides, dtype=dtype, device="meta"))

    return peak_bytes(call)


@cache
def _without_weights(kind: Any, config: str, dtype: torch.dtype) -> Any:
    """A network on the meta device, which is all shapes."""
    with torch.device("meta"):
        network = kind.from_config(json.loads(config))
        return nn.Module.to(network.eval(), dtype=dtype)
