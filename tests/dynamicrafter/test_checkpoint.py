"""Official checkpoints become model folders, and the same tensors again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from tests.models.official_files import (
    CLIP_PREFIX,
    CONTEXT,
    MAX_LENGTH,
    TEXT_PREFIX,
    UNET,
    official,
    schedule,
)
from tests.tiny_models import tiny_tokenizer
from torch import Tensor
from transformers import (
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
)

from stillmotion.dynamicrafter.checkpoint import (
    REST_FILE,
    convert_checkpoint,
    export_checkpoint,
)
from stillmotion.dynamicrafter.image_context import ImageContext
from stillmotion.dynamicrafter.loading import load_dynamicrafter
from stillmotion.dynamicrafter.scheduler import DynamiCrafterScheduler
from stillmotion.dynamicrafter.unet import DynamiCrafterUNet
from stillmotion.errors import ModelError, OutputError
from stillmotion.models.description import read_description
from stillmotion.models.dynamicrafter_variants import Variant
from stillmotion.models.registry import miniature_folder

SIZES = {"256": (256, 256), "512": (320, 512), "1024": (576, 1024), "512-interp": (320, 512),
         "t2v": (320, 512)}  # fmt: skip


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        one[n].dtype == other[n].dtype and torch.equal(one[n], other[n]) for n in other
    )


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a tokenizer."""
    folder = tmp_path_factory.mktemp("words")
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    return official("512")


