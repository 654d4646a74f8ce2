"""A server's process makes no job, so it never loads what models need.

Everything that clients can ask of it is asked here, in a process of its own, and the modules that
it has then are looked at.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FORBIDDEN = {"torch", "diffusers", "transformers", "peft", "accelerate"}
MAKE_CLIPS = """
import sys
from pathlib import Path
import numpy as np, torch
from stillmotion.media.clips import save_clip
from stillmotion.media.provenance import ModelIdentity, Provenance
frames = np.zeros((3, 16, 16, 3), np.uint8)
record = Provenance(kind="clip", method="animatezero", prompt="a", seed=1,
                    model=ModelIdentity(name="miniature", fingerprint="0"))
for ending in ("mp4", "webm", "gif", "webp"):
    save_clip(frames, Path(sys.argv[1]) / f"clip.{ending}", fps=8, provenance=record)
save_clip(frames, Path(sys.argv[1]) / "clip.safetensors", fps=8, provenance=record,
          latents=torch.zeros(1, 4, 3, 2, 2))
"""
ASK = """
import json, sys
from pathlib import Path
from fastapi.testclient import TestClient
from stillmotion.queueing.leases import Leases
from stillmotion.queueing.views import NewArtifact
from stillmotion.server.app import create_app
from stillmotion.server.service import make_service
{more}
clips, folder = Path(sys.argv[1]), Path(sys.argv[2])
service = make_service(folder)
app = create_app(service)
{mount}
asked = []
with TestClient(app, base_url="http://127.0.0.1") as client:
    def ask(method, path, status=200, **options):
        answer = client.request(method, path, **options)
        assert answer.status_code == status, (path, answer.text)
        asked.append(path)
        return answer
    def submit(**job):
        return ask("POST", "/v1/jobs", 202, json={{"job": job}}).json()["id"]
    job = submit(kind="draw", prompt="a")
    claim = Leases(folder).claim("hand")
    made = []
    for path in sorted(clips.glob("clip.*")):
        if path.suffix != ".json":
            (claim.folder / path.name).write_bytes(path.read_bytes())
            made.append(NewArtifact(file=path.name, kind="clip", content_type="video/mp4"))
    Leases(folder).complete(claim, made)
    found = ask("GET", "/v1/artifacts").json()["artifacts"]
    assert len(found) == 5, found
    answer = client.post("/v1/pictures", content=Path(sys.argv[3]).read_bytes())
    picture = {{"artifact": answer.json()["id"]}}
    for artifact in found:
        submit(kind="animate", from_clip={{"artifact": artifact["id"]}})
        submit(kind="evaluate", clips=[{{"artifact": artifact["id"]}}], still=picture, prompt="a")
        submit(kind="edit", clip={{"artifact": artifact["id"]}}, prompt="a")
        ask("GET", f"/v1/artifacts/{{artifact['id']}}")
    for kind in ("animate", "loop"):
        submit(kind=kind, still=picture, prompt="a")
    submit(kind="animate", still=picture, prompt="a", method="dynamicrafter")
    submit(kind="interpolate", still=picture, last_frame=picture)
    submit(kind="story", script={{"shots": [{{"draw": "a", "prompt": "a"}}]}})
    for path in ("/v1/models", "/v1/schema", "/v1/jobs", "/metrics", "/readyz", "/openapi.json",
                 *{pages!r}):
        ask("GET", path)
    ask("GET", f"/v1/jobs/{{job}}/events")
print(json.dumps([len(asked), sorted(sys.modules)]), file=sys.stderr)
"""


def told(program: str, *arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr.splitlines()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of every format, and a picture."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("clips")
    told(MAKE_CLIPS, str(folder))
    Image.new("RGB", (24, 24), (9, 90, 200)).save(folder / "picture.png")
    return folder


@pytest.mark.parametrize(
    ("more", "mount", "pages"),
    [
        ("", "", ()),
        (
            "from stillmotion.studio.mount import mount_studio",
            "mount_studio(app, service)",
            ("/studio/", "/studio/config"),
        ),
    ],
    ids=["serve", "studio"],
)
def test_no_model_library_is_loaded(
    clips: Path, tmp_path: Path, more: str, mount: str, pages: tuple[str, ...]
) -> None:
    program = ASK.format(more=more, mount=mount, pages=pages)
    lines = told(program, str(clips), str(tmp_path / "library"), str(clips / "picture.png"))
    count, modules = json.loads(lines[-1])
    assert count > 30
    assert FORBIDDEN & set(modules) == set()


def test_gpus_are_counted_without_torch() -> None:
    program = """
import sys
from stillmotion.apps.serve import devices
found = devices("auto", 2)
print(len(found), "torch" in sys.modules, file=sys.stderr)
"""
    assert told(program)[-1] == "2 False"
