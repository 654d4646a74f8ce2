"""From settings to adapters."""

from __future__ import annotations

from stillmotion.adapters.adapter import Adapter, FrameContext
from stillmotion.adapters.diffusers_sites import PerFrameNorm, ReferenceRows
from stillmotion.animatezero.settings import AnimateZeroSettings
from stillmotion.animatezero.spatial_control import SharedKeysValues
from stillmotion.animatezero.temporal_control import WindowAttention


def control_adapters(settings: AnimateZeroSettings, context: FrameContext) -> list[Adapter]:
    """What changes the U-Net as `settings` say; nothing for plain AnimateDiff in diffusers.

    `context` must have one reference row if the settings need it, else none.
    """
    adapters: list[Adapter] = []
    if settings.frame_norm == "per_frame":
        adapters.append(PerFrameNorm())
    if settings.share_keys_values:
        adapters.append(SharedKeysValues(context))
    if context.num_reference_rows:
        adapters.append(ReferenceRows(context))
    adapters.append(WindowAttention(settings))
    return adapters
