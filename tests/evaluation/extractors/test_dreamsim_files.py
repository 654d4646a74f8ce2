"""DreamSim's published files: made up at a small size, converted, and measured against."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.evaluation.extractors.networks import noise
from tests.evaluation.extractors.vision_transformer import (
    class_token,
    projected,
    quick_gelu,
    random_state,
)
from torch import Tensor
from torch.nn.functional import gelu

from stillmotion.errors import ModelError, OutputError
from stillmotion.evaluation.extractors.dreamsim import DreamSimFeatures
from stillmotion.evaluation.extractors.dreamsim_files import convert_dreamsim
from stillmotion.evaluation.extractors.pixels import (
    CLIP_MEAN,
    CLIP_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    centred_unit,
    normalised,
)

RANK, ALPHA, WIDTH, HEADS = 4, 0.5, 128, 2
States = dict[str, dict[str, Tensor]]


def random_states() -> States:
    return {
        "dino": random_state(1),
        "clip": random_state(2, joint=24),
        "open_clip": random_state(3, joint=24),
    }


def random_loras() -> States:
    """By network, with the names behind `blocks.`."""
    generator = torch.Generator().manual_seed(9)
    return {
        part: {
            f"blocks.{n}.attn.qkv.lora_{letter}.weight": torch.randn(shape, generator=generator)
            for n in range(2)
            for letter, shape in (("A", (RANK, WIDTH)), ("B", (3 * WIDTH, RANK)))
        }
        for part in ("dino", "clip", "open_clip")
    }


def write_adapter(folder: Path, tensors: dict[str, Tensor], **changes: object) -> None:
    folder.mkdir(exist_ok=True)
    config = {"r": RANK, "lora_alpha": ALPHA, "bias": "none", "target_modules": ["qkv"], **changes}
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(tensors, folder / "adapter_model.safetensors")


def write_networks(folder: Path, states: States) -> None:
    (folder / "checkpoints").mkdir(parents=True)
    save_file(states["dino"], folder / "checkpoints" / "dino_vitbase16_pretrain.safetensors")
    for part in ("clip", "open_clip"):
        save_file(states[part], folder / f"{part}_vitb16_pretrain.safetensors")


def write_together(folder: Path, loras: States) -> None:
    """As release 0.2: one adapter for all."""
    prefix = "base_model.model.extractor_list"
    tensors = {
        f"{prefix}.{index}.model.{name}": tensor
        for index, lora in enumerate(loras.values())
        for name, tensor in lora.items()
    }
    write_adapter(folder / "ensemble_lora", tensors)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    write_networks(folder, random_states())
    write_together(folder, random_loras())
    return folder


def tuned(states: States, loras: States) -> States:
    """W + alpha / r B A in every block."""
    result = {part: dict(state) for part, state in states.items()}
    for part, lora in loras.items():
        for n in range(2):
            a, b = (lora[f"blocks.{n}.attn.qkv.lora_{letter}.weight"] for letter in "AB")
            result[part][f"blocks.{n}.attn.qkv.weight"] += ALPHA / RANK * b @ a
    return result


def embedded(states: States, frames: Tensor) -> Tensor:
    """DreamSim's embedding by the slow networks, of frames of their own size."""
    clip = normalised(frames, CLIP_MEAN, CLIP_STD)
    parts = (
        class_token(states["dino"], normalised(frames, IMAGENET_MEAN, IMAGENET_STD), HEADS, 1e-6),
        projected(states["clip"], clip, HEADS, quick_gelu),
        projected(states["open_clip"], clip, HEADS, gelu),
    )
    return centred_unit(torch.cat(parts, 1))


def test_the_converted_networks_are_the_tuned_ones(published: Path, tmp_path: Path) -> None:
    convert_dreamsim(published, tmp_path / "out")
    features = DreamSimFeatures.load(tmp_path / "out")
    frames = noise(3, 3, 32, 32)
    expected = embedded(tuned(random_states(), random_loras()), frames)
    assert features.name == "DreamSim"
    assert torch.allclose(features.frames(frames), expected, atol=1e-5)
    assert not torch.allclose(expected, embedded(random_states(), frames), atol=1e-2)


def test_without_the_lora(published: Path, tmp_path: Path) -> None:
    convert_dreamsim(published, tmp_path / "out", lora=False)
    features = DreamSimFeatures.load(tmp_path / "out")
    frames = noise(2, 3, 32, 32)
    assert features.name == "DreamSim-untuned"
    assert torch.allclose(features.frames(frames), embedded(random_states(), frames), atol=1e-5)


