"""Published extractors: found in the hub's cache on this machine, or told how to fetch."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import huggingface_hub.constants
import pytest

from stillmotion.errors import ModelError
from stillmotion.evaluation.extractors import pinned
from stillmotion.evaluation.extractors.pinned import PINNED, Pinned, find_published, is_published
from stillmotion.models.description import Source

NAME = "openai/clip-vit-base-patch16"
FILES = tuple(PINNED["clip"][NAME].source.files)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub; no download can be tried, for there is no network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def put(cache: Path, name: str, files: tuple[str, ...]) -> Path:
    """Files in the cache as the hub's client lays them down; the snapshot's folder."""
    commit = "0" * 40
    repository = cache / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit, encoding="utf-8")
    for file in files:
        (snapshot / file).write_bytes(file.encode())
    return snapshot


def test_a_model_in_the_cache_is_found(cache: Path) -> None:
    snapshot = put(cache, NAME, FILES)
    assert find_published("clip", NAME) == snapshot


def test_any_clip_of_a_hub_is_looked_for(cache: Path) -> None:
    snapshot = put(cache, "laion/some-clip", ("config.json",))
    assert is_published("clip", "laion/some-clip")
    assert find_published("clip", "laion/some-clip") == snapshot
    assert not is_published("video", "laion/some-clip")


def test_what_is_not_in_the_cache_is_told_how_to_fetch(cache: Path) -> None:
    with pytest.raises(ModelError, match="is not on this machine") as refusal:
        find_published("clip", NAME)
    assert f"hf download {NAME} {' '.join(FILES)};" in str(refusal.value)
    assert "clip=FOLDER" in str(refusal.value)
    with pytest.raises(ModelError, match=r"hf download a/b --include '\*.json' --include"):
        find_published("clip", "a/b")


def test_what_is_there_in_part_is_told_how_to_fetch(cache: Path) -> None:
    put(cache, NAME, tuple(file for file in FILES if file != "model.safetensors"))
    with pytest.raises(ModelError, match=rf"not all of it; fetch it with: hf download {NAME}"):
        find_published("clip", NAME)


def test_a_known_sha256_is_held_against_the_file(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(cache, NAME, FILES)

    def know(file: str, content: bytes) -> None:
        files = {**dict.fromkeys(FILES), file: sha256(content).hexdigest()}
        table = {"clip": {NAME: Pinned(Source(hub=NAME, files=files), "")}}
        monkeypatch.setattr(pinned, "PINNED", table)

    know("model.safetensors", b"model.safetensors")
    find_published("clip", NAME)
    know("model.safetensors", b"another")
    with pytest.raises(ModelError, match="is not the file that was expected"):
        find_published("clip", NAME)


@pytest.mark.parametrize(
    ("part", "name", "said"),
    [
        ("perceptual", "dreamsim", "github.com/ssundaram21/dreamsim"),
        ("video", "i3d", "video=i3d.safetensors"),
        ("flow", "raft", "flow=raft:raft.safetensors"),
    ],
)
def test_what_lies_on_a_page_is_never_fetched(part: str, name: str, said: str) -> None:
    with pytest.raises(
        ModelError, match=f"'{name}' .* is never fetched by itself; get it from"
    ) as r:
        find_published(part, name)
    assert said in str(r.value)