@pytest.fixture(scope="module")
def converted(
    published: dict[str, Tensor], words: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a 512 checkpoint; not to be written to."""
    folder = tmp_path_factory.mktemp("converted")
    save_file(published, folder / "dynamicrafter_512.safetensors")
    convert_checkpoint(folder / "dynamicrafter_512.safetensors", folder / "model", tokenizer=words)
    return folder / "model"


@pytest.mark.parametrize("variant", list(Variant))
def test_all_variants_there_and_back(variant: Variant, words: Path, tmp_path: Path) -> None:
    tensors = official(variant)
    path = tmp_path / f"dynamicrafter_{variant}.safetensors"
    save_file(tensors, path)
    folder = tmp_path / "model"
    assert convert_checkpoint(path, folder, tokenizer=words) is variant
    description = read_description(folder)
    assert (description.height, description.width) == SIZES[variant]
    assert (description.num_frames, description.num_inference_steps) == (16, 50)
    sees = variant is not Variant.TEXT_TO_VIDEO
    unet = DynamiCrafterUNet.from_pretrained(folder / "unet")
    assert unet.config.image_gate is (variant is Variant.V256)
    assert (unet.config.in_channels, unet.config.image_context) == (8 if sees else 4, sees)
    assert unet.config.sample_size == [size // 8 for size in SIZES[variant]]
    parts = {path.name for path in folder.iterdir() if path.is_dir()}
    everything = {"unet", "vae", "text_encoder", "tokenizer", "scheduler"}
    assert parts == everything | ({"image_context", "image_encoder"} if sees else set())
    index = json.loads((folder / "model_index.json").read_text())
    assert index["_class_name"] == "DynamiCrafterPipeline"
    assert index["_variant"] == variant
    named = {name for name, entry in index.items() if isinstance(entry, list) and entry[0]}
    assert named == parts
    scheduler = DynamiCrafterScheduler.from_pretrained(folder / "scheduler")
    tables = schedule(variant)
    assert torch.allclose(scheduler.alphas_cumprod, tables["alphas_cumprod"], rtol=0, atol=1e-6)
    scales = tables.get("scale_arr", torch.ones(1000))[:1000]
    assert torch.allclose(scheduler.clean_scales, scales, rtol=0, atol=1e-6)
    predicts = "epsilon" if variant in (Variant.V256, Variant.TEXT_TO_VIDEO) else "v_prediction"
    assert scheduler.config.prediction_type == predicts
    again = tmp_path / "again.safetensors"
    assert export_checkpoint(folder, again) == len(tensors)
    assert same(load_file(again), tensors)
    # A file written here says its variant itself.
    assert convert_checkpoint(again, tmp_path / "more", tokenizer=words) is variant


PACES = {"256": ("frame_stride", 3), "512": ("conditioning_fps", 24),
         "1024": ("conditioning_fps", 10), "512-interp": ("conditioning_fps", 5),
         "t2v": ("conditioning_fps", 28)}  # fmt: skip


@pytest.mark.parametrize("variant", list(Variant))
def test_the_pipeline_knows_its_defaults(variant: Variant, words: Path, tmp_path: Path) -> None:
    path = tmp_path / f"dynamicrafter_{variant}.safetensors"
    save_file(official(variant), path)
    convert_checkpoint(path, tmp_path / "model", tokenizer=words)
    model = load_dynamicrafter(str(tmp_path / "model"), device="cpu")
    config = model.pipeline.config
    assert (config.pace_kind, config.default_pace) == PACES[variant]
    assert config.interpolates is (variant is Variant.INTERPOLATION)
    assert model.pipeline.needs_picture is (variant is not Variant.TEXT_TO_VIDEO)
    rescales = variant in (Variant.V512, Variant.V1024, Variant.INTERPOLATION)
    assert model.settings.guidance_rescale == (0.7 if rescales else 0.0)
    scale = 12.0 if variant is Variant.TEXT_TO_VIDEO else 7.5
    assert (model.settings.num_inference_steps, model.settings.guidance_scale) == (50, scale)


def test_networks_load_and_run(converted: Path) -> None:
    """Every part by its own from_pretrained, from the picture to the predicted noise."""
    unet = DynamiCrafterUNet.from_pretrained(converted / "unet")
    context = ImageContext.from_pretrained(converted / "image_context")
    text = CLIPTextModel.from_pretrained(converted / "text_encoder")
    vision = CLIPVisionModel.from_pretrained(converted / "image_encoder")
    tokenizer = CLIPTokenizer.from_pretrained(converted / "tokenizer")
    assert isinstance(AutoencoderKL.from_pretrained(converted / "vae"), AutoencoderKL)
    assert unet.config.attention_head_dim == UNET["attention_head_dim"]
    assert context.config.embed_dims == CONTEXT["embed_dims"]
    ids = torch.tensor([tokenizer("a cat").input_ids])
    size = vision.config.image_size
    with torch.no_grad():
        tokens = context(vision(torch.zeros(1, 3, size, size)).last_hidden_state)
        said = text(ids).last_hidden_state
        sample = torch.zeros(1, 8, 16, 4, 4)
        found = unet(sample, 5, said, tokens, motion=torch.tensor([24])).sample
    assert found.shape == (1, 4, 16, 4, 4)
    assert found.isfinite().all()


@pytest.mark.parametrize("wrapper", ["state_dict", "module", "plain"])
def test_pickles(wrapper: str, published: dict[str, Tensor], words: Path, tmp_path: Path) -> None:
    """As published (`state_dict`), as deepspeed saves, and bare; their folders have the names."""
    saved: dict[str, Any] = {
        "state_dict": {"state_dict": published, "epoch": 3},
        "module": {"module": {f"_forward_module.{n}": t for n, t in published.items()}},
        "plain": published,
    }[wrapper]
    source = tmp_path / "dynamicrafter_512_interp_v1" / "model.ckpt"
    source.parent.mkdir()
    torch.save(saved, source)
    with pytest.raises(ModelError, match=r"'model.ckpt' is a pickle"):
        convert_checkpoint(source, tmp_path / "model", tokenizer=words)
    found = convert_checkpoint(source, tmp_path / "model", tokenizer=words, allow_pickle=True)
    assert found is Variant.INTERPOLATION
    assert {path.name for path in tmp_path.iterdir()} == {source.parent.name, "model"}
    export_checkpoint(tmp_path / "model", tmp_path / "again.ckpt")
    again = torch.load(tmp_path / "again.ckpt", weights_only=True)
    assert again.keys() == {"state_dict"}
    assert same(again["state_dict"], published)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_community_files_borrow_clip(dtype: torch.dtype, converted: Path, tmp_path: Path) -> None:
    """Half precision, no CLIP and no schedule; what comes back has none either."""
    tensors = {name: tensor.to(dtype) for name, tensor in official("1024", clip=False).items()}
    path = tmp_path / "dynamicrafter_1024_fp16_pruned.safetensors"
    save_file(tensors, path)
    folder = tmp_path / "model"
    assert convert_checkpoint(path, folder, base=converted) is Variant.V1024
    for part in ("unet", "vae", "image_context"):
        weights = load_file(folder / part / "diffusion_pytorch_model.safetensors")
        assert {tensor.dtype for tensor in weights.values()} == {dtype}
    for part in ("text_encoder", "image_encoder"):
        ours, theirs = (load_file(f / part / "model.safetensors") for f in (folder, converted))
        assert same(ours, theirs)
    assert DynamiCrafterScheduler.from_pretrained(folder / "scheduler").config.rescale_base == 0.3
    export_checkpoint(folder, tmp_path / "again.safetensors")
    assert same(load_file(tmp_path / "again.safetensors"), tensors)


def test_what_a_community_file_lacks_is_told(converted: Path, words: Path, tmp_path: Path) -> None:
    path = tmp_path / "dynamicrafter_512.safetensors"
    save_file(official("512", clip=False), path)
    out = tmp_path / "model"
    with pytest.raises(ModelError, match=r"does not hold text_encoder/ and image_encoder/ and tok"
                       r"enizer/; give --base a model folder with .*ViT-H/14"):  # fmt: skip
        convert_checkpoint(path, out)
    with pytest.raises(ModelError, match=r"hold text_encoder/ and image_encoder/; give --base"):
        convert_checkpoint(path, out, tokenizer=words)
    with pytest.raises(ModelError, match=r"does not hold image_encoder/; give --base"):
        convert_checkpoint(path, out, base=miniature_folder())
    assert not out.exists()


def test_a_whole_file_lacks_a_tokenizer_only(published: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "dynamicrafter_512.safetensors"
    save_file(published, path)
    with pytest.raises(ModelError, match=r"hold tokenizer/; give --tokenizer a folder with CLIP's"):
        convert_checkpoint(path, tmp_path / "model")
    with pytest.raises(ModelError, match=r"has no CLIP tokenizer: neither tokenizer.json"):
        convert_checkpoint(path, tmp_path / "model", tokenizer=tmp_path)
    with pytest.raises(ModelError, match=r"has \d+ words and the text encoder 54; give CLIP's own"):
        convert_checkpoint(path, tmp_path / "model", base=miniature_folder())
    assert not (tmp_path / "model").exists()


def test_clip_of_another_size_is_refused(converted: Path, words: Path, tmp_path: Path) -> None:
    path = tmp_path / "dynamicrafter_512.safetensors"
    save_file(official("512", clip=False), path)
    base = tmp_path / "base"
    CLIPTextModel.from_pretrained(converted / "text_encoder").save_pretrained(base / "text_encoder")
    config = CLIPVisionConfig(
        hidden_size=24, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
        image_size=8, patch_size=4,
    )  # fmt: skip
    CLIPVisionModel(config).save_pretrained(base / "image_encoder")
    with pytest.raises(
        ModelError, match="has a CLIP of width 24 and the checkpoint reads one of 16"
    ):
        convert_checkpoint(path, tmp_path / "model", base=base, tokenizer=words)
    (base / "image_encoder" / "model.safetensors").write_bytes(b"no weights at all")
    with pytest.raises(ModelError, match="cannot be loaded as a CLIPVisionModel"):
        convert_checkpoint(path, tmp_path / "model", base=base, tokenizer=words)
    assert not (tmp_path / "model").exists()


def test_an_encoder_with_its_projection_serves_too(
    converted: Path, words: Path, tmp_path: Path
) -> None:
    """Stable Diffusion 2.1 unCLIP's image encoder has one."""
    plain = CLIPVisionModel.from_pretrained(converted / "image_encoder")
    projecting = CLIPVisionModelWithProjection(plain.config)
    projecting.vision_model.load_state_dict(plain.state_dict())
    base, path = tmp_path / "base", tmp_path / "dynamicrafter_512.safetensors"
    projecting.save_pretrained(base / "image_encoder")
    CLIPTextModel.from_pretrained(converted / "text_encoder").save_pretrained(base / "text_encoder")
    save_file(official("512", clip=False), path)
    convert_checkpoint(path, tmp_path / "model", base=base, tokenizer=words)
    found = CLIPVisionModel.from_pretrained(tmp_path / "model" / "image_encoder")
    assert same(found.state_dict(), plain.state_dict())


def test_prompts_are_read_as_by_open_clip(published: dict[str, Tensor], tmp_path: Path) -> None:
    """Stable Diffusion 2.1's tokenizer pads with "!", and would read it as padding in prompts."""
    letters = ["!", *"abcdefghijklmnopqrstuvwxy"]
    tokens = [*letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    theirs = CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=MAX_LENGTH, pad_token="!")
    theirs.save_pretrained(tmp_path / "words")
    path, folder = tmp_path / "dynamicrafter_512.safetensors", tmp_path / "model"
    save_file(published, path)
    convert_checkpoint(path, folder, tokenizer=tmp_path / "words")
    expected = [vocabulary[token] for token in ("a", "b</w>", "!</w>", "c</w>", "!</w>")]
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    assert tokenizer("ab! c !").input_ids[1:-1] == expected
    assert tokenizer.model_max_length == MAX_LENGTH
    assert CLIPTextModel.from_pretrained(folder / "text_encoder").config.pad_token_id == 0


def test_other_checkpoints_are_refused(
    published: dict[str, Tensor], words: Path, tmp_path: Path
) -> None:
    path, out = tmp_path / "dynamicrafter_512.safetensors", tmp_path / "model"

    def refused(tensors: dict[str, Tensor], said: str) -> None:
        save_file(tensors, path)
        with pytest.raises(ModelError, match=said):
            convert_checkpoint(path, out, tokenizer=words)
        assert not out.exists()

    first = "model.diffusion_model.input_blocks.0.0.weight"
    refused({first: torch.zeros(8, 4, 3, 3)}, "is a Stable Diffusion 1.x checkpoint without text")
    refused({**published, **schedule("256")}, "noise schedule in 'dynamicrafter_512.safetensors'")
    half = {"scale_arr": torch.full((1400,), 0.5)}
    refused({**published, **half}, "ends at 0.5, and with that variant it falls to 0.7")
    without = {n: t for n, t in published.items() if not n.startswith("first_stage_model.")}
    refused(without, r"has no vae \(first_stage_model")
    wide = {**published, "model.diffusion_model.out.0.weight": torch.zeros(33)}
    refused(wide, "'conv_norm_out.weight' has the shape")
    thin = {**published, "image_proj_model.layers.0.0.to_kv.weight": torch.zeros(7, 8)}
    refused(thin, "layers.0.attn.to_k")
    extra = {**published, "first_stage_model.decoder.attn.weight": torch.zeros(1)}
    refused(extra, "holds 'decoder.attn.weight', for which the network has no place")
    save_file(published, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"100 of .* bytes are missing"):
        convert_checkpoint(path, out, tokenizer=words)
    save_file(published, path)
    out.mkdir()
    (out / "mine").touch()
    with pytest.raises(OutputError, match="exists already"):
        convert_checkpoint(path, out, tokenizer=words)
    assert [entry.name for entry in out.iterdir()] == ["mine"]
    convert_checkpoint(path, out, tokenizer=words, overwrite=True)
    assert not (out / "mine").exists()


def test_an_undecided_file_needs_a_word(
    published: dict[str, Tensor], words: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    save_file(published, path)
    with pytest.raises(ModelError, match="say which with --variant"):
        convert_checkpoint(path, tmp_path / "model", tokenizer=words)
    asked = Variant.INTERPOLATION
    assert convert_checkpoint(path, tmp_path / "model", tokenizer=words, variant=asked) is asked


def test_a_folder_made_here_becomes_a_file(
    converted: Path, published: dict[str, Tensor], words: Path, tmp_path: Path
) -> None:
    """Without the rest of an official file: its networks, and what shapes do not show."""
    folder = tmp_path / "trained"
    unet = DynamiCrafterUNet(**UNET, norm_num_groups=8, spatial_heads=2)
    unet.save_pretrained(folder / "unet")
    for part, kind in (("vae", AutoencoderKL), ("image_context", ImageContext)):
        kind.from_pretrained(converted / part).save_pretrained(folder / part)
    own = DynamiCrafterScheduler(prediction_type="v_prediction", zero_terminal_snr=True)
    own.save_pretrained(folder / "scheduler")
    index = {"_class_name": "DynamiCrafterPipeline", "trained_frames": 8, "latent_mean": [0.5] * 4,
             "pace_kind": "frame_stride", "more": 1}  # fmt: skip
    (folder / "model_index.json").write_text(json.dumps(index))
    path = tmp_path / "trained.safetensors"
    export_checkpoint(folder, path)
    prefixes = ("cond_stage_model.", CLIP_PREFIX)
    tables = schedule("512").keys()
    expected = {n for n in published if not n.startswith(prefixes)} - tables
    assert load_file(path).keys() == expected
    back = tmp_path / "back"
    convert_checkpoint(path, back, base=converted, tokenizer=words, variant=Variant.V512)
    again = DynamiCrafterUNet.from_pretrained(back / "unet")
    assert (again.config.norm_num_groups, again.config.spatial_heads) == (8, 2)
    assert same(again.state_dict(), unet.state_dict())
    says = json.loads((back / "model_index.json").read_text())
    assert {n: says.get(n) for n in index} == {**index, "more": None}
    scheduler = DynamiCrafterScheduler.from_pretrained(back / "scheduler")
    assert (scheduler.config.rescale_base, scheduler.config.zero_terminal_snr) == (None, True)


def test_folders_that_cannot_be_exported(converted: Path, tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(ModelError, match="has no unet/, which a checkpoint needs"):
        export_checkpoint(tmp_path, tmp_path / "x.safetensors")
    rest = load_file(converted / REST_FILE)
    assert f"{TEXT_PREFIX}text_projection" in rest
    save_file(rest, tmp_path / REST_FILE)
    with pytest.raises(ModelError, match="is damaged; convert the checkpoint anew"):
        export_checkpoint(tmp_path, tmp_path / "x.safetensors")
    (tmp_path / REST_FILE).write_bytes(b"x")
    with pytest.raises(ModelError, match="is damaged: it is too short"):
        export_checkpoint(tmp_path, tmp_path / "x.safetensors")
