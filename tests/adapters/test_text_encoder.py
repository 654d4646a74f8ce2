"""Prompts in, embeddings out: against diffusers, and against the layers one by one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.tiny_models import randomise, tiny_pipeline, tiny_text_encoder, tiny_tokenizer
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from stillmotion.adapters.text_encoder import encode_prompt
from stillmotion.animatezero.pipeline import AnimateZeroPipeline
from stillmotion.errors import InputError

LAYERS = 3


def pipeline() -> AnimateZeroPipeline:
    config = CLIPTextConfig(**{**tiny_text_encoder().config.to_dict(), "num_hidden_layers": LAYERS})
    return tiny_pipeline(text_encoder=randomise(CLIPTextModel(config), 5))


def layer_by_layer(pipe: Any, text: str, clip_skip: int) -> Tensor:
    """The embeddings from the plainest loop over the encoder's layers, in float64."""
    encoder = pipe.text_encoder.double()
    ids = pipe.tokenizer(text, padding="max_length", return_tensors="pt").input_ids
    length = ids.shape[1]
    mask = torch.full((length, length), float("-inf"), dtype=torch.float64).triu(1)
    x = encoder.embeddings(input_ids=ids)
    for layer in encoder.encoder.layers[: LAYERS - clip_skip]:
        x = layer(x, mask[None, None])
        x = x[0] if isinstance(x, tuple) else x
    return encoder.final_layer_norm(x)


@pytest.mark.parametrize("clip_skip", range(LAYERS))
@torch.no_grad()
def test_layers_are_left_out(clip_skip: int) -> None:
    pipe = pipeline()
    got = encode_prompt(pipe, "abc", "xy", uses_guidance=True, clip_skip=clip_skip)
    wanted = torch.cat([layer_by_layer(pipe, text, clip_skip) for text in ("xy", "abc")])
    torch.testing.assert_close(got.double(), wanted, rtol=0, atol=1e-5)


@torch.no_grad()
def test_each_number_of_layers_is_another_embedding() -> None:
    pipe = pipeline()
    found = [
        encode_prompt(pipe, "abc", "", uses_guidance=False, clip_skip=k) for k in range(LAYERS)
    ]
    assert all(x.shape == (1, 16, 8) for x in found)
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert (found[one] - found[other]).abs().max() > 0.05


@pytest.mark.parametrize("uses_guidance", [True, False])
@torch.no_grad()
def test_without_skipping_it_is_diffusers(uses_guidance: bool) -> None:
    pipe = pipeline()
    embeds, negative = pipe.encode_prompt("a b c", torch.device("cpu"), 1, uses_guidance, "x")
    wanted = torch.cat([negative, embeds]) if uses_guidance else embeds
    assert torch.equal(encode_prompt(pipe, "a b c", "x", uses_guidance=uses_guidance), wanted)


@torch.no_grad()
def test_textual_inversions_are_read() -> None:
    pipe = tiny_pipeline(tokenizer=tiny_tokenizer())
    vectors = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    pipe.load_textual_inversion({"sunny": vectors})
    got = encode_prompt(pipe, "a sunny b", "", uses_guidance=False)
    tokens = pipe.tokenizer.convert_tokens_to_ids(["a</w>", "sunny", "sunny_1", "b</w>"])
    assert len(set(tokens)) == 4
    ids = torch.full((1, 16), pipe.tokenizer.eos_token_id)
    ids[0, :5] = torch.tensor([pipe.tokenizer.bos_token_id, *tokens])
    assert torch.equal(got, pipe.text_encoder(ids)[0])


@pytest.mark.parametrize("clip_skip", [-1, LAYERS, 1.0, True])
def test_layers_that_are_not_there(clip_skip: Any) -> None:
    with pytest.raises(InputError, match="has 3 layers, so give 0"):
        encode_prompt(pipeline(), "a", "", uses_guidance=False, clip_skip=clip_skip)
