"""Every metric by the key that files use: its title, unit, direction, and where it comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from stillmotion.errors import InputError

Better = Literal["higher", "lower"]
Part = Literal["clip", "perceptual", "video", "flow", "judge"]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What a number says."""

    key: str
    title: str
    meaning: str
    """One sentence, for who reads a report."""
    better: Better | None
    """None: neither; a matter of what is wanted."""
    unit: str = ""
    digits: int = 3
    """Decimals in tables."""
    part: Part | None = None
    """The extractor that it needs and whose name stands behind its title."""
    source: str = ""
    """The paper or report that defines it."""
    of_sets: bool = False
    """A number of all clips of a method together, such as a Frechet distance."""
    share: bool = False
    """0 to 1, shown as a percentage."""


ORIGINALS: Mapping[Part, str] = MappingProxyType({"video": "I3D", "perceptual": "DreamSim"})
"""The network with which a paper's metric carries the paper's name alone."""

_ANIMATEZERO = "AnimateZero (arXiv:2312.03793), section 5"
_DYNAMICRAFTER = "DynamiCrafter (arXiv:2310.12190), section 5"
_HERE = "stillmotion"

_METRICS = (
    Metric(
        key="i1_mse", title="I1-MSE", better="lower", source=_ANIMATEZERO,
        meaning="Mean squared error of frame 1 against the given picture, values 0 to 255; "
        "0 is exact.",
    ),
    Metric(
        key="i1_psnr", title="I1-PSNR", better="higher", unit="dB", digits=2, source=_HERE,
        meaning="The same error as a peak signal-to-noise ratio; infinite where frame 1 is exact.",
    ),
    Metric(
        key="i1_mse_uint8wrap", title="I1-MSE (uint8 wrap, hypothesis)", better="lower",
        source=_HERE,
        meaning="The squared error as 8-bit arithmetic returns it, modulo 256: what the paper's "
        "numbers may be; unrelated pictures reach about 105.5, and it says nothing by itself.",
    ),
    Metric(
        key="end_mse", title="End-frame MSE", better="lower", source=_HERE,
        meaning="Mean squared error of the last frame against a given end picture, values 0 to "
        "255.",
    ),
    Metric(
        key="warping_error", title="Warping error ×10³", better="lower", digits=4, part="flow",
        source="Lai et al. (arXiv:1808.00449); " + _ANIMATEZERO,
        meaning="Mean squared difference of a frame and the next one warped back onto it, where "
        "nothing is hidden, frames in 0 to 1; a resting clip has 0.",
    ),
    Metric(
        key="text_sim", title="Text-Sim", better="higher", digits=4, part="clip",
        source=f"{_ANIMATEZERO}; CLIP-SIM of {_DYNAMICRAFTER}",
        meaning="Mean cosine of CLIP's features of each frame and of the prompt.",
    ),
    Metric(
        key="domain_sim", title="Domain-Sim", better="higher", digits=4, part="clip",
        source=_ANIMATEZERO,
        meaning="Mean cosine of CLIP's features of each frame and of 16 pictures that the image "
        "model draws of the prompt.",
    ),
    Metric(
        key="style_dist", title="Style-Dist", better="lower", digits=4, part="clip",
        source=_ANIMATEZERO,
        meaning="Mean distance of the Gram matrices of the image encoder's third block, of each "
        "frame and of the given picture, over tokens times channels.",
    ),
    Metric(
        key="style_dist_raw", title="Style-Dist (raw)", better="lower", digits=1, part="clip",
        source=_ANIMATEZERO,
        meaning="Style-Dist as the plain Frobenius norm, undivided.",
    ),
    Metric(
        key="fvd", title="FVD", better="lower", digits=2, part="video", of_sets=True,
        source=f"Unterthiner et al. (arXiv:1812.01717); {_DYNAMICRAFTER}",
        meaning="Frechet distance of the features of made and of real clips; depends on their "
        "number.",
    ),
    Metric(
        key="kvd", title="KVD", better="lower", digits=2, part="video", of_sets=True,
        source=f"Binkowski et al. (arXiv:1801.01401); {_DYNAMICRAFTER}",
        meaning="Unbiased kernel distance of the features of made and of real clips; around 0, "
        "and at times below, if they are alike.",
    ),
    Metric(
        key="input_conformity", title="PIC", better="higher", digits=4, part="perceptual",
        source=_DYNAMICRAFTER,
        meaning="Perceptual input conformity: 1 minus the mean perceptual distance of the frames "
        "to the given picture.",
    ),
    Metric(
        key="clip_conformity", title="CLIP image similarity", better="higher", digits=4,
        part="clip", source="AnimateBench of PIA (arXiv:2312.13964)",
        meaning="Mean cosine of CLIP's features of each frame and of the given picture.",
    ),
    Metric(
        key="motion_magnitude", title="Motion magnitude", better=None, unit="px/step", digits=2,
        part="flow", source=_HERE,
        meaning="Mean length of the flow between neighbouring frames, over all pixels.",
    ),
    Metric(
        key="motion_smoothness", title="Motion smoothness", better="higher", part="flow",
        source=_HERE,
        meaning="1 where everything keeps its velocity, 0 where every step stops or turns back; "
        "not defined for a resting clip.",
    ),
    Metric(
        key="flicker", title="Mean step", better=None, digits=2, source=_HERE,
        meaning="Mean absolute difference of neighbouring frames, 0 to 255: flicker where nothing "
        "should move, motion otherwise.",
    ),
    Metric(
        key="first_step_ratio", title="First step / later steps", better=None, digits=2,
        source=_HERE,
        meaning="The step from frame 1 to 2 over the mean later one; 1 is even, above 1 the clip "
        "jumps at frame 2.",
    ),
    Metric(
        key="largest_step_ratio", title="Largest / mean step", better="lower", digits=2,
        source=_HERE, meaning="The largest step over the mean step; 1 is even.",
    ),
    Metric(
        key="late_drift", title="Late / early steps", better=None, digits=2, source=_HERE,
        meaning="Steps of the last third over those of the first; above 1 the late frames run "
        "away, below 1 the motion dies.",
    ),
    Metric(
        key="loop_error", title="Loop closure", better=None, digits=2, source=_HERE,
        meaning="The step from the last frame back to the first over the mean step; for a loop, "
        "0 to about 1 closes.",
    ),
    Metric(
        key="saturation_drift", title="Saturation drift", better=None, unit="%", digits=1,
        source=_HERE,
        meaning="Change of the mean saturation from frame 1 to the last third of the frames; 0 is "
        "none.",
    ),
    Metric(
        key="brightness_drift", title="Brightness drift", better=None, unit="%", digits=1,
        source=_HERE,
        meaning="Change of the mean brightness from frame 1 to the last third of the frames; 0 is "
        "none.",
    ),
    Metric(
        key="subject", title="Subject right", better="higher", digits=1, part="judge", share=True,
        source=_HERE, meaning="Frames in which the judge sees the subject that was asked for.",
    ),
    Metric(
        key="colour", title="Colour right", better="higher", digits=1, part="judge", share=True,
        source=_HERE, meaning="Frames in which the judge sees the colour that was asked for.",
    ),
    Metric(
        key="background", title="Background right", better="higher", digits=1, part="judge",
        share=True, source=_HERE,
        meaning="Frames in which the judge sees the background that was asked for.",
    ),
    Metric(
        key="domain", title="Look right", better="higher", digits=1, part="judge", share=True,
        source=_HERE, meaning="Frames in which the judge sees the look that was asked for.",
    ),
    Metric(
        key="subject_last", title="Subject right, last frame", better="higher", digits=1,
        part="judge", share=True, source=_HERE,
        meaning="Clips whose last frame still shows the subject that was asked for.",
    ),
    Metric(
        key="motion_right", title="Motion right", better="higher", digits=1, part="judge",
        share=True, source=_HERE,
        meaning="Clips in which the judge sees the motion that was asked for.",
    ),
    Metric(
        key="rank_motion", title="Motion (mean rank)", better="lower", digits=2, of_sets=True,
        source=_ANIMATEZERO, meaning="Mean rank of the quality of the motion; 1 is best.",
    ),
    Metric(
        key="rank_appearance", title="Appearance (mean rank)", better="lower", digits=2,
        of_sets=True, source=_ANIMATEZERO,
        meaning="Mean rank of how well the clip matches the given picture; 1 is best.",
    ),
    Metric(
        key="rank_subjective", title="Subjective (mean rank)", better="lower", digits=2,
        of_sets=True, source=_ANIMATEZERO, meaning="Mean rank of the quality; 1 is best.",
    ),
)  # fmt: skip

