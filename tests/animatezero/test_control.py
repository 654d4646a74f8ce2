"""Invariants of the whole control on a small U-Net."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from diffusers import UNetMotionModel
from tests.tiny_models import tiny_unet
from torch import Tensor

from stillmotion.adapters.adapter import FrameContext, adapted
from stillmotion.animatezero.control import control_adapters
from stillmotion.animatezero.settings import FIG6_ROWS, PAPER, AnimateZeroSettings
from stillmotion.animatezero.windows import EndBlend

NUM_FRAMES = 5
STOCK = replace(FIG6_ROWS["a"], frame_norm="across_frames")


@pytest.fixture(scope="module")
def unet() -> UNetMotionModel:
    return tiny_unet()


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def video(num_rows: int = NUM_FRAMES, batch: int = 2) -> Tensor:
    return random(batch, 4, num_rows, 4, 4)


def call(
    unet: UNetMotionModel,
    x: Tensor,
    settings: AnimateZeroSettings | None = None,
    *,
    two_ends: bool = False,
) -> Tensor:
    """U-Net output for x (b c rows h w), under `settings` if given."""
    needs_references = settings is not None and settings.needs_reference_row
    references = (1 + two_ends) * needs_references
    context = FrameContext(num_frames=x.shape[2] - references, num_reference_rows=references)
    ends = EndBlend(context.num_frames) if two_ends else None
    embeds = random(2, 3, 8, seed=5)[-x.shape[0] :].repeat_interleave(x.shape[2], 0)
    adapters = [] if settings is None else control_adapters(settings, context, ends)
    with torch.no_grad(), adapted(unet, adapters):
        return unet(x, 500, embeds).sample


def encoder_features(
    unet: UNetMotionModel, x: Tensor, settings: AnimateZeroSettings, *, two_ends: bool = False
) -> list[Tensor]:
    """Outputs of the down blocks, (b f c h w)."""
    seen: list[Tensor] = []
    handles = [
        block.register_forward_hook(lambda module, args, output: seen.append(output[0]))
        for block in unet.down_blocks
    ]
    call(unet, x, settings, two_ends=two_ends)
    for handle in handles:
        handle.remove()
    return [features.unflatten(0, (x.shape[0], -1)) for features in seen]


def test_everything_off_is_diffusers_bit_for_bit(unet: UNetMotionModel) -> None:
    assert torch.equal(call(unet, video(), STOCK), call(unet, video()))


@pytest.mark.parametrize("row", FIG6_ROWS)
def test_each_row_of_figure_6_changes_something(unet: UNetMotionModel, row: str) -> None:
    """Row (b) inserts latents, which is the loop's work: to the U-Net it is row (a)."""
    before = {"a": STOCK, "b": None, "c": "b", "d": "c", "e": "d"}[row]
    now = call(unet, video(), FIG6_ROWS[row])
    if before is None:
        assert torch.equal(now, call(unet, video(), FIG6_ROWS["a"]))
    else:
        then = call(unet, video(), FIG6_ROWS[before] if isinstance(before, str) else before)
        assert (now - then).abs().max() > 1e-3


@pytest.mark.parametrize(
    "settings",
    [
        FIG6_ROWS["d"],
        FIG6_ROWS["e"],
        AnimateZeroSettings(query_position="own"),
        AnimateZeroSettings(share_keys_values=False),
        AnimateZeroSettings(window_length=2),
        AnimateZeroSettings(window_length=3, motion_strength=1.5),
    ],
)
def test_encoder_frames_depend_on_earlier_frames_only(
    unet: UNetMotionModel, settings: AnimateZeroSettings
) -> None:
    x = video()
    changed = x.clone()
    changed[:, :, 3:] = random(2, 4, 2, 4, 4, seed=8)
    for before, after in zip(
        encoder_features(unet, x, settings), encoder_features(unet, changed, settings), strict=True
    ):
        assert torch.equal(before[:, :3], after[:, :3])
        assert not torch.allclose(before[:, 3:], after[:, 3:])


@pytest.mark.parametrize(
    "settings",
    [AnimateZeroSettings(frame_norm="across_frames"), AnimateZeroSettings(window="off")],
)
def test_without_window_or_frame_norm_late_frames_leak(
    unet: UNetMotionModel, settings: AnimateZeroSettings
) -> None:
    x = video()
    changed = x.clone()
    changed[:, :, 3:] = random(2, 4, 2, 4, 4, seed=8)
    before, after = (encoder_features(unet, clip, settings)[-1] for clip in (x, changed))
    assert (before[:, 0] - after[:, 0]).abs().max() > 1e-3


