"""Files that are sent to break something."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image


def picture_bytes(kind: str = "PNG", height: int = 24, width: int = 32, **options: Any) -> bytes:
    """A small good picture."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 7 % 256, y * 9 % 256, (x + y) % 256], -1).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=kind, **options)
    return buffer.getvalue()


def animation_bytes(kind: str = "GIF", num_frames: int = 3, side: int = 16) -> bytes:
    """A small good animation."""
    pages = [Image.new("RGB", (side, side), (40 * index, 0, 90)) for index in range(num_frames)]
    buffer = io.BytesIO()
    pages[0].save(buffer, format=kind, save_all=True, append_images=pages[1:], duration=100)
    return buffer.getvalue()


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, data: bytes, *extra: bytes) -> bytes:
    """A PNG, 8-bit RGB, that says it has this size, whatever is in it."""
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = png_chunk(b"IDAT", zlib.compress(data, 9))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(extra) + body + png_chunk(b"IEND", b"")


class _Call:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("unpickled",))


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../etc/x", b"\0" * 1_000_000)
    return buffer.getvalue()


def refused_files() -> Iterator[tuple[str, bytes]]:
    """Name and bytes of what is neither a picture nor a clip that may be taken."""
    good, jpeg, webp = (picture_bytes(kind) for kind in ("PNG", "JPEG", "WEBP"))
    yield "empty", b""
    yield "one byte", b"\x89"
    yield "zeros", bytes(4096)
    yield "text", b"hello\n" * 99
    yield "html", b"<!doctype html><script>alert(1)</script>"
    yield "svg", b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    yield "pickle", pickle.dumps(_Call())
    yield "zip", _zip()
    yield "pdf", b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj"
    yield "bmp", picture_bytes("BMP")
    yield "tiff", picture_bytes("TIFF")
    yield "play list", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"
    yield "concat", b"ffconcat version 1.0\nfile /etc/passwd\n"
    yield "png signature alone", good[:8]
    yield "png cut in the head", good[:20]
    yield "png cut in the data", good[: len(good) // 2]
    yield "jpeg cut", jpeg[: len(jpeg) // 3]
    yield "webp cut", webp[: len(webp) // 2]
    yield "png of huge size", png(60_000, 60_000, b"\0" * 1000)
    yield "png bomb", png(20_000, 20_000, bytes(20_000 * 200))
    yield "png one side", png(1_000_000, 1, b"\0" * 3_000_001)
    yield "png of no size", png(0, 0, b"")
    yield "png with broken sum", good[:40] + b"\xff" + good[41:]
    bomb = zlib.compress(bytes(100_000_000), 9)
    yield "png text bomb", png(4, 4, bytes(52), png_chunk(b"zTXt", b"stillmotion\0\0" + bomb))
    yield "webp of huge size", b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\xff\xff\xff\x0f" + bytes(8)
    yield "gif of huge size", b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(64)
    yield "mp4 head alone", b"\0\0\0\x18ftypisom\0\0\2\0isomiso2"
    yield (
        "mp4 with huge atom",
        b"\0\0\0\x18ftypisom\0\0\2\0isomiso2\xff\xff\xff\xffmoov" + bytes(99),
    )
    yield "matroska head alone", b"\x1a\x45\xdf\xa3" + bytes(64)
    yield "null bytes and html", b"\0" * 64 + b"<script>"
