"""Extractors that can be called by a published name: where they lie here, or how to get them.

Nothing is fetched: a hub's model is looked for in the hub's cache on this machine, and what lies
on a page has to be fetched by hand.  A sha256 is known for none of them yet; reports carry that of
the file that was used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stillmotion.errors import ModelError
from stillmotion.models.description import Source
from stillmotion.models.sources import HARMLESS, HUB_ID, check_hashes, locate


@dataclass(frozen=True)
class Pinned:
    """A published extractor."""

    source: Source
    how: str
    """What to do with the page's file, as an end of a sentence."""


_CLIP_FILES: dict[str, str | None] = {
    "config.json": None,
    "model.safetensors": None,
    "preprocessor_config.json": None,
    "tokenizer_config.json": None,
    "vocab.json": None,
    "merges.txt": None,
}
PINNED: Mapping[str, Mapping[str, Pinned]] = {
    "clip": {
        name: Pinned(Source(hub=name, files=_CLIP_FILES), "")
        for name in (
            "openai/clip-vit-base-patch16",
            "openai/clip-vit-base-patch32",
            "openai/clip-vit-large-patch14",
        )
    },
    "perceptual": {
        "dreamsim": Pinned(
            Source(page="https://github.com/ssundaram21/dreamsim/releases"),
            "convert it with stillmotion.evaluation.extractors.dreamsim_files.convert_dreamsim and "
            "give perceptual=FOLDER",
        )
    },
    "video": {
        "i3d": Pinned(
            Source(page="https://github.com/wilson1yan/VideoGPT"),
            "its code names where i3d_pretrained_400.pt lies; then: stillmotion convert "
            "--allow-pickle i3d_pretrained_400.pt i3d.safetensors, and give video=i3d.safetensors",
        )
    },
    "flow": {
        "raft": Pinned(
            Source(page="https://download.pytorch.org/models/raft_large_C_T_V1-22a6c225.pth"),
            "then: stillmotion convert --allow-pickle raft_large_C_T_V1-22a6c225.pth "
            "raft.safetensors, and give flow=raft:raft.safetensors",
        )
    },
}
"""By the part and the name.  The CLIP of AnimateZero's metrics is the first."""


def is_published(part: str, name: str) -> bool:
    """Whether `name` is that of a published extractor, or for CLIP any id of a hub."""
    return name in PINNED.get(part, {}) or (part == "clip" and bool(HUB_ID.fullmatch(name)))


def find_published(part: str, name: str) -> Path:
    """The folder of a published extractor on this machine.

    Raises:
        ModelError: it is not here, with how to fetch it, or it is not what was published.
    """
    pinned = PINNED.get(part, {}).get(name)
    source = Source(hub=name) if pinned is None else pinned.source
    if pinned is not None and source.page is not None:
        raise ModelError(
            f"'{name}' does not come with this package and is never fetched by itself; get it from "
            f"{source.page}; {pinned.how}"
        )
    try:
        folder = locate(name, part, source, download=False)
    except ModelError as error:
        wanted = " ".join(source.files) or " ".join(f"--include '{p}'" for p in HARMLESS)
        raise ModelError(
            f"the extractor '{name}' is not on this machine, or not all of it; fetch it with: "
            f"hf download {name} {wanted}; or give its folder: {part}=FOLDER"
        ) from error
    check_hashes(folder, source.files)
    return folder
