"""The features of AnimateZero that are measured: what each asks of the pipeline.

A feature is the default call of `AnimateZeroPipeline.animate` but for what its fields say, so that
a row of the table shows the effect of one thing.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stillmotion.animatezero.photograph import PhotographSettings
from stillmotion.animatezero.settings import FIG6_ROWS, PAPER, AnimateZeroSettings, TimeTravel
from stillmotion.errors import InputError
from stillmotion.evaluation.metrics.colour import saturation_drift
from stillmotion.evaluation.metrics.flow import flow_magnitude
from stillmotion.evaluation.metrics.regularity import (
    largest_step_ratio,
    last_step_ratio,
    return_ratio,
    seam_ratio,
)
from stillmotion.evaluation.metrics.steps import first_step_ratio, step_sizes
from stillmotion.evaluation.samples import EVALUATION_SEED, Sample, make_sample
from stillmotion.models.controlnets import OWN
from stillmotion.runtime.seeds import derive_seed
from stillmotion.world.vocabulary import COLOURS

End = Literal["open", "loop", "other still", "other scene", "other colour"]
"""Where a clip goes: nowhere in particular; to its own still; to another still of the same text; to
a still of another text, the text with it; or by its text alone to another colour of the subject."""
REFERENCE = "default"
"""The feature that memory plans are compared with."""


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One row of the table."""

    title: str
    control: AnimateZeroSettings = field(default_factory=AnimateZeroSettings)
    end: End = "open"
    num_frames: int | None = None
    """None: the model's own number."""
    photograph: PhotographSettings | None = None
    """How the first frame, rendered from the world, is animated; None: it is drawn."""
    memory: str = "full"
    """A preset of `runtime/memory.py`."""
    follows_edges: bool = False
    """Whether still and clip follow the edges of the scene's rendered clip, as `edit` does."""

    @property
    def gives_last_frame(self) -> bool:
        return self.end in ("loop", "other still", "other scene")

    @property
    def is_compared(self) -> bool:
        """Whether its clip should be that of `REFERENCE`."""
        return self.memory != "full"


def _strength(value: float) -> AnimateZeroSettings:
    return AnimateZeroSettings(motion_strength=value)


FEATURES: Mapping[str, Feature] = MappingProxyType(
    {
        "animatediff": Feature(title="AnimateDiff", control=FIG6_ROWS["a"]),
        "paper": Feature(title="AnimateZero, the paper's method", control=PAPER),
        REFERENCE: Feature(title="default: with drift correction"),
        "kv-still": Feature(
            title="keys and values of the still's own pass",
            control=AnimateZeroSettings(kv_source="still"),
        ),
        "strength-0": Feature(title="motion strength 0", control=_strength(0)),
        "strength-0.5": Feature(title="motion strength 0.5", control=_strength(0.5)),
        "strength-1.5": Feature(title="motion strength 1.5", control=_strength(1.5)),
        "strength-2": Feature(title="motion strength 2", control=_strength(2)),
        "time-travel": Feature(
            title="time travel, 5 times at 40-80 %",
            control=AnimateZeroSettings(time_travel=TimeTravel(repeats=5, start=0.4, stop=0.8)),
        ),
        "to-still": Feature(title="to another still of the text", end="other still"),
        "to-scene": Feature(title="to a still of another scene", end="other scene"),
        "even-pace": Feature(
            title="to a still of another scene, even pace",
            control=AnimateZeroSettings(even_pace=True),
            end="other scene",
        ),
        "loop": Feature(title="loop", end="loop"),
        "to-text": Feature(title="towards another colour by text", end="other colour"),
        "long": Feature(title="64 frames", num_frames=64),
        "photograph-inversion": Feature(
            title="photograph, by inversion", photograph=PhotographSettings(trajectory="inversion")
        ),
        "photograph-diffusion": Feature(
            title="photograph, by diffusion", photograph=PhotographSettings(trajectory="diffusion")
        ),
        "memory-lean": Feature(title="memory plan lean", memory="lean"),
        "memory-tiny": Feature(title="memory plan tiny", memory="tiny"),
        "edges": Feature(title="edit: along the edges of a clip", follows_edges=True),
    }
)
"""By the name that `--features` takes, in the order of the table."""


