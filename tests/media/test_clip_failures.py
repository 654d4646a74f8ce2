"""Bad clips and bad places: one sentence, nothing half-written, nothing lost."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.media.samples import ALL, FILES, contents, moving_disc, noise, provenance

from stillmotion.errors import InputError, OutputError
from stillmotion.media import container
from stillmotion.media.clips import load_clip, read_provenance, save_clip


@pytest.mark.parametrize("name", ALL)
def test_nothing_is_replaced_unasked(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    save_clip(moving_disc(4), path, provenance=provenance("first"))
    before = contents(path)
    with pytest.raises(OutputError, match=r"exists already.*--force"):
        save_clip(moving_disc(2), path, provenance=provenance("second"))
    assert contents(path) == before
    save_clip(moving_disc(2), path, provenance=provenance("second"), overwrite=True)
    assert len(load_clip(path).frames) == 2
    assert read_provenance(path).prompt == "second"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([name, f"{name}.json"])


def test_an_existing_side_car_is_not_replaced_unasked(tmp_path: Path) -> None:
    (tmp_path / "clip.gif.json").write_text("mine")
    with pytest.raises(OutputError, match=r"clip\.gif\.json' exists already"):
        save_clip(moving_disc(), tmp_path / "clip.gif", provenance=provenance())
    assert [entry.name for entry in tmp_path.iterdir()] == ["clip.gif.json"]
    assert (tmp_path / "clip.gif.json").read_text() == "mine"


@contextmanager
def largest_file(num_bytes: int) -> Iterator[None]:
    """Let the system itself refuse to write more than this, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("name", ALL)
def test_a_full_disk_leaves_nothing_new(name: str, exists: bool, tmp_path: Path) -> None:
    path = tmp_path / name
    if exists:
        save_clip(moving_disc(2), path, provenance=provenance("old"))
    before = {entry: contents(entry) for entry in tmp_path.iterdir()}
    with largest_file(30_000), pytest.raises(OutputError, match="no space left") as caught:
        save_clip(noise(8, 128, 128, 3), path, provenance=provenance(), overwrite=True)
    assert str(path) in str(caught.value)
    assert {entry: contents(entry) for entry in tmp_path.iterdir()} == before


def test_a_folder_of_other_things_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match=r"thesis\.tex"):
        save_clip(moving_disc(), f"{tmp_path}/", provenance=provenance(), overwrite=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_names_decide_the_format(tmp_path: Path) -> None:
    for name in ("frames", "frames.v2/", "CLIP.GIF"):
        save_clip(moving_disc(2), f"{tmp_path}/{name}", provenance=provenance())
    assert (tmp_path / "frames.v2" / "frame-00001.png").is_file()
    assert read_provenance(tmp_path / "CLIP.GIF").prompt == provenance().prompt
    for name in ("clip.avi", "clip.png", "clip.mp4.zip"):
        with pytest.raises(OutputError, match=r"\.mp4, \.webm, \.gif, \.webp, \.safetensors"):
            save_clip(moving_disc(2), tmp_path / "new" / name, provenance=provenance())
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", [".", "..", "/"])
def test_a_name_is_needed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError):
        save_clip(moving_disc(2), name, provenance=provenance(), side_car=False)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("frames", "options", "said"),
    [
        (noise(4, 4, 3), {}, r"\(f h w 3\)"),
        (noise(2, 4, 4, 4), {}, r"\(f h w 3\)"),
        (noise(0, 4, 4, 3), {}, r"\(f h w 3\)"),
        (noise(2, 4, 4, 3).astype(np.float32), {}, "float32"),
        (noise(2, 4, 4, 3), {"fps": 0}, "not 0"),
        (noise(2, 4, 4, 3), {"fps": float("nan")}, "not nan"),
        (noise(2, 4, 4, 3), {"fps": float("inf")}, "at most 50"),
        (noise(2, 4, 4, 3), {"fps": 60}, "at most 50"),
        (noise(2, 4, 4, 3), {"scale": 0}, "at least 1"),
        (noise(2, 4, 4, 3), {"scale": 100_000}, "400000 x 400000"),
        (noise(2, 4, 4, 3), {"scale": 10_000}, "more than one clip may have"),
    ],
)
def test_bad_values_are_told(
    frames: np.ndarray, options: dict[str, float], said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        save_clip(frames, tmp_path / "clip.gif", provenance=provenance(), **options)  # type: ignore[arg-type]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kept", [0.0, 0.05, 0.5, 0.95])
@pytest.mark.parametrize("name", FILES)
def test_a_cut_file_is_told(name: str, kept: float, tmp_path: Path) -> None:
    path = tmp_path / name
    save_clip(noise(4, 40, 40, 3), path, provenance=provenance(), side_car=False)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(InputError, match=name):
        load_clip(path)


def test_a_missing_frame_is_told(tmp_path: Path) -> None:
    save_clip(moving_disc(4), tmp_path / "frames", provenance=provenance())
    (tmp_path / "frames" / "frame-00002.png").unlink()
    with pytest.raises(InputError, match="cut short or was changed"):
        load_clip(tmp_path / "frames")


@pytest.mark.parametrize("read", [load_clip, read_provenance])
@pytest.mark.parametrize("name", [*FILES, "clip.avi", "frames"])
def test_a_missing_clip_is_told(name: str, read: object, tmp_path: Path) -> None:
    assert callable(read)
    with pytest.raises(InputError, match=f"There is no clip .*{name}"):
        read(tmp_path / name)


def test_unknown_clips_are_told(tmp_path: Path) -> None:
    (tmp_path / "clip.avi").write_bytes(b"RIFF")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no known kind"):
        load_clip(tmp_path / "clip.avi")
    with pytest.raises(InputError, match="holds no PNG pictures"):
        load_clip(tmp_path / "empty")
    Image.new("RGB", (4, 4)).save(tmp_path / "foreign.gif")
    with pytest.raises(InputError, match="carries no provenance"):
        read_provenance(tmp_path / "foreign.gif")


def test_a_foreign_animation_is_read(tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (6, 4), (60 * index, 0, 0)) for index in range(4)]
    path = tmp_path / "foreign.gif"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=200, comment=b"{}")
    clip = load_clip(path)
    assert clip.frames.shape == (4, 4, 6, 3)
    assert clip.fps == 5


@pytest.mark.parametrize("name", ["clip.mp4", "clip.webm"])
def test_a_play_list_in_disguise_is_not_followed(name: str, tmp_path: Path) -> None:
    save_clip(moving_disc(2), tmp_path / "secret.mp4", provenance=provenance())
    for text in (
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile secret.mp4\n",
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match="damaged or no video"):
            load_clip(tmp_path / name)


@pytest.mark.parametrize("name", ALL)
def test_a_clip_that_would_fill_the_memory_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_clip(moving_disc(6), tmp_path / name, provenance=provenance())
    monkeypatch.setattr(container, "MAX_CLIP_PIXELS", 6 * 40 * 56 - 1)
    with pytest.raises(InputError, match="at most"):
        load_clip(tmp_path / name)


@pytest.mark.parametrize("read", [load_clip, read_provenance])
def test_foreign_tags_that_are_not_text_are_told(read: object, tmp_path: Path) -> None:
    assert callable(read)
    path = tmp_path / "clip.mp4"
    save_clip(moving_disc(2), path, provenance=provenance("QQQQ"), side_car=False)
    path.write_bytes(path.read_bytes().replace(b"QQQQ", b"Q\xfc\xffQ"))
    with pytest.raises(InputError, match="not UTF-8"):
        read(path)
