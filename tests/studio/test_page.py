"""The page on the server's application: its shell, its routes, its guards."""

from __future__ import annotations

import asyncio
import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.server.conftest import Api
from tests.server.hostile import animation_bytes, picture_bytes, refused_files
from tests.studio.conftest import Hand
from tests.studio.test_boards import draw, made_clip

from stillmotion.errors import InputError
from stillmotion.media.clips import read_provenance
from stillmotion.media.reading import read_frames
from stillmotion.queueing.leases import Leases
from stillmotion.server.app import create_app
from stillmotion.server.guards import LOOPBACK_NAMES
from stillmotion.server.limits import TokenLimits
from stillmotion.server.service import make_service
from stillmotion.server.tokens import LOCAL, TokenBook, add_token
from stillmotion.studio.desk import Desk, Refusal
from stillmotion.studio.login import COOKIE, LOGIN, LOGOUT
from stillmotion.studio.mount import MOUNTED, mount_studio
from stillmotion.studio.shell import PageChangedError, rewritten
from stillmotion.studio.uploads import take_in

HTML = {"accept": "text/html"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studio")


@pytest.fixture(scope="module")
def api(folder: Path) -> Api:
    """A studio as it stands on one's own machine, with a study."""
    study = folder / "study.html"
    study.write_text("<!doctype html><title>Which is better?</title>", encoding="utf-8")
    service = make_service(folder / "library", hosts=LOOPBACK_NAMES)
    app = create_app(service, mounted=MOUNTED)
    mount_studio(app, service, study=study)
    return Api(app, service)


@pytest.fixture(scope="module")
def tokens(folder: Path) -> Api:
    """One that asks for tokens; `token` is ada's."""
    path = folder / "tokens.json"
    token = add_token(path, "ada", admin=False, limits=TokenLimits())
    service = make_service(folder / "shared", book=TokenBook(path))
    app = create_app(service, mounted=MOUNTED)
    mount_studio(app, service)
    return Api(app, service, token)


@pytest.fixture
def desk(api: Api) -> Desk:
    return Desk(api.service, LOCAL)


@pytest.fixture
def hand(folder: Path, api: Api) -> Hand:
    return Hand(Leases(folder / "library"))


def test_the_page_names_no_other_machine(api: Api) -> None:
    page = api.ask("GET", "/studio/", headers=HTML)
    assert page.status_code == 200
    # Scripts and styles that are fetched, and links; Gradio's configuration is data.
    fetched = re.findall(r"<(?:script|link|img|iframe|meta)\b[^>]*>", page.text)
    assert fetched
    assert not [tag for tag in fetched if "//" in tag]
    assert "iframeResizer" not in page.text
    assert "manifest" not in "".join(fetched)
    assert "<title>stillmotion studio</title>" in page.text
    assert LOGOUT not in page.text  # where nobody logs in
    assert page.headers["referrer-policy"] == "same-origin"


def test_its_policy_lets_nothing_leave(api: Api) -> None:
    page = api.ask("GET", "/studio/", headers=HTML)
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "http" not in policy
    [nonce] = set(re.findall(r"'nonce-([^']+)'", policy))
    inline = re.findall(r"<script(?![^>]* src=)([^>]*)>", page.text)
    assert len(inline) == 3
    assert all(f'nonce="{nonce}"' in attributes for attributes in inline)
    assert nonce not in api.ask("GET", "/studio/", headers=HTML).text
    assert page.headers["x-frame-options"] == "DENY"


def test_the_configuration_asks_for_no_analytics_and_no_history_in_the_browser(api: Api) -> None:
    config = api.get("/studio/config")
    assert config["analytics_enabled"] is False
    assert not config.get("run_history")
    assert config["footer_links"] == []


def test_fonts_are_the_systems(api: Api) -> None:
    style = api.ask("GET", "/studio/theme.css").text
    assert "@import" not in style
    assert not re.search(r"url\((?![\"']?data:)", style)
    assert "system-ui" in style
    assert "@font-face" not in style


def test_another_page_of_gradio_is_refused_with_a_sentence() -> None:
    with pytest.raises(PageChangedError, match="script, style"):
        rewritten(
            "<script>window.gradio_config = {};</script>"
            "<script>window.gradio_api_info = {};</script>", "t", "n",
        )  # fmt: skip


def test_the_first_page_is_the_studio(api: Api) -> None:
    answer = api.ask("GET", "/", headers=HTML)
    assert (answer.status_code, answer.headers["location"]) == (307, "/studio/")


def test_the_api_is_beside_it_with_its_own_policy(api: Api) -> None:
    answer = api.ask("GET", "/v1/jobs")
    assert answer.status_code == 200
    assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/studio-files/studio.css", "text/css"), ("/studio-files/studio.js", "text/javascript")],
)
def test_its_own_files(api: Api, path: str, kind: str) -> None:
    answer = api.ask("GET", path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(kind)
    assert "http" not in answer.text.replace("http-equiv", "")
    assert api.ask("GET", "/studio-files/studio.py").status_code == 422


def test_other_sites_may_not_press_buttons(api: Api) -> None:
    for path in ("/studio/gradio_api/run/predict", "/studio/gradio_api/upload"):
        for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
            assert api.ask("POST", path, json={}, headers=headers).status_code == 403
    assert api.ask("GET", "/studio/", headers={"host": "evil.example"}).status_code == 421


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../library/queue.sqlite", "{library}/queue.sqlite", "https://example.org/x"],
)
def test_gradios_files_are_not_the_machines(api: Api, path: str) -> None:
    path = path.format(library=api.service.library.incoming().parent.parent)
    answer = api.ask("GET", f"/studio/gradio_api/file={path}")
    assert answer.status_code in (400, 403, 404)
    assert b"SQLite" not in answer.content
    assert api.ask("GET", f"/studio/gradio_api/proxy={path}").status_code in (400, 403, 404)


