"""What lies in a folder, told by its small files, and which stage can begin with it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillmotion.dynamicrafter.stages import TrainingStage
from stillmotion.errors import InputError, ModelError
from stillmotion.models.description import FILE_NAME, ModelDescription
from stillmotion.models.dynamicrafter_index import DYNAMICRAFTER_PIPELINE
from stillmotion.models.registry import part_path, pipeline_class, resolve_model

ATTENTION_FILE = "image_attention.safetensors"
"""In the output of the stage "context": the image cross-attention, by its names in a U-Net."""
CONTEXT = "image_context"
RECORD_FILE = "training.json"
"""In every output: how it was trained."""
_EXPECTED = {
    "base": "an image model of Stable Diffusion's structure",
    "context": "an image model of Stable Diffusion's structure",
    "adapt": "a text-to-video model, such as the output of the stage 'base', or goes on with an "
    "output of its own",
    "joint": "the output of the stage 'adapt', or goes on with a model that animates a picture",
    "interpolation": "the output of the stage 'joint' or another model that animates a picture by "
    "detail guidance, or goes on with one that interpolates",
}


@dataclass(frozen=True, kw_only=True)
class Start:
    """A model folder that a stage can begin with."""

    name: str
    path: Path
    description: ModelDescription | None
    """None: the folder has none."""
    index: dict[str, Any]
    """Of the pipeline; empty without one."""
    unet: dict[str, Any]
    """The U-Net's configuration."""

    @property
    def draws(self) -> bool:
        """Whether it is an image model."""
        return self.unet.get("_class_name") == "UNet2DConditionModel"

    @property
    def animates(self) -> bool:
        """Whether it is of DynamiCrafter's structure, of text alone included."""
        return self.index.get("_class_name") == DYNAMICRAFTER_PIPELINE

    @property
    def has_context(self) -> bool:
        """Whether it has image context."""
        return bool(self.unet.get("image_context", True))

    @property
    def has_guidance(self) -> bool:
        """Whether it has detail guidance."""
        return bool(self.unet.get("in_channels", 8) > self.unet.get("out_channels", 4))

    @property
    def interpolates(self) -> bool:
        """Whether it goes from one picture to another."""
        return bool(self.index.get("interpolates"))

    @property
    def words(self) -> str:
        """What it is."""
        if self.draws:
            return "an image model"
        if not self.animates:
            kind = self.index.get("_class_name")
            return "no model of a kind that is known here" if kind is None else f"made for {kind}"
        if self.interpolates:
            return "a model that interpolates"
        if not self.has_context and not self.has_guidance:
            return "a text-to-video model"
        parts = [
            f"{'with' if there else 'without'} {what}"
            for there, what in (
                (self.has_context, "image context"),
                (self.has_guidance, "detail guidance"),
            )
        ]
        return f"a model that animates a picture, {' and '.join(parts)}"

    def part(self, name: str) -> Path:
        """The folder of a part.  Raises ModelError if it is not there."""
        folder = part_path(self.path, name)
        if not folder.is_dir():
            raise ModelError(f"The model '{self.name}' has no {name}/ in its folder.")
        return folder


def find_start(name: str) -> Start:
    """What a name or a folder stands for.

    Raises:
        ModelError: no such model, or one that is put together from several files.
        InputError: a folder that holds no model.
    """
    folder = Path(name).expanduser()
    description = None
    if not (folder.is_dir() and pipeline_class(folder) is None):
        found = resolve_model(name, replaced=("motion",))
        if found.checkpoint or found.vae or found.loras:
            raise ModelError(
                f"The model '{name}' is put together from several files; save it as one folder in "
                "diffusers' layout and begin with that."
            )
        folder = found.path
        has_own = found.description.parts is not None or (folder / FILE_NAME).is_file()
        description = found.description if has_own else None
    if (folder / ATTENTION_FILE).is_file():
        raise InputError(
            f"'{name}' is the output of the stage 'context', with which no stage begins; give it "
            "to the stage 'adapt' as its context, beside a text-to-video model to start with."
        )
    if not (folder / "unet").is_dir():
        raise InputError(f"'{name}' is no model folder: there is no unet/ in it.")
    return Start(
        name=name, path=folder, description=description,
        index=read_json(folder / "model_index.json"),
        unet=read_json(part_path(folder, "unet") / "config.json"),
    )  # fmt: skip


def check_start(stage: TrainingStage, start: Start) -> None:
    """Raises InputError for a model that the stage cannot begin with."""
    guided = stage.detail_guidance != "none"
    if stage.data == "frames" or stage.name == "base":
        fits = start.draws
    elif not start.animates:
        fits = False
    elif stage.name == "adapt":
        fits = not start.has_guidance
    elif stage.name == "interpolation":
        fits = start.has_context == stage.context and start.has_guidance
    else:
        fits = start.has_context == stage.context and not start.interpolates
        fits = fits and (guided or not start.has_guidance)
    if not fits:
        raise InputError(
            f"The stage '{stage.name}' begins with {_expected(stage)}; '{start.name}' is "
            f"{start.words}."
        )
    only_global = bool(start.index.get("global_token_only"))
    if start.animates and start.has_context and stage.global_token_only != only_global:
        seen, advice = "all of CLIP's tokens", "without"
        if only_global:
            seen, advice = "CLIP's class token alone", "with"
        raise InputError(
            f"In '{start.name}' the image context was trained on {seen}; train it {advice} the "
            "ablation 'global-token'."
        )


def read_json(path: Path) -> dict[str, Any]:
    """An object; empty if the file is not there.  Raises ModelError if it is damaged."""
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error


def _expected(stage: TrainingStage) -> str:
    if stage.name == "joint" and not stage.context:
        return "a text-to-video model, or goes on with an output of its own"
    return _EXPECTED[stage.name]
