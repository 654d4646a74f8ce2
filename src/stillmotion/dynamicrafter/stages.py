"""The stages of training as data (section 3.3), and the paper's departures from them.

A stage says what learns, what it is shown and where training goes on; `training.py` runs one and
`inflation.py` makes the networks.  `STAGES` holds the paper's, `plan` a sequence of them with the
settings of Table 4 and Fig. 5 on top.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from torch import nn

from stillmotion.adapters.diffusers_unet3d import is_temporal_parameter
from stillmotion.errors import InputError, ModelError

Guidance = Literal["none", "picture", "ends"]
"""What is concatenated with the noise: nothing, the picture at every frame, or the two ends."""


class Group(StrEnum):
    """Parts that learn or rest together.  Every parameter is in exactly one of them."""

    IMAGE_CONTEXT = "image context network"
    """P, all of it."""
    IMAGE_ATTENTION = "image cross-attention"
    """Keys, values and gate of the image tokens, in the U-Net."""
    SPATIAL = "spatial layers"
    """What the image model has as well: each frame by itself, the timestep's embedding too."""
    PACE = "pace embedding"
    """Of fps or frame stride."""
    TEMPORAL = "temporal layers"
    """What mixes frames: convolutions and attentions over time."""


_SPATIAL_SIDE = frozenset({Group.IMAGE_ATTENTION, Group.SPATIAL, Group.PACE})
"""The paper's "spatial layers (in contrast to temporal layers)" of a network with image context."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """How the paper trained a stage (section 4.1)."""

    learning_rate: float
    steps: int
    batch: int


@dataclass(frozen=True, kw_only=True)
class TrainingStage:
    """What one stage trains, on what; its loss is the plain mean squared error."""

    name: str
    trains: frozenset[Group]
    next_stage: str | None
    """The one that goes on from these weights."""
    data: Literal["frames", "clips"] = "clips"
    """Single frames train the image model, clips the video model."""
    context: bool = True
    """Whether the network reads image tokens, and so needs P."""
    gate: bool = True
    """Whether a network that is made for this stage learns λ of Eq. 2; otherwise it is 1."""
    global_token_only: bool = False
    """Whether P sees only CLIP's class token."""
    detail_guidance: Guidance = "none"
    condition_frame: Literal["random", "first"] = "random"
    """Which frame of a clip is the picture, for CLIP and for the guidance."""
    condition_dropout: float = 0.05
    """p: the parts of the samples without text, without image, and without both.  The
    concatenation is never dropped."""
    published: Published | None = None
    """None where the paper took a trained model."""

    @property
    def frozen(self) -> frozenset[Group]:
        """What does not learn."""
        return frozenset(Group) - self.trains


def _stages(*stages: TrainingStage) -> Mapping[str, TrainingStage]:
    return MappingProxyType({stage.name: stage for stage in stages})


STAGES = _stages(
    TrainingStage(
        name="base",
        trains=frozenset({Group.TEMPORAL, Group.PACE}),
        next_stage="adapt",
        context=False,
    ),
    TrainingStage(
        name="context",
        trains=frozenset({Group.IMAGE_CONTEXT, Group.IMAGE_ATTENTION}),
        next_stage="adapt",
        data="frames",
        published=Published(learning_rate=1e-4, steps=1_000_000, batch=64),
    ),
    TrainingStage(
        name="adapt",
        trains=_SPATIAL_SIDE | {Group.IMAGE_CONTEXT},
        next_stage="joint",
        published=Published(learning_rate=5e-5, steps=30_000, batch=64),
    ),
    TrainingStage(
        name="joint",
        trains=_SPATIAL_SIDE | {Group.IMAGE_CONTEXT},
        next_stage="interpolation",
        detail_guidance="picture",
        published=Published(learning_rate=5e-5, steps=100_000, batch=64),
    ),
    TrainingStage(
        name="interpolation",
        trains=_SPATIAL_SIDE | {Group.IMAGE_CONTEXT},
        next_stage=None,
        detail_guidance="ends",
        condition_frame="first",
    ),
)
"""The stages by name: (i) "context", (ii) "adapt" and (iii) "joint" are the paper's.

"base" makes a text-to-video model from an image model, where there is none to begin with; it
trains beside "context", and "adapt" needs both.  "interpolation" goes on from "joint", and is no
part of the paper's three: the picture is the first frame, and the last one is given as well.
"""


