"""Clips whose every frame tells its own number, for the tests of the clip sources."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from numpy.typing import NDArray

from stillmotion.media.clips import save_clip
from stillmotion.media.provenance import ModelIdentity, Provenance
from stillmotion.training.clips.samples import ClipSettings

BITS, BAR, HEIGHT = 8, 8, 32
WIDTH = BITS * BAR
SETTINGS = ClipSettings(height=HEIGHT, width=WIDTH)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def coded(numbers: Sequence[int]) -> NDArray[np.uint8]:
    """Frames (f h w 3) that show numbers below 256: a white bar for each bit that is set."""
    bits = np.array([[number >> bit & 1 for bit in range(BITS)] for number in numbers], np.uint8)
    row = np.repeat(bits * 255, BAR, axis=1)
    return np.broadcast_to(row[:, None, :, None], (len(numbers), HEIGHT, WIDTH, 3)).copy()


def numbers_of(frames: torch.Tensor) -> list[int]:
    """The numbers that frames uint8 (f 3 h w) show; every bar must be clearly black or white."""
    bars = frames[:, :, HEIGHT // 2, BAR // 2 :: BAR].float().mean(1)
    assert ((bars < 60) | (bars > 195)).all(), bars
    return [sum(int(bar > 127) << bit for bit, bar in enumerate(row)) for row in bars]


def write_clip(path: Path, num_frames: int, fps: float = 24.0, first: int = 0) -> Path:
    """A clip by the package's own writer, whose frames show first, first + 1, ..."""
    provenance = Provenance(
        kind="clip",
        method="test",
        prompt="",
        seed=0,
        model=ModelIdentity(name="none", fingerprint=""),
    )
    save_clip(
        coded(range(first, first + num_frames)),
        path,
        fps=fps,
        provenance=provenance,
        side_car=False,
    )
    return path


def write_timed(path: Path, ticks: Sequence[int], base: Fraction, *, key_every: int = 12) -> Path:
    """A clip whose frame k is shown at ticks[k] * base seconds, with B-frames."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=30, options={"crf": "10", "bf": "2"})
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        stream.codec_context.time_base = base
        stream.codec_context.gop_size = key_every
        for tick, frame in zip(ticks, coded(range(len(ticks))), strict=True):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = tick, base
            output.mux(stream.encode(picture))
        output.mux(stream.encode(None))
    return path


def write_manifest(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """A manifest in JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_shard(path: Path, members: Mapping[str, bytes]) -> Path:
    """A tar file."""
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_copy(source: Path, path: Path, *, skip: Fraction = Fraction(0), **options: str) -> Path:
    """The same packets in another container; what is before `skip` seconds is hidden, not gone."""
    with av.open(str(source)) as given, av.open(str(path), "w", options=options) as output:
        stream = given.streams.video[0]
        copy = output.add_stream_from_template(stream)
        for packet in given.demux(stream):
            if packet.pts is not None and packet.dts is not None:
                packet.pts -= int(skip / stream.time_base)
                packet.dts -= int(skip / stream.time_base)
                packet.stream = copy
                output.mux(packet)
    return path
