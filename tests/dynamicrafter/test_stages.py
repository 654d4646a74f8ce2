"""The stages as data, and which parameters of a network they mean."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import nn

from stillmotion.adapters.diffusers_unet3d import is_temporal_parameter
from stillmotion.dynamicrafter.image_context import ImageContext
from stillmotion.dynamicrafter.stages import (
    ABLATIONS,
    STAGES,
    Group,
    Published,
    TrainingStage,
    Variation,
    group_of,
    parameter_groups,
    plan,
    train_only,
    training_everything,
)
from stillmotion.dynamicrafter.unet import DynamiCrafterUNet
from stillmotion.errors import InputError, ModelError

TINY = {
    "block_out_channels": (8, 16),
    "down_block_types": ("CrossAttnDownBlock3D", "DownBlock3D"),
    "up_block_types": ("UpBlock3D", "CrossAttnUpBlock3D"),
    "layers_per_block": 1,
    "cross_attention_dim": 6,
    "attention_head_dim": 4,
    "norm_num_groups": 4,
}
SPATIAL_SIDE = {Group.IMAGE_ATTENTION, Group.SPATIAL, Group.PACE}


def unet(**changes: bool) -> DynamiCrafterUNet:
    return DynamiCrafterUNet(**{**TINY, "image_gate": True, **changes})


def image_context() -> ImageContext:
    return ImageContext(
        embed_dims=5, output_dims=6, hidden_dims=8, depth=1, dim_head=4, heads=2, num_queries=2,
        num_frames=3,
    )  # fmt: skip


# The paper's three stages.


def test_stages_lead_to_one_another() -> None:
    assert list(STAGES) == ["base", "context", "adapt", "joint", "interpolation"]
    assert {name: stage.next_stage for name, stage in STAGES.items()} == {
        "base": "adapt",
        "context": "adapt",
        "adapt": "joint",
        "joint": "interpolation",
        "interpolation": None,
    }
    assert all(stage.name == name for name, stage in STAGES.items())


def test_what_the_paper_trains_and_how() -> None:
    context, adapt, joint = plan()
    assert (context, adapt, joint) == tuple(STAGES[n] for n in ("context", "adapt", "joint"))
    assert context.trains == {Group.IMAGE_CONTEXT, Group.IMAGE_ATTENTION}
    assert adapt.trains == joint.trains == {Group.IMAGE_CONTEXT, *SPATIAL_SIDE}
    assert adapt.frozen == {Group.TEMPORAL}
    assert [s.data for s in plan()] == ["frames", "clips", "clips"]
    assert [s.detail_guidance for s in plan()] == ["none", "none", "picture"]
    assert {s.condition_frame for s in plan()} == {"random"}
    assert [s.published for s in plan()] == [
        Published(learning_rate=1e-4, steps=1_000_000, batch=64),
        Published(learning_rate=5e-5, steps=30_000, batch=64),
        Published(learning_rate=5e-5, steps=100_000, batch=64),
    ]


def test_the_base_learns_to_move_and_sees_no_image() -> None:
    base = STAGES["base"]
    assert base.trains == {Group.TEMPORAL, Group.PACE}
    assert not base.context
    assert training_everything(base).trains == {Group.TEMPORAL, Group.PACE, Group.SPATIAL}


def test_interpolation_is_given_two_ends_and_begins_with_the_picture() -> None:
    *before, last = plan(Variation(interpolation=True))
    assert tuple(before) == plan()
    assert (last.detail_guidance, last.condition_frame) == ("ends", "first")
    assert last.trains == STAGES["joint"].trains


@pytest.mark.parametrize("stage", STAGES.values())
def test_a_part_learns_or_rests(stage: TrainingStage) -> None:
    assert stage.trains | stage.frozen == set(Group)
    assert not stage.trains & stage.frozen
    with pytest.raises(FrozenInstanceError):
        stage.context = False  # type: ignore[misc]
    with pytest.raises(TypeError):
        STAGES["base"] = stage  # type: ignore[index]


# Ablations.


def changed(ablation: str) -> dict[str, dict[str, object]]:
    """Which settings of which stages an ablation changes."""
    usual = {stage.name: stage for stage in plan()}
    return {
        stage.name: {
            f.name: getattr(stage, f.name)
            for f in fields(stage)
            if getattr(stage, f.name) != getattr(usual[stage.name], f.name)
        }
        for stage in plan(ABLATIONS[ablation])
    }


def test_each_ablation_changes_one_thing() -> None:
    everywhere = ("context", "adapt", "joint")
    one_stage = Published(learning_rate=5e-5, steps=1_030_000, batch=64)
    expected: dict[str, dict[str, dict[str, object]]] = {
        "full": {name: {} for name in everywhere},
        "without-context": {
            "joint": {"context": False, "trains": {Group.SPATIAL, Group.PACE}},
        },
        "without-detail-guidance": {
            "context": {}, "adapt": {}, "joint": {"detail_guidance": "none"},
        },
        "without-gate": {name: {"gate": False} for name in everywhere},
        "global-token": {name: {"global_token_only": True} for name in everywhere},
        "train-everything": {"context": {}, "adapt": {}, "joint": {"trains": set(Group)}},
        "first-frame": {
            "context": {},
            "adapt": {"condition_frame": "first"},
            "joint": {"condition_frame": "first"},
        },
        "one-stage": {"adapt": {"published": one_stage}, "joint": {}},
    }  # fmt: skip
    assert {name: changed(name) for name in ABLATIONS} == expected


def test_settings_go_together() -> None:
    both = plan(Variation(context=False, train_everything=True, interpolation=True))
    assert [stage.name for stage in both] == ["joint", "interpolation"]
    assert {stage.trains for stage in both} == {
        frozenset({Group.SPATIAL, Group.PACE, Group.TEMPORAL})
    }


@pytest.mark.parametrize("others", [{"context": False}, {"interpolation": True}])
def test_settings_that_leave_nothing_of_the_picture_are_refused(others: dict[str, bool]) -> None:
    with pytest.raises(InputError, match="leave"):
        Variation(detail_guidance=False, **others)


# Groups of parameters.


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("conv_in.weight", Group.SPATIAL),
        ("time_embedding.linear_1.weight", Group.SPATIAL),
        ("fps_embedding.linear_2.bias", Group.PACE),
        ("transformer_in.proj_in.weight", Group.TEMPORAL),
        ("mid_block.temp_convs.0.conv1.0.weight", Group.TEMPORAL),
        ("up_blocks.1.temp_attentions.0.transformer_blocks.0.attn2.to_k.weight", Group.TEMPORAL),
        ("up_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight", Group.SPATIAL),
        (
            "up_blocks.1.attentions.0.transformer_blocks.0.attn2.processor.alpha",
            Group.IMAGE_ATTENTION,
        ),
    ],
)
def test_groups_by_name(name: str, group: Group) -> None:
    assert group_of(name) is group


def test_every_parameter_is_in_one_group() -> None:
    network, context = unet(), image_context()
    groups = parameter_groups(network, context)
    listed = [id(p) for parameters in groups.values() for p in parameters]
    everything = [id(p) for p in (*context.parameters(), *network.parameters())]
    assert len(set(listed)) == len(listed)
    assert sorted(listed) == sorted(everything)
    assert all(groups.values())


def test_sizes_of_the_released_networks() -> None:
    with torch.device("meta"):
        groups = parameter_groups(DynamiCrafterUNet(), ImageContext())
    millions = {g: sum(p.numel() for p in members) / 1e6 for g, members in groups.items()}
    # The paper's "P and spatial layers" are 48.8 M + 893.5 M.
    assert millions[Group.IMAGE_CONTEXT] == pytest.approx(48.8, abs=0.1)
    assert sum(millions[g] for g in SPATIAL_SIDE) == pytest.approx(893.53, abs=0.02)
    assert millions[Group.TEMPORAL] == pytest.approx(545.32, abs=0.02)
    assert millions[Group.IMAGE_ATTENTION] == pytest.approx(25.56, abs=0.01)


STAGES_AND_ABLATIONS = [
    *(pytest.param(stage, id=name) for name, stage in STAGES.items()),
    *(
        pytest.param(stage, id=f"{name}-{stage.name}")
        for name, variation in ABLATIONS.items()
        for stage in plan(variation)
    ),
]


@pytest.mark.parametrize("stage", STAGES_AND_ABLATIONS)
def test_only_the_trained_groups_require_gradients(stage: TrainingStage) -> None:
    network, context = unet(image_gate=stage.gate), image_context()
    # Whatever an earlier stage left.
    network.requires_grad_(False).conv_in.requires_grad_(True)
    trained = train_only(stage, network, context)
    for group, parameters in parameter_groups(network, context).items():
        assert {p.requires_grad for p in parameters} <= {group in stage.trains}
    requiring = [p for net in (context, network) for p in net.parameters() if p.requires_grad]
    assert [id(p) for p in trained] == [id(p) for p in train_only(stage, network, context)]
    assert sorted(map(id, trained)) == sorted(map(id, requiring))


def test_a_group_that_is_not_there_is_an_error() -> None:
    image_model = UNet2DConditionModel(
        block_out_channels=(8,),
        down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",),
        norm_num_groups=4,
        cross_attention_dim=6,
        attention_head_dim=2,
    )
    cases: list[tuple[str, nn.Module, nn.Module | None, Group]] = [
        ("base", image_model, None, Group.TEMPORAL),
        ("adapt", unet(), None, Group.IMAGE_CONTEXT),
        ("adapt", unet(image_context=False), image_context(), Group.IMAGE_ATTENTION),
    ]
    for name, network, context, lacking in cases:
        with pytest.raises(ModelError, match=f"trains the {lacking}"):
            train_only(STAGES[name], network, context)


def test_a_network_need_not_be_told_the_pace() -> None:
    network = unet(motion_embedding=False, image_context=False)
    trained = train_only(replace(STAGES["base"]), network)
    temporal = [p for name, p in network.named_parameters() if is_temporal_parameter(name)]
    assert [id(p) for p in trained] == [id(p) for p in temporal]
