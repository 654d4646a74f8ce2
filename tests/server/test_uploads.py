"""Uploads are looked at in a confined process, and only pixels of pictures are kept."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
from base64 import b64decode
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from tests.media.samples import moving_disc, provenance
from tests.server.hostile import animation_bytes, picture_bytes, refused_files

from stillmotion.media.clips import save_clip
from stillmotion.media.images import load_image
from stillmotion.server.limits import ServerLimits
from stillmotion.server.probe import ProbeAnswer, ProbeRequest, look
from stillmotion.server.problems import ProblemError
from stillmotion.server.uploads import Probe, UploadKind

LIMITS = ServerLimits()


def asked(path: Path, kind: UploadKind) -> ProbeRequest:
    return ProbeRequest(
        kind=kind, path=str(path), max_pixels=1_000_000, max_frames=50, seconds=20,
        num_bytes=2 << 30,
    )  # fmt: skip


def save(folder: Path, content: bytes) -> Path:
    path = folder / "given"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "content"), list(refused_files()), ids=lambda value: str(value)[:30]
)
@pytest.mark.parametrize("kind", ["picture", "clip"])
def test_hostile_files_are_refused_in_words(
    tmp_path: Path, name: str, content: bytes, kind: UploadKind
) -> None:
    answer = look(asked(save(tmp_path, content), kind))
    assert answer.error
    assert "\n" not in answer.error
    assert str(tmp_path) not in answer.error


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_of_a_picture_the_pixels_are_kept_and_nothing_else(tmp_path: Path, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a camera
    exif[0x010E] = "secret place"
    path = save(tmp_path, picture_bytes(kind, exif=exif.tobytes()) + b"PK\x03\x04<script>")
    plain = tmp_path / "plain.png"
    answer = asyncio.run(Probe.under(LIMITS).look("picture", path, plain))
    assert (answer.content_type, answer.width, answer.height) == ("image/png", 24, 32)
    kept = plain.read_bytes()
    assert b"secret" not in kept
    assert b"<script>" not in kept
    assert np.array_equal(load_image(plain), load_image(path))


def test_the_record_in_a_picture_is_not_kept(tmp_path: Path) -> None:
    """It could name any model."""
    note = PngImagePlugin.PngInfo()
    note.add_itxt("stillmotion", json.dumps({"model": {"name": "/etc"}}))
    path = save(tmp_path, picture_bytes(pnginfo=note))
    plain = tmp_path / "plain.png"
    asyncio.run(Probe.under(LIMITS).look("picture", path, plain))
    assert Image.open(plain).text == {}


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_animations_are_clips(tmp_path: Path, kind: str) -> None:
    answer = look(asked(save(tmp_path, animation_bytes(kind)), "clip"))
    assert answer == ProbeAnswer(
        content_type=f"image/{kind.lower()}", suffix=f".{kind.lower()}", width=16, height=16,
        num_frames=3, thumbnail=answer.thumbnail,
    )  # fmt: skip
    assert Image.open(io.BytesIO(b64decode(answer.thumbnail))).size == (16, 16)


@pytest.mark.parametrize(("suffix", "kind"), [(".mp4", "video/mp4"), (".webm", "video/webm")])
def test_videos_are_clips(tmp_path: Path, suffix: str, kind: str) -> None:
    path = tmp_path / f"clip{suffix}"
    save_clip(moving_disc(4, 32, 48), path, fps=8.0, provenance=provenance())
    answer = look(asked(path, "clip"))
    assert (answer.error, answer.content_type) == (None, kind)
    assert (answer.width, answer.height, answer.num_frames) == (48, 32, 4)
    for cut in (40, len(path.read_bytes()) // 2):
        broken = save(tmp_path, path.read_bytes()[:cut])
        assert look(asked(broken, "clip")).error


def test_a_clip_is_held_to_its_limits(tmp_path: Path) -> None:
    path = save(tmp_path, animation_bytes(num_frames=6))
    limits = asked(path, "clip")
    assert look(limits).error is None
    assert "at most 5 are taken" in str(look(replace(limits, max_frames=5)).error)
    assert "at most 1000 pixels" in str(look(replace(limits, max_pixels=1000)).error)


def test_the_process_is_confined(tmp_path: Path) -> None:
    """It may neither write nor take more memory than it was given."""
    request = replace(asked(save(tmp_path, picture_bytes(height=3000, width=3000)), "picture"),
                      max_pixels=10**9, num_bytes=180 << 20)  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "stillmotion.server.probe"],
        input=json.dumps(asdict(request)), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not done.stdout or "error" in json.loads(done.stdout)
    script = (
        "import json, sys\n"
        "from stillmotion.server import probe\n"
        f"probe._confine(probe.ProbeRequest(**json.loads({json.dumps(asdict(request))!r})))\n"
        f"with open({str(tmp_path / 'out')!r}, 'w') as stream:\n    stream.write('x')\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert b"File too large" in ended.stderr
    assert not (tmp_path / "out").read_text()


def test_a_probe_that_dies_counts_against_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ProblemError, match="damaged") as refused:
        asyncio.run(Probe.under(LIMITS).look("picture", save(tmp_path, picture_bytes())))
    assert refused.value.status_code == 422


def test_a_probe_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sleeper = tmp_path / "sleeper"
    sleeper.write_text("#!/bin/sh\nexec sleep 60\n")
    sleeper.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(sleeper))
    monkeypatch.setattr("stillmotion.server.uploads._STARTING_SECONDS", 0)
    limits = ServerLimits(probe_seconds=1)
    with pytest.raises(ProblemError, match="too long"):
        asyncio.run(Probe.under(limits).look("picture", save(tmp_path, picture_bytes())))
