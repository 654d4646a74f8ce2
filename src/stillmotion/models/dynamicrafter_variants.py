"""The released variants of DynamiCrafter: what each is used with, and how a file is known as one.

The networks of 512, 1024 and interpolation are the same in names and shapes; the noise schedule
that a file brings along, or its name, tells them apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from stillmotion.diffusion.dynamic_rescale import dynamic_scales
from stillmotion.diffusion.schedule import (
    alphas_cumprod,
    scaled_linear_betas,
    zero_terminal_snr_betas,
)
from stillmotion.errors import ModelError
from stillmotion.models.layouts import Shapes, has
from stillmotion.models.ldm import UNET_PREFIX

_ADVICE = "name another --variant, or get the original file"
_TOLERANCE, _HALF_TOLERANCE = 1e-5, 5e-3
"""Of tables of a noise schedule, in float32 and in 16 bits, where bfloat16 near 1 is the worst."""


class Variant(StrEnum):
    """The released networks; `t2v` is VideoCrafter2's text-to-video, which the others began as."""

    V256 = "256"
    V512 = "512"
    V1024 = "1024"
    INTERPOLATION = "512-interp"
    TEXT_TO_VIDEO = "t2v"


@dataclass(frozen=True, kw_only=True)
class VariantFacts:
    """How a variant is used: the released configurations and the defaults of their scripts."""

    title: str
    height: int
    width: int
    scheduler: Mapping[str, Any]
    """Arguments of DynamiCrafterScheduler."""
    pace_kind: Literal["frame_stride", "conditioning_fps"]
    """What the network is told about pace: a larger stride, or fewer fps, means more motion."""
    default_pace: int
    pace_range: tuple[int, int]
    """What it was shown, or the scripts suggest."""
    guidance_scale: float = 7.5
    guidance_rescale: float = 0.7
    interpolates: bool = False
    """Whether it was trained with the first and the last frame given."""


def _scheduler(rescale_base: float | None, *, zero_terminal_snr: bool = True) -> dict[str, Any]:
    return {
        "prediction_type": "v_prediction" if zero_terminal_snr else "epsilon",
        "zero_terminal_snr": zero_terminal_snr,
        "rescale_base": rescale_base,
        "timestep_spacing": "trailing" if zero_terminal_snr else "leading",
    }


VARIANTS: dict[Variant, VariantFacts] = {
    Variant.V256: VariantFacts(
        title="DynamiCrafter 256",
        height=256,
        width=256,
        scheduler=_scheduler(None, zero_terminal_snr=False),
        pace_kind="frame_stride",
        default_pace=3,
        pace_range=(1, 6),
        guidance_rescale=0.0,
    ),
    Variant.V512: VariantFacts(
        title="DynamiCrafter 512",
        height=320,
        width=512,
        scheduler=_scheduler(0.7),
        pace_kind="conditioning_fps",
        default_pace=24,
        pace_range=(15, 30),
    ),
    Variant.V1024: VariantFacts(
        title="DynamiCrafter 1024",
        height=576,
        width=1024,
        scheduler=_scheduler(0.3),
        pace_kind="conditioning_fps",
        default_pace=10,
        pace_range=(5, 15),
    ),
    Variant.INTERPOLATION: VariantFacts(
        title="DynamiCrafter 512, interpolation and loops",
        height=320,
        width=512,
        scheduler=_scheduler(0.7),
        pace_kind="conditioning_fps",
        default_pace=5,
        pace_range=(5, 30),
        interpolates=True,
    ),
    # configs/inference_t2v_512_v2.0.yaml and its script; it rescales without zero terminal SNR.
    Variant.TEXT_TO_VIDEO: VariantFacts(
        title="VideoCrafter2, text to video",
        height=320,
        width=512,
        scheduler=_scheduler(0.7, zero_terminal_snr=False),
        pace_kind="conditioning_fps",
        default_pace=28,
        pace_range=(8, 30),
        guidance_scale=12.0,
        guidance_rescale=0.0,
    ),
}


def find_variant(
    shapes: Shapes, named: Path, scales: Tensor | None = None, asked: Variant | None = None
) -> Variant:
    """Which variant a checkpoint is of.

    Args:
        shapes: of its tensors, by their official names.
        named: where the file came from; its name and those of DynamiCrafter's folders count.
        scales: the file's table of dynamic rescaling, if it has one.
        asked: what the user says it is.

    Raises:
        ModelError: none of these, not what was asked for, or one of several that only the user
            can tell apart.
    """
    what = f"'{named.name}'"
    possible = _by_network(shapes, what)
    if scales is not None and len(possible) > 1:
        # A table of another base fits none, which `check_schedule` tells better.
        end = float(scales[-1])
        fitting = [v for v in possible if abs(VARIANTS[v].scheduler["rescale_base"] - end) < 0.05]
        possible = fitting or possible
    if asked is not None:
        if asked not in possible:
            raise ModelError(f"{what} is no '{asked}' checkpoint but {_listed(possible)}")
        return asked
    if len(possible) == 1:
        return possible[0]
    for said in _said_by_name(named):
        if said in possible:
            return said
    raise ModelError(
        f"{what} can be {_listed(possible)}, whose tensors are the same, and its name does not "
        "tell; say which with --variant"
    )