def test_the_study_is_served_under_a_policy_of_its_own(api: Api) -> None:
    answer = api.ask("GET", "/study")
    assert "Which is better?" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "sandbox" not in answer.headers["content-security-policy"]


def test_a_study_that_is_not_there(api: Api, folder: Path) -> None:
    with pytest.raises(InputError, match="study build"):
        mount_studio(create_app(api.service), api.service, study=folder / "none.html")


@pytest.mark.parametrize("name", ["gif", "webp", "webm"])
def test_a_clip_in_other_formats_keeps_its_record(
    api: Api, desk: Desk, hand: Hand, tmp_path: Path, name: str
) -> None:
    _, job = made_clip(desk, hand)
    clip = desk.mains(desk.job(job))[0]
    answer = api.ask("GET", f"/studio-files/clips/{clip.id}/{name}")
    assert answer.status_code == 200
    assert f'filename="clip.{name}"' in answer.headers["content-disposition"]
    path = tmp_path / f"clip.{name}"
    path.write_bytes(answer.content)
    source = desk.library.path(clip.id)
    assert read_frames(path).frames.shape == read_frames(source).frames.shape
    assert read_provenance(path).seed == read_provenance(source).seed


def test_a_clip_as_frames(api: Api, desk: Desk, hand: Hand) -> None:
    _, job = made_clip(desk, hand)
    clip = desk.mains(desk.job(job))[0]
    answer = api.ask("GET", f"/studio-files/clips/{clip.id}/frames")
    frames = read_frames(desk.library.path(clip.id)).frames
    with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
        names = packed.namelist()
        assert names == [f"{index}.png" for index in range(6)]
        last = np.asarray(Image.open(io.BytesIO(packed.read(names[-1]))))
    assert (last == frames[-1]).all()
    assert list(desk.library.incoming().parent.iterdir()) == []


def test_only_clips_that_were_made_here_are_converted(api: Api, desk: Desk, hand: Hand) -> None:
    still, _ = made_clip(desk, hand)
    assert api.ask("GET", f"/studio-files/clips/{still}/gif").status_code == 404
    assert api.ask("GET", f"/studio-files/clips/{'0' * 32}/gif").status_code == 404
    assert api.ask("GET", f"/studio-files/clips/{still}/exe").status_code == 422
    sent = api.ask("POST", "/v1/clips", content=animation_bytes()).json()
    assert api.ask("GET", f"/studio-files/clips/{sent['id']}/mp4").status_code == 404


def test_previews_never_fail_while_jobs_end(api: Api, desk: Desk, hand: Hand) -> None:
    [job] = draw(desk)
    claim = hand.claim()
    path = f"/studio-files/previews/{job}"
    assert api.ask("GET", path).headers["content-type"] == "image/gif"
    hand.leases.heartbeat(claim, lease_seconds=30, preview=picture_bytes())
    assert api.ask("GET", path).content == picture_bytes()
    hand.finish(claim)
    assert api.ask("GET", path).headers["content-type"] == "image/gif"
    desk.act_on_job("forget", job)
    assert api.ask("GET", path).status_code == 200


def test_without_a_token_pages_lead_to_the_form_and_programs_are_refused(tokens: Api) -> None:
    stranger = Api(tokens.app, tokens.service)
    for path in ("/", "/studio/", "/study"):
        answer = stranger.ask("GET", path, headers=HTML)
        assert (answer.status_code, answer.headers.get("location")) == (303, LOGIN)
    for path in ("/v1/jobs", "/studio/config", "/studio-files/studio.js", "/studio/theme.css"):
        assert stranger.ask("GET", path).status_code == 401
    assert stranger.ask("POST", "/studio/gradio_api/run/predict", json={}).status_code == 401
    assert stranger.ask("POST", "/studio/gradio_api/upload").status_code == 401
    assert tokens.ask("GET", "/studio/", headers=HTML).status_code == 200


def log_in(api: Api, token: str, **headers: str) -> Any:
    stranger = Api(api.app, api.service)
    given = {"content-type": "application/x-www-form-urlencoded", **headers}
    return stranger.ask("POST", LOGIN, content=f"token={token}", headers=given)


