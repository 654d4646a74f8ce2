"""How long a stage is trained, and how it is optimised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stillmotion.errors import InputError

Precision = Literal["no", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How long and how to optimise.  At least one of the two budgets must be given."""

    budget_seconds: float | None = None
    max_steps: int | None = None
    learning_rate: float = 1e-3
    final_learning_rate: float = 0.02
    """Last learning rate as a part of the first; a half cosine leads there."""
    warmup_steps: int = 100
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    checkpoint_seconds: float = 30.0
    seed: int = 0
    bfloat16: bool = True
    """Mixed precision; weights and optimiser stay in float32."""
    float16: bool = False
    """Mixed precision for GPUs without bfloat16, in place of it: the loss is scaled."""
    gradient_accumulation_steps: int = 1
    """Batches that each process draws for one step; their gradients are averaged."""
    gradient_checkpointing: bool = False
    """Compute activations a second time in place of keeping them; the stage must offer it."""
    sharded: bool = False
    """Several processes: share weights, gradients and optimiser out over them (FSDP2) in place of
    a copy in each (DDP); the stage must offer it.  One process has nothing to share out."""

    def __post_init__(self) -> None:
        if self.budget_seconds is None and self.max_steps is None:
            raise InputError("a stage needs a time budget or a number of steps; neither was given")
        if self.gradient_accumulation_steps < 1:
            raise InputError(
                "a step needs at least one batch; gradient_accumulation_steps is "
                f"{self.gradient_accumulation_steps}"
            )
        if self.sharded and self.float16:
            raise InputError("sharded training has no loss scaling; use bfloat16, not float16")

    @property
    def precision(self) -> Precision:
        """The two switches as one choice."""
        if self.float16:
            return "fp16"
        return "bf16" if self.bfloat16 else "no"
