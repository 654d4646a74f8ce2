"""DynamiCrafter's checkpoints: opened part by part, known as a variant, and nothing left over."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.models.official_files import official, schedule
from torch import Tensor

from stillmotion.errors import ModelError, OutputError
from stillmotion.models.dynamicrafter_files import Part, opened, write_checkpoint
from stillmotion.models.dynamicrafter_variants import (
    VARIANTS,
    Variant,
    check_schedule,
    find_variant,
)

GOLDEN = Path(__file__).parents[2] / ".." / "shared" / "golden" / "dynamicrafter"
UNET = "model.diffusion_model."
FIRST, NORM = f"{UNET}input_blocks.0.0.weight", f"{UNET}init_attn.0.norm.weight"
TEMPORAL = f"{UNET}input_blocks.1.0.temopral_conv.conv1.0.weight"
ATTENTION = f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2."
SHAPES = {FIRST: (320, 8, 3, 3), TEMPORAL: (320,), f"{ATTENTION}to_k_ip.weight": (320, 1024)}
TEXT_SHAPES = {FIRST: (320, 4, 3, 3), TEMPORAL: (320,), NORM: (320,)}
GATED = {**SHAPES, f"{ATTENTION}alpha": ()}
FRAME_STRIDE = {**SHAPES, f"{UNET}framestride_embed.0.bias": (1280,)}


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    return official("512")


def saved(path: Path, tensors: dict[str, Tensor], **metadata: str) -> Path:
    save_file(tensors, path, metadata=metadata)
    return path


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def test_each_tensor_is_in_one_place(published: dict[str, Tensor], tmp_path: Path) -> None:
    with opened(saved(tmp_path / "x.safetensors", published)) as checkpoint:
        assert all(checkpoint.holds(part) for part in Part)
        found: dict[str, Tensor] = {}
        for part in Part:
            mine = {part.prefix + name: t for name, t in checkpoint.tensors(part).items()}
            assert not mine.keys() & found.keys()
            found |= mine
        rest, repeats = checkpoint.rest()
        assert same(checkpoint.schedule(), schedule("512"))
    assert same(found | rest | {name: published[repeats[name]] for name in repeats}, published)
    assert repeats == {name: name.replace("embedder", "cond_stage_model") for name in published
                       if name.startswith("embedder.") and ".visual." not in name}  # fmt: skip
    blocks = {name.split(".")[4] for name in rest if ".resblocks." in name}
    assert (len(repeats), blocks) == (6, {"2"})
    others = {name for name in rest if ".resblocks." not in name} - schedule("512").keys()
    text = "cond_stage_model.model."
    assert others == {f"{text}text_projection", f"{text}logit_scale", "embedder.model.visual.proj"}


def test_another_clip_beside_the_picture_is_kept(
    published: dict[str, Tensor], tmp_path: Path
) -> None:
    name = "embedder.model.ln_final.bias"
    other = {**published, name: published[name] + 1}
    with opened(saved(tmp_path / "x.safetensors", other)) as checkpoint:
        rest, repeats = checkpoint.rest()
    assert name not in repeats
    assert torch.equal(rest[name], other[name])


@pytest.mark.parametrize("wrapper", ["module.", "_forward_module.", "module._forward_module."])
def test_wrappers_of_trainers_come_off(
    wrapper: str, published: dict[str, Tensor], tmp_path: Path
) -> None:
    """And what a trainer keeps beside the network stays where it is."""
    wrapped = {wrapper + name: tensor for name, tensor in published.items()}
    wrapped |= {"optimizer.state.0.exp_avg": torch.zeros(3)}
    with opened(saved(tmp_path / "x.safetensors", wrapped)) as checkpoint:
        assert checkpoint.shapes.keys() == published.keys()
        assert torch.equal(checkpoint.tensor(FIRST), published[FIRST])


def test_averages_are_passed_over(published: dict[str, Tensor], tmp_path: Path) -> None:
    extra = {"model_ema.decay": torch.zeros(()), "first_stage_model.model_ema.x": torch.zeros(1)}
    with opened(saved(tmp_path / "x.safetensors", {**published, **extra})) as checkpoint:
        assert checkpoint.shapes.keys() == published.keys()


def test_what_belongs_nowhere_is_named(published: dict[str, Tensor], tmp_path: Path) -> None:
    path = saved(tmp_path / "x.safetensors", {**published, "control.weight": torch.zeros(1)})
    with (
        pytest.raises(ModelError, match=r"'x.safetensors' holds 1 tensors .* 'control.weight'"),
        opened(path),
    ):
        pass


def test_files_of_another_kind_are_refused(published: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    text = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
    for tensors, said in (
        ({FIRST: torch.zeros(8, 4, 3, 3), text: torch.zeros(4, 768)},
         "is a Stable Diffusion 1.x checkpoint; a DynamiCrafter checkpoint or a VideoCrafter"),
        ({"a": torch.zeros(3)}, "is a file of tensors of no known kind; a DynamiCrafter"),
    ):  # fmt: skip
        with pytest.raises(ModelError, match=said), opened(saved(path, tensors)):
            pass
    whole = saved(path, published).read_bytes()
    path.write_bytes(whole[:-1000])
    with pytest.raises(ModelError, match=r"1000 of .* bytes are missing"), opened(path):
        pass
    torch.save({"state_dict": published}, path)
    with pytest.raises(ModelError, match="is a pickle"), opened(path):
        pass


def test_a_network_that_is_not_whole(published: dict[str, Tensor], tmp_path: Path) -> None:
    for part, gone in (
        (Part.UNET, f"{UNET}out.2.weight"),
        (Part.VAE, "first_stage_model.post_quant_conv.weight"),
        (Part.IMAGE_CONTEXT, "image_proj_model.proj_in.weight"),
        (Part.TEXT_ENCODER, "cond_stage_model.model.positional_embedding"),
    ):
        fewer = {name: tensor for name, tensor in published.items() if name != gone}
        with opened(saved(tmp_path / "x.safetensors", fewer)) as checkpoint:
            name = gone.removeprefix(part.prefix)
            with pytest.raises(ModelError, match=f"whole {part}: '{name}' is missing"):
                checkpoint.config(part)


def test_what_a_file_tells_of_itself(published: dict[str, Tensor], tmp_path: Path) -> None:
    """Only known arguments of the right type, and any nonsense is passed over."""
    path = tmp_path / "x.safetensors"
    told = {"unet": {"norm_num_groups": 8, "in_channels": "8", "more": 1}, "vae": [1]}
    write_checkpoint(published, told, path)
    assert same(load_file(path), published)
    with opened(path) as checkpoint:
        config = checkpoint.config(Part.UNET)
        assert (config["norm_num_groups"], config["in_channels"]) == (8, 8)
        assert "more" not in config
        assert checkpoint.config(Part.VAE)["norm_num_groups"] == 32
    for text in ("[", "[1]", "[" * 100_000):
        with opened(saved(path, published, stillmotion=text)) as checkpoint:
            assert checkpoint.told == {}
            assert checkpoint.config(Part.UNET)["norm_num_groups"] == 32


def test_what_is_written(published: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    write_checkpoint(published, {}, path)
    loaded = torch.load(path, weights_only=True)
    assert loaded.keys() == {"state_dict"}
    assert same(loaded["state_dict"], published)
    with pytest.raises(OutputError, match="exists already"):
        write_checkpoint(published, {}, path)


@pytest.mark.parametrize(
    ("shapes", "path", "base", "variant"),
    [
        (GATED, "model.ckpt", None, "256"),
        (FRAME_STRIDE, "dynamicrafter_512.safetensors", None, "256"),
        (TEXT_SHAPES, "dynamicrafter_512.safetensors", 0.7, "t2v"),
        (SHAPES, "model.ckpt", 0.3, "1024"),
        (SHAPES, "dynamicrafter_1024_v1_bf16.safetensors", None, "1024"),
        (SHAPES, "dynamicrafter_512_fp16_pruned.safetensors", None, "512"),
        (SHAPES, "dynamicrafter_512_interp_fp16_pruned.safetensors", None, "512-interp"),
        (SHAPES, "checkpoints/dynamicrafter_512_interp_v1/model.ckpt", 0.7, "512-interp"),
        (SHAPES, "models--Doubiiu--DynamiCrafter_512/snapshots/1024/model.ckpt", 0.7, "512"),
        (SHAPES, "models--Doubiiu--DynamiCrafter_1024/snapshots/512/model.ckpt", None, "1024"),
        # The network counts for more than the name.
        (SHAPES, "dynamicrafter_1024/model.ckpt", 0.3, "1024"),
        (SHAPES, "DynamiCrafter_512/dynamicrafter_256.ckpt", None, "512"),
    ],
)  # fmt: skip
def test_variants_are_told(
    shapes: dict[str, tuple[int, ...]], path: str, base: float | None, variant: str
) -> None:
    scales = None if base is None else torch.linspace(1, base, 1400)
    assert find_variant(shapes, Path(path), scales) == variant


@pytest.mark.parametrize(
    ("shapes", "path", "asked", "said"),
    [
        (SHAPES, "512/model.ckpt", None, "'model.ckpt' can be '512' or '1024' or '512-interp', "
         "whose tensors are the same, and its name does not tell; say which with --variant"),
        (SHAPES, "x2512.ckpt", None, "say which with --variant"),
        (SHAPES, "x.ckpt", "256", "'x.ckpt' is no '256' checkpoint but '512' or '1024'"),
        (GATED, "x.ckpt", "512", "'x.ckpt' is no '512' checkpoint but '256'"),
        ({**SHAPES, FIRST: (320, 4, 3, 3)}, "x.ckpt", None, "takes 4 channels and an image"),
        ({**TEXT_SHAPES, FIRST: (320, 8, 3, 3)}, "x.ckpt", None, "takes 8 channels and no image"),
        ({FIRST: (320, 4, 3, 3), NORM: (320,)}, "x.ckpt", "t2v", "no temporal convolutions"),
    ],
)  # fmt: skip
def test_variants_that_cannot_be_told(
    shapes: dict[str, tuple[int, ...]], path: str, asked: str | None, said: str
) -> None:
    with pytest.raises(ModelError, match=said):
        find_variant(shapes, Path(path), None, None if asked is None else Variant(asked))


def test_what_is_asked_for_counts() -> None:
    path = Path("dynamicrafter_512.safetensors")
    assert find_variant(SHAPES, path, None, Variant.V1024) is Variant.V1024
    with pytest.raises(ModelError, match="is no '1024' checkpoint but '512' or '512-interp'"):
        find_variant(SHAPES, path, torch.full((1400,), 0.7), Variant.V1024)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_schedule_is_that_of_the_variant(dtype: torch.dtype) -> None:
    for variant in Variant:
        tables = {name: table.to(dtype) for name, table in schedule(variant).items()}
        check_schedule(tables, variant, "'x'")
        check_schedule({}, variant, "'x'")
        for other in Variant:
            if VARIANTS[other].scheduler != VARIANTS[variant].scheduler:
                with pytest.raises(ModelError, match=f"not that of variant {other}"):
                    check_schedule(tables, other, "'x'")


def test_another_schedule_is_told() -> None:
    plain, zero = schedule("256"), schedule("512")
    with pytest.raises(ModelError, match=r"ends at 0.00466.* ends at 0 \(zero terminal SNR\)"):
        check_schedule({**zero, **plain}, Variant.V512, "'x'")
    with pytest.raises(ModelError, match=r"ends at 0, and .* ends above 0"):
        check_schedule({"alphas_cumprod": zero["alphas_cumprod"]}, Variant.V256, "'x'")
    linear = torch.cumprod(1 - torch.linspace(0.00085, 0.012, 1000), 0)
    with pytest.raises(ModelError, match="not that of variant 256"):
        check_schedule({"alphas_cumprod": linear}, Variant.V256, "'x'")
    with pytest.raises(ModelError, match=r"scale_arr ends at 0.5, and .* it falls to 0.7"):
        check_schedule({"scale_arr": torch.full((1400,), 0.5)}, Variant.V512, "'x'")
    with pytest.raises(ModelError, match="with that variant there is none"):
        check_schedule(zero | plain, Variant.V256, "'x'")


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="the golden numbers")
def test_the_official_tables() -> None:
    golden = load_file(GOLDEN / "schedules.safetensors")
    zero = next(
        name for name in golden if name.endswith("alphas_cumprod") and golden[name][-1] == 0
    )
    for variant, bars, scales in (
        (Variant.V256, "plain.alphas_cumprod", None),
        (Variant.V512, zero, "scale_arr.base0.7"),
        (Variant.V1024, zero, "scale_arr.base0.3"),
    ):
        tables = {"alphas_cumprod": golden[bars].float()}
        if scales is not None:
            tables["scale_arr"] = golden[scales].float()
        check_schedule(tables, variant, "'x'")
