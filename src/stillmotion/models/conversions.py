"""Weights of one format made into another: what can become what, and how."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from stillmotion.errors import ModelError
from stillmotion.models.checkpoints import load_checkpoint, save_checkpoint
from stillmotion.models.description import FILE_NAME
from stillmotion.models.files import WeightsFile, describe, expect
from stillmotion.models.layouts import FileKind
from stillmotion.models.lora_files import load_lora, to_kohya, to_motion_lora
from stillmotion.models.motion_files import load_motion_adapter, save_motion_module
from stillmotion.models.pickles import convert_pickle
from stillmotion.models.registry import PARTS, resolve_model
from stillmotion.runtime.files import atomic_folder, atomic_path

DEFAULT_BASE = "sd15"


class Target(StrEnum):
    """What weights can be made into."""

    LDM = "ldm"
    """One file in the naming of the original code."""
    DIFFUSERS = "diffusers"
    """A model folder; of a LoRA, a file in diffusers' naming."""
    MOTION = "motion"
    """AnimateDiff's naming, in one file."""
    MOTION_DIFFUSERS = "motion-diffusers"
    """A motion adapter's folder; of a motion LoRA, a file in diffusers' naming."""
    KOHYA = "kohya"
    SAFETENSORS = "safetensors"
    """The same tensors, out of a pickle."""


@dataclass(frozen=True)
class Conversion:
    """What was converted into what."""

    source_words: str
    target: Target
    target_words: str
    output: Path


@dataclass(frozen=True)
class Job:
    """A conversion that is to be done."""

    source: Path
    output: Path
    base: str | None
    overwrite: bool
    named: Path
    """What the user gave: the source itself, or the pickle that it was taken out of."""


Way = Callable[[Job], str]
"""Does a conversion and says in words what its output is."""
_Ways = Mapping[FileKind, Mapping[Target, Way]]


@dataclass(frozen=True)
class Family:
    """Checkpoints of a method that this part of the package does not know."""

    kinds: frozenset[FileKind]
    """The kinds of its files."""
    owns: Callable[[Path], bool]
    """Whether a model folder is one of its own."""
    to_folder: Way
    to_file: Way


def convert(
    source: Path,
    output: Path,
    *,
    to: Target | None = None,
    base: str | None = None,
    allow_pickle: bool = False,
    overwrite: bool = False,
    families: Sequence[Family] = (),
) -> Conversion:
    """Make weights of one format into another.

    Args:
        source: a file, a folder of a model or a motion adapter, or the name of a model.
        output: a file or folder, as the target asks.
        to: the target; None is the usual one of that source.  A pickle becomes a .safetensors
            file if the output is named so, and else what its contents usually become.
        base: the model whose configurations, tokenizer and scheduler a single-file checkpoint
            takes when it becomes a folder, and whose parts it takes where it lacks them; None is
            `DEFAULT_BASE` for Stable Diffusion.
        allow_pickle: whether a pickle may be read, by torch's restricted reader.
        overwrite: whether the output may be replaced.
        families: other methods whose checkpoints can be converted.

    Raises:
        ModelError: the source is of another kind or cannot become that.
        OutputError: the output exists or cannot be written.
    """
    job = Job(source, output, base, overwrite, source)
    ways = dict(_WAYS)
    for family in families:
        ways |= {kind: {Target.DIFFUSERS: family.to_folder} for kind in family.kinds}
    if not source.is_file():
        return _convert_folder(job, to, families)
    found = describe(source)
    if found.kind is FileKind.PICKLE and allow_pickle:
        return _convert_pickle(job, to, ways)
    return _convert_file(job, found, to, ways)


def _convert_folder(job: Job, to: Target | None, families: Sequence[Family]) -> Conversion:
    if (job.source / "model_index.json").is_file() or not job.source.exists():
        folder = resolve_model(str(job.source), replaced=("motion",))
        _check_target(f"'{job.source}' is a model folder", to, [Target.LDM])
        if folder.checkpoint is not None:
            raise ModelError(f"the model '{job.source}' is in one file already")
        family = next((family for family in families if family.owns(folder.path)), None)
        if family is not None:
            words = family.to_file(replace(job, source=folder.path))
        else:
            save_checkpoint(folder.path, job.output, overwrite=job.overwrite)
            words = FileKind.LDM.words
        return Conversion("a model folder in diffusers' layout", Target.LDM, words, job.output)
    _check_target(f"'{job.source}' is a folder", to, [Target.MOTION])
    loaded = load_motion_adapter(job.source)
    save_motion_module(loaded.adapter, job.output, overwrite=job.overwrite)
    return Conversion(
        "a motion adapter's folder", Target.MOTION, describe(job.output).words, job.output
    )


def _convert_pickle(job: Job, to: Target | None, ways: _Ways) -> Conversion:
    if to is Target.SAFETENSORS or (to is None and job.output.suffix == ".safetensors"):
        convert_pickle(job.source, job.output, overwrite=job.overwrite)
        words = f"{describe(job.output).words}, as .safetensors"
        return Conversion(FileKind.PICKLE.words, Target.SAFETENSORS, words, job.output)
    job.output.parent.mkdir(parents=True, exist_ok=True)
    # Beside the output: the system's own place for such files is often small.
    with tempfile.TemporaryDirectory(dir=job.output.parent, prefix=".convert-") as folder:
        between = Path(folder) / f"{job.source.stem}.safetensors"
        convert_pickle(job.source, between)
        done = _convert_file(replace(job, source=between), describe(between), to, ways)
    return Conversion(
        f"{FileKind.PICKLE.words} of {done.source_words}",
        done.target,
        done.target_words,
        job.output,
    )


