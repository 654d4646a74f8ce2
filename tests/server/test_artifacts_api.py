"""Uploads, the gallery, and downloads by ranges."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.server.conftest import DRAW, Api, Hand, WithTokens, check_problem
from tests.server.hostile import animation_bytes, picture_bytes, refused_files

from stillmotion.server.limits import ServerLimits

HOSTILE_NAMES = [
    "../../../etc/passwd", "..\\..\\x.png", "/etc/passwd", "a\x00b.png", "x" * 500, ".", "..",
    "con.png", "a\r\nSet-Cookie: x=1.png", "<script>.png", "'; DROP TABLE jobs; --.png",
    "\u202egnp",
]  # fmt: skip


def left_over(library: Path) -> list[Path]:
    """Files of uploads that are on their way."""
    return [path for path in (library / "incoming").rglob("*") if path.is_file()]


def test_a_picture_is_taken_and_used(api: Api, library: Path) -> None:
    found = api.upload(picture_bytes("JPEG", exif=b"Exif\0\0"))
    assert (found["kind"], found["content_type"]) == ("picture", "image/png")
    assert (found["width"], found["height"]) == (32, 24)
    assert left_over(library) == []
    job = api.submit({"kind": "animate", "still": {"artifact": found["id"]}, "prompt": "a"})
    assert job["state"] == "queued"
    answer = api.ask("DELETE", f"/v1/artifacts/{found['id']}")
    check_problem(answer, 409, "takes the artifact")
    api.ask("DELETE", f"/v1/jobs/{job['id']}")
    assert api.ask("DELETE", f"/v1/artifacts/{found['id']}").status_code == 204
    check_problem(api.ask("GET", f"/v1/artifacts/{found['id']}"), 404, "There is no artifact")


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_names_of_files_are_not_used(api: Api, name: str, library: Path) -> None:
    # Not by httpx, which would make the names harmless.
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\n'
    body = head % name.encode() + picture_bytes() + b"\r\n--b--\r\n"
    headers = {"content-type": "multipart/form-data; boundary=b"}
    answer = api.ask("POST", "/v1/pictures", content=body, headers=headers)
    if 400 <= answer.status_code < 500:
        check_problem(answer, answer.status_code, "")
        return
    assert answer.status_code == 201, answer.text
    found = answer.json()
    assert found["name"] == "picture.png"
    assert found["content_type"] == "image/png"
    path = api.service.library.path(found["id"])
    assert path.is_relative_to(library / "files")
    assert left_over(library) == []


def test_a_clip_is_taken_and_not_made_again(api: Api) -> None:
    answer = api.ask("POST", "/v1/clips", content=animation_bytes())
    assert answer.status_code == 201, answer.text
    found = answer.json()
    assert (found["kind"], found["num_frames"]) == ("clip", 3)
    source = {"artifact": found["id"]}
    again = {"kind": "animate", "from_clip": source}
    answer = api.ask("POST", "/v1/jobs", json={"job": again})
    check_problem(answer, 422, "only clips that were made here", "job.from_clip")
    still = {"kind": "animate", "still": source}
    check_problem(api.ask("POST", "/v1/jobs", json={"job": still}), 422, "is a clip", "job.still")
    api.submit({"kind": "edit", "clip": source, "prompt": "a", "frames": 2})


HOSTILE = dict(refused_files())
SOME = ["empty", "html", "svg", "pickle", "zip", "png bomb", "jpeg cut", "play list"]


@pytest.mark.parametrize("name", SOME)
def test_hostile_files_are_refused(api: Api, library: Path, name: str) -> None:
    """All of them are looked at in test_uploads.py; here the way through the server."""
    content = HOSTILE[name]
    check_problem(api.ask("POST", "/v1/pictures", content=content), 422, "", "file")
    form = {"file": ("a.png", content)}
    check_problem(api.ask("POST", "/v1/clips", files=form), 422, "", "file")
    assert left_over(library) == []
    assert api.get("/v1/artifacts")["artifacts"] == []


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"json": {"url": "http://evil.example/x.png"}}, 415),
        ({"data": {"file": "x"}}, 415),
        ({"files": {"other": ("x.png", picture_bytes())}}, 422),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=b"}}, 400),
        ({"content": b"--b\r\nContent-Disposition: form-data; name=file\r\n\r\n",
          "headers": {"content-type": "multipart/form-data; boundary=b"}}, 422),
        ({"content": b"--b\r\n" + b"x: y\r\n" * 9999,
          "headers": {"content-type": "multipart/form-data; boundary=b"}}, 400),
        ({"files": [("file", ("a", b"x")), ("file", ("b", b"x"))]}, 400),
        ({"content": picture_bytes(), "headers": {"content-type": "\x7f;;=,"}}, 415),
    ],
)  # fmt: skip
def test_other_bodies_are_refused(api: Api, options: Any, status: int) -> None:
    answer = api.ask("POST", "/v1/pictures", **options)
    assert 400 <= answer.status_code < 500
    assert answer.status_code == status, answer.text
    check_problem(answer, status, "")


def test_files_are_counted_while_they_arrive(with_tokens: WithTokens, library: Path) -> None:
    ada = with_tokens(ServerLimits(max_picture_bytes=1000))["ada"]
    check_problem(ada.ask("POST", "/v1/pictures", content=bytes(1001)), 413, "1000 bytes")
    form = {"file": ("a.png", bytes(1001))}
    check_problem(ada.ask("POST", "/v1/pictures", files=form), 413, "1000 bytes")
    form = {"file": ("a.png", bytes(100_000))}
    check_problem(ada.ask("POST", "/v1/pictures", files=form), 413, "bytes")
    assert left_over(library) == []


def test_a_full_disk_takes_no_uploads(with_tokens: WithTokens) -> None:
    ada = with_tokens(ServerLimits(min_free_bytes=1 << 60))["ada"]
    check_problem(ada.ask("POST", "/v1/pictures", content=picture_bytes()), 503, "disk")


def test_others_artifacts_are_not_there(with_tokens: WithTokens) -> None:
    apis = with_tokens()
    found = apis["ada"].upload()
    where = f"/v1/artifacts/{found['id']}"
    for method, path in (
        ("GET", where), ("DELETE", where), ("GET", f"{where}/about"), ("GET", f"{where}/thumbnail"),
    ):  # fmt: skip
        check_problem(apis["bob"].ask(method, path), 404, "There is no artifact")
    job = {"kind": "animate", "still": {"artifact": found["id"]}}
    answer = apis["bob"].ask("POST", "/v1/jobs", json={"job": job})
    check_problem(answer, 422, "not in the library", "job.still")
    assert apis["bob"].get("/v1/artifacts")["artifacts"] == []
    assert apis["operator"].get("/v1/artifacts")["artifacts"] == [found]


def test_the_gallery_shows_what_was_made(api: Api, hand: Hand) -> None:
    job = api.submit()
    done = hand.complete()
    assert api.get(f"/v1/jobs/{job['id']}")["artifacts"] == list(done.artifacts)
    [still] = api.get("/v1/artifacts?kind=still")["artifacts"]
    both = api.get(f"/v1/artifacts?job={job['id']}&companions=true")["artifacts"]
    assert {artifact["kind"] for artifact in both} == {"still", "latents"}
    assert api.get(f"/v1/artifacts/{still['id']}/about") == still
    small = api.ask("GET", f"/v1/artifacts/{still['id']}/thumbnail")
    assert Image.open(io.BytesIO(small.content)).format == "WEBP"
    page = api.get("/v1/artifacts?companions=true&limit=1")
    rest = api.get(f"/v1/artifacts?companions=true&limit=1&after={page['next']}")
    assert [*page["artifacts"], *rest["artifacts"]] == both


@pytest.fixture
def latents(api: Api, hand: Hand) -> str:
    """The path of an artifact of 10 240 bytes."""
    api.submit()
    done = hand.complete()
    return f"/v1/artifacts/{done.artifacts[1]}"


CONTENT = bytes(range(256)) * 40


def test_downloads_are_attachments_that_nobody_guesses_about(api: Api, latents: str) -> None:
    answer = api.ask("GET", latents)
    assert answer.content == CONTENT
    headers = answer.headers
    assert headers["content-disposition"] == 'attachment; filename="still.latents.safetensors"'
    assert headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in headers["content-security-policy"]
    assert headers["accept-ranges"] == "bytes"
    inline = api.ask("GET", f"{latents}?inline=true")
    assert inline.headers["content-disposition"].startswith("attachment")
    head = api.ask("HEAD", latents)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == "10240"


@pytest.mark.parametrize(
    ("given", "status", "content"),
    [
        ("bytes=0-0", 206, CONTENT[:1]),
        ("bytes=100-199", 206, CONTENT[100:200]),
        ("bytes=10000-", 206, CONTENT[10000:]),
        ("bytes=-5", 206, CONTENT[-5:]),
        ("bytes=10239-99999", 206, CONTENT[-1:]),
        ("bytes=-99999", 206, CONTENT),
        ("bytes=10240-", 416, None),
        ("bytes=-0", 416, None),
        (f"bytes={10**18}-", 416, None),
        # What is not understood is passed over.
        ("bytes=5-2", 200, CONTENT),
        ("bytes=0-1,3-4", 200, CONTENT),
        ("bytes=-", 200, CONTENT),
        ("bytes=a-b", 200, CONTENT),
        ("lines=1-2", 200, CONTENT),
        ("bytes=" + "0-0," * 2000, 200, CONTENT),
        (f"bytes={'9' * 60}-", 200, CONTENT),
    ],
)
def test_ranges(api: Api, latents: str, given: str, status: int, content: bytes | None) -> None:
    answer = api.ask("GET", latents, headers={"range": given})
    assert answer.status_code == status
    if content is None:
        check_problem(answer, 416, "10240 bytes")
        assert answer.headers["content-range"] == "bytes */10240"
    else:
        assert answer.content == content
    if status == 206:
        first = CONTENT.index(content) if len(content) < 256 else None
        assert answer.headers["content-range"].endswith("/10240")
        assert first is None or answer.headers["content-length"] == str(len(content))


def test_versions_of_a_file(api: Api, latents: str) -> None:
    etag = api.ask("GET", latents).headers["etag"]
    assert api.ask("GET", latents, headers={"if-none-match": etag}).status_code == 304
    assert api.ask("GET", latents, headers={"if-none-match": f'"x", W/{etag}'}).status_code == 304
    assert api.ask("GET", latents, headers={"if-none-match": '"x"'}).status_code == 200
    part = {"range": "bytes=0-3"}
    assert api.ask("GET", latents, headers=part | {"if-range": etag}).status_code == 206
    assert api.ask("GET", latents, headers=part | {"if-range": '"x"'}).status_code == 200


def test_a_file_that_is_gone_is_not_there(api: Api, latents: str) -> None:
    api.service.library.path(latents.rpartition("/")[2]).unlink()
    check_problem(api.ask("GET", latents), 404, "")


def test_draw_jobs_need_no_picture(api: Api) -> None:
    assert api.submit(DRAW)["artifacts"] == []
