"""A model's name -> a pipeline that is ready to draw and animate."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging

from stillmotion.animatezero.pipeline import AnimateZeroPipeline
from stillmotion.animatezero.settings import SamplingSettings
from stillmotion.errors import ModelError, StillmotionError
from stillmotion.models.description import Look
from stillmotion.models.registry import ModelFolder, resolve_model
from stillmotion.runtime.system import choose_device

PLAIN = "plain"
_LOOK_MARK = "@"
# What the libraries raise for folders that are incomplete or damaged.
_LOADING_ERRORS = (
    OSError, ValueError, TypeError, RuntimeError, KeyError, AttributeError, ImportError,
    SafetensorError,
)  # fmt: skip


@dataclass(frozen=True)
class LoadedModel:
    """A pipeline with what its folder says about it."""

    reference: str
    """`name` or `name@look`: loads the same again."""
    folder: ModelFolder
    look: Look | None
    pipeline: AnimateZeroPipeline

    @property
    def name(self) -> str:
        """The reference as records carry it: of a folder the last part, which tells no user."""
        return shareable(self.reference)

    @property
    def sampling(self) -> SamplingSettings:
        """The model's own defaults."""
        says = self.folder.description
        return SamplingSettings(
            num_inference_steps=says.num_inference_steps,
            guidance_scale=says.guidance_scale,
            height=says.height,
            width=says.width,
            negative_prompt=says.negative_prompt,
        )

    def styled(self, prompt: str) -> str:
        """The prompt with the words that call for the look, unless it has them already."""
        prefix = self.look.prompt_prefix if self.look else ""
        if not prefix or prefix.rstrip(",") in prompt:
            return prompt
        return f"{prefix} {prompt}"


def load_model(
    reference: str = "miniature",
    *,
    look: str | None = None,
    device: str = "auto",
    download: bool = False,
) -> LoadedModel:
    """Load a model, with the LoRA of a look merged into its weights.

    Args:
        reference: a name for `resolve_model`, with `@look` behind it if one is wanted.
        look: the same look, given apart; "plain" is none.
        device: for `choose_device`; networks run in float32 on a CPU and in float16 elsewhere.
        download: whether a hub id may be fetched.

    Raises:
        ModelError: no such model or look, or the folder cannot be loaded.
        InputError: no such device.
    """
    name, named_look = split_reference(reference)
    if look is not None and named_look is not None and look != named_look:
        raise ModelError(
            f"two looks are named, '{named_look}' in '{reference}' and '{look}'; name one"
        )
    place = choose_device(device)
    folder = resolve_model(name, download=download)
    found, full = None, name
    wanted = look if look is not None else named_look
    if wanted is not None and wanted != PLAIN:
        found, full = _find_look(folder, wanted), f"{name}{_LOOK_MARK}{wanted}"
    with silent_libraries(), _explained(folder.name):
        pipeline = AnimateZeroPipeline.from_pretrained(
            folder.path,
            dtype=torch.float32 if place.type == "cpu" else torch.float16,
            local_files_only=True,
        )
        if found is not None:
            pipeline.load_lora_weights(folder.path, weight_name=found.lora)
            pipeline.fuse_lora()
            pipeline.unload_lora_weights()
    pipeline.register_to_config(_name_or_path=shareable(full))
    pipeline.set_progress_bar_config(disable=True)
    return LoadedModel(full, folder, found, pipeline.to(place))


def load_pipeline(reference: str = "miniature", **options: str | bool) -> AnimateZeroPipeline:
    """The pipeline of `load_model`, which says more; same arguments."""
    return load_model(reference, **options).pipeline  # type: ignore[arg-type]


def split_reference(reference: str) -> tuple[str, str | None]:
    """`name@look` -> name and look; a folder whose own name has an @ is taken as it is."""
    if _LOOK_MARK not in reference or Path(reference).expanduser().is_dir():
        return reference, None
    name, _, look = reference.rpartition(_LOOK_MARK)
    return name, look


def shareable(reference: str) -> str:
    """A reference without the folders above the model's own, which can tell who the user is."""
    name, look = split_reference(reference)
    folder = Path(name).expanduser()
    if folder.is_dir():
        name = Path(os.path.abspath(folder)).name
    return name if look is None else f"{name}{_LOOK_MARK}{look}"


def _find_look(folder: ModelFolder, look: str) -> Look:
    looks = folder.description.looks
    if look not in looks:
        known = ", ".join([PLAIN, *looks])
        raise ModelError(f"the model '{folder.name}' has no look '{look}'; it has: {known}")
    return looks[look]


@contextmanager
def silent_libraries() -> Iterator[None]:
    """Load without the advice and the progress bars of diffusers and transformers."""
    loggers = (diffusers_logging, transformers_logging)
    former = [(log, log.get_verbosity(), log.is_progress_bar_enabled()) for log in loggers]
    for log in loggers:
        log.set_verbosity_error()
        log.disable_progress_bar()
    try:
        yield
    finally:
        for log, verbosity, had_bars in former:
            log.set_verbosity(verbosity)
            if had_bars:
                log.enable_progress_bar()


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Say in a sentence why a model cannot be loaded."""
    try:
        yield
    except StillmotionError:
        raise
    except _LOADING_ERRORS as error:
        if _is_lack_of_memory(error):
            raise
        raise ModelError(
            f"the model '{name}' cannot be loaded, a part of it is missing, damaged or of another "
            f"kind: {_first_sentence(error)}"
        ) from error


def _is_lack_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _first_sentence(error: Exception) -> str:
    """Of a library's message, which can go on for lines with advice that does not fit here."""
    text = " ".join(str(error).split())
    return re.split(r"(?<=[.!?]) (?=[A-Z])", text)[0] or type(error).__name__
