"""Files put into a model: each has the effect that it says, and nothing else has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import LCMScheduler
from PIL import Image
from safetensors.torch import load_file, save_file
from tests.models.tiny_folders import (
    make_checkpoint,
    make_embedding,
    make_folder,
    make_ip_adapter,
    make_lora,
    make_motion,
)
from tests.tiny_models import randomise, tiny_text_encoder, tiny_vae
from transformers import CLIPTextConfig, CLIPTextModel

from stillmotion.adapters.adapter import FrameContext, adapted
from stillmotion.adapters.diffusers_sites import is_motion_parameter
from stillmotion.adapters.text_encoder import encode_prompt
from stillmotion.animatezero.control import control_adapters
from stillmotion.animatezero.ingredients import Ingredients, parse_weighted
from stillmotion.animatezero.loading import LoadedModel, load_model
from stillmotion.animatezero.settings import AnimateZeroSettings
from stillmotion.errors import InputError, ModelError
from stillmotion.models.description import FILE_NAME


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("models") / "mine", 10)


@pytest.fixture(scope="module")
def plain(folder: Path) -> LoadedModel:
    return load_model(str(folder), device="cpu")


def load(folder: Path, **given: Any) -> LoadedModel:
    return load_model(str(folder), device="cpu", ingredients=Ingredients(**given))


def changed(model: LoadedModel, plain: LoadedModel) -> set[str]:
    """Which networks have other weights; the motion modules are told from the rest."""
    found = set()
    for name in ("unet", "vae", "text_encoder"):
        now = getattr(model.pipeline, name).state_dict()
        for key, tensor in getattr(plain.pipeline, name).state_dict().items():
            if now[key].shape != tensor.shape or not torch.equal(now[key], tensor):
                found.add("motion" if is_motion_parameter(f"{name}.{key}") else name)
    return found


def test_nothing_changes_nothing(folder: Path, plain: LoadedModel) -> None:
    again = load(folder)
    assert changed(again, plain) == set()
    assert again.pipeline.model_fingerprint == plain.pipeline.model_fingerprint
    assert again.ingredients.record() == {}
    assert again.drawing_pipeline is again.pipeline


def test_a_checkpoint_takes_the_place_of_the_image_networks(
    folder: Path, plain: LoadedModel, tmp_path: Path
) -> None:
    path = make_checkpoint(tmp_path / "other.safetensors", 50)
    model = load(folder, checkpoint=path)
    assert changed(model, plain) == {"unet", "vae", "text_encoder"}
    wanted = load_model(str(make_folder(tmp_path / "wanted", 50)), device="cpu")
    assert model.pipeline.model_fingerprint == wanted.pipeline.model_fingerprint
    assert model.ingredients.record() == {"checkpoint": "other.safetensors"}
    assert not model.pipeline.unet.training
    [still] = model.pipeline.draw("a b", seeds=[1], sampling=model.sampling)
    assert np.array_equal(
        still.image, wanted.pipeline.draw("a b", seeds=[1], sampling=model.sampling)[0].image
    )


def test_a_base_needs_no_weights_that_the_checkpoint_has(
    folder: Path, plain: LoadedModel, tmp_path: Path
) -> None:
    bare = make_folder(tmp_path / "bare", 10)
    for part in ("unet", "vae", "text_encoder"):
        for file in (bare / part).glob("*.safetensors"):
            file.unlink()
    path = make_checkpoint(tmp_path / "other.safetensors", 50)
    whole = load(folder, checkpoint=path)
    assert changed(load(bare, checkpoint=path), whole) == set()


def test_a_checkpoint_without_text_encoder(
    folder: Path, plain: LoadedModel, tmp_path: Path
) -> None:
    tensors = load_file(make_checkpoint(tmp_path / "other.safetensors", 50))
    kept = {n: t for n, t in tensors.items() if not n.startswith("cond_stage_model.")}
    save_file(kept, tmp_path / "no-text.safetensors")
    model = load(folder, checkpoint=tmp_path / "no-text.safetensors")
    assert changed(model, plain) == {"unet", "vae"}


def test_a_vae_alone(folder: Path, plain: LoadedModel, tmp_path: Path) -> None:
    save_file(tiny_vae(90).state_dict(), tmp_path / "vae.safetensors")
    model = load(folder, vae=tmp_path / "vae.safetensors")
    assert changed(model, plain) == {"vae"}
    assert torch.equal(
        model.pipeline.vae.encoder.conv_in.weight, tiny_vae(90).encoder.conv_in.weight
    )


def test_motion_alone(folder: Path, plain: LoadedModel, tmp_path: Path) -> None:
    adapter = make_motion(tmp_path / "motion", 60)
    model = load(folder, motion=tmp_path / "motion")
    assert changed(model, plain) == {"motion"}
    assert model.pipeline.model_fingerprint == plain.pipeline.model_fingerprint
    for name, tensor in adapter.state_dict().items():
        assert torch.equal(model.pipeline.unet.state_dict()[name], tensor)


def test_motion_makes_an_image_model_a_video_model(tmp_path: Path) -> None:
    pictures = make_folder(
        tmp_path / "pictures",
        10,
        motion=False,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
    )
    with pytest.raises(ModelError, match="has no motion adapter"):
        load_model(str(pictures))
    make_motion(tmp_path / "motion", 60)
    model = load(pictures, motion=tmp_path / "motion")
    config = model.pipeline.scheduler.config
    # AnimateDiff's own schedule, for a network that predicts what it always did.
    assert config.beta_schedule == "linear"
    assert config.prediction_type == "v_prediction"
    assert model.pipeline.animate(
        model.pipeline.draw("a", seeds=[1], sampling=model.sampling), seed=2, num_frames=3
    ).frames.shape == (1, 3, 8, 8, 3)


def test_motion_of_a_video_unet_is_replaced(plain: LoadedModel, tmp_path: Path) -> None:
    plain.pipeline.save_pretrained(tmp_path / "saved")
    adapter = make_motion(tmp_path / "motion", 60)
    model = load(tmp_path / "saved", motion=tmp_path / "motion")
    assert changed(model, plain) == {"motion"}
    for name, tensor in adapter.state_dict().items():
        assert torch.equal(model.pipeline.unet.state_dict()[name], tensor)
    path = make_checkpoint(tmp_path / "other.safetensors", 50)
    with pytest.raises(ModelError, match="has its motion built into its U-Net"):
        load(tmp_path / "saved", checkpoint=path)


def test_loras_are_merged_with_their_weights(
    folder: Path, plain: LoadedModel, tmp_path: Path
) -> None:
    one, two = make_lora(tmp_path / "one.safetensors"), make_lora(tmp_path / "t:2.safetensors", 1)
    model = load(folder, loras=((one, 0.5), (two, -1.0)))
    assert changed(model, plain) == {"unet"}
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight"
    wanted = plain.pipeline.unet.state_dict()[name].double()
    for path, weight in ((one, 0.5), (two, -1.0)):
        down, up = (
            next(t for n, t in load_file(path).items() if f"lora_{side}" in n).double()
            for side in ("down", "up")
        )
        wanted = wanted + weight * up @ down
    got = model.pipeline.unet.state_dict()[name].double()
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5)
    assert model.ingredients.record() == {
        "loras": [["one.safetensors", 0.5], ["t:2.safetensors", -1.0]]
    }
    assert load(folder, loras=((one, 0.0),)).pipeline.model_fingerprint == (
        plain.pipeline.model_fingerprint
    )


def test_a_textual_inversion_is_a_word(folder: Path, plain: LoadedModel, tmp_path: Path) -> None:
    path = make_embedding(tmp_path / "sunny.safetensors")
    model = load(folder, embeddings=(path,))
    vectors = model.pipeline.text_encoder.get_input_embeddings().weight.data[-2:]
    assert torch.equal(vectors, load_file(path)["emb_params"])
    with torch.no_grad():
        seen, unseen = (
            encode_prompt(m.pipeline, "a sunny b", "", uses_guidance=False) for m in (model, plain)
        )
    assert (seen - unseen).abs().max() > 0.05
    with pytest.raises(ModelError, match="has vectors of 5 numbers; the text encoder of this"):
        load(folder, embeddings=(make_embedding(tmp_path / "w.safetensors", width=5),))
    with pytest.raises(ModelError, match="the word 'sunny' has a meaning already"):
        load(folder, embeddings=(path, path))


def test_another_scheduler_on_the_same_noise(folder: Path, plain: LoadedModel) -> None:
    own = plain.pipeline.scheduler
    for name in ("ddim", "dpm++", "euler", "euler-trailing", "lcm"):
        scheduler = load(folder, scheduler=name).pipeline.scheduler
        assert torch.equal(scheduler.alphas_cumprod, own.alphas_cumprod), name
        assert scheduler.config.prediction_type == own.config.prediction_type
    assert isinstance(scheduler, LCMScheduler)


def test_layers_of_the_text_encoder(tmp_path: Path) -> None:
    encoder = CLIPTextConfig(**{**tiny_text_encoder().config.to_dict(), "num_hidden_layers": 2})
    mine = make_folder(tmp_path / "mine", 10)
    randomise(CLIPTextModel(encoder), 5).save_pretrained(mine / "text_encoder")
    says = json.loads((mine / FILE_NAME).read_text())
    (mine / FILE_NAME).write_text(json.dumps({**says, "clip_skip": 1}))
    assert load(mine).clip_skip == load(mine).sampling.clip_skip == 1
    assert load(mine, clip_skip=0).sampling.clip_skip == 0
    with pytest.raises(InputError, match="clip_skip is 2; this text encoder has 2 layers"):
        load(mine, clip_skip=2)


def picture(path: Path, colour: tuple[int, int, int]) -> Path:
    Image.new("RGB", (40, 40), colour).save(path)
    return path


@pytest.fixture
def seeing(folder: Path, tmp_path: Path) -> dict[str, Any]:
    """An IP-Adapter and a picture for it."""
    return {
        "ip_adapter": make_ip_adapter(tmp_path / "ip.safetensors"),
        "ip_adapter_image": picture(tmp_path / "red.png", (250, 10, 10)),
    }


@torch.no_grad()
def predicted(model: LoadedModel, *, uses_guidance: bool, control: bool) -> torch.Tensor:
    """The U-Net's output for fixed input, with AnimateZero's adapters if `control`."""
    unet, settings = model.pipeline.unet, AnimateZeroSettings(kv_source="still")
    halves, frames = 1 + uses_guidance, 3
    generator = torch.Generator().manual_seed(0)
    rows = frames + int(control)
    z = torch.randn(1, 4, rows, 4, 4, generator=generator).expand(halves, -1, -1, -1, -1)
    text = encode_prompt(model.pipeline, "a b", "c", uses_guidance=uses_guidance)
    context = FrameContext(num_frames=frames, num_reference_rows=1)
    embeds = model.image_embeds(uses_guidance=uses_guidance)
    extras = {"added_cond_kwargs": {"image_embeds": list(embeds)}} if embeds else {}
    with adapted(unet, control_adapters(settings, context) if control else []):
        output: torch.Tensor = unet(
            z, 501, encoder_hidden_states=text.repeat_interleave(rows, 0), **extras
        ).sample
    return output


@pytest.mark.parametrize("control", [False, True])
def test_an_ip_adapter_works_with_animatezero(
    control: bool, folder: Path, plain: LoadedModel, seeing: dict[str, Any], tmp_path: Path
) -> None:
    model = load(folder, **seeing)
    assert [e.shape for e in model.image_embeds(uses_guidance=True)] == [(2, 1, 6)]
    assert [e.shape for e in model.image_embeds(uses_guidance=False)] == [(1, 1, 6)]
    assert not model.image_embeds(uses_guidance=True)[0][0].any()  # nothing is seen there
    both = predicted(model, uses_guidance=True, control=control)
    without = predicted(plain, uses_guidance=True, control=control)
    assert (both - without).abs().max() > 1e-3
    other = load(folder, **{**seeing, "ip_adapter_image": picture(tmp_path / "b.png", (0, 0, 250))})
    blue = predicted(other, uses_guidance=True, control=control)
    assert torch.equal(blue[0], both[0])
    assert (blue[1] - both[1]).abs().max() > 1e-4
    alone = predicted(model, uses_guidance=False, control=control)
    assert alone.shape == (1, 4, 3 + control, 4, 4)
    blind = load(folder, **seeing, ip_adapter_scale=0.0)
    torch.testing.assert_close(
        predicted(blind, uses_guidance=True, control=control), without, rtol=0, atol=1e-6
    )


def test_an_ip_adapter_counts_in_the_fingerprint(
    folder: Path, plain: LoadedModel, seeing: dict[str, Any]
) -> None:
    model = load(folder, **seeing)
    assert model.pipeline.model_fingerprint != plain.pipeline.model_fingerprint
    assert model.ingredients.record() == {
        "ip_adapter": "ip.safetensors",
        "ip_adapter_image": "red.png",
    }


def test_ip_adapters_that_cannot_be_used(
    folder: Path, seeing: dict[str, Any], tmp_path: Path
) -> None:
    lonely = tmp_path / "lonely" / "ip.safetensors"
    lonely.parent.mkdir()
    lonely.write_bytes(seeing["ip_adapter"].read_bytes())
    with pytest.raises(ModelError, match="needs its image encoder in the folder"):
        load(folder, **{**seeing, "ip_adapter": lonely})
    short = make_ip_adapter(tmp_path / "short.safetensors", (8, 8))
    with pytest.raises(ModelError, match=r"'short\.safetensors' does not fit the U-Net"):
        load(folder, **{**seeing, "ip_adapter": short})
    face = {"image_proj.norm.weight": torch.ones(8), "image_proj.proj.0.weight": torch.ones(8, 6)}
    save_file({**face, "ip_adapter.1.to_k_ip.weight": torch.ones(8, 8)}, lonely)
    with pytest.raises(ModelError, match="numbers of a face recogniser"):
        load(folder, **{**seeing, "ip_adapter": lonely})


@pytest.mark.parametrize(
    ("role", "said"),
    [
        ("checkpoint", "is a kohya LoRA; a Stable Diffusion 1.x checkpoint was expected"),
        ("vae", "is a kohya LoRA; a VAE was expected"),
        ("motion", "is a kohya LoRA; a motion module was expected"),
        ("ip_adapter", "is a kohya LoRA; "),
    ],
)
def test_files_of_another_kind(role: str, said: str, folder: Path, tmp_path: Path) -> None:
    lora = make_lora(tmp_path / "lora.safetensors")
    image = {"ip_adapter_image": picture(tmp_path / "a.png", (0, 0, 0))}
    with pytest.raises(ModelError, match=said):
        load(folder, **{role: lora}, **(image if role == "ip_adapter" else {}))


def test_other_mistakes(folder: Path, tmp_path: Path) -> None:
    embedding = make_embedding(tmp_path / "e.safetensors")
    with pytest.raises(ModelError, match=r"'e\.safetensors' is .*; a LoRA or a motion LoRA was"):
        load(folder, loras=((embedding, 1.0),))
    with pytest.raises(ModelError, match=r"'lora\.safetensors' is a kohya LoRA; "):
        load(folder, embeddings=(make_lora(tmp_path / "lora.safetensors"),))
    with pytest.raises(ModelError, match="there is no file"):
        load(folder, checkpoint=tmp_path / "nothing.safetensors")
    with pytest.raises(ModelError, match="there is no motion module 'a/b/c'"):
        load(folder, motion="a/b/c")
    with pytest.raises(ModelError, match="'nobody/nothing' is not on this machine; add --download"):
        load(folder, motion="nobody/nothing")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"loras": ((Path("a"), float("nan")),)}, "the weight of 'a' is nan"),
        ({"motion_loras": ((Path("a"), float("inf")),)}, "the weight of 'a' is inf"),
        ({"scheduler": "magic"}, "'magic' is unknown; there are: ddim, "),
        ({"clip_skip": -1}, "clip_skip is -1"),
        ({"ip_adapter": Path("a")}, "belong together"),
        ({"ip_adapter_image": Path("a")}, "belong together"),
        ({"ip_adapter_scale": -1.0}, "scale of the IP-Adapter is -1.0"),
    ],
)
def test_ingredients_are_checked(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Ingredients(**given)


@pytest.mark.parametrize(
    ("text", "path", "weight"),
    [
        ("a.safetensors", "a.safetensors", 1.0),
        ("a.safetensors:0.7", "a.safetensors", 0.7),
        ("a:b.safetensors", "a:b.safetensors", 1.0),
        ("a:b.safetensors:-2", "a:b.safetensors", -2.0),
        ("a:1e-1", "a", 0.1),
        ("C:\\a.safetensors:.5", "C:\\a.safetensors", 0.5),
        (":5", ":5", 1.0),
    ],
)
def test_weights_are_parsed(text: str, path: str, weight: float) -> None:
    assert parse_weighted(text) == (Path(path), weight)


def test_a_file_of_the_whole_name_has_no_weight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a:2").touch()
    assert parse_weighted("a:2") == (Path("a:2"), 1.0)
    assert parse_weighted("a:2:3") == (Path("a:2"), 3.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [("a:nan", "the weight in 'a:nan' is nan"), ("a:inf", "is inf"), ("", "names no file"),
     (" ", "names no file")],
)  # fmt: skip
def test_weights_that_are_none(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_weighted(text)
