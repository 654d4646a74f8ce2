"""The tokenizer and the towers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.miniature.microscopic import microscopic_recipe
from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer

from stillmotion.miniature.clip import build_tokenizer, clip_text_features, tokenize
from stillmotion.world.captions import vocabulary


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return build_tokenizer(microscopic_recipe())


def test_the_worlds_words_are_single_tokens(tokenizer: CLIPTokenizer) -> None:
    assert {word: tokenizer.tokenize(word) for word in vocabulary()} == {
        word: [f"{word}</w>"] for word in vocabulary()
    }


def test_it_is_the_same_after_saving(tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    loaded = CLIPTokenizer.from_pretrained(tmp_path)
    texts = ["a red cat in a forest", "pixel art, the teal sailboat", "Ünknown wörds, 猫 42!", ""]
    assert torch.equal(tokenize(loaded, texts), tokenize(tokenizer, texts))
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert loaded.model_max_length == microscopic_recipe().text_length


def test_it_is_built_the_same_again(tokenizer: CLIPTokenizer) -> None:
    assert build_tokenizer(microscopic_recipe()).get_vocab() == tokenizer.get_vocab()


@given(st.text(max_size=30))
def test_any_text_is_encoded_without_loss(tokenizer: CLIPTokenizer, text: str) -> None:
    # Written out, CLIP's marks are these marks, here as in every CLIP.
    assume(not any(mark in text for mark in tokenizer.all_special_tokens))
    ids = tokenizer(text).input_ids
    assert ids[0] == tokenizer.bos_token_id
    assert ids[-1] == tokenizer.eos_token_id
    # The end token is also the unknown one: inside, it would stand for something lost.
    assert not {tokenizer.bos_token_id, tokenizer.eos_token_id} & set(ids[1:-1])
    assert bool(ids[1:-1]) == bool(text.strip())


def test_long_texts_are_cut_and_short_ones_padded(tokenizer: CLIPTokenizer) -> None:
    ids = tokenize(tokenizer, ["cat " * 100, "cat"])
    assert ids.shape == (2, microscopic_recipe().text_length)
    assert (ids[0, 1:-1] == ids[1, 1]).all()
    assert (ids[1, 2:] == tokenizer.pad_token_id).all()


def test_the_text_encoder_is_the_text_tower(trained: Path) -> None:
    tokenizer = CLIPTokenizer.from_pretrained(trained / "tokenizer")
    clip = CLIPModel.from_pretrained(trained / "clip").eval()
    encoder = CLIPTextModel.from_pretrained(trained / "text_encoder").eval()
    ids = tokenize(tokenizer, ["a red cat", "waves at night"])
    with torch.no_grad():
        tower = clip.text_model(ids).last_hidden_state
        assert torch.equal(encoder(ids).last_hidden_state, tower)
        features = clip_text_features(clip, ids)
    assert torch.allclose(features.norm(dim=-1), torch.ones(2))
