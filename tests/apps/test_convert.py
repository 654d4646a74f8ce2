"""`stillmotion convert`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import MotionAdapter
from safetensors.torch import load_file, save_file
from tests.apps.conftest import Run
from tests.models.official_files import official
from tests.tiny_models import tiny_tokenizer

from stillmotion.models.files import identify
from stillmotion.models.layouts import FileKind
from stillmotion.models.registry import miniature_folder, resolve_model


def test_a_model_becomes_a_file_and_a_model_again(run: Run, here: Path) -> None:
    done = run("convert", "miniature", "new/mini.safetensors", "--json")
    assert done.facts == {
        "source": "miniature",
        "source_is": "a model folder in diffusers' layout",
        "to": "ldm",
        "output": "new/mini.safetensors",
        "output_is": "a Stable Diffusion 1.x checkpoint",
    }
    back = run("convert", "new/mini.safetensors", "folder", "--base", "miniature")
    assert back.code == 0, back
    assert back.out.splitlines()[1] == "folder: a model folder in diffusers' layout"
    model = resolve_model("folder")
    assert (model.description.title, model.description.looks) == ("mini", {})
    assert model.description.height == 64
    weights = "unet/diffusion_pytorch_model.safetensors"
    ours, theirs = load_file(here / "folder" / weights), load_file(miniature_folder() / weights)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    for part in ("tokenizer", "scheduler", "motion_adapter"):
        assert any((here / "folder" / part).iterdir())
    again = "new/again.safetensors"
    assert run("convert", "folder", again, "--to", "ldm").code == 0
    assert load_file(again).keys() == load_file("new/mini.safetensors").keys()


def test_motion_modules_there_and_back(run: Run, here: Path) -> None:
    folder = miniature_folder() / "motion_adapter"
    done = run("convert", folder, "mm.safetensors", "--json")
    assert (done.facts["to"], done.facts["output_is"]) == ("motion", "an AnimateDiff v2 motion "
                                                           "module")  # fmt: skip
    assert run("convert", "mm.safetensors", "adapter").code == 0
    ours, theirs = (MotionAdapter.from_pretrained(path) for path in ("adapter", folder))
    assert ours.config["motion_num_attention_heads"] == 4
    one, other = ours.state_dict(), theirs.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in other)


def test_loras_there_and_back(run: Run, here: Path) -> None:
    published = miniature_folder() / "loras" / "neon.safetensors"
    assert run("convert", published, "kohya.safetensors").code == 0
    assert identify(Path("kohya.safetensors")) is FileKind.KOHYA_LORA
    assert run("convert", "kohya.safetensors", "peft.safetensors").code == 0
    ours, theirs = load_file("peft.safetensors"), load_file(published)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_pickles_need_leave(run: Run, here: Path) -> None:
    tensors = load_file(miniature_folder() / "loras" / "neon.safetensors")
    torch.save({"state_dict": tensors, "epoch": 1}, "x.ckpt")
    refused = run("convert", "x.ckpt", "x.safetensors").error
    assert "'x.ckpt' is a pickle" in refused
    assert "stillmotion convert --allow-pickle x.ckpt x.safetensors" in refused
    assert not Path("x.safetensors").exists()
    done = run("convert", "x.ckpt", "y.safetensors", "--allow-pickle", "--to", "kohya", "--json")
    assert done.facts["source_is"] == "a pickle of a LoRA in diffusers' naming"
    assert identify(Path("y.safetensors")) is FileKind.KOHYA_LORA
    assert {path.name for path in here.iterdir()} == {"x.ckpt", "y.safetensors"}


def test_a_dynamicrafter_checkpoint_there_and_back(run: Run, here: Path) -> None:
    tensors = official("512")
    (here / "dynamicrafter_512_interp_v1").mkdir()
    torch.save({"state_dict": tensors}, "dynamicrafter_512_interp_v1/model.ckpt")
    tiny_tokenizer().save_pretrained(here / "clip" / "tokenizer")
    source = "dynamicrafter_512_interp_v1/model.ckpt"
    refused = run("convert", source, "folder", "--allow-pickle").error
    assert "'model.ckpt' does not hold tokenizer/; give --tokenizer a folder" in refused
    done = run("convert", source, "folder", "--allow-pickle", "--tokenizer", "clip", "--json")
    assert done.facts == {
        "source": source,
        "source_is": "a pickle of a DynamiCrafter checkpoint",
        "to": "diffusers",
        "output": "folder",
        "output_is": "a model folder in diffusers' layout, variant 512-interp",
    }
    done = run("convert", "folder", "again.safetensors", "--json")
    assert (done.facts["to"], done.facts["output_is"]) == ("ldm", "a DynamiCrafter checkpoint")
    again = load_file("again.safetensors")
    assert again.keys() == tensors.keys()
    assert all(torch.equal(again[name], tensors[name]) for name in tensors)
    save_file(tensors, "x.safetensors")
    for arguments, said in (
        (["--base", "clip"], "say which with --variant"),
        (["--base", "clip", "--variant", "256"], "'x.safetensors' is no '256' checkpoint"),
        (["--base", "clip", "--variant", "2k"], "--variant is '2k'; it can be 256, 512, 1024"),
        (["--base", "nowhere", "--variant", "512"], "unknown model 'nowhere'"),
        (
            ["--to", "motion"],
            "is a DynamiCrafter checkpoint, which can be converted --to diffusers",
        ),
    ):
        assert said in run("convert", "x.safetensors", "more", *arguments).error
    assert not Path("more").exists()
    chosen = run("convert", "x.safetensors", "more", "--base", "clip", "--variant", "512")
    assert chosen.out.splitlines()[1] == "more: a model folder in diffusers' layout, variant 512"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["absent.ckpt", "x"], "unknown model 'absent.ckpt'"),
        (["e.safetensors", "x"], "is a textual inversion embedding for Stable Diffusion 1.5; a "),
        (["k.safetensors", "x", "--to", "ldm"],
         "for Stable Diffusion 1.5, which can be converted --to diffusers, not ldm"),
        (["xl.safetensors", "x"], "one for Stable Diffusion 1.5 was expected"),
        (["miniature", "x", "--to", "kohya"], "is a model folder, which can be converted --to ldm"),
        (["k.safetensors", "k.safetensors"], "exists already"),
        (["k.safetensors", "x", "--to", "gguf"], "--to is 'gguf'; it can be ldm, diffusers"),
    ],
)  # fmt: skip
def test_what_cannot_be_converted(arguments: list[str], said: str, run: Run, here: Path) -> None:
    layer = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"
    for name, width in (("k", 768), ("xl", 2048)):
        halves = {"down": torch.zeros(2, width), "up": torch.zeros(8, 2)}
        save_file({f"{layer}.lora_{n}.weight": t for n, t in halves.items()}, f"{name}.safetensors")
    save_file({"emb_params": torch.zeros(1, 768)}, "e.safetensors")
    assert said in run("convert", *arguments).error
    assert json.loads(run("convert", *arguments, "--json").err)["error"]
    assert not Path("x").exists()