CATALOGUE: Mapping[str, Metric] = MappingProxyType({metric.key: metric for metric in _METRICS})
"""In the order in which tables show them."""


def title_of(key: str, extractor_name: str | None = None) -> str:
    """What a table calls a metric, so that no stand-in can be mistaken for a paper's network.

    "Text-Sim (CLIP-miniature)", "Warping error ×10³ (DIS)"; "FVD" and "PIC" stand alone only for
    the networks of `ORIGINALS`, else "FVD-judge", "PIC-judge"; without a name "FVD-unnamed".

    Args:
        key: of the catalogue.
        extractor_name: what the extractor that served the metric calls itself; of no matter for a
            metric that needs none.

    Raises:
        InputError: no metric has this key.
    """
    if key not in CATALOGUE:
        raise InputError(f"'{key}' is no metric; known are {', '.join(CATALOGUE)}")
    metric = CATALOGUE[key]
    if metric.part is not None and metric.part in ORIGINALS:
        name = extractor_name or "unnamed"
        return metric.title if name == ORIGINALS[metric.part] else f"{metric.title}-{name}"
    return f"{metric.title} ({extractor_name})" if metric.part and extractor_name else metric.title


def stored(value: float) -> float | None:
    """A metric as files hold it: None where it is not a finite number.

    NaN is a metric that is not defined for a clip; infinity is only the PSNR of an exact frame,
    whose `i1_mse` is 0.
    """
    return float(value) if math.isfinite(value) else None