def _convert_file(job: Job, found: WeightsFile, to: Target | None, ways: _Ways) -> Conversion:
    possible = ways.get(found.kind, {})
    if not possible:
        expect(job.source, ways.keys())  # says what the file is instead
    _check_target(f"'{job.named.name}' is {found.words}", to, list(possible))
    expect(job.source, found.kind)  # of the right family
    target = to or next(iter(possible))
    words = possible[target](job)
    return Conversion(found.words, target, words, job.output)


def _check_target(what: str, to: Target | None, possible: list[Target]) -> None:
    if to is not None and to not in possible:
        raise ModelError(f"{what}, which can be converted --to {' or '.join(possible)}, not {to}")


def _to_model_folder(job: Job) -> str:
    base = resolve_model(job.base or DEFAULT_BASE, replaced=("checkpoint", "motion"))
    with atomic_folder(job.output, overwrite=job.overwrite) as folder:
        checkpoint = load_checkpoint(job.source, base.path)
        networks = {
            "unet": checkpoint.unet,
            "vae": checkpoint.vae,
            "text_encoder": checkpoint.text_encoder,
        }
        for part in PARTS:
            network = networks.get(part)
            if network is not None:
                network.save_pretrained(folder / part)
            elif (base.path / part).is_dir():
                _copy_part(base.path / part, folder / part, job.source.name)
        _write_index(base.path, folder)
        # The looks and the card of the base are its own.
        own: dict[str, object] = {"title": job.source.stem, "looks": {}}
        own |= {"card": None, "parts": None}
        says = base.description.model_copy(update=own)
        (folder / FILE_NAME).write_text(says.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return "a model folder in diffusers' layout"


def _copy_part(source: Path, target: Path, what: str) -> None:
    has_weights = any(source.glob("*.safetensors"))
    if source.name in ("vae", "text_encoder") and not has_weights:
        raise ModelError(
            f"'{what}' has no {source.name}, and neither has the base model; name another --base"
        )
    if source.name == "motion_adapter" and not has_weights:
        return
    shutil.copytree(source, target)


def _write_index(base: Path, folder: Path) -> None:
    """The base's index of parts, with those marked absent that the folder has not."""
    index = json.loads((base / "model_index.json").read_text(encoding="utf-8"))
    for name, entry in index.items():
        if isinstance(entry, list) and not (folder / name).is_dir():
            index[name] = [None, None]
    text = json.dumps(index, indent=2) + "\n"
    (folder / "model_index.json").write_text(text, encoding="utf-8")


def _to_motion(job: Job) -> str:
    adapter = load_motion_adapter(job.source).adapter
    save_motion_module(adapter, job.output, overwrite=job.overwrite)
    return describe(job.output).words


def _to_motion_adapter(job: Job) -> str:
    adapter = load_motion_adapter(job.source).adapter
    with atomic_folder(job.output, overwrite=job.overwrite) as folder:
        adapter.save_pretrained(folder)
    return "a motion adapter's folder in diffusers' layout"


def _lora_way(rename: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]) -> Way:
    def write(job: Job) -> str:
        with atomic_path(job.output, overwrite=job.overwrite) as temporary:
            renamed = rename(load_lora(job.source))
            tensors = {name: tensor.contiguous() for name, tensor in renamed.items()}
            save_file(tensors, temporary, metadata={"format": "pt"})
        return describe(job.output).words

    return write


_PEFT = _lora_way(lambda peft: peft)
_FROM_ORIGINAL: dict[Target, Way] = {Target.MOTION_DIFFUSERS: _to_motion_adapter}
# The first target of each kind is the usual one.
_WAYS: dict[FileKind, Mapping[Target, Way]] = {
    FileKind.LDM: {Target.DIFFUSERS: _to_model_folder},
    FileKind.LDM_WITHOUT_TEXT: {Target.DIFFUSERS: _to_model_folder},
    FileKind.MOTION_V1: _FROM_ORIGINAL,
    FileKind.MOTION_V2: _FROM_ORIGINAL,
    FileKind.MOTION_V3: _FROM_ORIGINAL,
    FileKind.MOTION_DIFFUSERS: {Target.MOTION: _to_motion, **_FROM_ORIGINAL},
    FileKind.MOTION_LORA: {Target.MOTION_DIFFUSERS: _PEFT, Target.DIFFUSERS: _PEFT},
    FileKind.MOTION_LORA_DIFFUSERS: {Target.MOTION: _lora_way(to_motion_lora)},
    FileKind.DOMAIN_ADAPTER: {Target.DIFFUSERS: _PEFT, Target.KOHYA: _lora_way(to_kohya)},
    FileKind.KOHYA_LORA: {Target.DIFFUSERS: _PEFT},
    FileKind.DIFFUSERS_LORA: {Target.KOHYA: _lora_way(to_kohya), Target.DIFFUSERS: _PEFT},
}