@dataclass(frozen=True, kw_only=True)
class Variation:
    """Settings on top of the three stages; each but the last is an ablation of section 4.5.

    Where networks are made for a plan, `network_for` reads these settings from its stages.

    Raises InputError for a choice that leaves nothing of the picture, or interpolates without it.
    """

    context: bool = True
    """False: "w/o ctx"; only the last stage is left, without P and image cross-attention."""
    detail_guidance: bool = True
    """False: "w/o VDG"; the last stage is trained as long, without concatenation."""
    gate: bool = True
    """False: "w/o λ"."""
    global_token_only: bool = False
    """The paper's Ours_G: CLIP's class token in place of all tokens."""
    train_everything: bool = False
    """The paper's "Ft. ent.": the last stage trains the temporal layers as well."""
    first_frame: bool = False
    """The paper's "1st frame": the picture is always the clip's first frame."""
    one_stage: bool = False
    """Fig. 5b: P learns on the video model from the start, for as many steps as on both."""
    interpolation: bool = False
    """Whether the stage of that name follows."""

    def __post_init__(self) -> None:
        if not self.context and not self.detail_guidance:
            raise InputError(
                "Without context and without detail guidance the network would see nothing of the "
                "picture; leave one of them on."
            )
        if self.interpolation and not self.detail_guidance:
            raise InputError(
                "Interpolation is told its two ends by detail guidance; leave that on."
            )


ABLATIONS: Mapping[str, Variation] = MappingProxyType(
    {
        "full": Variation(),
        "without-context": Variation(context=False),
        "without-detail-guidance": Variation(detail_guidance=False),
        "without-gate": Variation(gate=False),
        "global-token": Variation(global_token_only=True),
        "train-everything": Variation(train_everything=True),
        "first-frame": Variation(first_frame=True),
        "one-stage": Variation(one_stage=True),
    }
)
"""The columns of Table 4, then Fig. 5b."""


def plan(variation: Variation | None = None) -> tuple[TrainingStage, ...]:
    """The stages to train in turn, from a text-to-video model and the image model beside it."""
    variation = variation or Variation()
    names = ["context", "adapt", "joint"]
    if not variation.context:
        names = ["joint"]
    elif variation.one_stage:
        names = ["adapt", "joint"]
    if variation.interpolation:
        names.append("interpolation")
    return tuple(_varied(STAGES[name], variation) for name in names)


def training_everything(stage: TrainingStage) -> TrainingStage:
    """The same stage with the whole U-Net learning, and P where it has one."""
    unused = frozenset() if stage.context else {Group.IMAGE_CONTEXT, Group.IMAGE_ATTENTION}
    return replace(stage, trains=frozenset(Group) - unused)


def _varied(stage: TrainingStage, variation: Variation) -> TrainingStage:
    stage = replace(stage, gate=variation.gate, global_token_only=variation.global_token_only)
    if not variation.context:
        without = stage.trains - {Group.IMAGE_CONTEXT, Group.IMAGE_ATTENTION}
        stage = replace(stage, context=False, trains=without)
    if not variation.detail_guidance:
        stage = replace(stage, detail_guidance="none")
    if variation.first_frame and stage.data == "clips":
        stage = replace(stage, condition_frame="first")
    if variation.train_everything and stage.name not in ("context", "adapt"):
        stage = training_everything(stage)
    if variation.one_stage and stage.name == "adapt":
        stage = replace(stage, published=_one_stage())
    return stage


def _one_stage() -> Published:
    """As many steps as on the image and the video model together (section 4.5)."""
    both = [STAGES[name].published for name in ("context", "adapt")]
    adapt = STAGES["adapt"].published
    assert adapt is not None
    return replace(adapt, steps=sum(each.steps for each in both if each is not None))


def group_of(name: str) -> Group:
    """The group of a U-Net's parameter, by its name; of the image model's too."""
    parts = name.split(".")
    if is_temporal_parameter(name):
        return Group.TEMPORAL
    if "processor" in parts:
        return Group.IMAGE_ATTENTION
    if "fps_embedding" in parts:
        return Group.PACE
    return Group.SPATIAL


def parameter_groups(
    unet: nn.Module, image_context: nn.Module | None = None
) -> dict[Group, list[nn.Parameter]]:
    """The parameters of both networks by group, in a fixed order; empty groups included."""
    groups: dict[Group, list[nn.Parameter]] = {group: [] for group in Group}
    if image_context is not None:
        groups[Group.IMAGE_CONTEXT] = list(image_context.parameters())
    for name, parameter in unet.named_parameters():
        groups[group_of(name)].append(parameter)
    return groups


def train_only(
    stage: TrainingStage, unet: nn.Module, image_context: nn.Module | None = None
) -> list[nn.Parameter]:
    """Let what the stage trains require gradients, and nothing else; the trained, in fixed order.

    Raises ModelError if the networks lack a group that the stage trains; an embedding of the pace
    may be missing.
    """
    trained = []
    for group, parameters in parameter_groups(unet, image_context).items():
        learns = group in stage.trains
        if learns and not parameters and group is not Group.PACE:
            raise ModelError(
                f"The stage '{stage.name}' trains the {group}, which these networks do not have; "
                "make them with `network_for`, and give the image context beside the U-Net."
            )
        for parameter in parameters:
            parameter.requires_grad_(learns)
        if learns:
            trained += parameters
    return trained