def chosen(names: Sequence[str]) -> list[str]:
    """The names of the features that are asked for, in the order of the table; all if none is.

    Raises InputError for a name that is none.
    """
    unknown = [name for name in names if name not in FEATURES]
    if unknown:
        raise InputError(f"There is no feature '{unknown[0]}'; there are: {', '.join(FEATURES)}.")
    return [name for name in FEATURES if name in names or not names]


def reason_to_leave_out(feature: Feature, model_folder: Path) -> str | None:
    """Why a model cannot show a feature, or None if it can."""
    if feature.follows_edges and not (model_folder / OWN).is_dir():
        return f"the model comes without a ControlNet: its folder has no '{OWN}'"
    return None


def other_seed(sample: Sample) -> int:
    """The noise of another still of the same text."""
    return derive_seed(EVALUATION_SEED, "other still", sample.index) % 2**31


def other_scene(sample: Sample) -> Sample:
    """Another scene in the same look, with its own text and noise."""
    other = make_sample("other scene", sample.index, domain=sample.scene.domain)
    return replace(other, seed=other_seed(sample))


def recoloured(sample: Sample) -> Sample:
    """The same sample, its words too, with a subject of another colour."""
    rng = random.Random(derive_seed(EVALUATION_SEED, "other colour", sample.index))
    colour = rng.choice([name for name in COLOURS if name != sample.scene.colour])
    # Captions name the subject's colour first; a background can have the same word after it.
    words = sample.prompt.replace(sample.scene.colour, colour, 1)
    return replace(sample, scene=replace(sample.scene, colour=colour), prompt=words)


def target_of(feature: Feature, sample: Sample) -> Sample:
    """What the last frame should show."""
    if feature.end == "other scene":
        return other_scene(sample)
    return recoloured(sample) if feature.end == "other colour" else sample


def clip_numbers(
    feature: Feature,
    frames: NDArray[np.uint8],
    first: NDArray[np.uint8],
    last: NDArray[np.uint8] | None,
) -> dict[str, float]:
    """What is read off the pixels of a clip (f h w 3) and the pictures (h w 3) of its ends.

    NaN where there is nothing to measure: without a given last frame, in a clip that rests, or of
    colours that are asked to change.
    """
    steps, window = step_sizes(frames), feature.control.window_of(len(frames))
    is_loop, is_long, nothing = feature.end == "loop", feature.num_frames is not None, float("nan")
    changes_colours = feature.end in ("other scene", "other colour")
    return {
        "i1_mse": _mse(frames[0], first),
        "end_mse": nothing if last is None else _mse(frames[-1], last),
        "first_step": first_step_ratio(steps),
        "largest_step": largest_step_ratio(steps),
        "mean_step": float(steps.mean()),
        "last_step": nothing if last is None else last_step_ratio(steps),
        "return_step": return_ratio(frames) if is_loop else nothing,
        # As --seamless leaves it: without the first frame again at the end.
        "seamless_return_step": return_ratio(frames[:-1]) if is_loop else nothing,
        "seam": seam_ratio(steps, window) if is_long else nothing,
        "saturation_drift": nothing if changes_colours else saturation_drift(frames),
        "flow": flow_magnitude(frames),
    }


def difference(frames: NDArray[np.uint8], reference: NDArray[np.uint8]) -> float:
    """Mean squared error of two clips (f h w 3), 0 to 255², without frame 1, which is given."""
    return _mse(frames[1:], reference[1:])


def _mse(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(((one.astype(np.float64) - other) ** 2).mean())
