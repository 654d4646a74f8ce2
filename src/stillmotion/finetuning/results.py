"""The folder that a stage leaves, and what is said of its run."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from stillmotion.dynamicrafter.image_context import ImageContext
from stillmotion.dynamicrafter.stages import TrainingStage
from stillmotion.dynamicrafter.unet import DynamiCrafterUNet
from stillmotion.errors import OutputError
from stillmotion.finetuning.beginnings import Beginning, load_image_encoder, load_text_encoder
from stillmotion.finetuning.starts import ATTENTION_FILE, CONTEXT, RECORD_FILE, read_json
from stillmotion.models.description import FILE_NAME, ModelDescription
from stillmotion.models.dynamicrafter_index import DYNAMICRAFTER_PIPELINE, PART_CLASSES
from stillmotion.models.loading import silent_libraries
from stillmotion.runtime.files import atomic_folder, write_json

#: Steps and guidance of the released models, for those that begin without a description.
_DESCRIPTION = ModelDescription(num_inference_steps=50, guidance_scale=7.5, negative_prompt="")
#: What is not taken along from the folder of a frozen part: pickles and other precisions.
_LEFT = shutil.ignore_patterns(
    "*.bin", "*.pt", "*.ckpt", "*.msgpack", "*.h5", "*.onnx", "*.fp16.*", "*.non_ema.*"
)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a stage has made, whole and on the CPU or a GPU."""

    stage: TrainingStage
    beginning: Beginning
    unet: Mapping[str, Tensor]
    """The state dict of the U-Net; that of a `ContextImageUNet` for stages on frames."""
    image_context: Mapping[str, Tensor] | None
    size: tuple[int, int]
    """Height and width of clips in pixels."""
    latent_size: tuple[int, int]
    frames: int
    record: Mapping[str, Any]


def write_result(trained: Trained, output: Path) -> None:
    """Write the output of a stage, in place of what it left before.

    "context" leaves P, the image cross-attention and the image encoder, for "adapt"; the others a
    folder of DynamiCrafterPipeline with all its parts.  Raises OutputError if it cannot be written.
    """
    with atomic_folder(output, overwrite=True) as folder, silent_libraries():
        if trained.image_context is not None:
            assert trained.beginning.image_context is not None
            config = _config(trained.beginning.image_context)
            _save(ImageContext, config, trained.image_context, folder / CONTEXT)
        if trained.beginning.image_encoder is not None:
            encoder = load_image_encoder(trained.beginning.image_encoder, "auto")
            encoder.save_pretrained(folder / "image_encoder")
        if trained.stage.data == "frames":
            _write_attention(trained, folder)
        else:
            _write_pipeline(trained, folder)
        for path in folder.glob("*/config.json"):
            # Where a part was loaded from tells of this machine.
            kept = {k: v for k, v in read_json(path).items() if k != "_name_or_path"}
            write_json(path, kept)
        write_json(folder / RECORD_FILE, trained.record)


def check_output(output: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record of the same run's earlier output, None if there is nothing.

    Raises OutputError if something else is there.
    """
    if output.name in ("", ".."):
        raise OutputError(f"'{output}' is not a name to write to; give the name of a folder.")
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return None
    record = read_json(output / RECORD_FILE)
    if not record:
        raise OutputError(f"'{output}' exists and is no output of a training run; choose another.")
    if changed := changes(record, identity):
        raise OutputError(f"'{output}' was trained otherwise ({changed}); choose another output.")
    return record


def changes(record: Mapping[str, Any], identity: Mapping[str, Any]) -> str:
    """What a recorded run did otherwise, in words; empty if nothing."""
    different = [name for name, value in identity.items() if record.get(name) != value]
    return ", ".join(
        f"{name.replace('_', '-')} {_said(record.get(name))}, not {_said(identity[name])}"
        for name in different
    )


def _write_attention(trained: Trained, folder: Path) -> None:
    learned = {
        name.removeprefix("unet."): weight.detach().cpu().contiguous()
        for name, weight in trained.unet.items()
        if ".processor." in name
    }
    save_file(learned, folder / ATTENTION_FILE)


def _write_pipeline(trained: Trained, folder: Path) -> None:
    beginning, start = trained.beginning, trained.beginning.start
    config = {**_config(beginning.unet), "sample_size": trained.latent_size}
    _save(DynamiCrafterUNet, config, trained.unet, folder / "unet")
    shutil.copytree(start.part("vae"), folder / "vae", ignore=_LEFT)
    load_text_encoder(start, "auto").save_pretrained(folder / "text_encoder")
    beginning.frozen.tokenizer.save_pretrained(folder / "tokenizer")
    beginning.scheduler.save_pretrained(folder / "scheduler")
    index = {
        "_class_name": DYNAMICRAFTER_PIPELINE,
        **{
            name: entry if (folder / name).is_dir() else [None, None]
            for name, entry in PART_CLASSES.items()
        },
        **beginning.settings,
        "interpolates": trained.stage.detail_guidance == "ends",
        "trained_frames": trained.frames,
        "global_token_only": trained.stage.global_token_only,
    }
    write_json(folder / "model_index.json", index)
    description = _description(trained).model_dump_json(indent=2, exclude_defaults=True)
    (folder / FILE_NAME).write_text(description + "\n", encoding="utf-8")


def _description(trained: Trained) -> ModelDescription:
    """What the start says of itself, in this size, with all parts here."""
    before = trained.beginning.start.description
    if before is None or trained.beginning.start.draws:
        before = _DESCRIPTION
    return before.model_copy(
        update={
            "title": f"DynamiCrafter after the stage '{trained.stage.name}', on clips of one's own",
            "height": trained.size[0], "width": trained.size[1], "num_frames": trained.frames,
            "card": None, "parts": None, "shared_parts": {}, "notes": "",
        }
    )  # fmt: skip


def _config(network: Any) -> dict[str, Any]:
    """The arguments that a network was made with."""
    return {name: value for name, value in network.config.items() if name[0] != "_"}


def _save(kind: Any, config: dict[str, Any], state: Mapping[str, Tensor], folder: Path) -> None:
    """Save weights as a network's: the trained one can be shared out, and of another class then."""
    with torch.device("meta"):
        network = kind(**config)
    whole = {name: weight.detach().cpu().contiguous() for name, weight in state.items()}
    network.load_state_dict(whole, assign=True)
    network.save_pretrained(folder)


def _said(value: Any) -> str:
    return "open" if value is None else str(value)
