"""Official checkpoints and model folders in diffusers' layout, made into each other.

Reading and naming are in `models/dynamicrafter_*.py` and `models/open_clip.py`; here the networks
are filled and saved, one after the other.  What an official file holds and no network uses (the
text encoder's last block, CLIP's projections, the tables of the noise schedule) is kept beside
the networks in `official_rest.safetensors`, so that converting back gives the same tensors.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTextModel, CLIPVisionModel

from stillmotion.dynamicrafter.borrowed import find_folders, load_tokenizer, load_tower
from stillmotion.dynamicrafter.networks import load_part, load_weights, save_part
from stillmotion.dynamicrafter.scheduler import DynamiCrafterScheduler
from stillmotion.errors import ModelError
from stillmotion.models.description import FILE_NAME, ModelDescription
from stillmotion.models.dynamicrafter_files import (
    OpenCheckpoint,
    Part,
    opened,
    write_checkpoint,
)
from stillmotion.models.dynamicrafter_index import DYNAMICRAFTER_PIPELINE, PART_CLASSES
from stillmotion.models.dynamicrafter_variants import (
    VARIANTS,
    Variant,
    check_schedule,
    find_variant,
)
from stillmotion.models.files import describe
from stillmotion.models.layouts import FileKind
from stillmotion.models.loading import silent_libraries
from stillmotion.models.pickles import convert_pickle
from stillmotion.runtime.files import atomic_folder

REST_FILE = "official_rest.safetensors"
VARIANT_KEY = "_variant"
"""In model_index.json; diffusers passes over names that begin with a dash below."""
_SETTINGS = (
    "pace_kind", "default_pace", "interpolates", "trained_frames", "latent_mean",
    "latent_variance",
)  # fmt: skip
"""Of DynamiCrafterPipeline, in model_index.json beside the parts."""
_TOWERS = (Part.TEXT_ENCODER, Part.IMAGE_ENCODER)
_PARTS_KEY, _REPEATS_KEY = "parts", "repeats"


def convert_checkpoint(
    path: Path,
    output: Path,
    *,
    base: Path | None = None,
    tokenizer: Path | None = None,
    variant: Variant | None = None,
    named: Path | None = None,
    allow_pickle: bool = False,
    overwrite: bool = False,
) -> Variant:
    """Make an official or a community checkpoint into a model folder.

    The folder has model_index.json, unet, image_context, vae, text_encoder, tokenizer,
    image_encoder, scheduler and stillmotion.json; VideoCrafter's text-to-video has no
    image_context and image_encoder.  Weights stay in the file's precision.

    Args:
        path: a .safetensors file, or with `allow_pickle` a pickle.
        output: the folder.
        base: a model folder whose CLIP and tokenizer are taken where the file has none.
        tokenizer: a folder of CLIP's tokenizer, or with one; None is the base's.
        variant: for files that do not show theirs.
        named: where the file came from, if `path` is a copy: its name can tell the variant.
        allow_pickle: whether a pickle may be read, by torch's restricted reader.
        overwrite: whether the folder may be replaced.

    Returns:
        The variant.

    Raises:
        ModelError: the file is of another kind, damaged, not whole, of no variant that can be
            told, or has another noise schedule; or what it lacks is not to be found.
        OutputError: the folder exists or cannot be written.
    """
    named = (named or path).absolute()
    what = f"'{named.name}'"
    with (
        silent_libraries(),
        _without_pickle(path, output, allow_pickle) as plain,
        opened(plain) as checkpoint,
    ):
        tables = checkpoint.schedule()
        variant = find_variant(
            checkpoint.shapes, named, tables.get("scale_arr"), variant or _told_variant(checkpoint)
        )
        check_schedule(tables, variant, what)
        folders = find_folders(_lacking(checkpoint, variant), base, tokenizer, what)
        with atomic_folder(output, overwrite=overwrite) as folder:
            # The small things first: it is better to fail before gigabytes are written.
            _write_borrowed(folders, checkpoint, folder)
            _write_networks(checkpoint, variant, folder, what)
            _write_rest(checkpoint, folder)
            _write_description(checkpoint, variant, folder)
    return variant


def export_checkpoint(folder: Path, output: Path, *, overwrite: bool = False) -> int:
    """Write a model folder as one file under the official names.

    A folder that was converted gives the same tensors as its file had, bit for bit.  CLIP is
    written only where that file had it: one from elsewhere lacks the last text block.

    Args:
        folder: as `convert_checkpoint` makes them; also of a model trained here.
        output: a .safetensors file, or a .ckpt with a `state_dict`, which the official code reads.
        overwrite: whether it may be replaced.

    Returns:
        How many tensors were written.

    Raises:
        ModelError: a part is missing or of another kind.
        OutputError: the file exists or cannot be written.
    """
    rest, parts, repeats = _read_rest(folder)
    tensors: dict[str, Tensor] = {}
    index = _json(folder / "model_index.json")
    told: dict[str, Any] = {
        "variant": index.get(VARIANT_KEY),
        "pipeline": {name: index[name] for name in _SETTINGS if name in index},
    }
    for part in Part:
        if part not in parts or not (folder / part).is_dir():
            continue
        tensors |= load_part(part, folder / part)
        told[part] = _json(folder / part / "config.json")
    for part in (Part.UNET, Part.VAE):
        if part not in told:
            raise ModelError(f"the model folder {folder} has no {part}/, which a checkpoint needs")
    told["scheduler"] = _json(folder / "scheduler" / "scheduler_config.json")
    tensors |= rest
    # A file holds no tensor twice in the same memory.
    tensors |= {name: tensors[twin].clone() for name, twin in repeats.items()}
    write_checkpoint(tensors, told, output, overwrite=overwrite)
    return len(tensors)


@contextmanager
def _without_pickle(path: Path, output: Path, allow_pickle: bool) -> Iterator[Path]:
    """`path`, or for the length of the block its tensors as a .safetensors file."""
    if not (allow_pickle and describe(path).kind is FileKind.PICKLE):
        yield path
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    # Beside the output: the system's own place for such files is often small.
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".convert-") as between:
        plain = Path(between) / f"{path.stem}.safetensors"
        convert_pickle(path, plain)
        yield plain


def _lacking(checkpoint: OpenCheckpoint, variant: Variant) -> list[Part]:
    """CLIP's towers that the file leaves out; other networks must be in it."""
    needed = [Part.UNET, Part.VAE, Part.TEXT_ENCODER]
    if variant is not Variant.TEXT_TO_VIDEO:
        needed += [Part.IMAGE_CONTEXT, Part.IMAGE_ENCODER]
    lacking = [part for part in needed if not checkpoint.holds(part)]
    for part in lacking:
        if part not in _TOWERS:
            raise ModelError(
                f"'{checkpoint.path.name}' has no {part} ({part.prefix}...); get the whole "
                "checkpoint"
            )
    return lacking


