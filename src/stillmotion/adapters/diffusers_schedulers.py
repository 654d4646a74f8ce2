"""Everything this package knows about diffusers' schedulers beyond their common interface.

Pinned by tests/adapters/test_diffusers_schedulers.py.  The facts:

* DDIM keeps ᾱ of the end of sampling in `final_alpha_cumprod`; others take it to be 1.
* Multistep schedulers and those in sigma scaling count their steps in `_step_index`, so a step
  cannot be repeated; PNDM counts them too, and keeps earlier predictions in `ets`.  DDIM and DDPM
  know only the timestep that they are given.
* What a step draws from its generator: nothing in those of `_NOISELESS`, without eta.
* Sigma scaling (Euler and its kin) shows in `init_noise_sigma`, which is 1 for all others.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

from stillmotion.errors import ModelError

_NOISELESS = (
    DDIMScheduler, DEISMultistepScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler,
    PNDMScheduler, UniPCMultistepScheduler,
)  # fmt: skip


def draws_no_noise(scheduler: Any) -> bool:
    """Whether its steps, without eta, are known to be the same for any generator."""
    is_sde = str(scheduler.config.get("algorithm_type", "")).startswith("sde")
    return type(scheduler) in _NOISELESS and not is_sde


def sampled_alpha_bars(scheduler: Any) -> Tensor:
    """ᾱ at each timestep that is set and at the end of sampling: float64 (s+1), rising."""
    bars = scheduler.alphas_cumprod.double()
    end = torch.as_tensor(getattr(scheduler, "final_alpha_cumprod", 1.0), dtype=torch.float64)
    return torch.cat([bars[scheduler.timesteps.long().cpu()], end.reshape(1)])


def check_repeatable(scheduler: Any, purpose: str) -> None:
    """Raises ModelError if steps of the scheduler depend on those before."""
    has_memory = hasattr(scheduler, "step_index") or hasattr(scheduler, "ets")
    if has_memory or float(scheduler.init_noise_sigma) != 1:
        raise ModelError(
            f"{purpose} needs a scheduler without memory of earlier steps, such as DDIMScheduler; "
            f"this model has {type(scheduler).__name__}."
        )
