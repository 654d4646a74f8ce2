"""Command lines run in this process, and stills to animate, drawn once for all tests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from stillmotion.apps.cli import main

if TYPE_CHECKING:
    from stillmotion.animatezero.loading import LoadedModel

NEON = "neon.png"
PLAIN = "plain.png"
CITY = "city.png"
HILLS = "a red balloon over green hills"


@dataclass(frozen=True)
class Outcome:
    """What a command line did."""

    code: int
    out: str
    err: str

    @property
    def facts(self) -> dict[str, Any]:
        """The JSON result."""
        facts: dict[str, Any] = json.loads(self.out)
        return facts

    @property
    def error(self) -> str:
        """The one line that says why nothing was made; fails if there is more, or a result."""
        assert self.code == 2, self
        assert self.out == ""
        [line] = [line for line in self.err.splitlines() if not line.startswith("note: ")]
        assert line.startswith("error: ")
        return line.removeprefix("error: ")

    @property
    def notes(self) -> list[str]:
        return [
            line.removeprefix("note: ")
            for line in self.err.splitlines()
            if line.startswith("note: ")
        ]


Run = Callable[..., Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `stillmotion` with some arguments; its defects come out as exceptions."""

    def run(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return Outcome(end.value.code, said.out, said.err)

    return run


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two plain stills and one in neon, of two steps each; not to be written to."""
    folder = tmp_path_factory.mktemp("drawn")
    for name, prompt, look, seed in (
        (PLAIN, HILLS, "plain", 7),
        (CITY, "a red balloon over a grey city", "plain", 7),
        (NEON, HILLS, "neon", 3),
    ):
        command = ["draw", prompt, "--look", look, "--seed", str(seed), "--steps", "2", "-q"]
        with pytest.raises(SystemExit) as end:
            main([*command, "-o", str(folder / name)])
        assert end.value.code == 0
    return folder


@pytest.fixture
def still(drawn: Path) -> Path:
    return drawn / PLAIN


@pytest.fixture
def neon_still(drawn: Path) -> Path:
    return drawn / NEON


@pytest.fixture
def city(drawn: Path) -> Path:
    """Another still, to end with."""
    return drawn / CITY


@pytest.fixture(scope="session")
def _models() -> dict[str, LoadedModel]:
    return {}


@pytest.fixture
def loaded_once(_models: dict[str, LoadedModel], monkeypatch: pytest.MonkeyPatch) -> None:
    """`animate` finds a model loaded that an earlier test has used, which saves half the time.

    It leaves a model as it was, but for weights stored in 8 bits: not for tests of these.
    """

    from stillmotion.animatezero.loading import load_model  # heavy: some tests need none

    def load(reference: str, **options: Any) -> LoadedModel:
        key = repr((reference, sorted(options.items())))
        if key not in _models:
            _models[key] = load_model(reference, **options)
        return _models[key]

    monkeypatch.setattr("stillmotion.jobs.clip_jobs.load_model", load)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def copy_still(still: Path, folder: Path) -> Path:
    """A copy of a still with its latents."""
    latents = f"{still.stem}.latents.safetensors"
    shutil.copy(still.with_name(latents), folder / latents)
    return Path(shutil.copy(still, folder / still.name))


def files(path: Path) -> dict[str, bytes]:
    """The bytes of a clip, file by file."""
    if path.is_file():
        return {"": path.read_bytes()}
    return {frame.name: frame.read_bytes() for frame in path.iterdir()}


def check_refused(run: Run, here: Path, said: str, *arguments: str | Path) -> None:
    """The command line says `said` in one sentence, and writes nothing."""
    before = sorted(here.rglob("*"))
    assert said in run(*arguments).error
    assert sorted(here.rglob("*")) == before


def picture(height: int, width: int) -> NDArray[np.uint8]:
    """uint8 (h w 3): every pixel differs from its neighbours."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], -1).astype(np.uint8)


def save_picture(path: Path, height: int, width: int, **options: Any) -> Path:
    Image.fromarray(picture(height, width)).save(path, **options)
    return path
