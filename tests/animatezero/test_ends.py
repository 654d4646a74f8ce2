"""Clips with a first and a last frame, and loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.tiny_models import tiny_pipeline, tiny_unet

from stillmotion.animatezero.prompt import PromptTrack
from stillmotion.animatezero.settings import FIG6_ROWS, PAPER, AnimateZeroSettings
from stillmotion.errors import InputError
from stillmotion.media.still import Still

BOTH = pytest.mark.parametrize("kv_source", ["video", "still"])


@pytest.fixture(scope="module")
def other(pipe, sampling) -> Still:
    return pipe.draw("a blue cube", seeds=[5], sampling=sampling)[0]


def photograph(seed: int = 0) -> Still:
    image = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Still(image=image)


def check_ends(clip, first: Still, last: Still) -> None:
    """Both ends are the stills exactly, the frames between them are neither."""
    for frame, still in ((0, first), (-1, last)):
        assert torch.equal(clip.latents[0, :, frame], still.latents[-1])
        assert np.array_equal(clip.frames[0, frame], still.image)
    for frame in clip.frames[0, 1:-1]:
        assert not np.array_equal(frame, first.image)
        assert not np.array_equal(frame, last.image)


# Exactness


@BOTH
@pytest.mark.parametrize("num_frames", [2, 5])
def test_both_ends_are_exact(pipe, still, other, num_frames: int, kv_source: str) -> None:
    control = AnimateZeroSettings(kv_source=kv_source)
    clip = pipe.animate(still, seed=3, num_frames=num_frames, control=control, last_frame=other)
    assert clip.frames.shape == (1, num_frames, 8, 8, 3)
    check_ends(clip, still, other)


@BOTH
def test_a_loop_ends_where_it_began(pipe, still, kv_source: str) -> None:
    control = AnimateZeroSettings(kv_source=kv_source)
    check_ends(
        pipe.animate(still, seed=3, num_frames=4, control=control, last_frame=still), still, still
    )


@pytest.mark.parametrize(
    "control",
    [
        PAPER,
        FIG6_ROWS["b"],
        FIG6_ROWS["c"],
        AnimateZeroSettings(frame_norm="across_frames", window_blocks=("down", "mid", "up")),
        AnimateZeroSettings(window_length=3),
        AnimateZeroSettings(window_length=3, window="off", kv_source="still"),
    ],
)
def test_both_ends_are_exact_however_it_is_made(pipe, still, other, control) -> None:
    clip = pipe.animate(still, seed=3, num_frames=5, control=control, last_frame=other)
    check_ends(clip, still, other)


def test_photographs_keep_their_pixels_at_both_ends(pipe, still, sampling) -> None:
    first, last = photograph(0), photograph(1)
    clip = pipe.animate(first, "a", seed=3, num_frames=3, sampling=sampling, last_frame=last)
    assert np.array_equal(clip.frames[0, 0], first.image)
    assert np.array_equal(clip.frames[0, -1], last.image)
    mixed = pipe.animate(still, seed=3, num_frames=3, last_frame=last)
    assert np.array_equal(mixed.frames[0, 0], still.image)
    assert np.array_equal(mixed.frames[0, -1], last.image)


def test_the_latents_of_both_enter_at_every_step(pipe, still, other) -> None:
    seen = []
    handle = pipe.unet.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    control = AnimateZeroSettings(kv_source="still")
    try:
        pipe.animate(still, seed=3, num_frames=3, control=control, last_frame=other)
    finally:
        handle.remove()
    assert len(seen) == 3
    for step, x in enumerate(seen):
        assert x.shape[:3] == (2, 4, 5)
        for row, given in ((0, still), (1, other), (2, still), (4, other)):
            assert torch.equal(x[:, :, row], given.latents[step].expand_as(x[:, :, row]))


# What the last frame does


def test_the_last_frame_draws_the_others_to_it(pipe, still, other) -> None:
    plain, loop, change = (
        pipe.animate(still, seed=3, num_frames=5, last_frame=last).latents
        for last in (None, still, other)
    )
    for one in (plain, loop):
        differences = (one - change).abs().amax(dim=(0, 1, 3, 4))
        assert differences[0] == 0
        assert differences[1:].min() > 1e-3


def test_each_clip_of_a_request_has_the_last_frame(pipe, still, other) -> None:
    both = pipe.animate([still, other], seed=[3, 4], num_frames=3, last_frame=other)
    single = pipe.animate(still, seed=3, num_frames=3, last_frame=other)
    assert torch.equal(both.latents[0], single.latents[0])
    assert torch.equal(both.latents[1, :, 0], both.latents[1, :, -1])


def test_without_a_prompt_the_words_go_from_one_still_s_to_the_other_s(pipe, still, other) -> None:
    own, said, plain = (
        pipe.animate(still, words, seed=3, num_frames=4, last_frame=other).latents
        for words in (None, PromptTrack.towards(still.prompt, other.prompt, 4), still.prompt)
    )
    assert torch.equal(own, said)
    assert not torch.allclose(own, plain, atol=1e-3)
    nameless = pipe.animate(still, seed=3, num_frames=4, last_frame=replace(other, prompt=""))
    assert torch.equal(nameless.latents, plain)


def test_a_call_takes_a_last_frame(pipe, still, other) -> None:
    call = pipe(
        still=still,
        num_frames=3,
        generator=torch.Generator().manual_seed(3),
        output_type="np",
        last_frame=other,
    )
    verbs = pipe.animate(still, seed=3, num_frames=3, last_frame=other)
    assert torch.equal(call.latents, verbs.latents)
    assert np.array_equal((call.frames[0] * 255).round().astype(np.uint8), verbs.frames[0])


def test_a_first_frame_can_be_drawn_for_a_last_one(pipe, still, other) -> None:
    """The seed draws what `draw` draws."""
    clip = pipe(
        "a red ball",
        num_frames=3,
        num_inference_steps=3,
        guidance_scale=2.0,
        generator=torch.Generator().manual_seed(1),
        output_type="np",
        last_frame=other,
    )
    verbs = pipe.animate(still, "a red ball", seed=1, num_frames=3, last_frame=other)
    assert torch.equal(clip.latents, verbs.latents)


@BOTH
@pytest.mark.parametrize("num_frames", [2, 4])
def test_an_even_pace_keeps_the_ends_of_a_denser_clip(
    pipe, still, other, num_frames: int, kv_source: str
) -> None:
    control = AnimateZeroSettings(kv_source=kv_source, even_pace=True)
    clip = pipe.animate(still, seed=3, num_frames=num_frames, control=control, last_frame=other)
    assert clip.frames.shape == (1, num_frames, 8, 8, 3)
    check_ends(clip, still, other)
    dense = pipe.animate(
        still,
        seed=3,
        num_frames=2 * num_frames - 1,
        control=replace(control, even_pace=False),
        last_frame=other,
    )
    found = [
        [torch.equal(frame, one) for one in dense.latents.unbind(2)].index(True)
        for frame in clip.latents.unbind(2)
    ]
    assert found == sorted(set(found))


def test_without_a_last_frame_there_is_no_pace_to_even(pipe, still) -> None:
    clips = [
        pipe.animate(still, seed=3, num_frames=3, control=AnimateZeroSettings(even_pace=even))
        for even in (False, True)
    ]
    assert torch.equal(clips[0].latents, clips[1].latents)


# What does not fit


@pytest.mark.parametrize(
    ("control", "said"),
    [
        (AnimateZeroSettings(window="uncorrected"), "needs the corrected window"),
        (AnimateZeroSettings(query_position="own"), "query position 'last'"),
        (AnimateZeroSettings(insert_latents=False), "needs insert_latents"),
        (FIG6_ROWS["a"], "needs insert_latents"),
    ],
)
def test_settings_without_a_last_frame_are_refused(pipe, still, control, said: str) -> None:
    with pytest.raises(InputError, match=said):
        pipe.animate(still, seed=1, num_frames=3, control=control, last_frame=still)


def test_one_frame_has_no_two_ends(pipe, still) -> None:
    with pytest.raises(InputError, match="make at least 2"):
        pipe.animate(still, seed=1, num_frames=1, last_frame=still)


def test_ends_of_different_sizes_are_refused(pipe, still) -> None:
    wide = Still(image=np.zeros((8, 12, 3), np.uint8))
    with pytest.raises(InputError, match="different sizes"):
        pipe.animate(still, seed=1, num_frames=3, last_frame=wide)


def test_a_last_frame_of_another_drawing_is_refused(pipe, still, sampling) -> None:
    more = replace(sampling, num_inference_steps=4)
    (slow,) = pipe.draw("a", seeds=[1], sampling=more)
    with pytest.raises(InputError, match="drawn with 4 timesteps, now 3"):
        pipe.animate(still, seed=1, num_frames=3, last_frame=slow)
    foreign_pipe = tiny_pipeline(unet=tiny_unet(seed=9))
    (foreign,) = foreign_pipe.draw("a", seeds=[1], sampling=sampling)
    with pytest.raises(InputError, match="another model"):
        pipe.animate(still, seed=1, num_frames=3, last_frame=foreign)
    clip = pipe.animate(still, seed=1, num_frames=3, last_frame=foreign.without_latents())
    assert np.array_equal(clip.frames[0, -1], foreign.image)
