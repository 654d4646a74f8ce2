"""The part of a prompt that the text encoder does not see, and prompts that change in a clip."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.tiny_models import tiny_tokenizer
from torch import Tensor

from stillmotion.animatezero.prompt import PromptTrack, truncated_prompt_part
from stillmotion.animatezero.settings import AnimateZeroSettings
from stillmotion.errors import InputError


@pytest.mark.parametrize(
    ("prompt", "cut"),
    [("", ""), ("abc", ""), ("abcdefg hijklmn", ""), ("abcdefg hijklmn op", "op")],
)
def test_truncated_prompt_part(prompt: str, cut: str) -> None:
    """Sixteen tokens, the marks of beginning and end included, leave room for fourteen."""
    assert truncated_prompt_part(tiny_tokenizer(), prompt) == cut


def test_what_is_cut_is_what_the_encoder_misses() -> None:
    tokenizer = tiny_tokenizer()

    def seen(prompt: str) -> list[int]:
        return tokenizer(prompt, max_length=16, truncation=True).input_ids

    assert seen("abcdefg hijklmn op") == seen("abcdefg hijklmn")
    assert seen("abcdefg hijklmn") != seen("abcdefg hijklm")


# Tracks


def embedding(seed: int) -> Tensor:
    return torch.randn((3, 5), generator=torch.Generator().manual_seed(seed))


EMBEDS = {text: embedding(seed) for seed, text in enumerate("abc")}


def test_a_track_is_exact_at_its_frames_and_straight_between_them() -> None:
    rows = PromptTrack({6: "c", 1: "a", 3: "b"}).blend(EMBEDS, 9)
    assert rows.shape == (9, 3, 5)
    a, b, c = EMBEDS.values()
    for frame in (0, 1):
        assert torch.equal(rows[frame], a)
    assert torch.equal(rows[3], b)
    for frame in (6, 7, 8):
        assert torch.equal(rows[frame], c)
    assert torch.allclose(rows[2], (a + b) / 2, atol=1e-6)
    assert torch.allclose(rows[4], (2 * b + c) / 3, atol=1e-6)
    assert torch.allclose(rows[5], (b + 2 * c) / 3, atol=1e-6)


def test_a_track_is_in_order_of_its_frames_and_cannot_change() -> None:
    texts = {4: "b", 0: "a"}
    track = PromptTrack(texts)
    texts[9] = "c"
    assert list(track.texts.items()) == [(0, "a"), (4, "b")]
    assert track.first == "a"
    with pytest.raises(TypeError):
        track.texts[1] = "c"  # type: ignore[index]


def test_towards_another_text() -> None:
    assert dict(PromptTrack.towards("a", "b", 5).texts) == {0: "a", 4: "b"}
    assert dict(PromptTrack.towards("a", "b", 1).texts) == {0: "a"}


@pytest.mark.parametrize("texts", [{}, {-1: "a"}, {0.5: "a"}, {True: "a"}, {"0": "a"}])
def test_impossible_tracks_are_refused(texts: dict) -> None:
    with pytest.raises(InputError, match=r"at least one frame|frames count from 0"):
        PromptTrack(texts)


def test_a_text_beyond_the_clip_is_refused(pipe, still) -> None:
    PromptTrack({3: "a"}).check(4)
    with pytest.raises(InputError, match="at frame 3, but the clip has the frames 0 to 2"):
        pipe.animate(still, PromptTrack({0: "a", 3: "b"}), seed=1, num_frames=3)


@pytest.mark.parametrize("kv_source", ["video", "still"])
def test_a_track_of_equal_texts_is_the_plain_prompt(pipe, still, kv_source: str) -> None:
    control = AnimateZeroSettings(kv_source=kv_source)
    plain = pipe.animate(still, "a blue cube", seed=3, num_frames=4, control=control)
    track = PromptTrack({0: "a blue cube", 2: "a blue cube"})
    same = pipe.animate(still, track, seed=3, num_frames=4, control=control)
    assert torch.equal(same.latents, plain.latents)


def test_every_row_has_its_frame_s_text_in_both_halves(pipe, still, sampling) -> None:
    """The reference rows those of the frames that they stand for; nothing blends the negative."""
    seen: list[Tensor] = []

    def keep(module: object, args: tuple, kwargs: dict) -> None:
        seen.append(kwargs["encoder_hidden_states"])

    def rows(prompt: str | PromptTrack, guidance_scale: float) -> Tensor:
        seen.clear()
        own = replace(sampling, guidance_scale=guidance_scale, negative_prompt="dark")
        control = AnimateZeroSettings(kv_source="still")
        pipe.animate(
            still, prompt, seed=3, num_frames=3, sampling=own, control=control, last_frame=still
        )
        return seen[0]

    handle = pipe.unet.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        negative, a = (half[0] for half in rows("a", 2.0).chunk(2))
        b = rows("b", 1.0)[0]
        track = PromptTrack.towards("a", "b", 3)
        guided, unguided = rows(track, 2.0), rows(track, 1.0)
    finally:
        handle.remove()
    expected = torch.stack([a, b, a, (a + b) / 2, b])
    assert not torch.equal(a, b)
    assert torch.equal(guided[:5], negative.expand_as(guided[:5]))
    assert torch.allclose(guided[5:], expected, atol=1e-6)
    assert torch.allclose(unguided, expected, atol=1e-6)


def test_a_track_changes_the_clip_on_its_way(pipe, still) -> None:
    track = PromptTrack.towards(still.prompt, "a blue cube", 4)
    moving = pipe.animate(still, track, seed=3, num_frames=4)
    plain = pipe.animate(still, seed=3, num_frames=4)
    assert torch.equal(moving.latents[:, :, 0], plain.latents[:, :, 0])
    assert not torch.allclose(moving.latents[:, :, -1], plain.latents[:, :, -1], atol=1e-3)


def test_a_drawn_still_follows_the_track_s_first_text(pipe, still) -> None:
    track = PromptTrack({0: "a red ball", 2: "a blue cube"})
    options = {"num_frames": 3, "num_inference_steps": 3, "guidance_scale": 2.0}
    clip = pipe(track, generator=torch.Generator().manual_seed(1), **options)
    assert torch.equal(clip.latents[0, :, 0], still.latents[-1])
