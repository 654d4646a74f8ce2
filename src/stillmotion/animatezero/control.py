"""From settings to adapters."""

from __future__ import annotations

from stillmotion.adapters.adapter import Adapter, FrameContext
from stillmotion.adapters.diffusers_sites import PerFrameNorm, ReferenceRows
from stillmotion.animatezero.settings import AnimateZeroSettings
from stillmotion.animatezero.spatial_control import SharedKeysValues
from stillmotion.animatezero.temporal_adapter import WindowAttention
from stillmotion.animatezero.windows import EndBlend


def control_adapters(
    settings: AnimateZeroSettings,
    context: FrameContext,
    ends: EndBlend | None = None,
    *,
    every_attention: bool = False,
) -> list[Adapter]:
    """What changes the U-Net as `settings` say; nothing for plain AnimateDiff in diffusers.

    `ends` is given if the last frame is.  If the settings need reference rows, `context` must
    have one for each given frame, else none, or one for a still that is drawn beside.  With
    `every_attention` those over frames that the settings leave as they are get a form of this
    package too, as `LeanMotion` needs it.
    """
    adapters: list[Adapter] = []
    if settings.frame_norm == "per_frame":
        adapters.append(PerFrameNorm())
    if settings.share_keys_values:
        apart = bool(context.num_reference_rows) and not settings.needs_reference_row
        adapters.append(SharedKeysValues(context, ends, apart=apart))
    if context.num_reference_rows:
        adapters.append(ReferenceRows(context))
    adapters.append(WindowAttention(settings, context.num_frames, ends, everywhere=every_attention))
    return adapters
