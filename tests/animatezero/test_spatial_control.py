"""Sharing of keys and values, and insertion of the still's latents."""

from __future__ import annotations

import pytest
import torch
from tests.tiny_models import tiny_unet
from torch import Tensor

from stillmotion.adapters.adapter import FrameContext, adapted
from stillmotion.adapters.diffusers_sites import MotionBypass
from stillmotion.animatezero.attention import global_attention
from stillmotion.animatezero.spatial_control import (
    SharedKeysValues,
    attend_to_row,
    insert_frame,
)
from stillmotion.animatezero.windows import EndBlend
from stillmotion.errors import InputError


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def call(unet, x: Tensor) -> Tensor:
    embeds = random(x.shape[0], 3, 8, seed=5).repeat_interleave(x.shape[2], 0)
    with torch.no_grad():
        return unet(x, 500, embeds).sample


def test_insert_frame_replaces_it_in_a_copy() -> None:
    latents, still = random(2, 4, 3, 2, 2), random(2, 4, 2, 2, seed=1)
    before = latents.clone()
    inserted = insert_frame(latents, still)
    assert torch.equal(inserted[:, :, 0], still)
    assert torch.equal(inserted[:, :, 1:], latents[:, :, 1:])
    last = insert_frame(latents, still, 2)
    assert torch.equal(last[:, :, 2], still)
    assert torch.equal(last[:, :, :2], latents[:, :, :2])
    assert torch.equal(latents, before)


def test_attend_to_row_equals_repeated_keys() -> None:
    q, k, v = random(2, 3, 4, 5, 6), random(2, 4, 5, 6, seed=1), random(2, 4, 5, 6, seed=2)
    shared = attend_to_row(q, k, v)
    for row in range(3):
        assert (shared[:, row] - global_attention(q[:, row], k, v)).abs().max() < 1e-6


@pytest.mark.parametrize("references", [0, 1])
def test_adapter_projects_the_first_row_once(references: int) -> None:
    unet, context = tiny_unet(), FrameContext(num_frames=3, num_reference_rows=references)
    name, *_ = SharedKeysValues(context).sites(unet)
    attention, rows = unet.get_submodule(name), context.num_rows
    lengths = []
    attention.to_k.register_forward_pre_hook(lambda module, args: lengths.append(len(args[0])))
    x = random(2 * rows, 16, 8)
    with torch.no_grad():
        expected = torch.stack(
            [attention(x[i : i + 1], x[rows * (i // rows)][None])[0] for i in range(2 * rows)]
        )
        lengths.clear()
        with adapted(unet, [SharedKeysValues(context)]):
            assert (attention(x) - expected).abs().max() < 1e-6
    assert lengths == [2]


@pytest.mark.parametrize("references", [0, 2])
def test_with_two_ends_each_frame_blends_what_it_sees_of_them(references: int) -> None:
    """Of the first and the last frame, or of their reference rows, which see each itself."""
    num_frames = 4
    context = FrameContext(num_frames=num_frames, num_reference_rows=references)
    adapter = SharedKeysValues(context, EndBlend(num_frames))
    unet, rows = tiny_unet(), context.num_rows
    attention = unet.get_submodule(adapter.sites(unet)[0])
    x = random(2 * rows, 16, 8)
    samples = x.view(2, rows, 16, 8)
    first, last = samples[:, 0], samples[:, 1 if references else -1]
    expected = torch.empty_like(samples)
    with torch.no_grad():
        for row in range(rows):
            own = samples[:, row]
            if row < references:
                expected[:, row] = attention(own)
                continue
            share = (row - references) / (num_frames - 1)
            from_start, from_end = attention(own, first), attention(own, last)
            expected[:, row] = (1 - share) * from_start + share * from_end
        with adapted(unet, [adapter]):
            assert (attention(x).view_as(samples) - expected).abs().max() < 1e-6


def test_with_two_ends_frame_1_sees_the_first_alone() -> None:
    adapter = SharedKeysValues(FrameContext(num_frames=3), EndBlend(3))
    unet = tiny_unet()
    attention = unet.get_submodule(adapter.sites(unet)[0])
    x = random(3, 16, 8)
    changed = torch.cat([x[:2], random(1, 16, 8, seed=1)])
    with torch.no_grad(), adapted(unet, [adapter]):
        before, after = attention(x), attention(changed)
    assert torch.equal(before[0], after[0])
    assert (before[1] - after[1]).abs().max() > 1e-3


def test_equal_frames_make_sharing_a_no_op() -> None:
    unet = tiny_unet()
    x = random(2, 4, 1, 4, 4).expand(-1, -1, 3, -1, -1)
    with adapted(unet, [MotionBypass()]):
        plain = call(unet, x)
        with adapted(unet, [SharedKeysValues(FrameContext(num_frames=3))]):
            assert (call(unet, x) - plain).abs().max() < 1e-6


def test_frame_1_is_as_without_sharing_and_others_are_not() -> None:
    unet, x = tiny_unet(), random(2, 4, 3, 4, 4)
    with adapted(unet, [MotionBypass()]):
        plain = call(unet, x)
        with adapted(unet, [SharedKeysValues(FrameContext(num_frames=3))]):
            shared = call(unet, x)
    assert (shared[:, :, 0] - plain[:, :, 0]).abs().max() < 1e-5
    assert (shared[:, :, 1:] - plain[:, :, 1:]).abs().amax(dim=(0, 1, 3, 4)).min() > 1e-3


def test_a_wrong_number_of_frames_is_refused() -> None:
    unet = tiny_unet()
    with (
        adapted(unet, [SharedKeysValues(FrameContext(num_frames=3))]),
        pytest.raises(InputError, match="does not divide"),
    ):
        call(unet, random(2, 4, 4, 4, 4))
