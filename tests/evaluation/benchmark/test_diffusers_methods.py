"""PIA, SVD, I2VGen-XL and SparseCtrl: tiny random pipelines, saved and loaded as a user's are."""

from __future__ import annotations

import inspect
import json
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import (
    AnimateDiffSparseControlNetPipeline,
    AutoencoderKLTemporalDecoder,
    EulerDiscreteScheduler,
    I2VGenXLPipeline,
    I2VGenXLUNet,
    PIAPipeline,
    SparseControlNetModel,
    StableVideoDiffusionPipeline,
    UNetSpatioTemporalConditionModel,
)
from safetensors.torch import load_file, save_file
from tests.tiny_models import (
    randomise,
    tiny_motion_adapter,
    tiny_scheduler,
    tiny_text_encoder,
    tiny_tokenizer,
    tiny_unet,
    tiny_vae,
)
from transformers import (
    CLIPImageProcessor,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from stillmotion.errors import ModelError
from stillmotion.evaluation.benchmark import diffusers_methods
from stillmotion.evaluation.benchmark.diffusers_methods import (
    I2VGEN_XL,
    PIA,
    SPARSECTRL_RGB,
    SPECS,
    SVD,
    DiffusersMaker,
    Recipe,
    load_pipeline,
    seeded_globals,
    variant_of,
)
from stillmotion.evaluation.benchmark.folder import Case
from stillmotion.evaluation.benchmark.methods import Context, Job
from stillmotion.evaluation.benchmark.registry import chosen
from stillmotion.evaluation.run import model_identity
from stillmotion.media.still import Still
from stillmotion.models.registry import resolve_model

NUM_FRAMES = 3


def vision_encoder(width: int, image_size: int) -> CLIPVisionModelWithProjection:
    config = CLIPVisionConfig(
        hidden_size=width, projection_dim=width, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=2, image_size=image_size, patch_size=image_size // 2,
    )  # fmt: skip
    return randomise(CLIPVisionModelWithProjection(config), 5)


def text_encoder_of_two_layers() -> CLIPTextModel:
    config = tiny_text_encoder().config
    config.num_hidden_layers = 2
    return randomise(CLIPTextModel(config), 6)


def pia() -> PIAPipeline:
    return PIAPipeline(
        vae=tiny_vae(), text_encoder=tiny_text_encoder(), tokenizer=tiny_tokenizer(),
        unet=tiny_unet(in_channels=9), scheduler=tiny_scheduler(), motion_adapter=None,
    )  # fmt: skip


def svd() -> StableVideoDiffusionPipeline:
    unet = UNetSpatioTemporalConditionModel(
        block_out_channels=(32, 32), layers_per_block=1, sample_size=8, in_channels=8,
        out_channels=4, cross_attention_dim=8, num_attention_heads=2, addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=24,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
    )  # fmt: skip
    vae = AutoencoderKLTemporalDecoder(
        block_out_channels=(32, 32), down_block_types=("DownEncoderBlock2D",) * 2,
        layers_per_block=1, latent_channels=4,
    )  # fmt: skip
    scheduler = EulerDiscreteScheduler(
        prediction_type="v_prediction", use_karras_sigmas=True, sigma_min=0.002, sigma_max=700.0,
        timestep_type="continuous", timestep_spacing="leading", steps_offset=1,
    )  # fmt: skip
    return StableVideoDiffusionPipeline(
        vae=randomise(vae, 1), unet=randomise(unet, 0), scheduler=scheduler,
        image_encoder=vision_encoder(8, 224),
        feature_extractor=CLIPImageProcessor(crop_size=224, size=224),
    )  # fmt: skip


def i2vgen_xl() -> I2VGenXLPipeline:
    unet = I2VGenXLUNet(
        block_out_channels=(4, 8), layers_per_block=1, sample_size=8, cross_attention_dim=8,
        attention_head_dim=4, num_attention_heads=None, norm_num_groups=2,
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
    )  # fmt: skip
    return I2VGenXLPipeline(
        vae=tiny_vae(), text_encoder=text_encoder_of_two_layers(), tokenizer=tiny_tokenizer(),
        image_encoder=vision_encoder(8, 32), unet=randomise(unet, 0), scheduler=tiny_scheduler(),
        feature_extractor=CLIPImageProcessor(crop_size=32, size=32),
    )  # fmt: skip


def sparsectrl(*, simplified: bool = True) -> AnimateDiffSparseControlNetPipeline:
    controlnet = SparseControlNetModel(
        block_out_channels=(8, 16), layers_per_block=1, in_channels=4, cross_attention_dim=8,
        conditioning_channels=4 if simplified else 3, norm_num_groups=4, num_attention_heads=2,
        motion_max_seq_length=8, motion_num_attention_heads=2,
        conditioning_embedding_out_channels=(8, 8),
        down_block_types=("CrossAttnDownBlockMotion", "DownBlockMotion"),
        use_simplified_condition_embedding=simplified,
    )  # fmt: skip
    return AnimateDiffSparseControlNetPipeline(
        vae=tiny_vae(), text_encoder=tiny_text_encoder(), tokenizer=tiny_tokenizer(),
        unet=tiny_unet(), motion_adapter=tiny_motion_adapter(), scheduler=tiny_scheduler(),
        controlnet=randomise(controlnet, 4),
    )  # fmt: skip


PIPELINES: dict[str, tuple[Recipe, Callable[[], Any]]] = {
    "pia": (PIA, pia),
    "svd": (SVD, svd),
    "i2vgen-xl": (I2VGEN_XL, i2vgen_xl),
    "sparsectrl-rgb": (SPARSECTRL_RGB, sparsectrl),
}
NAMES = tuple(PIPELINES)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A saved pipeline of each kind, with the names that published folders have in their index."""
    saved = {}
    for name, (_, build) in PIPELINES.items():
        folder = tmp_path_factory.mktemp(name)
        build().save_pretrained(folder)
        index = folder / "model_index.json"
        # What it is called here without torchvision; published folders have the plain name.
        index.write_text(index.read_text().replace("CLIPImageProcessorPil", "CLIPImageProcessor"))
        saved[name] = folder
    return saved


def maker(name: str, folder: Path) -> DiffusersMaker:
    """As the method's own, but with 2 steps of 16 x 16 pixels."""
    recipe, _ = PIPELINES[name]
    small = replace(recipe, area=256, multiple=8, call={**recipe.call, "num_inference_steps": 2})
    return DiffusersMaker(small, folder, "cpu")


def job(*, seed: int = 3, shade: int = 90, size: tuple[int, int] = (20, 24)) -> Job:
    picture = np.full((*size, 3), (shade, 120, 200), np.uint8)
    picture[size[0] // 2 :, :, 0] = 255 - shade
    case = Case(name="a", prompt="a cat", seed=seed)
    return Job(case=case, still=Still(image=picture), num_frames=NUM_FRAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_clip_follows_from_seed_and_picture(name: str, folders: dict[str, Path]) -> None:
    one = maker(name, folders[name])
    torch.default_generator.manual_seed(1)
    before = torch.default_generator.get_state()
    clip = one.make(job())
    assert torch.equal(torch.default_generator.get_state(), before)
    assert clip.shape == (NUM_FRAMES, 16, 16, 3)
    assert clip.dtype == np.uint8
    assert clip.std() > 0
    # As another process finds the global generator.
    torch.default_generator.manual_seed(2)
    assert np.array_equal(maker(name, folders[name]).make(job()), clip)
    assert not np.array_equal(one.make(job(seed=4)), clip)
    assert not np.array_equal(one.make(job(shade=200))[0], clip[0])


@pytest.mark.parametrize("name", NAMES)
def test_the_picture_keeps_its_shape(name: str, folders: dict[str, Path]) -> None:
    clip = maker(name, folders[name]).make(job(size=(40, 90)))
    assert clip.shape == (NUM_FRAMES, 8, 24, 3)


@pytest.mark.parametrize("name", ["pia", "i2vgen-xl", "sparsectrl-rgb"])
def test_words_matter(name: str, folders: dict[str, Path]) -> None:
    one, asked = maker(name, folders[name]), job()
    other = replace(asked, case=asked.case.model_copy(update={"prompt": "dogs"}))
    assert not np.array_equal(one.make(asked), one.make(other))


def test_i2vgen_xl_reads_words_as_diffusers_would(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held against the pipeline's own reading, once it finds the norm where it looks for it."""
    one, asked = maker("i2vgen-xl", folders["i2vgen-xl"]), job()
    clip = one.make(asked)
    monkeypatch.setattr(CLIPTextModel, "text_model", property(lambda self: self), raising=False)
    monkeypatch.setattr(diffusers_methods, "_words", lambda *_: {"prompt": "a cat"})
    assert np.array_equal(one.make(asked), clip)


def test_svd_is_told_no_words() -> None:
    assert not SVD.says_text
    assert {spec.name: spec.settings.get("text") for spec in SPECS}["svd"] == ""


@pytest.mark.parametrize("name", NAMES)
def test_settings_are_the_defaults_of_diffusers(name: str) -> None:
    recipe, _ = PIPELINES[name]
    known = inspect.signature(getattr(diffusers, recipe.pipeline).__call__).parameters
    chosen_here = {"decode_chunk_size"}
    assert {key: known[key].default for key in recipe.call if key not in chosen_here} == {
        key: value for key, value in recipe.call.items() if key not in chosen_here
    }
    if "clip_skip" in known:
        assert known["clip_skip"].default == recipe.clip_skip
    [spec] = [one for one in SPECS if one.name == name]
    assert spec.settings.items() >= recipe.call.items()
    assert json.loads(json.dumps(dict(spec.settings))) == dict(spec.settings)
    default_size = {"svd": 576 * 1024, "i2vgen-xl": 704 * 1280}
    if name in default_size:
        assert known["height"].default * known["width"].default == default_size[name] == recipe.area


@pytest.mark.parametrize("name", NAMES)
def test_a_method_is_chosen_with_its_weights(name: str, folders: dict[str, Path]) -> None:
    found = chosen("dynamicrafter", (name,), {name: str(folders[name])})
    assert [one.name for one in found] == [name]
    one = found[0].build(Context(models={}, weights=str(folders[name]), device="cpu"))
    assert isinstance(one, DiffusersMaker)
    assert one._loaded is None
    # What the manifest asks of the folder.
    assert len(model_identity(resolve_model(str(folders[name])).path)) == 64


def test_none_takes_part_unasked() -> None:
    names = {one.name for one in chosen("animatezero", (), {})}
    assert not names & set(NAMES)
    with pytest.raises(ValueError, match="needs a folder of PIA in diffusers' layout"):
        chosen("animatezero", ("pia",), {})


def test_the_wrong_kind_of_folder_is_told(folders: dict[str, Path], tmp_path: Path) -> None:
    def build(folder: Path) -> Any:
        [spec] = [one for one in SPECS if one.name == "pia"]
        return spec.build(Context(models={}, weights=str(folder), device="cpu"))

    with pytest.raises(ModelError, match=r"must be a PIAPipeline.* holds a StableVideoDiffusion"):
        build(folders["svd"])
    with pytest.raises(ModelError, match=r"has no model_index.json"):
        build(tmp_path)
    with pytest.raises(ModelError, match=r"nowhere is no folder"):
        build(tmp_path / "nowhere")
    with pytest.raises(ModelError, match=r"--weights pia=PATH"):
        SPECS[0].build(Context(models={}, weights=None, device="cpu"))


def test_a_sparsectrl_of_scribbles_is_told(tmp_path: Path) -> None:
    sparsectrl(simplified=False).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="takes scribbles, not pictures"):
        maker("sparsectrl-rgb", tmp_path).make(job())


def test_an_incomplete_folder_is_told(folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_bytes((folders["pia"] / "model_index.json").read_bytes())
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        maker("pia", tmp_path).make(job())
    assert "\n" not in str(caught.value)


def test_damaged_weights_are_told(folders: dict[str, Path], tmp_path: Path) -> None:
    pia().save_pretrained(tmp_path)
    path = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    weights = {name: torch.full_like(one, torch.nan) for name, one in load_file(path).items()}
    save_file(weights, path)
    with pytest.raises(ModelError, match="infinite or undefined"):
        maker("pia", tmp_path).make(job())


def test_half_weights_are_read_where_they_fit(tmp_path: Path) -> None:
    assert variant_of(tmp_path, torch.float16) is None
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "model.fp16.safetensors").touch()
    assert variant_of(tmp_path, torch.float32) == "fp16"
    (tmp_path / "unet" / "model.safetensors").touch()
    assert variant_of(tmp_path, torch.float32) is None
    assert variant_of(tmp_path, torch.float16) == "fp16"


def test_global_randomness_is_seeded_and_put_back() -> None:
    before = torch.default_generator.get_state()
    drawn = []
    for seed in (1, 1, 2):
        with seeded_globals(seed, torch.device("cpu")):
            drawn.append(torch.randn(4))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(torch.default_generator.get_state(), before)


@pytest.mark.parametrize("name", ["i2vgen-xl", "sparsectrl-rgb"])
def test_the_global_generator_is_what_some_pipelines_draw_from(
    name: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without `seeded_globals` their clips would not repeat; if this fails it is not needed."""
    monkeypatch.setattr(diffusers_methods, "seeded_globals", lambda *_: nullcontext())
    one = maker(name, folders[name])
    clips = []
    for seed in (1, 2):
        torch.default_generator.manual_seed(seed)
        clips.append(one.make(job()))
    assert not np.array_equal(*clips)


def test_networks_have_the_precision_of_the_device(folders: dict[str, Path]) -> None:
    """In float32 on a CPU, and no library warns of how they are loaded."""
    for name in NAMES:
        recipe, _ = PIPELINES[name]
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)
            pipeline = load_pipeline(recipe, folders[name], "cpu")
        parts = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
        assert {part.dtype for part in parts} == {torch.float32}


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_a_clip_in_half_precision(name: str, folders: dict[str, Path]) -> None:
    one = replace(maker(name, folders[name]), device="cuda")
    clip = one.make(job())
    assert clip.shape == (NUM_FRAMES, 16, 16, 3)
    assert one._loaded.unet.dtype == torch.float16
    assert np.array_equal(one.make(job()), clip)
    assert not np.array_equal(one.make(job(seed=4)), clip)
