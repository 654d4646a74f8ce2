"""Artifacts found, listed, pinned, deleted and swept; pictures and clips that users give."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from tests.queueing.conftest import Time, drawing

from stillmotion.errors import InputError
from stillmotion.jobs.model import parse_job
from stillmotion.jobs.sources import FileSource
from stillmotion.media.clips import save_clip
from stillmotion.media.images import load_image, read_png_text
from stillmotion.media.provenance import ModelIdentity, Provenance
from stillmotion.queueing.leases import Leases
from stillmotion.queueing.library import Library
from stillmotion.queueing.queue import JobQueue
from stillmotion.queueing.uploads import ClipLimits, probe_clip, safe_name
from stillmotion.queueing.views import Artifact, NewArtifact, NoSuchArtifactError, StateError

Give = Callable[..., Artifact]


def pixels(height: int, width: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.arange(height * width * 3, dtype=np.uint32).reshape(height, width, 3).astype(np.uint8)


@pytest.fixture
def give(library: Library) -> Give:
    def give(name: str = "cat.png", side: int = 8, owner: str = "") -> Artifact:
        path = library.incoming()
        Image.fromarray(pixels(side, side)).save(path, format="PNG")
        return library.add_picture(path, name=name, owner=owner)

    return give


def made(queue: JobQueue, leases: Leases, count: int = 1, size: int = 100) -> list[str]:
    """The stills of a job, each with a record."""
    job_id = queue.submit(drawing(), owner="ann").job.id
    claim = leases.claim("w")
    assert claim is not None
    new = []
    for number in range(count):
        name = f"still-{number}.png"
        (claim.folder / name).write_bytes(b"x" * size)
        (claim.folder / f"{name}.json").write_text("{}")
        new += [
            NewArtifact(file=name, kind="still", content_type="image/png", width=4, height=5),
            NewArtifact(
                file=f"{name}.json", kind="record", content_type="application/json", main=name
            ),
        ]
    leases.complete(claim, new)
    return list(queue.get(job_id).artifacts[::2])


def test_of_a_picture_the_pixels_are_taken(library: Library) -> None:
    path = library.incoming()
    note = PngInfo()
    note.add_text("stillmotion", "a record that names a model")
    Image.fromarray(pixels(4, 6)).save(path, format="PNG", pnginfo=note)
    found = library.add_picture(path, name="../../etc/My Cat!.jpeg", owner="ann")
    assert (found.name, found.content_type, found.kind) == ("My Cat.png", "image/png", "picture")
    assert (found.width, found.height, found.owner, found.job_id) == (6, 4, "ann", None)
    assert (load_image(library.path(found.id)) == pixels(4, 6)).all()
    assert read_png_text(library.path(found.id)) == {}
    assert not path.exists()
    assert library.thumbnail(found.id) is not None
    assert library.used_bytes() == library.path(found.id).stat().st_size
    source = FileSource(artifact=found.id)
    assert library.find(source).name == "My Cat.png"
    assert library.find(FileSource(artifact=found.id, name="other.png")).name == "other.png"
    with pytest.raises(InputError, match="give artifact, not path"):
        library.find(FileSource(path="/etc/passwd"))


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("cat.png", "cat.jpg"),
        ("../../x", "x.jpg"),
        ("C:\\temp\\a b.gif", "a b.jpg"),
        ("\x00\n", "unnamed.jpg"),
        ("..", "unnamed.jpg"),
        ("", "unnamed.jpg"),
        ("кот.png", "кот.jpg"),
        ("a" * 500, "a" * 100 + ".jpg"),
    ],
)
def test_of_names_only_what_is_harmless_is_kept(name: str, safe: str) -> None:
    assert safe_name(name, "jpg") == safe


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"<svg/>", b"\x89PNG\r\n\x1a\n" + b"x" * 50])
def test_what_is_no_picture_is_refused_and_stays(library: Library, content: bytes) -> None:
    path = library.incoming()
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        library.add_picture(path, name="cat.png")
    assert str(path) not in str(caught.value)
    assert path.read_bytes() == content
    assert library.list().artifacts == ()


def test_a_picture_of_too_many_pixels_is_refused(library: Library) -> None:
    path = library.incoming()
    Image.fromarray(pixels(10, 11)).save(path, format="PNG")
    with pytest.raises(InputError, match="11 x 10 pixels; at most 100"):
        library.add_picture(path, name="cat.png", max_pixels=100)


@pytest.mark.parametrize("ending", ["mp4", "webm", "gif", "webp"])
def test_a_clip_is_taken_by_what_is_in_it(library: Library, tmp_path: Path, ending: str) -> None:
    record = Provenance(
        kind="clip", method="test", prompt="", seed=1,
        model=ModelIdentity(name="m", fingerprint="f"),
    )  # fmt: skip
    frames = np.stack([pixels(16, 24)] * 3)
    frames[1] //= 2
    frames[2] //= 3
    clip = tmp_path / f"a.{ending}"
    save_clip(frames, clip, fps=8, provenance=record)
    path = library.incoming()
    os.rename(clip, path)
    found = library.add_clip(path, name="my clip")
    assert (found.name, found.kind) == (f"my clip.{ending}", "clip")
    assert (found.width, found.height, found.num_frames) == (24, 16, 3)
    assert library.thumbnail(found.id) is not None


def test_clips_have_limits(tmp_path: Path) -> None:
    record = Provenance(
        kind="clip", method="test", prompt="", seed=1,
        model=ModelIdentity(name="m", fingerprint="f"),
    )  # fmt: skip
    for ending in ("mp4", "gif"):
        clip = tmp_path / f"a.{ending}"
        frames = np.stack([pixels(16, 24) // (1 + n) for n in range(5)])
        save_clip(frames, clip, fps=8, provenance=record)
        assert probe_clip(clip, ClipLimits(max_frames=5)).num_frames == 5
        for limits in (
            ClipLimits(max_frames=4),
            ClipLimits(max_frame_pixels=300),
            ClipLimits(max_pixels=4 * 24 * 16),
        ):
            with pytest.raises(InputError, match="the clip has"):
                probe_clip(clip, limits)
        cut = tmp_path / f"cut.{ending}"
        cut.write_bytes(clip.read_bytes()[:60])
        with pytest.raises(InputError):
            probe_clip(cut)


def test_the_gallery_is_newest_first_in_pages(
    queue: JobQueue, leases: Leases, library: Library, give: Give
) -> None:
    stills = made(queue, leases, 3)
    picture = give(owner="bob")
    page = library.list(limit=2)
    assert [one.id for one in page.artifacts] == [picture.id, stills[2]]
    page = library.list(limit=2, before=page.next)
    assert ([one.id for one in page.artifacts], page.next) == ([stills[1], stills[0]], None)
    assert [one.id for one in library.list(owner="bob").artifacts] == [picture.id]
    assert [one.kind for one in library.list(kind="still").artifacts] == ["still"] * 3
    job_id = library.get(stills[0]).job_id
    assert len(library.list(job_id=job_id, mains_only=False).artifacts) == 6
    assert [one.kind for one in library.companions(stills[1])] == ["record"]


def test_deleting_takes_what_belongs_to_it(
    queue: JobQueue, leases: Leases, library: Library, tmp_path: Path
) -> None:
    first, second = made(queue, leases, 2)
    [record] = library.companions(first)
    library.delete(first)
    for gone in (first, record.id):
        with pytest.raises(NoSuchArtifactError):
            library.get(gone)
    assert library.path(second).is_file()
    library.delete(second)
    assert list((tmp_path / "library" / "files").iterdir()) == []


def test_what_a_waiting_job_takes_is_kept(
    queue: JobQueue, library: Library, give: Give, tmp_path: Path, clock: Time
) -> None:
    old, taken, pinned, new = (give(f"{name}.png") for name in "abcd")
    job_id = queue.submit(parse_job({"kind": "animate", "still": {"artifact": taken.id}})).job.id
    with pytest.raises(StateError, match="waits or runs"):
        library.delete(taken.id)
    library.pin(pinned.id, pinned=True)
    small = Library(tmp_path / "library", max_bytes=3 * old.size, clock=clock)
    assert small.make_room() == 1
    assert small.make_room() == 0
    with pytest.raises(NoSuchArtifactError):
        library.get(old.id)
    tiny = Library(tmp_path / "library", max_bytes=0, clock=clock)
    assert tiny.make_room() == 1
    assert {one.id for one in library.list().artifacts} == {taken.id, pinned.id}
    assert new.id not in {one.id for one in library.list().artifacts}
    queue.cancel(job_id)
    assert tiny.make_room() == 1
    assert [one.id for one in library.list().artifacts] == [pinned.id]
    with pytest.raises(InputError, match="no such artifact"):
        queue.retry(job_id)


def test_a_job_takes_what_is_of_its_kind(queue: JobQueue, give: Give) -> None:
    picture = {"artifact": give().id}
    with pytest.raises(InputError, match=r"clip is .*, a picture; give a clip"):
        queue.submit(parse_job({"kind": "edit", "clip": picture, "prompt": "x"}))


def test_what_killed_processes_left_is_swept_out(
    queue: JobQueue, leases: Leases, library: Library, clock: Time, tmp_path: Path
) -> None:
    [still] = made(queue, leases)
    queue.submit(drawing())
    running = leases.claim("w")
    assert running is not None
    running.keep.mkdir()
    root = tmp_path / "library"
    for orphan in ("files/abc", "work/gone.lease", "work/gone.keep"):
        (root / orphan).mkdir()
        (root / orphan / "x").write_text("x")
    (library.path(still).parent / "x").write_text("x")
    upload, old = library.incoming(), library.incoming()
    clock.now = 1e6
    for path, age in ((upload, 10), (old, 90_000)):
        path.write_text("x")
        os.utime(path, (1e6 - age, 1e6 - age))
    assert library.sweep() == 5
    assert library.sweep() == 0
    assert running.folder.is_dir()
    assert running.keep.is_dir()
    assert upload.exists()
    assert library.path(still).is_file()


@pytest.mark.parametrize("hostile", ["../../queue.sqlite", "/etc/passwd", "..", "a/b", "A" * 32])
def test_no_path_leads_out_of_the_library(library: Library, hostile: str) -> None:
    for ask in (library.get, library.path, library.thumbnail, library.delete, library.companions):
        with pytest.raises(NoSuchArtifactError):
            ask(hostile)
