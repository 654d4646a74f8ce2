"""Dynamic rescaling: the clean latent is made smaller at the noisy timesteps.

The network learns on z_t = √ᾱ_t c_t z_0 + √(1 − ᾱ_t) ε with a scale c_t that falls from 1, so
that a schedule that ends in pure noise gives less weight to the clean latent.  VideoCrafter
(arXiv:2310.19512) and DynamiCrafter (arXiv:2310.12190) at 512 and 1024; their code only, the
papers do not mention it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stillmotion.diffusion.schedule import NUM_TRAIN_TIMESTEPS
from stillmotion.errors import ModelError

TURNING_STEP = 400


def dynamic_scales(base_scale: float, num_timesteps: int = NUM_TRAIN_TIMESTEPS) -> Tensor:
    """c_t: evenly from 1 to `base_scale` over timesteps 0..399, `base_scale` from there on.

    float64 (num_timesteps).  Raises ModelError for a base scale outside of 0 < b <= 1.
    """
    if not 0 < base_scale <= 1:
        raise ModelError(
            f"the model's scheduler rescales to {base_scale}; a base scale is above 0 and at most "
            "1, or None for no rescaling"
        )
    falling = torch.linspace(1, base_scale, TURNING_STEP, dtype=torch.float64)
    constant = falling.new_full((max(0, num_timesteps - TURNING_STEP),), base_scale)
    return torch.cat([falling, constant])[:num_timesteps]