def test_the_form_takes_a_token_and_gives_a_cookie(tokens: Api) -> None:
    stranger = Api(tokens.app, tokens.service)
    form = stranger.ask("GET", LOGIN, headers=HTML)
    assert '<label for="token">' in form.text
    assert "default-src 'none'" in form.headers["content-security-policy"]
    assert form.headers["referrer-policy"] == "same-origin"  # else browsers send Origin: null
    assert tokens.token is not None
    answer = log_in(tokens, tokens.token)
    assert answer.status_code == 303
    said = answer.headers["set-cookie"]
    assert tokens.token not in said
    for part in ("HttpOnly", "SameSite=strict", "Path=/"):
        assert part in said
    cookie = said.partition(";")[0]
    assert cookie.startswith(COOKIE)
    page = stranger.ask("GET", "/studio/", headers={**HTML, "cookie": cookie})
    assert page.status_code == 200
    assert LOGOUT in page.text
    assert stranger.ask("GET", "/v1/jobs", headers={"cookie": cookie}).status_code == 200
    # A page of another site cannot use it.
    forged = {"cookie": cookie, "origin": "https://evil.example"}
    assert stranger.ask("POST", "/v1/jobs", json={}, headers=forged).status_code == 403
    left = stranger.ask("POST", LOGOUT, headers={"cookie": cookie})
    assert (left.status_code, left.headers["clear-site-data"]) == (303, '"storage"')
    assert stranger.ask("GET", "/v1/jobs", headers={"cookie": cookie}).status_code == 401


@pytest.mark.parametrize("token", ["", "wrong", "%00", "a" * 9000, "&&&&&&&"])
def test_the_form_tells_of_a_wrong_token(tokens: Api, token: str) -> None:
    answer = log_in(tokens, token)
    assert answer.status_code == 401
    assert 'role="alert"' in answer.text
    assert "set-cookie" not in answer.headers


def test_other_sites_cannot_log_anybody_in(tokens: Api) -> None:
    assert tokens.token is not None
    assert log_in(tokens, tokens.token, origin="https://evil.example").status_code == 403


def test_a_token_that_was_taken_back_opens_nothing(tokens: Api, folder: Path) -> None:
    path = folder / "tokens.json"
    token = add_token(path, "eve", admin=False, limits=TokenLimits())
    book = tokens.service.book
    assert book is not None
    book._looked = float("-inf")
    cookie = log_in(tokens, token).headers["set-cookie"].partition(";")[0]
    stranger = Api(tokens.app, tokens.service)
    assert stranger.ask("GET", "/v1/jobs", headers={"cookie": cookie}).status_code == 200
    kept = [entry for entry in book._entries if entry.name != "eve"]
    book._entries = tuple(kept)
    assert stranger.ask("GET", "/v1/jobs", headers={"cookie": cookie}).status_code == 401


Drop = Callable[[bytes], str]


@pytest.fixture
def drop(tmp_path: Path) -> Drop:
    """A file as Gradio leaves it: in a folder of its own, under the name that it had."""

    def write(content: bytes) -> str:
        place = tmp_path / "upload" / "hash"
        place.mkdir(parents=True, exist_ok=True)
        (place / "photo.png").write_bytes(content)
        return str(place / "photo.png")

    return write


def test_a_picture_is_taken_in_as_its_pixels(desk: Desk, drop: Drop) -> None:
    file = drop(picture_bytes("JPEG"))
    artifact = asyncio.run(take_in(desk, "picture", "still_id", file))
    assert (artifact.kind, artifact.content_type, artifact.owner) == (
        "picture",
        "image/png",
        "local",
    )
    assert artifact.name == "picture.png"
    assert not Path(file).parent.exists()


def test_a_clip_is_taken_in(desk: Desk, drop: Drop) -> None:
    artifact = asyncio.run(take_in(desk, "clip", "clip_id", drop(animation_bytes())))
    assert (artifact.kind, artifact.num_frames, artifact.has_thumbnail) == ("clip", 3, True)


BAD = dict(refused_files())


@pytest.mark.parametrize("name", ["empty", "html", "pickle", "png cut in the data", "png bomb"])
def test_bad_files_are_refused_in_a_sentence_at_their_field(
    desk: Desk, drop: Drop, name: str
) -> None:
    file = drop(BAD[name])
    with pytest.raises(Refusal) as caught:
        asyncio.run(take_in(desk, "picture", "still_id", file))
    assert caught.value.field == "still_id"
    assert caught.value.sentence.endswith(".")
    assert "/" not in caught.value.sentence
    assert not Path(file).exists()
    assert list(desk.library.incoming().parent.iterdir()) == []


def test_no_file_at_all(desk: Desk) -> None:
    with pytest.raises(Refusal, match="No file arrived"):
        asyncio.run(take_in(desk, "picture", "still_id", None))