def test_window_blocks_say_where(unet: UNetMotionModel) -> None:
    outputs = [
        call(unet, video(), AnimateZeroSettings(window_blocks=blocks))
        for blocks in ((), ("down",), ("down", "mid"), ("down", "mid", "up"))
    ]
    assert torch.equal(outputs[0], call(unet, video(), AnimateZeroSettings(window="off")))
    for fewer, more in pairwise(outputs):
        assert (fewer - more).abs().max() > 1e-4


@pytest.mark.parametrize("source", ["video", "still"])
def test_guidance_halves_are_independent(unet: UNetMotionModel, source: str) -> None:
    settings = AnimateZeroSettings(kv_source=source)
    x = video(NUM_FRAMES + int(settings.needs_reference_row))
    both = call(unet, x, settings)
    assert (both[1:] - call(unet, x[1:], settings)).abs().max() < 1e-4
    changed = torch.cat([random(1, *x.shape[1:], seed=7), x[1:]])
    assert torch.equal(call(unet, changed, settings)[1], both[1])


def test_keys_of_the_still_s_own_pass(unet: UNetMotionModel) -> None:
    """With the same latents in frame 1 the two sources differ only by the motion modules."""
    x = video()
    rows = torch.cat([x[:, :, :1], x], 2)
    ours = call(unet, rows, AnimateZeroSettings(kv_source="still"))[:, :, 1:]
    assert (ours - call(unet, x, AnimateZeroSettings())).abs().max() > 1e-3


@pytest.mark.parametrize("window_length", [None, 3])
def test_with_two_ends_each_is_alone_in_the_encoder(
    unet: UNetMotionModel, window_length: int | None
) -> None:
    """Weights of 0 and 1 are exact: neither end depends on any other frame."""
    settings, x = AnimateZeroSettings(window_length=window_length), video()
    changed = x.clone()
    changed[:, :, 1:-1] = random(2, 4, NUM_FRAMES - 2, 4, 4, seed=8)
    before, after = (encoder_features(unet, clip, settings, two_ends=True) for clip in (x, changed))
    for one, other in zip(before, after, strict=True):
        for end in (0, -1):
            assert torch.equal(one[:, end], other[:, end])
        assert not torch.allclose(one[:, 1:-1], other[:, 1:-1])
    for end in (0, -1):
        changed = x.clone()
        changed[:, :, end] = random(2, 4, 4, 4, seed=9)
        after = encoder_features(unet, changed, settings, two_ends=True)
        for one, other in zip(before, after, strict=True):
            assert torch.equal(one[:, -1 - end], other[:, -1 - end])
            middle = (one - other)[:, 1:-1].abs().amax(dim=(0, 2, 3, 4))
            assert middle.min() > 1e-4, "every frame between them is drawn to both"


LONG = AnimateZeroSettings(window_length=3)
CHANGES = [
    *((settings, False) for settings in FIG6_ROWS.values()),
    (AnimateZeroSettings(kv_source="still"), False),
    (AnimateZeroSettings(motion_strength=2.0), False),
    (LONG, False),
    (LONG, True),
    (PAPER, True),
    (AnimateZeroSettings(kv_source="still", window_length=3), True),
]


@pytest.mark.parametrize(("settings", "two_ends"), CHANGES)
def test_the_network_is_as_before(settings: AnimateZeroSettings, two_ends: bool) -> None:
    unet = tiny_unet()
    x = video()
    before, weights = call(unet, x), {k: v.clone() for k, v in unet.state_dict().items()}
    processors = dict(unet.attn_processors)
    own = {name: dict(vars(module)) for name, module in unet.named_modules()}
    references = [0, -1][: 1 + two_ends] if settings.needs_reference_row else []
    rows = torch.cat([x[:, :, references], x], 2)

    def explode(*args: object) -> None:
        raise RuntimeError("inside")

    changed = call(unet, rows, settings, two_ends=two_ends)
    assert not torch.equal(changed[:, :, len(references) :], before)
    handle = unet.up_blocks[-1].register_forward_pre_hook(explode)
    with pytest.raises(RuntimeError, match="inside"):
        call(unet, rows, settings, two_ends=two_ends)
    handle.remove()
    assert unet.attn_processors == processors
    assert {n: vars(m).keys() for n, m in unet.named_modules()} == {
        name: attributes.keys() for name, attributes in own.items()
    }
    assert list(unet.state_dict()) == list(weights)
    assert all(torch.equal(w, weights[k]) for k, w in unet.state_dict().items())
    assert torch.equal(call(unet, x), before)


def test_weights_are_untouched_inside(unet: UNetMotionModel) -> None:
    names = list(unet.state_dict())
    context = FrameContext(num_frames=NUM_FRAMES)
    with adapted(unet, control_adapters(AnimateZeroSettings(), context)):
        assert list(unet.state_dict()) == names