def test_the_adapters_of_release_0_1(tmp_path: Path) -> None:
    """One for each network, every matrix under two names."""
    write_networks(tmp_path, random_states())
    for part, lora in random_loras().items():
        once = {f"base_model.model.model.{name}": t for name, t in lora.items()}
        twice = {f"base_model.model.{name}": t.clone() for name, t in lora.items()}
        write_adapter(tmp_path / f"{part}_vitb16_lora", once | twice)
    convert_dreamsim(tmp_path, tmp_path / "out")
    frames = noise(1, 3, 32, 32)
    expected = embedded(tuned(random_states(), random_loras()), frames)
    found = DreamSimFeatures.load(tmp_path / "out").frames(frames)
    assert torch.allclose(found, expected, atol=1e-5)


def test_pickles_are_read_if_allowed_only(published: Path, tmp_path: Path) -> None:
    safe = published / "clip_vitb16_pretrain.safetensors"
    state = load_file(safe)
    safe.unlink()
    torch.save({"state_dict": state}, published / "clip_vitb16_pretrain.pth.tar")
    with pytest.raises(ModelError, match=r"is a pickle, .* or allow pickles here"):
        convert_dreamsim(published, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    convert_dreamsim(published, tmp_path / "out", allow_pickle=True)
    frames = noise(1, 3, 32, 32)
    expected = embedded(tuned(random_states(), random_loras()), frames)
    found = DreamSimFeatures.load(tmp_path / "out").frames(frames)
    assert torch.allclose(found, expected, atol=1e-5)


def test_what_is_there_is_not_replaced_unasked(published: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("kept", encoding="utf-8")
    with pytest.raises(OutputError, match="exists already"):
        convert_dreamsim(published, tmp_path / "out")
    assert (tmp_path / "out" / "mine").read_text(encoding="utf-8") == "kept"


def test_a_missing_file_is_named(published: Path, tmp_path: Path) -> None:
    (published / "open_clip_vitb16_pretrain.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no .*/open_clip_vitb16_pretrain.pth.tar, nor open_clip"):
        convert_dreamsim(published, tmp_path / "out")


def test_a_file_of_another_network_is_refused(published: Path, tmp_path: Path) -> None:
    save_file({"norm.weight": torch.ones(2)}, published / "clip_vitb16_pretrain.safetensors")
    with pytest.raises(ModelError, match=r"clip_vitb16_pretrain.pth.tar lacks 'pos_embed'"):
        convert_dreamsim(published, tmp_path / "out", lora=False)


def test_without_an_adapter(tmp_path: Path) -> None:
    write_networks(tmp_path, random_states())
    with pytest.raises(ModelError, match=r"there is no .*adapter_config.json"):
        convert_dreamsim(tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"use_rslora": True}, "another kind of LoRA"),
        ({"bias": "all"}, "another kind of LoRA"),
        ({"r": 0}, "not the configuration of a LoRA"),
        ({"lora_alpha": None}, "not the configuration of a LoRA"),
    ],
)
def test_other_kinds_of_lora_are_refused(
    published: Path, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    write_adapter(published / "ensemble_lora", {"a": torch.zeros(1)}, **changes)
    with pytest.raises(ModelError, match=said):
        convert_dreamsim(published, tmp_path / "out")


def test_a_lora_of_other_blocks_is_refused(published: Path, tmp_path: Path) -> None:
    loras = random_loras()
    del loras["clip"]["blocks.1.attn.qkv.lora_B.weight"]
    write_together(published, loras)
    with pytest.raises(ModelError, match="take both from one release"):
        convert_dreamsim(published, tmp_path / "out")


def test_a_lora_of_another_width_is_refused(published: Path, tmp_path: Path) -> None:
    loras = random_loras()
    loras["clip"]["blocks.1.attn.qkv.lora_A.weight"] = torch.zeros(RANK, 16)
    write_together(published, loras)
    with pytest.raises(ModelError, match=r"for clip does not fit 'blocks.1.attn.qkv.weight'"):
        convert_dreamsim(published, tmp_path / "out")


@pytest.mark.parametrize(
    "name",
    [
        "base_model.model.extractor_list.3.model.blocks.0.attn.qkv.lora_A.weight",
        "base_model.model.extractor_list.0.model.blocks.0.attn.proj.lora_A.weight",
        "base_model.model.mlp.weight",
    ],
)
def test_tensors_that_dreamsims_adapter_has_not(published: Path, tmp_path: Path, name: str) -> None:
    write_adapter(published / "ensemble_lora", {name: torch.zeros(RANK, WIDTH)})
    with pytest.raises(ModelError, match=f"has '{name}', which DreamSim's has not"):
        convert_dreamsim(published, tmp_path / "out")


def test_two_versions_of_a_matrix_are_refused(tmp_path: Path) -> None:
    write_networks(tmp_path, random_states())
    for part, lora in random_loras().items():
        once = {f"base_model.model.model.{name}": t for name, t in lora.items()}
        twice = {f"base_model.model.{name}": t + 1 for name, t in lora.items()}
        write_adapter(tmp_path / f"{part}_vitb16_lora", once | twice)
    with pytest.raises(ModelError, match="two matrices for block 0"):
        convert_dreamsim(tmp_path, tmp_path / "out")
