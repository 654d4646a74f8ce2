"""stillmotion: one still image becomes a moving clip.

The public names are fetched on first use (PEP 562), so that ``import stillmotion`` costs
milliseconds and ``stillmotion --help`` does not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stillmotion.animatezero.loading import load_pipeline
    from stillmotion.animatezero.pipeline import AnimateZeroPipeline
    from stillmotion.animatezero.settings import AnimateZeroSettings
    from stillmotion.diffusion.settings import SamplingSettings
    from stillmotion.errors import StillmotionError
    from stillmotion.media.clips import load_clip, save_clip
    from stillmotion.media.provenance import Provenance
    from stillmotion.media.still import Still

__version__ = "0.1.0"

__all__ = [
    "AnimateZeroPipeline",
    "AnimateZeroSettings",
    "Provenance",
    "SamplingSettings",
    "Still",
    "StillmotionError",
    "load_clip",
    "load_pipeline",
    "save_clip",
]

_HOMES = {
    "AnimateZeroPipeline": "stillmotion.animatezero.pipeline",
    "AnimateZeroSettings": "stillmotion.animatezero.settings",
    "Provenance": "stillmotion.media.provenance",
    "SamplingSettings": "stillmotion.diffusion.settings",
    "Still": "stillmotion.media.still",
    "StillmotionError": "stillmotion.errors",
    "load_clip": "stillmotion.media.clips",
    "load_pipeline": "stillmotion.animatezero.loading",
    "save_clip": "stillmotion.media.clips",
}


def __getattr__(name: str) -> object:
    """Fetch a public name from its home and keep it for the next use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names although most are not fetched yet."""
    return sorted({*globals(), *__all__})
