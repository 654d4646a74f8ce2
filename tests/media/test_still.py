"""Stills keep all they were saved with, and refuse what does not belong together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from stillmotion.diffusion.settings import SamplingSettings
from stillmotion.errors import InputError, OutputError
from stillmotion.media.clips import read_provenance
from stillmotion.media.provenance import ModelIdentity, Provenance
from stillmotion.media.still import Still, latents_path


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (8, 12, 3), dtype=np.uint8)


@pytest.fixture
def still() -> Still:
    latents = torch.randn((4, 4, 4, 6), generator=torch.Generator().manual_seed(0))
    return Still(
        image=picture(),
        latents=latents,
        timesteps=(751, 401, 1),
        prompt="ein roter Ball — 球",
        seed=2**62,
        settings=SamplingSettings(num_inference_steps=3, negative_prompt="blurry"),
        model={"name": "tiny", "fingerprint": "ab" * 32},
        scheduler_fingerprint="cd" * 32,
    )


def test_save_and_load_keep_everything(still: Still, tmp_path: Path) -> None:
    still.save(tmp_path / "ball.png")
    assert {path.name for path in tmp_path.iterdir()} == {
        "ball.png",
        "ball.png.json",
        "ball.latents.safetensors",
    }
    back = Still.load(tmp_path / "ball.png")
    assert np.array_equal(back.image, still.image)
    assert back.latents is not None
    assert torch.equal(back.latents, still.latents)
    for name in ("timesteps", "prompt", "seed", "settings", "model", "scheduler_fingerprint"):
        assert getattr(back, name) == getattr(still, name), name


def test_same_still_same_bytes(still: Still, tmp_path: Path) -> None:
    for name in ("a", "b"):
        still.save(tmp_path / f"{name}.png")
    for suffix in (".png", ".latents.safetensors"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_without_the_latents_file_it_is_a_photograph(still: Still, tmp_path: Path) -> None:
    still.save(tmp_path / "ball.png")
    latents_path(tmp_path / "ball.png").unlink()
    back = Still.load(tmp_path / "ball.png")
    assert back.latents is None
    assert back.prompt == still.prompt


def test_latents_of_another_picture_are_refused(still: Still, tmp_path: Path) -> None:
    still.save(tmp_path / "ball.png")
    replace(still, image=picture(1)).save(tmp_path / "other.png")
    latents_path(tmp_path / "other.png").replace(latents_path(tmp_path / "ball.png"))
    with pytest.raises(InputError, match="belongs to another picture"):
        Still.load(tmp_path / "ball.png")


def test_an_edited_picture_is_another_picture(still: Still, tmp_path: Path) -> None:
    path = tmp_path / "ball.png"
    still.save(path)
    edited = still.image.copy()
    edited[0, 0, 0] ^= 1
    Image.fromarray(edited).save(path)
    with pytest.raises(InputError, match="belongs to another picture"):
        Still.load(path)


def test_a_picture_that_lost_its_record_is_refused(still: Still, tmp_path: Path) -> None:
    path = tmp_path / "ball.png"
    still.save(path)
    Image.fromarray(still.image).save(path)
    with pytest.raises(InputError, match="lost the record"):
        Still.load(path)


@pytest.mark.parametrize("content", [b"", b"not latents at all"])
def test_damaged_latents_are_refused(still: Still, tmp_path: Path, content: bytes) -> None:
    still.save(tmp_path / "ball.png")
    latents_path(tmp_path / "ball.png").write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        Still.load(tmp_path / "ball.png")


def test_a_latents_file_with_other_contents_is_refused(still: Still, tmp_path: Path) -> None:
    path = tmp_path / "ball.png"
    still.save(path)
    file = latents_path(path)
    save_file({"other": load_file(file)["latents"]}, file)
    with pytest.raises(InputError, match="damaged"):
        Still.load(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_any_picture_loads_as_a_photograph(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"photo{suffix}"
    Image.fromarray(picture()).save(path)
    photograph = Still.load(path)
    assert photograph.latents is None
    assert photograph.seed is None
    assert (photograph.height, photograph.width) == (8, 12)


@pytest.mark.parametrize("note", ["{", '{"still": 3}', '{"still": {"format": 1}}', "[1]"])
def test_a_damaged_record_is_refused(tmp_path: Path, note: str) -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt("stillmotion", note)
    Image.fromarray(picture()).save(tmp_path / "a.png", pnginfo=info)
    with pytest.raises(InputError, match=r"record in '.*a\.png' is damaged"):
        Still.load(tmp_path / "a.png")


def test_a_record_of_another_kind_is_no_still(tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    note = Provenance(
        kind="clip", method="animatezero", prompt="a clip", seed=1,
        model=ModelIdentity(name="m", fingerprint="f"),
    ).to_json()  # fmt: skip
    info.add_itxt("stillmotion", note)
    Image.fromarray(picture()).save(tmp_path / "a.png", pnginfo=info)
    assert Still.load(tmp_path / "a.png").prompt == ""


def test_existing_files_are_kept_unless_told(still: Still, tmp_path: Path) -> None:
    path = tmp_path / "ball.png"
    latents_path(path).write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists already"):
        still.save(path)
    assert not path.exists()
    assert latents_path(path).read_bytes() == b"mine"
    still.save(path, overwrite=True)
    with pytest.raises(OutputError, match="exists already"):
        still.save(path)
    assert Still.load(path).latents is not None


def test_replacing_by_a_photograph_removes_old_latents(still: Still, tmp_path: Path) -> None:
    path = tmp_path / "ball.png"
    still.save(path)
    still.without_latents().save(path, overwrite=True)
    assert Still.load(path).latents is None
    assert {file.name for file in tmp_path.iterdir()} == {"ball.png", "ball.png.json"}


def test_only_png_can_hold_a_still(still: Still, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"\.png"):
        still.save(tmp_path / "ball.jpg")


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 12, 3), np.float32),
        np.zeros((8, 12), np.uint8),
        np.zeros((8, 12, 4), np.uint8),
        np.zeros((0, 12, 3), np.uint8),
    ],
)
def test_other_arrays_are_no_pictures(image: np.ndarray) -> None:
    with pytest.raises(InputError, match="RGB pixels"):
        Still(image=image)


@pytest.mark.parametrize(
    ("latents", "said"),
    [
        (torch.zeros(3, 4, 4, 6), "3 noise levels"),
        (torch.zeros(4, 4, 4, 4), "do not fit a picture"),
        (torch.zeros(4, 4, 3, 6), "do not fit a picture"),
        (torch.zeros(4, 4, 4, 6, dtype=torch.float16), "float32"),
        (torch.zeros(4, 4, 24), "float32"),
        (torch.full((4, 4, 4, 6), float("nan")), "infinite or undefined"),
    ],
)
def test_latents_that_do_not_fit_are_refused(latents: torch.Tensor, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Still(image=picture(), latents=latents, timesteps=(751, 401, 1))


def test_a_still_carries_its_provenance(still: Still, tmp_path: Path) -> None:
    path = tmp_path / "ball.png"
    still.save(path)
    record = read_provenance(path)
    assert record.ai_generated
    assert (record.kind, record.prompt, record.seed) == ("still", still.prompt, still.seed)
    assert Provenance.from_json((tmp_path / "ball.png.json").read_text()) == record


def test_a_photograph_has_no_record_to_save(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="was not drawn"):
        Still(image=picture()).save(tmp_path / "photo.png")
    assert list(tmp_path.iterdir()) == []