def check_schedule(tables: Mapping[str, Tensor], variant: Variant, what: str) -> None:
    """Hold what a file says about its noise schedule against that of the variant.

    Args:
        tables: `alphas_cumprod` (t) and `scale_arr` (t or longer), as far as the file has them.
        variant: that it is taken for.
        what: how an error names the file.

    Raises:
        ModelError: they differ.
    """
    if "alphas_cumprod" in tables:
        _check_bars(tables["alphas_cumprod"], variant, what)
    if "alphas_cumprod" in tables or "scale_arr" in tables:
        _check_scales(tables.get("scale_arr"), variant, what)


def _check_bars(bars: Tensor, variant: Variant, what: str) -> None:
    zero = bool(VARIANTS[variant].scheduler["zero_terminal_snr"])
    betas = zero_terminal_snr_betas(scaled_linear_betas()) if zero else scaled_linear_betas()
    if (float(bars[-1]) == 0) is not zero or not _agree(bars, alphas_cumprod(betas)):
        raise ModelError(
            f"the noise schedule in {what} is not that of variant {variant}: its alphas_cumprod "
            f"ends at {float(bars[-1]):.6g}, and that variant's is the scaled linear one that "
            f"ends {'at 0 (zero terminal SNR)' if zero else 'above 0'}; {_ADVICE}"
        )


def _check_scales(scales: Tensor | None, variant: Variant, what: str) -> None:
    base = VARIANTS[variant].scheduler["rescale_base"]
    expected = dynamic_scales(1.0 if base is None else base)
    if scales is None:
        # Tables without this one mean that nothing is rescaled.
        scales = torch.ones_like(expected)
    if not _agree(scales[: len(expected)], expected):
        wanted = "there is none" if base is None else f"it falls to {base}"
        raise ModelError(
            f"the dynamic rescaling in {what} is not that of variant {variant}: its scale_arr "
            f"ends at {float(scales[-1]):.6g}, and with that variant {wanted}; {_ADVICE}"
        )


def _by_network(shapes: Shapes, what: str) -> list[Variant]:
    """The variants whose network has these tensors."""
    if not has(shapes, rf"^{re.escape(UNET_PREFIX)}.*\.temopral_conv\."):
        raise ModelError(
            f"{what} has no temporal convolutions: it is of VideoCrafter's first generation, "
            "which is another network; get VideoCrafter2 or DynamiCrafter"
        )
    entry = shapes.get(f"{UNET_PREFIX}input_blocks.0.0.weight", (0, 0))
    channels, sees = entry[1], has(shapes, r"\.attn2\.to_k_ip\.weight$")
    if channels == 4 and not sees:
        return [Variant.TEXT_TO_VIDEO]
    if channels != 8 or not sees:
        raise ModelError(
            f"{what} is of another model: its network takes {channels} channels and "
            f"{'an' if sees else 'no'} image context; DynamiCrafter's takes 8 and one, "
            "VideoCrafter2's text-to-video 4 and none"
        )
    if has(shapes, r"\.attn2\.alpha$|\.framestride_embed\."):
        return [Variant.V256]
    return [Variant.V512, Variant.V1024, Variant.INTERPOLATION]


def _said_by_name(path: Path) -> Iterator[Variant]:
    """What the file's name says, then those of its folders that name the model, the nearest first.

    The published files are all named model.ckpt, in folders such as DynamiCrafter_512_Interp.
    """
    folders = [part for part in path.parts[:-1] if "crafter" in part.lower()]
    for text in (path.stem, *reversed(folders)):
        if "interp" in text.lower():
            yield Variant.INTERPOLATION
        size = re.search(r"(?<!\d)(256|512|1024)(?!\d)", text)
        if size:
            yield Variant(size[1])


def _agree(table: Tensor, expected: Tensor) -> bool:
    tolerance = _TOLERANCE if table.dtype.itemsize > 2 else _HALF_TOLERANCE
    table = table.double()
    return table.shape == expected.shape and bool(
        torch.allclose(table, expected, rtol=0, atol=tolerance)
    )


def _listed(variants: list[Variant]) -> str:
    return " or ".join(f"'{variant}'" for variant in variants)
