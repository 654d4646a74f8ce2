"""Reading frames of clips from anywhere, and refusing what cannot be read."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.media.samples import ALL, EXACT, moving_disc, noise, provenance, psnr

from stillmotion.errors import InputError
from stillmotion.media import container, reading
from stillmotion.media.clips import save_clip
from stillmotion.media.images import save_image
from stillmotion.media.reading import count_frames, read_frames

VIDEOS = ["clip.mp4", "clip.mov", "clip.webm", "clip.mkv", "clip.avi"]
CODECS = {".webm": "libvpx-vp9", ".avi": "mpeg4"}
OPTIONS = {
    "libvpx-vp9": {"crf": "10"},
    "libx264": {"crf": "10"},
    "mpeg4": {"qmin": "1", "qmax": "1", "bf": "2"},
}


def write_foreign_video(
    path: Path, frames: NDArray[np.uint8], rate: Fraction = Fraction(30000, 1001)
) -> None:
    """A video of another program: no record of ours, two frames of reordering allowed."""
    codec = CODECS.get(path.suffix, "libx264")
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream(codec, rate=rate, options=OPTIONS[codec])
        if codec == "mpeg4":
            stream.bit_rate = 8_000_000
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv444p" if codec == "libx264" else "yuv420p"
        for frame in frames:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        output.mux(stream.encode(None))


def write_audio(path: Path) -> None:
    codec = "aac" if path.suffix == ".mp4" else "libopus"
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream(codec, rate=48000)
        sound = av.AudioFrame.from_ndarray(
            np.zeros((1, 4800), np.float32), format="flt", layout="mono"
        )
        sound.sample_rate = 48000
        resampled = av.AudioResampler(stream.format, stream.layout, 48000).resample(sound)
        for part in resampled:
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))


@pytest.mark.parametrize("name", ALL)
def test_our_own_clips_come_back(name: str, tmp_path: Path) -> None:
    # An odd width, which mp4 and webm pad; equal frames, which gif and webp join.
    frames = moving_disc(6, 40, 55)
    frames[3] = frames[2]
    save_clip(frames, tmp_path / name, fps=12.5, provenance=provenance())
    clip = read_frames(tmp_path / name)
    assert clip.frames.shape == frames.shape
    assert clip.frames.dtype == np.uint8
    assert clip.fps == 12.5
    if name in EXACT:
        assert np.array_equal(clip.frames, frames)
    else:
        assert psnr(clip.frames, frames) > 28


@pytest.mark.parametrize("name", ALL)
def test_frames_are_chosen_by_start_count_and_stride(name: str, tmp_path: Path) -> None:
    save_clip(moving_disc(9), tmp_path / name, fps=12, provenance=provenance())
    whole = read_frames(tmp_path / name)
    part = read_frames(tmp_path / name, start=1, count=3, stride=3)
    assert np.array_equal(part.frames, whole.frames[[1, 4, 7]])
    assert part.fps == 4
    rest = read_frames(tmp_path / name, start=5, stride=2)
    assert np.array_equal(rest.frames, whole.frames[[5, 7]])


@pytest.mark.parametrize("name", VIDEOS)
def test_videos_of_other_programs(name: str, tmp_path: Path) -> None:
    frames = moving_disc(10)
    write_foreign_video(tmp_path / name, frames)
    clip = read_frames(tmp_path / name, start=2, count=4, stride=2)
    assert psnr(clip.frames, frames[2:10:2]) > 30
    assert clip.fps == pytest.approx(30000 / 1001 / 2, rel=1e-3)
    with av.open(str(tmp_path / name)) as source:
        assert source.streams.video[0].codec_context.height == 40
        assert len(list(source.decode(video=0))) == len(read_frames(tmp_path / name).frames)


@pytest.mark.parametrize("name", [*VIDEOS, "clip.gif", "frames"])
def test_frames_are_counted(name: str, tmp_path: Path) -> None:
    frames = moving_disc(7)
    if name in VIDEOS:
        write_foreign_video(tmp_path / name, frames)
    else:
        save_clip(frames, tmp_path / name, provenance=provenance())
    assert count_frames(tmp_path / name) == len(read_frames(tmp_path / name).frames) == 7


def test_counting_tells_what_is_no_clip(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no clip"):
        count_frames(tmp_path / "none.avi")
    (tmp_path / "lie.avi").write_text("no clip at all, only words that go on for a while")
    with pytest.raises(InputError, match="damaged or no video"):
        count_frames(tmp_path / "lie.avi")
    write_audio(tmp_path / "sound.mp4")
    with pytest.raises(InputError, match="holds no video"):
        count_frames(tmp_path / "sound.mp4")


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_videos_are_turned_upright(quarters: int, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    frames = moving_disc(3)
    write_foreign_video(path, frames)
    # The matrix of the track's header: `quarters` quarter turns clockwise (ISO 14496-12, 8.3.2).
    cosine, sine = (1, 0, -1, 0)[quarters] << 16, (0, 1, 0, -1)[quarters] << 16
    matrix = struct.pack(">9i", cosine, sine, 0, -sine, cosine, 0, 0, 0, 1 << 30)
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 44
    assert content[at : at + 4] == (1 << 16).to_bytes(4)
    content[at : at + 36] = matrix
    path.write_bytes(content)
    clip = read_frames(path)
    assert psnr(clip.frames, np.rot90(frames, -quarters, axes=(1, 2))) > 30


@pytest.mark.parametrize(
    ("name", "pillow_format"), [("a.gif", "GIF"), ("a.webp", "WEBP"), ("a.apng", "PNG")]
)
def test_animations_of_other_programs(name: str, pillow_format: str, tmp_path: Path) -> None:
    flat = [np.full((20, 30, 3), level, np.uint8) for level in (0, 60, 120, 180, 240)]
    first, *others = [Image.fromarray(frame) for frame in flat]
    first.save(
        tmp_path / name, format=pillow_format, save_all=True, append_images=others,
        duration=40, loop=0, lossless=True,
    )  # fmt: skip
    clip = read_frames(tmp_path / name, start=1, stride=2)
    assert np.array_equal(clip.frames, np.stack([flat[1], flat[3]]))
    assert clip.fps == pytest.approx(12.5)


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    frames = [Image.new("RGBA", (8, 8), (level, 0, 0, 0)) for level in (10, 200)]
    frames[0].save(
        tmp_path / "a.webp", save_all=True, append_images=frames[1:], lossless=True, exact=True
    )
    assert (read_frames(tmp_path / "a.webp").frames == 255).all()


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        picture = np.full((6, 8, 3), number * 10, np.uint8)
        suffix = ".webp" if number == 2 else ".png"
        save_image(picture, tmp_path / f"shot{number}{suffix}", provenance=provenance())
    clip = read_frames(tmp_path)
    assert clip.frames[:, 0, 0, 0].tolist() == [10, 20, 100]
    assert clip.fps == 8


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"start": -1}, "must be 0 or later, not -1"),
        ({"stride": 0}, "at least 1, not 0"),
        ({"count": 0}, "must be 1 to 100000, not 0"),
        ({"start": 6}, "has 6 frames.*frames from 6 on"),
        ({"count": 7}, "has 6 frames.*7 frames from 0 on in steps of 1"),
        ({"count": 3, "stride": 3}, "has 6 frames.*3 frames from 0 on in steps of 3"),
    ],
)
@pytest.mark.parametrize("name", ["clip.mp4", "foreign.mp4", "foreign.mkv", "clip.gif", "frames"])
def test_what_is_not_there_is_told(
    name: str, asked: dict[str, int], said: str, tmp_path: Path
) -> None:
    if name.startswith("foreign"):
        write_foreign_video(tmp_path / name, moving_disc(6))
    else:
        save_clip(moving_disc(6), tmp_path / name, provenance=provenance())
    with pytest.raises(InputError, match=said):
        read_frames(tmp_path / name, **asked)


@pytest.mark.parametrize("name", VIDEOS)
@pytest.mark.parametrize("kept", [0.0, 0.05, 0.5, 0.95])
def test_a_cut_video_is_told(name: str, kept: float, tmp_path: Path) -> None:
    path = tmp_path / name
    write_foreign_video(path, noise(12, 40, 56, 3))
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(InputError) as caught:
        read_frames(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("pillow_format", ["GIF", "WEBP", "PNG"])
@pytest.mark.parametrize("kept", [0.0, 0.05, 0.5, 0.95])
def test_a_cut_animation_is_told(pillow_format: str, kept: float, tmp_path: Path) -> None:
    path = tmp_path / f"clip.{pillow_format.lower()}"
    first, *others = [Image.fromarray(frame) for frame in noise(6, 40, 56, 3)]
    first.save(path, format=pillow_format, save_all=True, append_images=others, lossless=True)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(InputError, match="clip"):
        read_frames(path)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_sound_alone_is_told(name: str, tmp_path: Path) -> None:
    write_audio(tmp_path / name)
    with pytest.raises(InputError, match="holds no video"):
        read_frames(tmp_path / name)


def test_what_is_no_clip_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no clip"):
        read_frames(tmp_path / "none.mp4")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(InputError, match=r"known are \.mp4, .* and folders of pictures"):
        read_frames(tmp_path / "notes.txt")
    with pytest.raises(InputError, match="holds no pictures"):
        read_frames(tmp_path)
    for name in ("lie.mp4", "lie.mkv", "lie.gif", "lie.safetensors"):
        (tmp_path / name).write_text("no clip at all, only words that go on for a while")
        with pytest.raises(InputError, match="lie"):
            read_frames(tmp_path / name)


def test_a_play_list_in_disguise_opens_nothing(tmp_path: Path) -> None:
    write_foreign_video(tmp_path / "secret.mp4", moving_disc(2))
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n")
    with pytest.raises(InputError, match="damaged or no video"):
        read_frames(tmp_path / "list.mp4")


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.gif", "clip.webp", "frames"])
def test_size_is_refused_before_decoding(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = moving_disc(6)
    if name == "clip.mkv":
        write_foreign_video(tmp_path / name, frames)
    else:
        save_clip(frames, tmp_path / name, provenance=provenance("other"), side_car=False)
    monkeypatch.setattr(container, "MAX_CLIP_PIXELS", 3 * 40 * 56)
    with pytest.raises(InputError, match="at most"):
        read_frames(tmp_path / name, **({"count": 4} if name == "clip.mkv" else {}))
    if name == "clip.mkv":
        monkeypatch.setattr(reading, "upright", lambda _: pytest.fail("a frame was converted"))
        with pytest.raises(InputError, match="at most"):
            read_frames(tmp_path / name, count=4)


def test_frames_and_numbers_have_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_foreign_video(tmp_path / "clip.mp4", moving_disc(6))
    monkeypatch.setattr(reading, "MAX_FRAMES", 5)
    with pytest.raises(InputError, match="has 6 such frames; at most 5 are read"):
        read_frames(tmp_path / "clip.mp4")
    assert len(read_frames(tmp_path / "clip.mp4", stride=2).frames) == 3
    monkeypatch.setattr(reading, "MAX_PIXELS", 40 * 56 - 1)
    with pytest.raises(InputError, match="frames of 56 x 40 pixels; at most 2239"):
        read_frames(tmp_path / "clip.mp4", count=1)
