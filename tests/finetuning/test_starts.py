"""What lies in a folder, by its small files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.dynamicrafter.tiny_pipeline import tiny_dynamicrafter
from tests.finetuning.tiny_starts import save_image_model

from stillmotion.dynamicrafter.stages import STAGES
from stillmotion.errors import InputError, ModelError
from stillmotion.finetuning.starts import check_start, find_start


def test_an_image_model_needs_no_index_but_may_have_one(tmp_path: Path) -> None:
    folder = save_image_model(tmp_path / "image")
    assert find_start(str(folder)).draws
    classes = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL", "tokenizer": "CLIPTokenizer",
               "text_encoder": "CLIPTextModel", "scheduler": "DDIMScheduler"}  # fmt: skip
    index = {name: ["diffusers", kind] for name, kind in classes.items()}
    index |= {"_class_name": "StableDiffusionPipeline"}  # type: ignore[dict-item]
    (folder / "model_index.json").write_text(json.dumps(index))
    found = find_start(str(folder))
    assert (found.draws, found.animates, found.words) == (True, False, "an image model")
    check_start(STAGES["base"], found)
    (folder / "vae" / "config.json").unlink()
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(ModelError, match="lacks vae"):
        find_start(str(folder))


def test_a_model_by_name() -> None:
    found = find_start("miniature")
    assert found.draws
    with pytest.raises(InputError, match="'miniature' is an image model"):
        check_start(STAGES["joint"], found)


@pytest.mark.parametrize("interpolates", [False, True])
def test_a_finished_model_goes_on_with_its_own_stage_or_the_next(
    tmp_path: Path, interpolates: bool
) -> None:
    tiny_dynamicrafter(interpolates=interpolates).save_pretrained(tmp_path / "model")
    found = find_start(str(tmp_path / "model"))
    check_start(STAGES["interpolation"], found)
    if interpolates:
        with pytest.raises(InputError, match="is a model that interpolates"):
            check_start(STAGES["joint"], found)
    else:
        check_start(STAGES["joint"], found)


def test_the_output_of_the_context_is_no_start(tmp_path: Path) -> None:
    (tmp_path / "image_attention.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="give it to the stage 'adapt' as its context"):
        find_start(str(tmp_path))
