"""DreamSim's ensemble: against its networks called one by one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.evaluation.extractors.networks import JOINT, SIZE, WIDTH, noise, tiny_tower, tiny_vit
from torch import Tensor

from stillmotion.errors import InputError, ModelError
from stillmotion.evaluation.extractors.dreamsim import DreamSimFeatures

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


def save_ensemble(folder: Path, *, tuned: bool = True) -> Path:
    tiny_vit().save_pretrained(folder / "dino")
    tiny_tower(2, hidden_act="quick_gelu").save_pretrained(folder / "clip")
    tiny_tower(3, hidden_act="gelu").save_pretrained(folder / "open_clip")
    if tuned:
        (folder / "dreamsim.json").write_text('{"lora_merged": true}', encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_ensemble(tmp_path_factory.mktemp("dreamsim"))


@pytest.fixture(scope="module")
def features(folder: Path) -> DreamSimFeatures:
    return DreamSimFeatures.load(folder)


def prepared(frame: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    picture = Image.fromarray(frame.permute(1, 2, 0).numpy())
    small = np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.BICUBIC)) / 255
    return torch.from_numpy((small - np.array(mean)) / std).permute(2, 0, 1)[None].float()


def by_hand(frame: Tensor) -> Tensor:
    """DINO's token before its final norm, CLIP, OpenCLIP; the whole centred, at length 1."""
    dino, left = tiny_vit(), []
    dino.layers[-1].register_forward_hook(lambda _module, _inputs, output: left.append(output))
    with torch.no_grad():
        dino(prepared(frame, *IMAGENET))
        clip = tiny_tower(2, hidden_act="quick_gelu")(prepared(frame, *CLIP)).image_embeds
        open_clip = tiny_tower(3, hidden_act="gelu")(prepared(frame, *CLIP)).image_embeds
    whole = torch.cat((left[0][0, 0], clip[0], open_clip[0]))
    whole = whole - whole.mean()
    return whole / whole.norm()


def test_vectors_are_those_of_the_three_networks(features: DreamSimFeatures) -> None:
    frames = noise(3, 3, 40, 72)
    found = features.frames(frames)
    assert found.shape == (3, WIDTH + 2 * JOINT)
    for frame, vector in zip(frames, found, strict=True):
        assert torch.allclose(vector, by_hand(frame), atol=1e-5)


def test_equal_frames_are_at_no_distance_and_others_are(features: DreamSimFeatures) -> None:
    frames = noise(2, 3, 40, 40)
    first, second = features.frames(frames)
    again = features.frames(frames[:1])[0]
    assert 1 - float(first @ again) == pytest.approx(0, abs=1e-6)
    assert 1 - float(first @ second) > 0.01


def test_its_name_needs_the_tuning(folder: Path, tmp_path: Path) -> None:
    assert DreamSimFeatures.load(folder).name == "DreamSim"
    plain = save_ensemble(tmp_path, tuned=False)
    assert DreamSimFeatures.load(plain).name == "DreamSim-untuned"
    (plain / "dreamsim.json").write_text('{"lora_merged": false}', encoding="utf-8")
    assert DreamSimFeatures.load(plain).name == "DreamSim-untuned"
    for text in ("{", "[]", "{}"):
        (plain / "dreamsim.json").write_text(text, encoding="utf-8")
        with pytest.raises(ModelError, match="is damaged; it should say"):
            DreamSimFeatures.load(plain)


def test_its_identity_depends_on_each_network(features: DreamSimFeatures, tmp_path: Path) -> None:
    save_ensemble(tmp_path)
    assert DreamSimFeatures.load(tmp_path).identity == features.identity
    tiny_tower(4, hidden_act="gelu").save_pretrained(tmp_path / "open_clip")
    assert DreamSimFeatures.load(tmp_path).identity != features.identity


def test_a_missing_network_is_named(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    with pytest.raises(ModelError, match="lacks dino, open_clip; DreamSim needs"):
        DreamSimFeatures.load(tmp_path)


def test_networks_of_different_sizes_are_refused(tmp_path: Path) -> None:
    save_ensemble(tmp_path)
    tiny_tower(2, image_size=2 * SIZE).save_pretrained(tmp_path / "clip")
    with pytest.raises(ModelError, match="take pictures of 32, 64, 32 pixels"):
        DreamSimFeatures.load(tmp_path)


def test_a_network_in_anothers_place_is_refused(tmp_path: Path) -> None:
    save_ensemble(tmp_path)
    config = json.loads((tmp_path / "dino" / "config.json").read_text(encoding="utf-8"))
    assert config["model_type"] == "vit"
    (tmp_path / "dino").rename(tmp_path / "between")
    (tmp_path / "clip").rename(tmp_path / "dino")
    (tmp_path / "between").rename(tmp_path / "clip")
    with pytest.raises(ModelError, match=r"clip is of the type 'vit'; .*was expected"):
        DreamSimFeatures.load(tmp_path)


def test_floats_are_refused(features: DreamSimFeatures) -> None:
    with pytest.raises(InputError, match="give uint8"):
        features.frames(torch.zeros(1, 3, SIZE, SIZE))
