"""Fetching a result in parts: a broken connection costs the part, not the whole."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO

import httpx

from stillmotion.client.refusals import Refusal, Unreachable, check
from stillmotion.errors import InputError
from stillmotion.runtime.files import atomic_path

PART_BYTES = 8 << 20
_TRIES = 5


def download(
    http: httpx.Client, address: str, path: Path, *, overwrite: bool, part_bytes: int = PART_BYTES
) -> str:
    """Fetch `address` into `path` by ranges; returns the SHA-256 of what was written.

    Every part after the first carries If-Range, so that parts of two files are never joined.
    Raises Refusal as the server does, Unreachable if it stays away, InputError if the file is
    another one half-way, OutputError as `atomic_path`.
    """
    with atomic_path(path, overwrite=overwrite) as temporary, temporary.open("wb") as target:
        etag, done, total = "", 0, 1
        while done < total:
            response = _part(http, address, etag, done, part_bytes)
            if response.status_code == 416 and done == 0:
                break  # an empty file has no first byte
            check(response)
            if response.status_code != 206:
                if done:
                    raise InputError("The file was replaced while it was fetched; fetch it again.")
                total = len(response.content)
            else:
                total = int(response.headers["content-range"].rpartition("/")[2])
            etag = response.headers.get("etag", "")
            done += _write(target, response.content)
    return _sha256(path)


def _part(
    http: httpx.Client, address: str, etag: str, start: int, part_bytes: int
) -> httpx.Response:
    headers = {"Range": f"bytes={start}-{start + part_bytes - 1}"}
    if etag:
        headers["If-Range"] = etag
    for left in reversed(range(_TRIES)):
        try:
            return http.get(address, headers=headers)
        except httpx.TransportError as error:
            if not left:
                raise Unreachable(
                    f"The connection broke {_TRIES} times while '{address}' was fetched; try again."
                ) from error
    raise AssertionError


def _write(target: BinaryIO, content: bytes) -> int:
    if not content:
        raise Refusal(502, {"detail": "The server sent an empty part; fetch it again."}, None)
    return target.write(content)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
