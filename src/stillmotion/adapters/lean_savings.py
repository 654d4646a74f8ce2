"""Which exact savings a run makes, and the adapters that make them.

================  ==================================  ==============================================
saving            adapter                             what is left out
================  ==================================  ==============================================
channels_last     `lean_layers.ChannelsLast`          laying out pictures and weights anew
feed_forward      `lean_layers.FusedGEGLU`            a pass over hidden activations
resnets           `lean_resnet.LeanResnets`           SiLU, time embedding and division apart
transformers      `lean_transformer.LeanTransformers` copies, residual sums and division apart
motion            `lean_motion.LeanMotion`            copies, positions, sums, reference rows apart
projections       `lean_projections.JointProjections` reading tokens three times
text              `lean_text.TextProjections`         projecting text for every frame and step
trunk             `lean_trunk.SharedTrunk`            what both halves of guidance have in common
================  ==================================  ==============================================
"""

from __future__ import annotations

from dataclasses import dataclass

from stillmotion.adapters.adapter import Adapter, FrameContext
from stillmotion.adapters.lean_layers import ChannelsLast, FusedGEGLU
from stillmotion.adapters.lean_motion import LeanMotion
from stillmotion.adapters.lean_projections import JointProjections
from stillmotion.adapters.lean_resnet import LeanResnets
from stillmotion.adapters.lean_text import TextProjections, TextRows
from stillmotion.adapters.lean_transformer import LeanTransformers
from stillmotion.adapters.lean_trunk import SharedTrunk


@dataclass(frozen=True, kw_only=True)
class Savings:
    """Work that is left out of every use of a U-Net; results are the same but for rounding.

    All are on by default.  Each can be switched off to see what it saves.
    """

    channels_last: bool = True
    feed_forward: bool = True
    resnets: bool = True
    transformers: bool = True
    motion: bool = True
    projections: bool = True
    text: bool = True
    trunk: bool = True

    @classmethod
    def none(cls) -> Savings:
        """Everything computed as diffusers does."""
        return cls(**dict.fromkeys(cls.__dataclass_fields__, False))

    def adapters(
        self, context: FrameContext, text: TextRows | None = None, *, moves: bool = True
    ) -> list[Adapter]:
        """To be put on a network last, behind what controls it.

        `context` says how the rows of each half of guidance lie in the batch, `text` what they
        read, if that is known; `moves` whether motion modules are at work.
        """
        made: list[Adapter] = []
        if self.projections:
            made.append(JointProjections())
        if self.motion and moves:
            made.append(LeanMotion(context))
        if self.text and text is not None:
            made.append(TextProjections(text))
        if self.resnets:
            made.append(LeanResnets())
        if self.feed_forward:
            made.append(FusedGEGLU())
        if self.transformers:
            made.append(LeanTransformers())
        if self.channels_last:
            made.append(ChannelsLast())
        if self.trunk:
            made.append(SharedTrunk(context.num_rows))
        return made