def _write_networks(checkpoint: OpenCheckpoint, variant: Variant, folder: Path, what: str) -> None:
    facts = VARIANTS[variant]
    for part in Part:
        if not checkpoint.holds(part):
            continue
        config = checkpoint.config(part)
        if part is Part.UNET:
            config["sample_size"] = (facts.height // 8, facts.width // 8)
        save_part(part, config, checkpoint.tensors(part), folder / part, what)


def _write_borrowed(folders: Mapping[str, Path], checkpoint: OpenCheckpoint, folder: Path) -> None:
    if Part.TEXT_ENCODER in folders:
        width = checkpoint.config(Part.UNET)["cross_attention_dim"]
        text = load_tower(CLIPTextModel, folders[Part.TEXT_ENCODER], width)
        text.config.pad_token_id = 0
        text.save_pretrained(folder / Part.TEXT_ENCODER)
        says = _json(folder / Part.TEXT_ENCODER / "config.json")
    else:
        says = checkpoint.config(Part.TEXT_ENCODER)
    if Part.IMAGE_ENCODER in folders:
        width = checkpoint.config(Part.IMAGE_CONTEXT)["embed_dims"]
        vision = load_tower(CLIPVisionModel, folders[Part.IMAGE_ENCODER], width)
        vision.save_pretrained(folder / Part.IMAGE_ENCODER)
    tokenizer = load_tokenizer(
        folders["tokenizer"], says["vocab_size"], says["max_position_embeddings"]
    )
    tokenizer.save_pretrained(folder / "tokenizer")


def _write_rest(checkpoint: OpenCheckpoint, folder: Path) -> None:
    tensors, repeats = checkpoint.rest()
    parts = [part for part in Part if checkpoint.holds(part)]
    metadata = {_PARTS_KEY: json.dumps(parts), _REPEATS_KEY: json.dumps(repeats)}
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(whole, folder / REST_FILE, metadata=metadata)


def _read_rest(folder: Path) -> tuple[dict[str, Tensor], list[str], dict[str, str]]:
    """Tensors that no network uses, the parts that the file had, and what it had twice."""
    path = folder / REST_FILE
    if not path.is_file():
        return {}, [part for part in Part if part not in _TOWERS], {}
    tensors = load_weights(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
    try:
        return tensors, json.loads(metadata[_PARTS_KEY]), json.loads(metadata[_REPEATS_KEY])
    except (KeyError, ValueError) as error:
        raise ModelError(f"{path} is damaged; convert the checkpoint anew") from error


def _write_description(checkpoint: OpenCheckpoint, variant: Variant, folder: Path) -> None:
    facts = VARIANTS[variant]
    says = checkpoint.told.get("scheduler")
    config = says if isinstance(says, dict) else dict(facts.scheduler)
    try:
        scheduler = DynamiCrafterScheduler.from_config(config)
    except (TypeError, ValueError) as error:
        raise ModelError(f"the schedule told in '{checkpoint.path.name}': {error}") from error
    scheduler.save_pretrained(folder / "scheduler")
    index: dict[str, Any] = {"_class_name": DYNAMICRAFTER_PIPELINE, VARIANT_KEY: variant}
    for name, entry in PART_CLASSES.items():
        index[name] = entry if (folder / name).is_dir() else [None, None]
    index |= {
        "pace_kind": facts.pace_kind,
        "default_pace": facts.default_pace,
        "interpolates": facts.interpolates,
    }
    own = checkpoint.told.get("pipeline")
    if isinstance(own, dict):
        index |= {name: own[name] for name in _SETTINGS if name in own}
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    description = ModelDescription(
        title=facts.title,
        height=facts.height,
        width=facts.width,
        num_inference_steps=50,
        guidance_scale=facts.guidance_scale,
        guidance_rescale=facts.guidance_rescale,
        negative_prompt="",
    )
    text = description.model_dump_json(indent=2) + "\n"
    (folder / FILE_NAME).write_text(text, encoding="utf-8")


def _told_variant(checkpoint: OpenCheckpoint) -> Variant | None:
    says = checkpoint.told.get("variant")
    return Variant(says) if says in list(Variant) else None


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
