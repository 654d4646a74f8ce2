"""Every clip format: what comes back, what it carries, and what is refused."""

from __future__ import annotations

import itertools
import json
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.media.samples import moving_disc, noise, provenance, psnr

from stillmotion.errors import InputError, OutputError
from stillmotion.media import container
from stillmotion.media.clips import load_clip, read_provenance, save_clip
from stillmotion.media.images import side_car_path
from stillmotion.media.provenance import Provenance
from stillmotion.media.tensors import load_latents

EXACT = ["clip.webp", "clip.safetensors", "frames"]
LOSSY = ["clip.mp4", "clip.webm", "clip.gif"]
FILES = ["clip.mp4", "clip.webm", "clip.gif", "clip.webp", "clip.safetensors"]
ALL = [*FILES, "frames"]


def contents(path: Path) -> dict[str, bytes]:
    """The bytes of a file, or of all files of a folder."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {file.name: file.read_bytes() for file in files}


@pytest.mark.parametrize("name", EXACT)
def test_exact_formats_return_the_same_frames(name: str, tmp_path: Path) -> None:
    frames = noise(5, 33, 17, 3)
    save_clip(frames, tmp_path / name, fps=12.5, provenance=provenance())
    clip = load_clip(tmp_path / name)
    assert clip.frames.dtype == np.uint8
    assert np.array_equal(clip.frames, frames)
    assert clip.fps == 12.5


@pytest.mark.parametrize(("name", "least"), [("clip.mp4", 33), ("clip.webm", 33), ("clip.gif", 29)])
def test_lossy_formats_return_nearly_the_same_frames(
    name: str, least: float, tmp_path: Path
) -> None:
    frames = moving_disc(8, 128, 160)
    save_clip(frames, tmp_path / name, fps=24, provenance=provenance())
    clip = load_clip(tmp_path / name)
    assert clip.frames.shape == frames.shape
    assert clip.fps == 24
    assert psnr(clip.frames, frames) > least
    bias = (clip.frames.astype(float) - frames).mean(axis=(0, 1, 2))
    assert np.abs(bias).max() < 0.35  # a wrong matrix, range or chroma position exceeds this


@pytest.mark.parametrize("name", ["clip.mp4", "clip.webm"])
@pytest.mark.parametrize("colour", list(itertools.product((16, 235), repeat=3)))
def test_video_keeps_flat_colours(name: str, colour: tuple[int, ...], tmp_path: Path) -> None:
    frames = np.full((2, 32, 32, 3), colour, dtype=np.uint8)
    save_clip(frames, tmp_path / name, provenance=provenance("x"))
    error = load_clip(tmp_path / name).frames.astype(int) - frames
    assert np.abs(error).max() <= 3


@pytest.mark.parametrize("name", ALL)
def test_the_provenance_is_inside_and_beside(name: str, tmp_path: Path) -> None:
    path, given_record = tmp_path / name, provenance()
    assert len(given_record.prompt.encode()) > 5000
    save_clip(moving_disc(), path, fps=10, provenance=given_record)
    beside = Provenance.from_json(side_car_path(path).read_text())
    side_car_path(path).unlink()
    inside = read_provenance(path)
    assert inside == beside
    assert inside.model_copy(update={"output": None}) == given_record
    assert inside.output is not None
    assert (inside.output.num_frames, inside.output.fps, inside.output.scale) == (6, 10, 1)
    assert (inside.output.height, inside.output.width) == (40, 56)
    assert inside.output.lossless == (name in EXACT)


@pytest.mark.parametrize("name", ALL)
def test_the_side_car_can_be_left_out(name: str, tmp_path: Path) -> None:
    save_clip(moving_disc(), tmp_path / name, provenance=provenance(), side_car=False)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_every_frame_of_a_folder_carries_the_provenance(tmp_path: Path) -> None:
    save_clip(moving_disc(3), tmp_path / "frames", provenance=provenance())
    pictures = sorted((tmp_path / "frames").iterdir())
    names = [picture.name for picture in pictures]
    assert names == ["frame-00000.png", "frame-00001.png", "frame-00002.png"]
    assert all(read_provenance(picture).prompt == provenance().prompt for picture in pictures)


@pytest.mark.parametrize("name", ALL)
def test_a_removed_record_is_read_from_the_side_car(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    save_clip(moving_disc(), path, provenance=provenance())
    first = next(path.iterdir()) if path.is_dir() else path
    first.write_bytes(b"nothing of use")
    assert read_provenance(path).prompt == provenance().prompt


@pytest.mark.parametrize("name", ALL)
def test_the_same_frames_give_the_same_bytes(name: str, tmp_path: Path) -> None:
    frames = moving_disc(12, 48, 48)
    for folder in ("one", "two"):
        save_clip(frames, tmp_path / folder / name, provenance=provenance())
    one, two = contents(tmp_path / "one" / name), contents(tmp_path / "two" / name)
    assert one == two
    assert contents(side_car_path(tmp_path / "one" / name)) == contents(
        side_car_path(tmp_path / "two" / name)
    )


@pytest.mark.parametrize("name", FILES)
def test_the_provenance_is_written_in_plain_ascii(name: str, tmp_path: Path) -> None:
    save_clip(moving_disc(1), tmp_path / name, provenance=provenance("Würfel"))
    assert b"W\\u00fcrfel" in (tmp_path / name).read_bytes().replace(b"\\\\", b"\\")


@settings(max_examples=12)
@given(st.integers(1, 5), st.integers(1, 21), st.integers(1, 21), st.integers(1, 3))
@pytest.mark.parametrize("name", ALL)
def test_any_size_comes_back(
    name: str, num_frames: int, height: int, width: int, scale: int
) -> None:
    frames = noise(num_frames, height, width, 3)
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        save_clip(frames, path, provenance=provenance("x"), scale=scale)
        clip = load_clip(path)
        output = read_provenance(path).output
    enlarged = np.kron(frames, np.ones((1, scale, scale, 1), dtype=np.uint8))
    assert clip.frames.shape == enlarged.shape
    assert output is not None
    assert output.scale == scale
    if name in ("clip.mp4", "clip.webm"):
        assert (output.pad_bottom, output.pad_right) == (height * scale % 2, width * scale % 2)
    if name in EXACT:
        assert np.array_equal(clip.frames, enlarged)


@pytest.mark.parametrize("name", ALL)
def test_equal_neighbours_stay_apart(name: str, tmp_path: Path) -> None:
    still, other = moving_disc(2)
    frames = np.stack([still, still, other, other, other, still])
    save_clip(frames, tmp_path / name, fps=24, provenance=provenance())
    decoded = load_clip(tmp_path / name).frames
    assert decoded.shape == frames.shape
    for index, frame in enumerate(decoded):
        distances = [psnr(frame, original + 0.5) for original in (still, other)]
        assert np.argmax(distances) == (index in (2, 3, 4))


def test_gif_shows_its_frames_at_the_right_time(tmp_path: Path) -> None:
    save_clip(moving_disc(25), tmp_path / "clip.gif", fps=24, provenance=provenance())
    with Image.open(tmp_path / "clip.gif") as picture:
        assert picture.info["loop"] == 0
        durations = []
        for index in range(picture.n_frames):
            picture.seek(index)
            durations.append(picture.info["duration"])
    assert len(durations) == 25
    assert set(durations) == {40, 50}
    for index, shown in enumerate(itertools.accumulate(durations), start=1):
        assert abs(shown - 1000 * index / 24) <= 5


def own_palettes(gif: bytes) -> list[bool]:
    """Whether each picture of a GIF has a colour table of its own, from the bytes."""

    def after_table(position: int, flags: int) -> int:
        return position + (3 << (flags & 7) + 1 if flags & 0x80 else 0)

    position, found = after_table(13, gif[10]), []
    while gif[position] != 0x3B:  # the trailer
        if gif[position] == 0x2C:  # a picture: descriptor, colour table, code size
            flags = gif[position + 9]
            found.append(bool(flags & 0x80))
            position = after_table(position + 10, flags) + 1
        else:  # an extension: introducer, label
            position += 2
        while gif[position]:  # sub-blocks
            position += gif[position] + 1
        position += 1
    return found


def test_gif_has_one_palette(tmp_path: Path) -> None:
    save_clip(moving_disc(6), tmp_path / "clip.gif", provenance=provenance())
    assert own_palettes((tmp_path / "clip.gif").read_bytes()) == [False] * 6


def test_gif_of_few_colours_is_exact(tmp_path: Path) -> None:
    blocks = noise(4, 8, 8, 1) // 64 * 80
    frames = np.concatenate([blocks, 255 - blocks, blocks // 2], axis=3).repeat(3, 1).repeat(3, 2)
    save_clip(frames, tmp_path / "clip.gif", provenance=provenance())
    assert np.array_equal(load_clip(tmp_path / "clip.gif").frames, frames)


def test_latents_are_kept(tmp_path: Path) -> None:
    latents = torch.randn(1, 4, 3, 5, 7, generator=torch.Generator().manual_seed(0)).bfloat16()
    path = tmp_path / "clip.safetensors"
    save_clip(moving_disc(3), path, provenance=provenance(), latents=latents)
    assert torch.equal(load_latents(path), latents)
    assert np.array_equal(load_clip(path).frames, moving_disc(3))
    with pytest.raises(OutputError, match="safetensors"):
        save_clip(moving_disc(3), tmp_path / "a.mp4", provenance=provenance(), latents=latents)
    save_clip(moving_disc(3), path, provenance=provenance(), overwrite=True)
    with pytest.raises(InputError, match="no latents"):
        load_latents(path)


# What others make of it.


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffprobe is not installed")
@pytest.mark.parametrize(("name", "codec"), [("clip.mp4", "h264"), ("clip.webm", "vp9")])
def test_ffprobe_agrees(name: str, codec: str, tmp_path: Path) -> None:
    save_clip(moving_disc(12, 31, 45), tmp_path / name, fps=24, provenance=provenance(), scale=3)
    command = ["ffprobe", "-v", "error", "-of", "json", "-count_frames"]
    answer = subprocess.run(
        [*command, "-show_streams", "-show_format", str(tmp_path / name)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert answer.stderr == ""
    probe = json.loads(answer.stdout)
    (stream,) = probe["streams"]
    assert stream["codec_name"] == codec
    assert stream["pix_fmt"] == "yuv420p"
    assert (stream["width"], stream["height"]) == (136, 94)
    assert stream["r_frame_rate"] == "24/1"
    assert stream["nb_read_frames"] == "12"
    assert float(probe["format"]["duration"]) == pytest.approx(0.5, abs=0.002)
    assert stream["color_range"] == "tv"
    assert {stream[f"color_{part}"] for part in ("space", "transfer", "primaries")} == {"bt709"}
    tags = {key.lower(): value for key, value in probe["format"]["tags"].items()}
    assert Provenance.from_json(tags["comment"]).prompt == provenance().prompt
    assert "creation_time" not in tags


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize("name", ["clip.mp4", "clip.webm", "clip.gif"])
def test_ffmpeg_decodes_the_same_frames(name: str, tmp_path: Path) -> None:
    frames = moving_disc(5, 64, 64)
    save_clip(frames, tmp_path / name, fps=8, provenance=provenance())
    command = ["ffmpeg", "-v", "error", "-i", str(tmp_path / name)]
    answer = subprocess.run(
        [*command, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], check=True, capture_output=True
    )
    decoded = np.frombuffer(answer.stdout, dtype=np.uint8).reshape(frames.shape)
    assert psnr(decoded, frames) > 27


def test_mp4_starts_with_its_index(tmp_path: Path) -> None:
    save_clip(moving_disc(), tmp_path / "clip.mp4", provenance=provenance())
    data = (tmp_path / "clip.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


# What is refused, and what is left behind: nothing.


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
