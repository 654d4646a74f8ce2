"""CLIP's features: against its networks called by hand."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.evaluation.extractors.networks import (
    JOINT,
    PATCH,
    SIZE,
    WIDTH,
    noise,
    tiny_clip,
    tiny_clip_folder,
)
from torch import Tensor
from transformers import CLIPModel, CLIPTokenizer

from stillmotion.errors import InputError, ModelError
from stillmotion.evaluation.extractors.clip import ClipFeatures, clip_name, miniature_clip
from stillmotion.evaluation.extractors.pixels import CLIP_MEAN, CLIP_STD
from stillmotion.miniature.clip import clip_image_features, clip_text_features, tokenize
from stillmotion.miniature.data import render_stills
from stillmotion.models.registry import miniature_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip_folder(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def features(folder: Path) -> ClipFeatures:
    return ClipFeatures.load(folder)


def by_hand(frames: Tensor, mean: Any = CLIP_MEAN, std: Any = CLIP_STD) -> Tensor:
    """Frames as CLIP wants them, one by one."""
    made = []
    for frame in frames:
        picture = Image.fromarray(frame.permute(1, 2, 0).numpy())
        small = np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.BICUBIC)) / 255
        made.append(((small - mean) / std).transpose(2, 0, 1))
    return torch.from_numpy(np.stack(made)).float()


def test_frames_are_unit_vectors_of_the_network(features: ClipFeatures) -> None:
    frames = noise(3, 3, 40, 56)
    found = features.frames(frames)
    with torch.no_grad():
        output = tiny_clip()(
            pixel_values=by_hand(frames), input_ids=torch.tensor([[879, 880]])
        ).image_embeds
    assert found.shape == (3, JOINT)
    assert torch.allclose(found, output, atol=1e-6)


def test_texts_are_unit_vectors_of_the_network(features: ClipFeatures, folder: Path) -> None:
    texts = ["a red car", "a watercolour of a blue fish in the sea"]
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    found = features.texts(texts)
    for text, vector in zip(texts, found, strict=True):
        ids = tokenizer(text, return_tensors="pt").input_ids
        with torch.no_grad():
            output = tiny_clip()(pixel_values=torch.zeros(1, 3, SIZE, SIZE), input_ids=ids)
        assert torch.allclose(vector, output.text_embeds[0], atol=1e-6)


def test_long_texts_are_cut_at_the_networks_limit(features: ClipFeatures) -> None:
    """18 words of one token fit between the begin and the end; the 19th is not read."""
    fits = " ".join(["car"] * 18)
    exact, longer, shorter = features.texts([fits, fits + " fish" * 40, fits[:-4]])
    assert torch.equal(exact, longer)
    assert not torch.allclose(exact, shorter, atol=1e-4)


def test_no_text_gives_no_vector(features: ClipFeatures) -> None:
    assert features.texts([]).shape == (0, JOINT)


def test_style_is_what_leaves_the_third_block(features: ClipFeatures) -> None:
    frames = noise(2, 3, SIZE, SIZE)
    clip, left = tiny_clip(), []
    for layer in clip.vision_model.encoder.layers:
        layer.register_forward_hook(lambda _module, _inputs, output: left.append(output))
    with torch.no_grad():
        clip.vision_model(by_hand(frames))
    found = features.style_tokens(frames)
    assert found.shape == (2, (SIZE // PATCH) ** 2, WIDTH)
    assert torch.allclose(found, left[2][:, 1:], atol=1e-5)
    for other in (0, 1, 3, 4):
        assert not torch.allclose(found, left[other][:, 1:], atol=1e-2)


def test_with_fewer_blocks_the_last_tells_style(tmp_path: Path) -> None:
    clip = tiny_clip(layers=2)
    frames = noise(1, 3, SIZE, SIZE)
    with torch.no_grad():
        last = clip.vision_model(by_hand(frames)).last_hidden_state
    found = ClipFeatures.load(tiny_clip_folder(tmp_path, clip)).style_tokens(frames)
    assert torch.allclose(found, last[:, 1:], atol=1e-6)


def test_many_frames_are_read_in_batches(features: ClipFeatures) -> None:
    frames = noise(70, 3, SIZE, SIZE)
    assert torch.allclose(features.frames(frames)[65], features.frames(frames[65:66])[0], atol=1e-6)


def test_identity_is_the_sha256_of_the_weights(features: ClipFeatures, folder: Path) -> None:
    assert features.identity == sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_the_preprocessor_says_how_to_normalise(tmp_path: Path) -> None:
    tiny_clip_folder(tmp_path)
    mean, std = [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps({"image_mean": mean, "image_std": std}), encoding="utf-8")
    frames = noise(1, 3, SIZE, SIZE)
    with torch.no_grad():
        output = tiny_clip().get_image_features(pixel_values=by_hand(frames, mean, std))
    expected = torch.nn.functional.normalize(output.pooler_output, dim=-1)
    assert torch.allclose(ClipFeatures.load(tmp_path).frames(frames), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "is damaged"),
        ('{"image_mean": "grey"}', "is damaged"),
        ('{"image_std": [1, 2]}', "three numbers each"),
        ('{"image_std": [1, 2, 0]}', "above 0"),
    ],
)
def test_a_wrong_preprocessor_is_refused(tmp_path: Path, text: str, said: str) -> None:
    tiny_clip_folder(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=said):
        ClipFeatures.load(tmp_path)


@pytest.mark.parametrize(
    ("width", "patch", "size", "name"),
    [
        (768, 16, 224, "CLIP ViT-B/16"),
        (768, 32, 224, "CLIP ViT-B/32"),
        (1024, 14, 336, "CLIP ViT-L/14@336"),
        (1280, 14, 224, "CLIP ViT-H/14"),
        (WIDTH, PATCH, SIZE, f"CLIP ViT-{WIDTH}/{PATCH}@{SIZE}"),
    ],
)
def test_names(width: int, patch: int, size: int, name: str) -> None:
    vision = SimpleNamespace(hidden_size=width, patch_size=patch, image_size=size)
    assert clip_name(vision) == name


def test_the_name_comes_from_the_config(features: ClipFeatures) -> None:
    assert features.name == "CLIP ViT-16/8@32"


def test_the_tokenizer_may_lie_beside_as_in_a_model_folder(tmp_path: Path) -> None:
    tiny_clip().save_pretrained(tmp_path / "clip")
    with pytest.raises(ModelError, match=r"no tokenizer.json, nor vocab.json .*copy CLIP's"):
        ClipFeatures.load(tmp_path / "clip")
    shutil.copytree(miniature_folder() / "tokenizer", tmp_path / "tokenizer")
    assert ClipFeatures.load(tmp_path / "clip").texts(["a car"]).shape == (1, JOINT)


def test_floats_are_refused(features: ClipFeatures) -> None:
    with pytest.raises(InputError, match="give uint8"):
        features.frames(torch.zeros(1, 3, SIZE, SIZE))
    with pytest.raises(InputError, match="give uint8"):
        features.style_tokens(torch.zeros(1, 3, SIZE, SIZE))


def test_the_miniatures_clip_is_the_one_it_was_trained_as() -> None:
    features = miniature_clip()
    assert features.name == "CLIP-miniature"
    clip = CLIPModel.from_pretrained(miniature_folder() / "clip", dtype=torch.float32)
    tokenizer = CLIPTokenizer.from_pretrained(miniature_folder() / "tokenizer")
    frames = render_stills(3, 7, 64).images
    texts = ["a red car on a road", "a photo of a fish, swimming"]
    with torch.no_grad():
        assert torch.allclose(features.frames(frames), clip_image_features(clip, frames), atol=1e-6)
        known = clip_text_features(clip, tokenize(tokenizer, texts))
    assert torch.allclose(features.texts(texts), known, atol=1e-6)


def test_the_miniatures_third_block_is_the_last_but_one() -> None:
    """What the documentation of `STYLE_BLOCK` says."""
    config = json.loads((miniature_folder() / "clip" / "config.json").read_text(encoding="utf-8"))
    assert config["vision_config"]["num_hidden_layers"] == 4
    assert miniature_clip().style_tokens(noise(1, 3, 64, 64)).shape == (1, 64, 128)
